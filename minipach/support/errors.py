"""Errors of the user as data: what is wrong, where, and the fix. A failed datum is an outcome, and no error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the user has to fix. It becomes a line of text only where it is printed.

    Args:
        code: A stable name of the kind of problem, such as `spec.unknown-field`. Programs compare this.
        location: The place of the problem: a file with line and column, a pipeline, a setting, an option; or "".
        message: The problem.
        fix: The way to solve it: a command, or a phrase in the imperative; or "".
    """

    code: str
    location: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        """Return the line that people read. No code takes it apart again."""
        return _line(self.what, self.fix)

    @property
    def what(self) -> str:
        """Return the location and what is wrong there, without the fix."""
        return f"{self.location}: {self.message}" if self.location else self.message

    def within(self, location: str) -> Problem:
        """Return the problem at a location around its own."""
        return replace(self, location=f"{location}: {self.location}" if self.location else location)

    def as_json(self) -> dict[str, str]:
        """Return the problem as documented for `--json`."""
        return {**asdict(self), "text": str(self)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a setup.

    Args:
        level: `ok`; `note`: it works, but the user should know; `problem`: it must be fixed.
        what: The fact.
        fix: The way to change it; or "".
        code: The code of the problem; "" if the fact is no problem.
    """

    level: Literal["ok", "note", "problem"]
    what: str
    fix: str = ""
    code: str = ""

    @classmethod
    def of(cls, level: Literal["note", "problem"], problem: Problem) -> Finding:
        """Return the finding for a problem."""
        return cls(level, problem.what, problem.fix, problem.code)

    def as_json(self) -> dict[str, str]:
        """Return the JSON object of `minipach doctor --json`."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the finding without its level, as a line."""
        return _line(self.what, self.fix)


class UserError(Exception):
    """Bad input or setup: exit code 2, one line per problem, no traceback."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def _line(what: str, fix: str) -> str:
    if not fix:
        return what
    return f"{what} Fix: {fix}" if what.endswith((".", "?", "!")) else f"{what}. Fix: {fix}"


def each_once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems by file, line and column, none twice."""
    return tuple(sorted(dict.fromkeys(problems), key=_order))


def problems_json(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Return the problems as documented for `--json`."""
    return [problem.as_json() for problem in problems]


_IN_FILE = re.compile(r"(.*?):(\d+):(\d+)", re.DOTALL)


def _order(problem: Problem) -> tuple[str, int, int, str]:
    found = _IN_FILE.match(problem.location)
    if found:
        return found[1], int(found[2]), int(found[3]), str(problem)
    return problem.location, 0, 0, str(problem)
