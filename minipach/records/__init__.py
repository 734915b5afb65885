"""Everything on record: results branch, published state, history, job database, logs, pending work.

May import `project` and what is below it.
"""
