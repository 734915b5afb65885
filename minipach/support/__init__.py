"""Helpers that know nothing of minipach: text, errors, files, processes, streams.

Imports nothing of minipach.
"""
