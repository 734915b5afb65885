"""A submission to Slurm as a folder: the sets, the set of each task, and the tasks' reports."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import re
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minipach.executors.outcome_check import check_outcome
from minipach.executors.stored_sets import UnknownSetError, drop_file, file_ids, read_file, write_file
from minipach.model.work_set import Outcome, WorkSet, tried_again
from minipach.project.project import Project
from minipach.records.pending_work import due_in
from minipach.support.errors import Problem, UserError
from minipach.support.files import remove_tree, write_whole
from minipach.support.validation import InvalidError, checked, is_moment, parse, parse_object, texts

_LOG = logging.getLogger(__name__)
_MOST_CODE = 255
_JOB = re.compile(r"[0-9]{1,18}")
_REPORT_NAME = re.compile(r"(\d+)-(\d+)-\w+\.jsonl")


def slurm_dir(project: Project) -> Path:
    """Return where submissions are."""
    return project.local.slurm


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A line that a task left.

    outcome: of a set, or None where the task says that it has ended · code: the exit code then, of a signal negative.
    """

    array: int
    index: int
    outcome: Outcome | None
    code: int = 0


@dataclass(frozen=True, slots=True)
class Life:
    """The begin, host and end of a task, in unix seconds (None: unknown)."""

    began: float
    host: str
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """The run time in seconds; 0 if unknown."""
        return max(0.0, self.ended - self.began) if self.ended is not None else 0.0


@dataclass
class Submission:
    """Sets of one repo that were submitted together.

    arrays: the ids of the sets of each array's tasks, in order of their index; a later array has the sets of an earlier
    one's tasks that were lost · jobs: Slurm's id of each array, as far as it is known · path: the pipeline's in the
    project ("" where that was not noted yet) · lives: of the tasks by (array, index), as far as they were read.
    """

    folder: Path
    repo: str
    scratch: str
    path: str = ""
    arrays: list[tuple[str, ...]] = field(default_factory=list)
    jobs: dict[int, str] = field(default_factory=dict)
    lives: dict[tuple[int, int], Life] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def create(parent: Path, repo: str, scratch: str, sets: Sequence[WorkSet], path: str = "") -> Submission:
        """Return a new folder with these sets."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        folder = parent / f"{stamp}-{uuid.uuid4().hex[:8]}"
        for name in ("sets", "told", "out"):
            (folder / name).mkdir(parents=True)
        for work in sets:
            write_file(folder / "sets", work)
        write_whole(folder / "about.json", json.dumps({"schema": 1, "repo": repo, "scratch": scratch, "path": path}))
        return Submission(folder, repo, scratch, path)

    @staticmethod
    def open(folder: Path) -> Submission:
        """Return a folder that is there. UserError if it can't be read."""
        try:
            about = parse_object((folder / "about.json").read_bytes())
            repo, scratch, path = texts([about["repo"], about["scratch"], about.get("path", "")])
            found = Submission(folder, repo, scratch, path)
            while (tasks := folder / f"{len(found.arrays)}.tasks").is_file():
                found.arrays.append(tuple(texts(parse(tasks.read_bytes()))))
            for number in range(len(found.arrays)):
                with contextlib.suppress(FileNotFoundError):
                    job = (folder / f"{number}.job").read_text().strip()
                    if _JOB.fullmatch(job):  # it becomes an argument of scancel; else Slurm's comments have it
                        found.jobs[number] = job
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                Problem(
                    "slurm.submission-unreadable",
                    str(folder),
                    f"not a submission to Slurm that can be read ({error})",
                    "remove it",
                )
            ) from None
        return found

    @property
    def due(self) -> float | None:
        """Return when the job reaches its time limit (unix seconds; None: no limit), as noted now; it may change."""
        return due_in(self.folder.parent.parent, self.path)

    def sets(self) -> list[WorkSet]:
        """Return the sets that were not settled, in the order of the first array's tasks, without unreadable ones.

        What can't be read is as good as not submitted: the plan has its datums still, and they are submitted again.
        """
        order = {name: place for place, name in enumerate(name for array in self.arrays for name in array)}
        found = []
        for name in sorted(file_ids(self.folder / "sets"), key=lambda name: order.get(name, 0)):
            with contextlib.suppress(UnknownSetError):
                found.append(self.read_set(name))
        return found

    def read_set(self, name: str) -> WorkSet:
        """Return a set that was not settled. Raises UnknownSetError."""
        return read_file(self.folder / "sets", name)

    def add_array(self, names: Sequence[str]) -> int:
        """Note the tasks of an array that is to be submitted, and return its number."""
        number = len(self.arrays)
        write_whole(self.folder / f"{number}.tasks", json.dumps(list(names)))
        self.arrays.append(tuple(names))
        return number

    def drop_array(self) -> None:
        """Forget the last array, which Slurm did not take."""
        (self.folder / f"{len(self.arrays) - 1}.tasks").unlink()
        self.arrays.pop()

    def note_job(self, number: int, job: str) -> None:
        """Note the id that Slurm gave to an array."""
        self.jobs[number] = job
        write_whole(self.folder / f"{number}.job", job)

    def comment(self, number: int) -> str:
        """Return the comment by which an array is found whose id could not be noted any more."""
        return f"minipach {self.folder.name} {number}"

    def new_lines(self) -> Iterator[TaskReport]:
        """Yield the reports of tasks since the last call."""
        try:
            entries = sorted(os.scandir(self.folder / "told"), key=lambda e: e.name)
        except OSError:
            return  # settled and removed as we look
        for entry in entries:
            at = self._read.get(entry.name, 0)
            match = _REPORT_NAME.fullmatch(entry.name)
            if match is None or not entry.is_file(follow_symlinks=False) or entry.stat().st_size <= at:
                continue
            array, index = int(match[1]), int(match[2])
            if array >= len(self.arrays) or index >= len(self.arrays[array]):
                continue
            with open(entry.path, "rb") as file:
                file.seek(at)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]  # the last line may be half written
            self._read[entry.name] = at + len(whole)
            for line in whole.splitlines():
                try:
                    report = self._parse(array, index, line)
                except (ValueError, KeyError, TypeError) as error:
                    _LOG.warning(f"{entry.path}: a line that can't be read is skipped ({error})")
                    continue
                if report is not None:
                    yield report

    def _parse(self, array: int, index: int, line: bytes) -> TaskReport | None:
        """Return the outcome in a line; None: the start of its task. Raises ValueError, KeyError, TypeError."""
        row = parse_object(line)
        if "begin" in row:
            life = checked(Life(row["begin"], row["host"]))
            if not is_moment(life.began):
                raise InvalidError("no time")
            self.lives[array, index] = life
            return None
        if "end" not in row:
            return TaskReport(array, index, Outcome.from_json(line))
        if (array, index) in self.lives and is_moment(row.get("at")):
            self.lives[array, index] = replace(self.lives[array, index], ended=row["at"])
        report = checked(TaskReport(array, index, None, row["end"]))
        if abs(report.code) > _MOST_CODE:
            raise InvalidError("no exit code")
        return report

    def runs(self, name: str) -> list[tuple[int, int]]:
        """Return the (array, index) of the tasks that have a set, the last one last."""
        return [(number, array.index(name)) for number, array in enumerate(self.arrays) if name in array]

    def done(self, work: WorkSet) -> set[int]:
        """Return the datums of a set with a final outcome in what is new since the last call (see `new_lines`)."""
        found: set[int] = set()
        for report in self.new_lines():
            if report.outcome is not None and report.outcome.set_id == work.id:
                with contextlib.suppress(InvalidError):
                    found.update(final(work, check_outcome(report.outcome, work)))
        return found

    def look_again(self) -> None:
        """Make a network file system forget what it remembers of the folder: it notices what we change ourselves."""
        mark = self.folder / "told" / f".{uuid.uuid4().hex}"
        mark.touch()
        mark.unlink()

    def notify_lost(self, array: int, index: int, outcome: Outcome) -> None:
        """Record an outcome for a task that is gone."""
        with OutcomeWriter(self.folder, array, index, "lost") as teller:
            teller.notify(outcome)

    def said(self, number: int, index: int) -> str:
        """Return the end of what Slurm's own log of a task says, if there is one."""
        lines = []
        for path in (self.folder / "out").glob(f"{number}-*_{index}.txt"):
            lines += [s for s in path.read_bytes()[-4096:].decode("utf-8", "replace").splitlines() if s.strip()]
        return "\n".join(lines[-5:])

    def settle(self, name: str) -> None:
        """Forget a set."""
        drop_file(self.folder / "sets", name)

    def remove(self) -> None:
        """Take the folder away."""
        remove_tree(self.folder)


