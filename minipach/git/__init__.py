"""git and git-annex: objects, refs, keys, checkouts, worktrees, and the clean-up after a crash.

May import `model` and `support`.
"""
