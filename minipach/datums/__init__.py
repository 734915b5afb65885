"""Snapshots to datums, and datums to ids.

May import `project` and what is below it.
"""
