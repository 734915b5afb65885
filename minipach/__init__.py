"""minipach: a miniature Pachyderm on DataLad and git-annex."""

__version__ = "0.1.0"
