"""What is on record: the results branch, the published state, history, the job database, logs, pending work.

May import `project` and what is below it.
"""
