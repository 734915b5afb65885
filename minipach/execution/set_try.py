"""One attempt of a set: `datalad containers-run` in a slot, and the launcher's report of it.

The attempts on record, in the job database, are in `model.job_entries`.
"""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minipach.execution import datalad_errors
from minipach.execution.chosen_runtime import chosen_runtime, needs_image
from minipach.execution.datalad_settings import known_settings
from minipach.execution.datalad_shortcuts import shortcuts
from minipach.execution.secrets import Redactor, secret_values
from minipach.execution.staging import StagingError
from minipach.git.annex_outputs import StoredOutput, store_outputs
from minipach.git.child_environment import entered, own_environment
from minipach.git.datalad_imports import import_containers_run
from minipach.git.worktrees import Slot
from minipach.model.launch_protocol import ENOUGH, INTERACTIVE, REPORT, REPORT_FILE, TESTED
from minipach.model.log_marks import WORDS, Marker
from minipach.model.outside import KINDS
from minipach.model.repo_layout import CONTAINER
from minipach.model.work_set import WorkSet
from minipach.support.stream_filter import Filter, passing, printing_to

_KILLED = 128 + signal.SIGKILL  # as a shell reports it
_LONGEST = 500  # characters of a fault that are kept
_REPORT = 64 << 20  # bytes of a report that are read


class DataladError(StagingError):
    """datalad itself failed: what it said."""


@dataclass(frozen=True, slots=True)
class DatumReport:
    """The launcher's report of one datum.

    code: its exit code · fault: what was wrong beside that ("" if nothing was) · files: its outputs, each as the path
    that the command used below /pfs/out and the path in the repository · began, ended: in unix seconds · seconds, cpu:
    wall and processor time · disk: the peak of its scratch space and outputs, in bytes (None: not known) ·
    over_memory: its limit of memory was exceeded · limit: the kind of the limit for which it was ended · beside: the
    index of the datum whose output was in the way of its own.
    """

    code: int
    fault: str = ""
    recovered: bool = False
    files: tuple[tuple[str, str], ...] = ()
    began: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    cpu: float = 0.0
    disk: int | None = None
    over_memory: bool = False
    limit: str = ""
    beside: int | None = None

    @property
    def hit(self) -> str:
        """The kind of the limit for which it failed, as far as that is known."""
        return "memory" if self.is_out_of_memory else self.limit

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it was ended for its use of memory, by the launcher or, as it seems, by the kernel."""
        return self.over_memory or (self.code == _KILLED and not self.fault)

    @property
    def message(self) -> str:
        """The reason why the datum failed; "" if it did not."""
        if self.fault:
            return self.fault
        if not self.code:
            return ""
        return f"the command exited with {self.code}" + ("; killed: out of memory?" if self.code == _KILLED else "")


@dataclass(frozen=True, slots=True)
class LauncherReport:
    """The launcher's report of a try: a datum's report for each index of the set (none: it never got there)."""

    datums: Mapping[int, DatumReport] = field(default_factory=dict)

    def code(self, index: int) -> int:
        """Return the exit code of a datum; 1 for one that was never reached."""
        return self.datums[index].code if index in self.datums else 1

    def message(self, index: int, code: int) -> str:
        """Return why a datum failed, for which there is this exit code."""
        found = self.datums.get(index)
        return found.message if found and found.code else DatumReport(code).message

    @property
    def outputs(self) -> tuple[str, ...]:
        """The paths in the repository of all outputs."""
        return tuple(final for datum in self.datums.values() for _, final in datum.files)

    @property
    def recovered(self) -> frozenset[int]:
        """The datums whose err_cmd succeeded."""
        return frozenset(index for index, datum in self.datums.items() if datum.code and datum.recovered)

    def is_out_of_memory(self, index: int) -> bool:
        """Return whether a datum failed for its use of memory."""
        return index in self.datums and self.datums[index].is_out_of_memory

    @property
    def failed(self) -> tuple[tuple[int, int, str], ...]:
        """(index, exit code, message) of the datums that failed and did not recover."""
        return tuple((i, d.code, d.message) for i, d in sorted(self.datums.items()) if d.code and not d.recovered)


@dataclass(frozen=True, slots=True)
class SetTry:
    """The outcome of a try.

    failure: why, if that was not the command's doing; else `exit` and `message` are the command's · record: datalad's,
    of the run · stored: the outputs, where they are in the annex without a commit; None: datalad has committed them.
    """

    exit: int
    message: str
    failure: str
    report: LauncherReport
    record: Mapping[str, Any] = field(default_factory=dict)
    stored: tuple[StoredOutput, ...] | None = None


def try_set(work: WorkSet, slot: Slot, need_sound: Callable[[], None] = lambda: None) -> SetTry:
    """Run a set's command once.

    need_sound: called when the command has ended, before anything is made of that. What it raises is passed on.
    Raises DataladError, and SecretError for a secret that isn't to be had.
    """
    secrets = secret_values(work.secrets, work.secrets_folder)
    tested = chosen_runtime(slot.path, work.image).name
    with tempfile.TemporaryDirectory(prefix="minipach-report.") as name:
        with (
            _printing_through(_filters(work, list(secrets.values()), Path(name))),
            _environment({**secrets, REPORT: name, INTERACTIVE: "", TESTED: tested, ENOUGH: _enough(work)}),
        ):
            code, record = _containers_run(work, slot)
        tried = judge(code, Path(name), len(work.parts), list(secrets.values()), work.timeout)
    need_sound()
    if tried.failure or tried.exit != 0:
        return tried
    stored = store_outputs(slot.main, slot.path, work.base, tried.report.outputs)
    if stored is None:
        with _environment({}):
            _save(work, slot)
    return replace(tried, record=record, stored=None if stored is None else tuple(stored))


def _enough(work: WorkSet) -> str:
    return "" if work.trial is None else f"{work.trial:g}"


def _filters(work: WorkSet, secrets: Sequence[str], report: Path) -> list[Filter]:
    """Return what is between the command and the log.

    Values of secrets never reach a file, nor do marks of a command.
    """
    found: list[Filter] = []
    if len(work.parts) > 1:
        marker = Marker(len(work.parts))
        (report / WORDS).write_text(" ".join(marker.words) + "\n")
        found.append(marker)
    redactor = Redactor(secrets)
    return [*found, redactor] if redactor.pieces else found


@contextmanager
def _printing_through(filters: Sequence[Filter]) -> Iterator[None]:
    """Send what this process and its children print through these filters to stdout; directly, if there are none."""
    if not filters:
        yield
        return
    with passing(1, filters) as entry, printing_to(entry):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have datalad's child see this environment with these variables for a while."""
    with entered(own_environment(values)):
        yield


