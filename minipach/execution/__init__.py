"""Run one datum set on one machine, and leave one result ref.

Knows no plan. May import `datums`, `environment`, `records` and what is below them.
"""
