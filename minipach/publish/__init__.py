"""Result refs to the results branch, to a pipeline's branch, to the superdataset; exchange and removal of results.

May import `execution`, `planning` and what is below them.
"""
