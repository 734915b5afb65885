"""The executor `local`: warm processes on this machine.

May import what `executors` may, and no other executor.
"""
