"""Run one published datum again in a slot, save nothing, and compare what it wrote with what is published."""

from __future__ import annotations

import contextlib
import filecmp
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minipach.execution.chosen_runtime import chosen_runtime
from minipach.execution.datum_layout import command_line, lay_out
from minipach.execution.secrets import SecretError, redacting, secret_values
from minipach.execution.set_try import LauncherReport, SetTry, judge
from minipach.execution.staging import StagingError, locate
from minipach.git.annex_checksums import content_of
from minipach.git.annex_keys import content_id, names_content
from minipach.git.child_environment import child_environment
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, SYMLINK
from minipach.git.worktrees import Slot, clear_scratch, kill_inside
from minipach.model.launch_protocol import INTERACTIVE, REPORT, TESTED, TRIAL_GRACE
from minipach.model.work_set import WorkSet
from minipach.support.git_objects import blob_id

Outcome = Literal["reproducible", "different", "failed"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A published file. mode: git's, octal · key: its annex key, if it is annexed · blob: git's object id."""

    mode: str
    key: str | None
    blob: str


@dataclass(frozen=True, slots=True)
class RepeatedRun:
    """A datum to run again. id: its datum id · expected: what is published for it, by path in the repo."""

    pipeline: str
    name: str
    id: str
    work: WorkSet
    expected: Mapping[str, PublishedFile]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of an audit on one datum.

    differ, missing, extra: paths with other content, not written this time, written for the first time ·
    message: why it failed · seconds: wall time of the command.
    """

    pipeline: str
    name: str
    id: str
    outcome: Outcome
    differ: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    message: str = ""
    log: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach audit --json`."""
        return {
            "pipeline": self.pipeline,
            "name": self.name,
            "id": self.id,
            "outcome": self.outcome,
            "differ": list(self.differ),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "message": self.message,
            "log": self.log,
            "seconds": round(self.seconds, 3),
        }


class Processes:
    """The commands that run now, so that all can be ended from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], Path] = {}
        self.cancelled = False

    def run(
        self,
        command: list[str],
        folder: Path,
        log: Path | None,
        secrets: Mapping[str, str],
        more: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command to its end, output appended to the log. Return its exit code, or minus the signal.

        log: None sends the output to stderr · secrets: variables besides those of this process, whose values are shown
        nowhere · more: other variables, which are for the launcher.
        """
        with _appending(log, list(secrets.values())) as output:
            with self._lock:
                if self.cancelled:
                    return -signal.SIGTERM
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=child_environment({INTERACTIVE: "", **(more or {}), **secrets}),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, which can be ended as a whole
                )
                self._running[process] = folder
            try:
                return process.wait()
            finally:
                with self._lock:
                    del self._running[process]

    def cancel(self) -> None:
        """Ask all to end, end those that don't, and start no more."""
        with self._lock:
            self.cancelled = True
            running = dict(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + TRIAL_GRACE
        while time.monotonic() < deadline and self._running:
            time.sleep(0.02)
        for process, folder in running.items():
            if process in self._running:
                _signal(process, signal.SIGKILL)
            kill_inside(folder)


@contextlib.contextmanager
def _appending(log: Path | None, values: Sequence[str]) -> Iterator[int]:
    with (
        log.open("ab") if log else contextlib.nullcontext() as file,
        redacting(file.fileno() if file else 2, values) as to,
    ):
        yield to


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def reexecute(trial: RepeatedRun, slot: Slot, processes: Processes, *, get: bool = False) -> Verdict:
    """Run a datum in a slot and compare. Every failure comes back as a verdict; no ref and no annex is written.

    get: contents that aren't here are fetched first, into the annex of their repo.
    """
    work, log = trial.work, Path(trial.work.log)
    who = (trial.pipeline, trial.name, trial.id)
    seconds = 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    try:
        lay_out(work, slot, get=get, fresh=True)
        secrets = secret_values(work.secrets, work.secrets_folder)
        tried = SetTry(1, "it was cancelled", "", LauncherReport())
        for _ in range(work.tries):
            clear_scratch(slot.path)
            started = time.monotonic()
            tried = run_reported(work, slot, processes, log, secrets)
            seconds = time.monotonic() - started
            if tried.exit == 0 or processes.cancelled:
                break
        if tried.exit != 0:
            why = tried.failure or tried.message
            return Verdict(*who, "failed", message=why, log=work.log, seconds=seconds)
        differ, missing, extra = _compare(trial.expected, slot, tried.report.outputs)
    except (StagingError, SecretError, GitError, OSError) as error:
        return Verdict(*who, "failed", message=str(error), log=work.log, seconds=seconds)
    outcome: Outcome = "different" if differ or missing or extra else "reproducible"
    return Verdict(*who, outcome, differ, missing, extra, log=work.log, seconds=seconds)


def run_reported(
    work: WorkSet, slot: Slot, processes: Processes, log: Path | None, secrets: Mapping[str, str]
) -> SetTry:
    """Run a set's command without DataLad. log: as `Processes.run` has it · secrets: values by variable."""
    tested = chosen_runtime(slot.path, work.image).name
    with tempfile.TemporaryDirectory(prefix="minipach-report.") as report:
        code = processes.run(command_line(work), slot.path, log, secrets, {REPORT: report, TESTED: tested})
        return judge(code, Path(report), len(work.parts), list(secrets.values()), work.timeout)


def _compare(
    expected: Mapping[str, PublishedFile], slot: Slot, outputs: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the paths that (differ, are missing, are extra). outputs: what the datum wrote."""
    written = set(outputs)
    differ = [p for p in sorted(written & expected.keys()) if not _equal(slot.path / p, expected[p], slot.main)]
    return tuple(differ), tuple(sorted(expected.keys() - written)), tuple(sorted(written - expected.keys()))


def _equal(file: Path, kept: PublishedFile, repo: Repo) -> bool:
    """Return whether a file has the published content; the executable bit counts where git keeps it."""
    if file.is_symlink():
        return kept.mode == SYMLINK and kept.key is None and blob_id(os.fsencode(os.readlink(file))) == kept.blob
    if kept.mode != SYMLINK and os.access(file, os.X_OK) != (kept.mode == EXECUTABLE):
        return False
    if kept.key is None:
        return kept.mode != SYMLINK and blob_id(file.read_bytes()) == kept.blob
    if not names_content(kept.key):  # WORM, URL: there is nothing but the bytes to compare
        return filecmp.cmp(locate(repo, {kept.key}, get=False, fresh=True)[kept.key], file, shallow=False)
    content = content_id(kept.key)
    return content_of(file, content.partition("--")[0], repo) == content
