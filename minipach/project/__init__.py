"""A superdataset: where its pipelines are, their order, targets, settings, the lock, paths of local state.

May import `git`, `spec` and what is below them.
"""
