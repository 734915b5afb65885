"""The nouns of minipach (Pipeline, Datum, WorkSet, Outcome) and every name that leaves the process.

No I/O. May import `support`.
"""
