"""Stores for the contents of a project: the same git-annex special remote in each of its repos."""
