"""Passes over the DAG: plan, cut sets, dispatch, collect, publish, continue downstream.

May import `executors`, `publish` and what is below them.
"""
