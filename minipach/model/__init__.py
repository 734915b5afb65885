"""The nouns of minipach (Pipeline, Datum, WorkSet, Outcome) and all names that outlive a process: refs, files, states.

No I/O. May import `support`.
"""
