"""The parts of the launcher, which runs the datums of a record, each in a sandbox of its own.

A launcher is composed for each pipeline by `execution/compose_launcher.py`, and committed into its repo as
`.minipach/launch`. So it is one file, uses only the standard library of Python 3.9 and later, and works without
minipach. README.md says how the parts go together.
"""
