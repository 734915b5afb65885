"""The page of a log, and the logs on other pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minipach.console.pages.page import Asked, Page
from minipach.model.job_entries import Attempt, Try
from minipach.project.project import Project
from minipach.records.job_history import all_tries, open_ledger, passes_of
from minipach.support.errors import Problem, UserError
from minipach.views.logs import part_of_try

_LOG = 2_000_000  # bytes of a log that the page of a log reads
_LINE = 4_000  # characters of a line of a log


def last_attempt(project: Project, pipeline: str, name: str) -> tuple[Attempt | None, tuple[Try, ...]]:
    """Return the last attempt of a datum, and its tries."""
    ledger = open_ledger(project)
    try:
        last = ledger.last_attempt(pipeline, name)
        return last, all_tries(last, ledger.tries_of(last.pass_key, name)) if last else ()
    finally:
        ledger.close()


@dataclass(frozen=True, slots=True)
class Log:
    """The output of a command: the lines that are shown, of how many; cut: bytes before them that are left out."""

    lines: tuple[str, ...]
    all: int
    cut: int
    here: bool = True

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def log_text(
    project: Project, file: str, most: int, find: str = "", *, part: Callable[[bytes], bytes] | None = None
) -> Log:
    """Return the end of a log. A file that is not among the project's logs counts as one that is not there.

    part: takes what is to be shown from what was read.
    """
    there = log_file(project, file)
    return Log((), 0, 0, here=False) if there is None else log_tail(there, most, find, part=part)


def log_tail(file: Path, most: int, find: str = "", *, part: Callable[[bytes], bytes] | None = None) -> Log:
    """Return the last bytes of a file as lines: those that have a text."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - most))
            data = opened.read(most)
    except FileNotFoundError:
        return Log((), 0, 0, here=False)
    data = part(data) if part else data
    every = data.decode("utf-8", "replace").rstrip("\n").split("\n") if data else []
    shown = [line if len(line) <= _LINE else line[:_LINE] + " …" for line in every if find in line]
    return Log(tuple(shown), len(every), max(0, size - most))


def log_file(project: Project, file: str) -> Path | None:
    """Return a log of the project's own; None, if it is another file, a link, or gone."""
    there = Path(file)
    logs = project.local.logs.resolve()
    if not file or not there.is_file() or there.is_symlink() or logs not in there.resolve().parents:
        return None
    return there


def _attempt_in(project: Project, job: str, pipeline: str, name: str) -> tuple[Attempt | None, tuple[Try, ...]]:
    """Return the last attempt of a datum in a job, and its tries."""
    ledger = open_ledger(project)
    try:
        for row in reversed(passes_of(project, ledger, job, pipeline)):
            if found := ledger.attempts_of(row.key, pipeline, name):
                before = ledger.tries_of(row.key, name) if len(found) == 1 else ()
                return found[-1], all_tries(found[-1], before)
        return None, ()
    finally:
        ledger.close()


def log(asked: Asked) -> Page:
    """Return the page of a log: of the last attempt of a datum, or of that in a job; of all tries (0), or of one."""
    project = asked.reading.project()
    path = asked.pipeline(project)
    pipeline, name = project.name_of(path), asked.value("name")
    last, tries = last_attempt(project, pipeline, name)
    if asked.value("job"):
        last, tries = _attempt_in(project, asked.value("job"), pipeline, name)
    if last is None:
        raise UserError(Problem("datum.no-attempt", pipeline, f'no attempt of a datum "{name}" on this machine'))
    number = asked.number("try", 0, len(tries)) if tries else 0
    file = tries[number - 1].log if number else ""
    part = (lambda data: part_of_try(data, tries, number)) if number and file else None
    found = log_text(project, file or last.log, _LOG, asked.value("find"), part=part)
    data = {
        "pipeline": pipeline,
        "datum": name,
        "try": number,
        "tries": len(tries),
        "find": asked.value("find"),
        "shown": len(found.lines),
        "lines_in_all": found.all,
        "bytes_left_out": found.cut,
        "here": found.here,
        "lines": list(found.lines),
    }
    of_job = {"job": asked.value("job")} if asked.value("job") else {}
    return Page(f"Log of {pipeline}: {name}", "log.html", data, {"log": found, "path": path, "of_job": of_job})
