"""What a command runs in: an image or the host's environment, and its content id.

May import `project` and what is below it.
"""
