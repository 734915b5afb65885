"""The text of spec.yml, checked and turned into a Pipeline. Pure.

May import `model` and `support`.
"""
