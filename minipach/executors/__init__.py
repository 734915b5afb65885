"""The executors: the contract, the registry, and a folder for each executor.

May import `execution`, `planning` and what is below them.
"""
