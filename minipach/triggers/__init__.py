"""Triggers start passes by themselves: git hooks, a watcher, events over HTTP, buckets, clocks; pauses and alerts.

It imports the scheduling service and what is below it.
"""
