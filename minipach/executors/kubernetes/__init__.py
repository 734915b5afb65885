"""The executor `kubernetes`: sets as indices of Jobs. A pod has a clone of its own, and its result comes back as refs.

Nothing that the cluster says of a pod makes a set succeed: that is what the refs of the project say.
"""
