"""Triggers start passes by themselves: git hooks. The package imports the scheduling service and what is below it."""
