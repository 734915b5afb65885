"""The pages of the console: what each one shows, as data. Templates make HTML of it; it is JSON and text as it stands.

A page is a function of the project and of the values in its address. It changes nothing.
"""