def final(work: WorkSet, outcome: Outcome) -> tuple[int, ...]:
    """Return the indices of a set's datums of which this outcome is the last word."""
    results = outcome.results(len(work.parts))
    again = tried_again(results, work.tries) if work.chunk else {}
    return tuple(one.index for one in results if one.index not in again)


def narrowed(outcome: Outcome, count: int, keep: Collection[int]) -> Outcome:
    """Return what an outcome says of these datums alone (where a set ran twice, the others were reported before)."""
    return replace(outcome, datums=tuple(one for one in outcome.results(count) if one.index in keep))


class OutcomeWriter:
    """Writes the reports of a task to a file. Each is on disk before the task continues."""

    def __init__(self, folder: Path, array: int, index: int, run: str) -> None:
        self._file = (folder / "told" / f"{array}-{index}-{run}.jsonl").open("a")

    def __enter__(self) -> OutcomeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def begin(self) -> None:
        """Note that the task has begun, when and where."""
        self._line(json.dumps({"begin": time.time(), "host": platform.node()}))

    def notify(self, outcome: Outcome) -> None:
        """Note an outcome."""
        self._line(outcome.to_json())

    def end(self, code: int) -> None:
        """Note that the task has ended and has reported all outcomes."""
        self._line(json.dumps({"end": code, "at": time.time()}))

    def _line(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a file of ours holds; an empty one where there is none that can be read."""
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError):
        return {}


def write_json(path: Path, data: Any) -> None:
    """Write a file of ours as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(data))
