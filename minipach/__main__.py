"""`python -m minipach`."""

from minipach.cli import program

program()
