"""The text of spec.yml to a checked Pipeline. Pure.

May import `model` and `support`.
"""
