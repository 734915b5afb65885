"""A superdataset: its pipelines, their order, targets, settings, the lock, paths of local state.

May import `git`, `spec` and what is below them.
"""
