"""Runs of a datum outside of a job: audit, run-one, shell.

May import `scheduling` and what is below it.
"""
