"""What should happen to each datum, and why. Reads only.

May import `datums`, `environment`, `records` and what is below them.
"""
