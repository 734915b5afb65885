"""Snapshots of repos, datums, and datum ids.

May import `project` and what is below it.
"""
