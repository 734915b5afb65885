"""Triggers start passes by themselves: git hooks, events over HTTP; pauses.

It imports the scheduling service and what is below it.
"""
