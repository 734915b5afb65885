"""From result refs to the results branch, the pipeline branch and the superdataset; exchange and removal of results.

May import `execution`, `planning` and what is below them.
"""
