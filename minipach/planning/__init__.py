"""The action for each datum, and the reason. Reads only.

May import `datums`, `environment`, `records` and what is below them.
"""
