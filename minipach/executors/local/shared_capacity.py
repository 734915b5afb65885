"""The machine's resources as the schedules of one project share them: a locked file for each set that runs.

A file counts while the process that made it holds its lock, so a schedule that is killed gives everything back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from minipach.executors.resources import Capacity, ResourceClass, Share


@dataclass(frozen=True, slots=True)
class _Used:
    """The resources that the sets of other schedules have."""

    sets: int = 0
    cpu: float = 0.0
    memory: int = 0
    gpus: frozenset[str] = frozenset()


class SharedCapacity(Capacity):
    """The capacity of a machine that schedules share. Where its folder can't be written, nothing is shared."""

    def __init__(self, capacity: Capacity, folder: Path, slots: int) -> None:
        """capacity: all that the machine has · folder: where the files are · slots: sets at once, of all schedules.

        Each schedule may run one set in any case, so none waits for another one's end.
        """
        super().__init__(capacity.gpus, capacity.cpus, capacity.memory, capacity.gpu_type)
        self._folder = folder
        self._slots = slots
        self._held: dict[int, tuple[Path, IO[str]]] = {}  # by the id of a share

    def take_if_fits(self, kind: ResourceClass) -> Share | None:
        """Take the share of a set, unless the sets of all schedules leave too little. An idle machine has enough."""
        if not self.fits(kind):
            return None
        try:
            with self._alone():
                used = self._others()
                if self._held and len(self._held) + used.sets >= self._slots:
                    return None
                free = [gpu for gpu in self._gpus if gpu not in used.gpus]
                enough = kind.cpu <= self._cpus - used.cpu + 1e-9 and kind.memory <= self._memory - used.memory
                if len(free) < kind.gpus or not enough:
                    return None
                self._gpus = free + [gpu for gpu in self._gpus if gpu in used.gpus]
                share = self.take(kind)
                self._held[id(share)] = self._write(share)
                return share
        except OSError:
            return super().take_if_fits(kind)

    def release(self, share: Share) -> None:
        """Free the capacity of a set that has ended."""
        super().release(share)
        held = self._held.pop(id(share), None)
        if held is not None:
            path, file = held
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            file.close()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _others(self) -> _Used:
        """Return what other schedules have taken; what nobody holds any more is removed."""
        own = {path for path, _ in self._held.values()}
        rows = [_read(path) for path in self._folder.glob("*.set") if path not in own and _is_held(path)]
        return _Used(
            len(rows),
            sum(_number(row.get("cpu")) for row in rows),
            int(sum(_number(row.get("memory")) for row in rows)),
            frozenset(str(gpu) for row in rows for gpu in _list(row.get("gpus"))),
        )

    def _write(self, share: Share) -> tuple[Path, IO[str]]:
        path = self._folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.set"
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"schema": 1, "gpus": list(share.gpus), "cpu": share.cpu, "memory": share.memory}, file)
        file.flush()
        return path, file


def _is_held(path: Path) -> bool:
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
