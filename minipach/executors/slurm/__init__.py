"""The executor `slurm`: sets as tasks of job arrays.

May import what `executors` may, and no other executor.
"""
