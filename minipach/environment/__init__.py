"""The environment of a command: an image or the host, and its content id.

May import `project` and what is below it.
"""
