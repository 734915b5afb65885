"""Resources of a set: peak memory of its command's processes, bytes of its inputs and outputs."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from minipach.model import run_record
from minipach.model.launch_protocol import NOW, SCRATCH
from minipach.model.repo_layout import FOLDER, LAUNCHER
from minipach.model.work_set import WorkSet, upwards

_FIRST, _LAST = 0.02, 0.2  # seconds between two samples: short commands are looked at more often
_LAUNCHER = LAUNCHER.encode()
_SCRATCH = SCRATCH.rstrip("*")
_ENGINES = frozenset({"podman", "docker", "conmon", "bwrap", "unshare"})  # programs that are not the command's


class Meter:
    """Measures one set, as long as it is open.

    memory: bytes of resident memory (RSS) of all processes of the command, together, at the highest of samples taken
    every 0.2 s; shared pages for each process that
    has them. None where there is no Linux /proc, the command was too short to be seen, or its container's processes
    aren't visible (docker).
    """

    def __init__(self, work: WorkSet, slot: Path) -> None:
        self.memory: int | None = None
        self._peak: int | None = None  # of this try
        self._peaks: dict[int, int] = {}  # of its datums, by their index
        self._work = work
        self._slot = slot
        self._in: list[int] = []
        self._out: dict[int, int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def moved(self) -> tuple[tuple[int, int | None], ...]:
        """Return for each datum the bytes of its inputs and of its outputs (None: it keeps none)."""
        return tuple((size, self._out.get(index)) for index, size in enumerate(self._in))

    def begin_try(self) -> None:
        """Count what is measured from now on for another try."""
        self._peak, self._peaks = None, {}

    def peak(self, index: int) -> int | None:
        """Return the peak of this try while the datum ran; if no sample was taken then, that of the whole try."""
        return self._peaks.get(index, self._peak)

    def count_inputs(self) -> None:
        """Note the sizes of what each datum gets; a file that several datums get counts for each."""
        owners: dict[str, set[int]] = {}
        for index, part in enumerate(self._work.parts):
            for path in run_record.matched(part):
                owners.setdefault(path, set()).add(index)
        self._in = [0] * len(self._work.parts)
        for file in self._work.files:
            size = _size(self._slot / file.dest)
            for index in set().union(*(owners.get(path, ()) for path in upwards(file.dest))):
                self._in[index] += size

    def count_outputs(self, paths: Mapping[int, Sequence[str]], known: Mapping[str, int]) -> None:
        """Note the sizes of what each datum wrote, by its index. known: sizes of files that left the slot."""
        for index, names in paths.items():
            self._out[index] = sum(known[name] if name in known else _size(self._slot / name) for name in names)

    def _watch(self) -> None:
        pause = _FIRST
        while not self._done.wait(pause):
            notes = _launcher_notes(self._slot)
            if not notes:  # what a set begins and ends with is not looked at: that would cost more than a short command
                pause = _FIRST
                continue
            before = _datum_at_work(notes)
            now = memory_below(os.getpid())
            pause = min(pause * 1.3, _LAST)
            if now:  # 0: all that was seen had ended just then
                self.memory = max(now, self.memory or 0)
                self._peak = max(now, self._peak or 0)
                for index in {before, _datum_at_work(notes)}:  # it may be either's
                    if index is not None:
                        self._peaks[index] = max(now, self._peaks.get(index, 0))


def _launcher_notes(slot: Path) -> list[str]:
    """Return the files in which launchers note the datum that they are at; none while no launcher runs in the slot."""
    folder = os.path.join(slot, FOLDER)
    with contextlib.suppress(OSError):
        return [os.path.join(folder, name, NOW) for name in os.listdir(folder) if name.startswith(_SCRATCH)]
    return []


def _datum_at_work(notes: Sequence[str]) -> int | None:
    """Return the index of the datum that a set is at, as the launcher notes it; None: not known."""
    for path in notes:
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            return int(file.read(20)) - 1
    return None


def _size(path: Path) -> int:
    """Return bytes of a file, or of what an annexed file's link leads to; 0 for what is gone or leads nowhere."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def memory_below(pid: int) -> int | None:
    """Return the resident bytes of the command that a launcher below `pid` runs in `slot`; None: there is none to see.

    The launcher makes its command a session of its own: so what datalad and git do beside it does not count.
    """
    total = None
    for launcher in launchers_below(pid):
        own = _stat(launcher)
        found = [_stat(child) for child in _descendants(launcher)]
        running = [stat for stat in found if stat and own and stat[1] != own[1] and stat[0] not in _ENGINES]
        if running:
            total = (total or 0) + sum(stat[2] for stat in running)
    return total


def launchers_below(pid: int) -> list[int]:
    """Return the launchers below a process; not those that run inside another's command."""
    found: list[int] = []
    todo = _children(pid)
    while todo:
        child = todo.pop()
        with contextlib.suppress(OSError):
            with open(f"/proc/{child}/cmdline", "rb") as file:
                words = file.read(4096).split(b"\0")[:8]
            if _LAUNCHER in words:
                found.append(child)
                continue
        todo += _children(child)
    return found


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    todo = _children(pid)
    while todo:
        child = todo.pop()
        found.append(child)
        todo += _children(child)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # ended meanwhile; or no Linux, or a kernel that doesn't list children
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    return found


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Return the name, session and resident bytes of a process (proc(5), /proc/PID/stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return name, int(fields[3]), int(fields[21]) * resource.getpagesize()
