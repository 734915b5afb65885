"""`python -m minipach`."""

from minipach.cli import main

main()
