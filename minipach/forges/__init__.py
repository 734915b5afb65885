"""Forges: the comment of a pull request, the statuses of a commit, and workflow files for CI."""
