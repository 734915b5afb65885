"""The nouns of minipach (Pipeline, Datum, WorkSet, Outcome) and all names that leave the process.

No I/O. May import `support`.
"""
