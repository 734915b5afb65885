"""The console: pages that show a project to a browser, and the report as one HTML file. Templates and styles.

It may import all packages but `cli`.
"""
