"""The two kinds of trouble: what the user must mend, and what a datum's own command did."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Bad input or setup: exit code 2, one clear line per problem, no traceback.

    Each problem reads ``place: problem; way out``.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DatumFailed(Exception):
    """A datum's command failed, or its output can't be taken: exit code 1, the log tells."""


class Interrupted(Exception):
    """The user pressed Ctrl-C (or sent SIGTERM): exit code 130, the state is whole."""