_seen_bases: dict[Path, str] = {}
_QUIETLY = {"on_failure": "ignore", "result_renderer": "disabled", "return_type": "list"}


def _containers_run(work: WorkSet, slot: Slot) -> tuple[int, Mapping[str, Any]]:
    """Run `datalad containers-run` in this warm process. Return the command's exit code and datalad's record.

    datalad saves nothing (`explicit`): it would start 40 processes for that.
    """
    import_containers_run()
    results = _in_slot(
        work,
        slot,
        lambda dataset: dataset.containers_run(
            work.command(),
            container_name=CONTAINER,
            # what was matched is staged already: the record gets it afterwards, datalad need not look for each file
            inputs=list(work.always),
            explicit=True,
            **_QUIETLY,
        ),
    )
    for result in results:
        if result.get("action") == "run" and "exit_code" in result:
            return int(result["exit_code"] or 0), result["run_info"]
    _need_success(results)
    raise DataladError("datalad containers-run: it reported nothing")


def _save(work: WorkSet, slot: Slot) -> None:
    """Run `datalad save` on all that is new in a slot."""
    _need_success(_in_slot(work, slot, lambda dataset: dataset.save(message=work.title(), recursive=True, **_QUIETLY)))


def _in_slot(work: WorkSet, slot: Slot, call: Callable[[Any], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the results of a command of datalad in a slot. Raises DataladError."""
    from datalad.distribution.dataset import Dataset

    try:
        with known_settings(slot.main, slot.path):
            dataset = Dataset(str(slot.path))
            if _seen_bases.setdefault(slot.path, work.base) != work.base:
                dataset.config.reload(force=True)  # the slot's committed configuration changes with its base
                _seen_bases[slot.path] = work.base
            inputs = [*work.always, *([work.image] if needs_image() else ())]
            with shortcuts(dataset.repo, slot.path, inputs, slot.place):
                return call(dataset)
    except Exception as error:  # datalad raises many kinds, and a worker must outlive them
        raise DataladError(f"datalad containers-run: {datalad_errors.of_error(error)}") from error


def _need_success(results: Sequence[Mapping[str, Any]]) -> None:
    for result in results:
        if result.get("status") in ("error", "impossible"):
            raise StagingError(f"datalad {result.get('action')} {result.get('path')}: {_text(result)}")


def _text(result: Mapping[str, Any]) -> str:
    message = result.get("error_message") or result.get("message") or "failed"
    if isinstance(message, tuple):
        return str(message[0]) % message[1:]
    return str(message)


def judge(code: int, folder: Path, count: int, secrets: Sequence[str], limit: float | None = None) -> SetTry:
    """Return whose doing the end of a launcher was, by its exit code and the report that it left.

    count: datums in the set · secrets: values that no message may hold · limit: seconds that a datum may take.
    """
    try:
        failure, report = read_report(folder / REPORT_FILE, count, secrets, limit)
    except FileNotFoundError:
        return SetTry(code or 1, "", f"the launcher was killed (exit {code}); out of memory?", LauncherReport())
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        return SetTry(code or 1, "", f"the launcher's report can't be read: {error}", LauncherReport())
    if failure:
        return SetTry(code or 1, "", f"launcher: {failure}", LauncherReport())
    if code == 0:
        return SetTry(0, "", "", report)
    first = next(iter(report.failed), None) or (0, code, report.message(0, code))
    return SetTry(code, report.message(first[0], code), "", report)


def read_report(
    path: Path, count: int, secrets: Sequence[str], limit: float | None = None
) -> tuple[str, LauncherReport]:
    """Return why the launcher failed ("" if it did not), and its report.

    Without a container, a command can write where the report is: every value is checked. Raises ValueError, TypeError
    or KeyError for what no launcher writes, and OSError where there is none.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = json.loads(file.read(_REPORT))
    if data["schema"] != 1:
        raise ValueError("unknown schema")
    if data.get("failure"):
        return _clean(str(data["failure"]), secrets), LauncherReport()
    rows = data["datums"]
    if not isinstance(rows, list) or len(rows) > count:
        raise ValueError("more datums than the set has")
    return "", LauncherReport({index: _datum_report(row, count, secrets, limit) for index, row in enumerate(rows)})


def _datum_report(row: Mapping[str, Any], count: int, secrets: Sequence[str], most: float | None) -> DatumReport:
    code = int(row["code"])
    if not 0 <= code <= 255:
        raise ValueError("not an exit code")
    files = []
    for seen, final in row["files"]:
        parts = str(final).split("/")
        if "" in parts or "." in parts or ".." in parts or "\0" in str(final):
            raise ValueError("not a plain path")
        files.append((str(seen), str(final)))
    began, ended, seconds, cpu = (_amount(row[name]) for name in ("began", "ended", "seconds", "cpu"))
    late = bool(row["timed_out"])
    fault = f"timed out after {math.ceil(most)} s" if late and most else _clean(str(row["fault"]), secrets)
    disk = int(_amount(row["disk"])) if "disk" in row else None  # a launcher of an earlier version reports none
    over = bool(row.get("out_of_memory"))
    limit = "time" if late else str(row.get("limit", ""))
    if limit and limit not in KINDS:
        raise ValueError("not a limit")
    beside = row.get("beside")
    if beside is not None and not (type(beside) is int and 0 <= beside < count):
        raise ValueError("not a datum of the set")
    resources = (began, ended, seconds, cpu, disk, over)
    return DatumReport(code, fault, bool(row["recovered"]), tuple(files), *resources, limit, beside)


def _amount(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found) or found < 0:
        raise ValueError("not an amount")
    return found


def _clean(text: str, secrets: Sequence[str]) -> str:
    """Return one line: it may hold names that a command chose, and so anything."""
    clean = Redactor(secrets).feed(text[: 4 * _LONGEST].encode("utf-8", "replace"), last=True)
    return " ".join(clean.decode(errors="replace").split())[:_LONGEST]
