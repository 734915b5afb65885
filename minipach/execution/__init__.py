"""The run of one datum set on one machine, which leaves one result ref.

Knows no plan. May import `datums`, `environment`, `records` and what is below them.
"""
