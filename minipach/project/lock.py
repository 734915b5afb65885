"""The project's lock, and the schedules that run: both die with their process, and name it.

The lock is held for steps that must be alone: publishing to the superdataset, adoption, pending work. A schedule
registers while it runs, with the pipelines that it works on. So schedules of different pipelines run side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from minipach.support.errors import Problem, UserError
from minipach.support.files import write_whole
from minipach.support.validation import conforms, parse_object, texts

_MOST_PID = 2**31
_A_LOOK = 0.3  # seconds that somebody who only looks may have the lock
_PAUSE = 0.1  # seconds between two looks
_NAMING = 1.0  # seconds in which a holder of the lock has written who it is
_FOLDER = "schedules"  # beside the lock


@contextmanager
def project_lock(
    path: Path,
    *,
    wait: bool,
    notify: Callable[[str], None],
    label: str | None = None,
    without: Collection[str] | None = None,
) -> Iterator[None]:
    """Hold the lock file. While another process has it: wait (saying once for whom), or UserError if `wait` is off.

    Args:
        path: The lock file.
        wait: Whether to wait.
        notify: Gets the line that says for whom.
        label: The words after `minipach` by which others see this process (None: its arguments).
        without: The pipelines that no schedule may work on meanwhile. None: no schedule may run at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reported = False
    began = time.monotonic()
    with path.open("a+") as file:
        while True:
            taken = _try(file.fileno()) if reported else _soon(file.fileno())
            found = _in_the_way(path, without) if taken else _read(path)
            if taken:
                if found is None:
                    break
                fcntl.flock(file.fileno(), fcntl.LOCK_UN)
            is_named = found is not None or time.monotonic() - began > _NAMING
            # what a schedule holds for a step is free again soon
            if is_named and not reported and (taken or not _is_step(path, found)):
                who = str(found or "another process")
                if not wait:
                    raise _locked(path, who)
                notify(f"waiting for {who}")
                reported = True
            time.sleep(_PAUSE if reported else 0.0)
        _write_holder(file, label)
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _locked(path: Path, who: str) -> UserError:
    return UserError(Problem("project.locked", str(path), f"held by {who}", "wait for it, or leave out --no-wait"))


def _in_the_way(path: Path, without: Collection[str] | None) -> Holder | None:
    """Return a schedule that works on one of the pipelines, or on any (None)."""
    found = (one for one in _schedules(path) if without is None or not one.held.isdisjoint(without))
    return next(found, None)


def _is_step(path: Path, who: Holder | None) -> bool:
    """Return whether it is a schedule that has the lock, for a step."""
    return who is not None and any((one.pid, one.host) == (who.pid, who.host) for one in _schedules(path))


def _write_holder(
    file: IO[str], label: str | None, targets: Collection[str] | None = None, *, follows: bool = False
) -> None:
    file.seek(0)
    file.truncate()
    data: dict[str, object] = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["minipach", *([label] if label else sys.argv[1:])])[:200],
    }
    if targets is not None:
        data |= {"targets": sorted(targets), "follows": follows}
    json.dump(data, file)
    file.flush()


class Claims(Protocol):
    """The pipelines that a schedule works on; no other schedule works on them."""

    def take(self, path: str) -> bool:
        """Take a pipeline. False: another schedule has it."""
        ...

    def obtain(self, path: str) -> str:
        """Take a pipeline; or return who has it. "": it is taken."""
        ...

    def has(self, path: str) -> bool:
        """Return whether a pipeline is taken."""
        ...

    def release(self, path: str) -> None:
        """Let others have a pipeline."""
        ...

    def are_followed(self) -> bool:
        """Return whether those who have the other pipelines stay until all sets have ended."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the project's lock, for what must be alone."""
        ...


class Alone:
    """The claims of a schedule that holds the project's lock all the time: all pipelines."""

    def take(self, path: str) -> bool:
        """Return True: no other schedule runs."""
        return True

    def obtain(self, path: str) -> str:
        """Return "": no other schedule runs."""
        return ""

    def has(self, path: str) -> bool:
        """Return True: all are taken."""
        return True

    def release(self, path: str) -> None:
        """Do nothing."""

    def are_followed(self) -> bool:
        """Return False: nobody has another pipeline."""
        return False

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that does nothing: the lock is held."""
        return contextlib.nullcontext()


class Registered:
    """The claims of a schedule beside others, in a file of its own that it keeps locked."""

    def __init__(self, lock: Path, file: Path, notify: Callable[[str], None]) -> None:
        self._lock = lock
        self._file = file
        self._notify = notify
        self._reported: set[str] = set()
        self._held: set[str] = set()
        self._others: dict[str, Holder] = {}  # who has a pipeline that was asked for

    def take(self, path: str) -> bool:
        """Take a pipeline. False: another schedule has it; that is said once."""
        other = self.obtain(path)
        line = f"{path}: waiting for {other}"
        if other and line not in self._reported:
            self._reported.add(line)
            self._notify(line)
        return not other

    def obtain(self, path: str) -> str:
        """Take a pipeline; or return who has it. "": it is taken."""
        with self.locked():
            other = next((one for one in _schedules(self._lock) if path in one.held and one.file != self._file), None)
            if other is not None:
                self._others[path] = other
                return str(other)
            self._others.pop(path, None)
            self._held.add(path)
            self._note()
        return ""

    def take_when_free(self, path: str) -> None:
        """Take a pipeline; wait while another schedule has it."""
        while not self.take(path):
            time.sleep(_PAUSE)

    def has(self, path: str) -> bool:
        """Return whether a pipeline is taken."""
        return path in self._held

    def are_followed(self) -> bool:
        """Return whether those who had the other pipelines at the last look stay until all sets have ended."""
        return bool(self._others) and all(other.follows for other in self._others.values())

    def release(self, path: str) -> None:
        """Let others have a pipeline."""
        self._held.discard(path)
        self._note()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the project's lock; no schedule is in the way of it."""
        with project_lock(self._lock, wait=True, notify=self._notify, without=()):
            yield

    def _note(self) -> None:
        write_whole(_claims_of(self._file), json.dumps({"held": sorted(self._held)}))


