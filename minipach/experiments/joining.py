"""Points that another process adds to an experiment while it runs: a file for each request, and its answer.

Requests are local state. The process that runs the experiment takes them; one that it does not answer is run by the
process that asked, as soon as the pipelines are free.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minipach.experiments.points import Point, read_point
from minipach.project.project import Project
from minipach.support.errors import Problem
from minipach.support.files import write_whole
from minipach.support.processes import is_alive
from minipach.support.validation import InvalidError, checked, parse_object

_ASKS = ".request"
_ANSWERS = ".answer"


@dataclass(frozen=True, slots=True)
class JoinFailure:
    """A datum that failed, and where its log is."""

    datum: str
    message: str
    log: str


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """The outcome of a request. problems: why its points cannot run; then there is nothing else."""

    ran: int = 0
    known: int = 0
    failed: tuple[JoinFailure, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Points that another process asks for. name: of its file."""

    name: str
    points: tuple[Point, ...]


class Inbox:
    """The requests for one experiment."""

    def __init__(self, project: Project, name: str) -> None:
        self._folder = project.local.joining / name
        self._taken: set[str] = set()

    def ask(self, chain: Sequence[str], points: Sequence[Point]) -> Path:
        """Leave a request. Returns its file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}{_ASKS}"
        data = {"schema": 1, "chain": list(chain), "points": [dict(point) for point in points]}
        write_whole(file, json.dumps(data))
        return file

    def answer_to(self, file: Path) -> JoinAnswer | None:
        """Return the answer to a request, if there is one."""
        try:
            data = parse_object(file.with_suffix(_ANSWERS).read_bytes())
            failed = tuple(checked(JoinFailure(**row)) for row in data["failed"])
            problems = tuple(checked(Problem(**row)) for row in data["problems"])
            return checked(JoinAnswer(data["ran"], data["known"], failed, problems))
        except (OSError, InvalidError, TypeError, KeyError):
            return None

    def withdraw(self, file: Path) -> None:
        """Remove a request and its answer."""
        file.unlink(missing_ok=True)
        file.with_suffix(_ANSWERS).unlink(missing_ok=True)

    def requests(self, chain: Sequence[str]) -> list[JoinRequest]:
        """Return the requests that are new, of processes that still wait, for the same pipelines."""
        if not self._folder.is_dir():
            return []
        found = []
        for file in sorted(self._folder.glob(f"*{_ASKS}")):
            if file.name in self._taken:
                continue
            self._taken.add(file.name)
            if not is_alive(file.name.partition("-")[0]):
                self.withdraw(file)
            elif (request := _read(file, chain)) is not None:
                found.append(request)
        return found

    def answer(self, request: JoinRequest, answer: JoinAnswer) -> None:
        """Answer a request."""
        data: Mapping[str, Any] = {"schema": 1, **asdict(answer)}
        write_whole((self._folder / request.name).with_suffix(_ANSWERS), json.dumps(data))


def _read(file: Path, chain: Sequence[str]) -> JoinRequest | None:
    try:
        data = parse_object(file.read_bytes())
        if data.get("schema") != 1 or data.get("chain") != list(chain):
            return None
        return checked(JoinRequest(file.name, tuple(read_point(point) for point in data["points"])))
    except (OSError, InvalidError, TypeError, KeyError, ValueError):
        return None
