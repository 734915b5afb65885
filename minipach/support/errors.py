"""Errors that the user must fix; a failure of a datum's own command is an outcome instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Bad input or setup: exit code 2, one clear line per problem, no traceback.

    Each problem reads ``place: problem; fix``.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


def each_once(problems: Iterable[str]) -> tuple[str, ...]:
    """Return the problems by file, line and column, none twice."""
    return tuple(sorted(dict.fromkeys(problems), key=_place))


_PLACE = re.compile(r"(.*?):(\d+):(\d+): ", re.DOTALL)


def _place(problem: str) -> tuple[str, int, int, str]:
    found = _PLACE.match(problem)
    return (found[1], int(found[2]), int(found[3]), problem) if found else (problem.partition(":")[0], 0, 0, problem)