@contextmanager
def register(
    lock: Path,
    targets: Collection[str],
    *,
    wait: bool,
    notify: Callable[[str], None],
    label: str | None = None,
    follows: bool = True,
) -> Iterator[Registered]:
    """Register a schedule of these pipelines, beside others. follows: whether it stays until all sets have ended.

    UserError if `wait` is off, and another schedule has one of them among its own.
    """
    folder = lock.parent / _FOLDER
    file = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
    with contextlib.ExitStack() as stack:
        with project_lock(lock, wait=wait, notify=notify, label=label, without=()):
            folder.mkdir(exist_ok=True)
            _forget_ended(folder)
            other = next((one for one in _schedules(lock) if not one.targets.isdisjoint(targets)), None)
            if other is not None and not wait:
                raise _locked(lock, str(other))
            opened = stack.enter_context(file.open("a+"))
            stack.callback(file.unlink, missing_ok=True)
            stack.callback(_claims_of(file).unlink, missing_ok=True)
            fcntl.flock(opened.fileno(), fcntl.LOCK_EX)
            _write_holder(opened, label, targets, follows=follows)
        yield Registered(lock, file, notify)


def _claims_of(file: Path) -> Path:
    return file.with_suffix(".json")


def _forget_ended(folder: Path) -> None:
    """Remove what killed schedules left. The caller holds the lock."""
    running = {file.stem for file in folder.glob("*.lock") if _is_held(file)}
    for file in folder.iterdir():
        if file.name.partition(".")[0] not in running:
            file.unlink(missing_ok=True)


def _is_held(file: Path) -> bool:
    """Return whether a process keeps a file locked: the kernel knows. Any number may look at once."""
    try:
        with file.open() as opened:
            return not _try(opened.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _schedules(lock: Path) -> list[Holder]:
    """Return the schedules that run, the oldest first."""
    files = [file for file in (lock.parent / _FOLDER).glob("*.lock") if _is_held(file)]
    found = [one for one in map(_read, files) if one is not None]
    return sorted(found, key=lambda one: (one.since, one.pid))


def _soon(descriptor: int) -> bool:
    """Take the lock, unless somebody has it for longer than a look (see `holders`) takes."""
    deadline = time.monotonic() + _A_LOOK
    while not _try(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _try(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds the lock, or a schedule that runs.

    since: ISO 8601 · command: as it was typed · file: what it keeps locked · targets, held: the pipelines that a
    schedule was asked for, and those that it works on now · follows: whether it stays until all sets have ended.
    """

    pid: int
    host: str
    since: str
    command: str
    file: Path = field(default=Path(), compare=False)
    targets: frozenset[str] = field(default=frozenset(), compare=False)
    held: frozenset[str] = field(default=frozenset(), compare=False)
    follows: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({self.command}, since {self.since})"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == platform.node()


def holders(path: Path) -> list[Holder]:
    """Return the schedules that run now, the oldest first, and whoever else holds the lock."""
    found = _schedules(path)
    alone = _read(path)
    # what a killed holder left in the file does not count
    if alone is not None and all((one.pid, one.host) != (alone.pid, alone.host) for one in found) and _is_held(path):
        found.append(alone)
    return found


def holder(path: Path) -> Holder | None:
    """Return the first of those; None: there is none."""
    return next(iter(holders(path)), None)


def holder_of_any(path: Path, pipelines: Collection[str]) -> Holder | None:
    """Return who holds the lock, or a schedule that was asked for one of these pipelines; None: there is none."""
    schedules = {one.file: one for one in _schedules(path)}
    found = (one for one in holders(path) if one.file not in schedules or not one.targets.isdisjoint(pipelines))
    return next(found, None)


def has_open(pid: int, path: Path) -> bool:
    """Return whether a process of this machine has a file open (where there is no /proc: whether it exists)."""
    folder = Path(f"/proc/{pid}/fd")
    if not Path("/proc/self/fd").is_dir():
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        return any(entry.exists() and entry.samefile(path) for entry in folder.iterdir())
    except OSError:
        return False  # gone, or another user's


def _read(path: Path) -> Holder | None:
    try:
        data = parse_object(path.read_bytes())
        who = (data["pid"], data["host"], data["since"], data["command"])
        targets = frozenset(texts(data.get("targets", [])))
        follows = data.get("follows") is True
    except (ValueError, KeyError, OSError):
        return None
    if not conforms(who, tuple[int, str, str, str]) or not 0 < who[0] < _MOST_PID:
        return None
    return Holder(*who, path, targets, _claimed(path), follows)


def _claimed(file: Path) -> frozenset[str]:
    try:
        return frozenset(texts(parse_object(_claims_of(file).read_bytes())["held"]))
    except (ValueError, KeyError, OSError):
        return frozenset()
