"""The executor `rq`: workers that take sets from Redis.

May import what `executors` may, and no other executor.
"""
