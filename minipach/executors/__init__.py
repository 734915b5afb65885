"""Where datum sets run: the contract, the registry, and a folder per engine.

May import `execution`, `planning` and what is below them.
"""
