"""Triggers start passes by themselves: git hooks; pauses. It imports the scheduling service and what is below it."""
