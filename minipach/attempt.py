"""One try of a set: `datalad containers-run` in a slot, and what the launcher and the datum script said of it."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipach import reasons
from minipach.git import entered, own_environment
from minipach.image import CONTAINER
from minipach.logs import printing_to
from minipach.marks import WORDS, Marker
from minipach.passing import Filter, passing
from minipach.secret import Redactor, secret_values
from minipach.sets import WorkSet
from minipach.shortcuts import shortcuts
from minipach.slots import Slot
from minipach.staging import StagingError
from minipach.tries import Mark

_AT_FAULT = 126  # the datum script's exit code where the datum is at fault
_KILLED = 128 + signal.SIGKILL  # as a shell says it
_LONGEST = 500  # bytes of a fault that are kept
_MOST = 1 << 16  # bytes of a fault that are looked at
_TIME = re.compile(r"(\d+)m(\d+)[.,]?(\d*)s")  # as `times` of a POSIX shell writes it


class DataladError(StagingError):
    """datalad itself failed: what it said."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was said of the datums, each by its index in the set.

    codes, files: exit code and output paths (below the datum's place), in a set of several · recovered: whose err_cmd
    succeeded · timed_out: whose time was over, which ended the try · marks: the time before the first datum and after
    each; none where that isn't known of all · faults: what the datum script found wrong with what a command left.
    """

    codes: dict[int, int] = field(default_factory=dict)
    files: dict[int, list[str]] = field(default_factory=dict)
    recovered: frozenset[int] = frozenset()
    timed_out: int | None = None
    marks: tuple[Mark, ...] = ()
    faults: dict[int, str] = field(default_factory=dict)

    def message(self, index: int, code: int) -> str:
        """Why a datum failed whose command, or what it left, came to this exit code."""
        if code == _AT_FAULT and index in self.faults:
            return self.faults[index]
        return f"the command exited with {code}" + ("; killed: out of memory?" if code == _KILLED else "")


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended.

    failure: why, if that was not the command's doing; else `exit` and `message` are the command's.
    """

    exit: int
    message: str
    failure: str
    report: Report


def attempt(work: WorkSet, slot: Slot) -> Tried:
    """Run a set's command once. Raises DataladError, and SecretError for a secret that isn't to be had."""
    secrets = secret_values(work.secrets, work.secrets_folder)
    with tempfile.TemporaryDirectory(prefix="minipach-report.") as name:
        with (
            _printing_through(_filters(work, list(secrets.values()), Path(name))),
            _environment({**secrets, "MINIPACH_REPORT": name, "MINIPACH_INTERACTIVE": ""}),
        ):
            code = _containers_run(work, slot)
        return judge(code, Path(name), len(work.parts), list(secrets.values()))


def _filters(work: WorkSet, secrets: Sequence[str], report: Path) -> list[Filter]:
    """What is between the command and the log: values of secrets never reach a file, nor do marks of a command."""
    found: list[Filter] = []
    if len(work.parts) > 1:
        marker = Marker(len(work.parts))
        (report / WORDS).write_text(" ".join(marker.words) + "\n")
        found.append(marker)
    redactor = Redactor(secrets)
    return [*found, redactor] if redactor.pieces else found


@contextmanager
def _printing_through(filters: Sequence[Filter]) -> Iterator[None]:
    """What this process and its children print goes where stdout leads, through these; directly, if there are none."""
    if not filters:
        yield
        return
    with passing(1, filters) as entry, printing_to(entry):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """This process's environment, for datalad's child, with these variables for a while."""
    with entered(own_environment(values)):
        yield


_seen_bases: dict[Path, str] = {}


def _containers_run(work: WorkSet, slot: Slot) -> int:
    """`datalad containers-run`, in this warm process; the command's exit code."""
    from datalad.distribution.dataset import Dataset
    from datalad_container.containers_run import ContainersRun  # noqa: F401

    try:
        dataset = Dataset(str(slot.path))
        if _seen_bases.get(slot.path) != work.base:
            dataset.config.reload(force=True)  # the slot's committed configuration changes with its base
            _seen_bases[slot.path] = work.base
        with shortcuts(dataset.repo, slot.path, [*work.always, work.image], slot.place):
            results = dataset.containers_run(
                work.command(),
                container_name=CONTAINER,
                # what was matched is staged already: the record gets it afterwards, datalad need not look for each file
                inputs=list(work.always),
                message=work.title(),
                on_failure="ignore",
                result_renderer="disabled",
                return_type="list",
            )
    except Exception as error:  # datalad raises many kinds, and a worker must outlive them
        raise DataladError(f"datalad containers-run: {reasons.of_error(error)}") from error
    for result in results:
        if result.get("action") == "run" and result.get("exit_code"):
            return int(result["exit_code"])
    for result in results:
        if result.get("status") in ("error", "impossible"):
            raise StagingError(f"datalad {result.get('action')} {result.get('path')}: {_text(result)}")
    return 0


def _text(result: dict[str, Any]) -> str:
    message = result.get("error_message") or result.get("message") or "failed"
    if isinstance(message, tuple):
        return str(message[0]) % message[1:]
    return str(message)


def judge(code: int, folder: Path, count: int, secrets: Sequence[str]) -> Tried:
    """Whose doing it was. The launcher leaves `exit` when the command failed, and `failure` when itself did.

    count: datums in the set · secrets: values that may not be told.
    """
    for link in [entry for entry in folder.iterdir() if entry.is_symlink()]:
        link.unlink()  # a command can write where its report is: what it points to on this machine is not its to read
    report = _read_report(folder, count, secrets)
    if code == 0:
        return Tried(0, "", "", report)
    if (folder / "failure").is_file():
        return Tried(code, "", "launcher: " + (folder / "failure").read_text(errors="replace").strip(), report)
    if not (folder / "exit").is_file():
        return Tried(code, "", f"the launcher was killed (exit {code}); out of memory?", report)
    if (folder / "timed-out").is_file():
        limit = (folder / "timed-out").read_text().split()[-1]
        return Tried(code, f"timed out: not done after {limit} s", "", report)
    return Tried(code, report.message(0, code), "", report)


def _read_report(folder: Path, count: int, secrets: Sequence[str]) -> Report:
    codes = {}
    for number, code in _rows(folder / "codes"):
        codes[int(number) - 1] = int(code)
    files = {}
    for index in range(count):
        listing = folder / str(index + 1)
        if listing.is_file():
            names = os.fsdecode(listing.read_bytes()).split("\n")
            files[index] = [name.removeprefix("./") for name in names if name]
    recovered = frozenset(int(row[0]) - 1 for row in _rows(folder / "recovered"))
    over = _rows(folder / "timed-out")
    # before the first datum began, it is that one's time
    timed_out = int(over[0][0]) - 1 if over and len(over[0]) > 1 else 0 if over else None
    return Report(
        codes, files, recovered, timed_out, read_marks(folder / "marks", count), _faults(folder, count, secrets)
    )


def _faults(folder: Path, count: int, secrets: Sequence[str]) -> dict[int, str]:
    """By index, a line each: it has names that a command chose, and so may have anything."""
    found = {}
    for index in range(count):
        fault = folder / f"why.{index + 1}"
        if fault.is_file():
            with fault.open("rb") as file:
                clean = Redactor(secrets).feed(file.read(_MOST), last=True)
            found[index] = b" ".join(clean.split())[:_LONGEST].decode(errors="replace")
    return found


def read_marks(path: Path, count: int) -> tuple[Mark, ...]:
    """Three lines for each: its number and the clock, then what `times` says (twice user and system time)."""
    rows = path.read_text(errors="replace").splitlines() if path.is_file() else []
    found: list[Mark] = []
    try:
        for place in range(0, len(rows), 3):
            number, clock = rows[place].split()
            spent = _TIME.findall(" ".join(rows[place + 1 : place + 3]))
            if int(number) != len(found) or len(spent) != 4:
                return ()
            cpu = sum(int(minutes) * 60 + float(f"{seconds}.{part or 0}") for minutes, seconds, part in spent)
            found.append(Mark(float(clock), cpu))
    except ValueError:  # a shell with other habits; or the command has written there
        return ()
    return tuple(found) if len(found) == count + 1 else ()


def _rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
