"""Read-only answers for people: top, logs, diff, dag, usage, doctor. No terminal code.

May import `scheduling` and what is below it.
"""
