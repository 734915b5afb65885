"""Changes of folders as inotify reports them, through watchdog. Where there is no inotify, all folders are polled."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import platform
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import InotifyFD

LIMITS = Path("/proc/sys/fs/inotify")

Heard = Callable[[bytes], None]  # gets the name in the folder; b"": the folder itself has gone or moved


class Unavailable(Exception):
    """A folder can't be watched. why: the reason, in a few words · full: a limit of the system is reached."""

    def __init__(self, why: str, *, full: bool = False) -> None:
        self.why, self.full = why, full
        super().__init__(why)


@dataclass
class _Callback:
    """One watched folder. watchdog calls it in a thread of its own."""

    heard: Heard
    overflow: Callable[[], None]
    names: Collection[bytes] | None
    gone: bool = field(default=False)

    def on_event(self, event: Any) -> None:
        """Pass an event on."""
        if event.is_delete_self or event.is_move_self:
            self.heard(b"")
        elif self.names is None or event.name in self.names:
            self.heard(event.name)

    def on_watch_deleted(self, _wd: int) -> None:
        """Report that the folder is gone, or its file system."""
        if not self.gone:
            self.heard(b"")

    def on_queue_overflow(self) -> None:
        """Report that events were lost."""
        self.overflow()


class Folders:
    """The watched folders: one inotify instance and one thread, whatever their number."""

    def __init__(self, overflow: Callable[[], None]) -> None:
        """overflow: called in another thread when events were lost."""
        self._overflow = overflow
        self._fd: InotifyFD | None = None
        self._ids = itertools.count()

    def add(
        self, folder: Path, heard: Heard, *, names: Iterable[bytes] | None = None, itself: bool = False
    ) -> FolderWatch:
        """Watch a folder. `heard` is called in another thread.

        Args:
            folder: The folder; nothing below its own entries is watched.
            heard: Receives the name of the entry that changed.
            names: Only these entries are of interest; None: all.
            itself: Report only that the folder is removed or moved.

        Raises:
            Unavailable: It can't be watched.
        """
        if platform.system() != "Linux":
            raise Unavailable("this system has no inotify")
        from watchdog.observers.inotify_c import InotifyConstants as Flags
        from watchdog.observers.inotify_c import InotifyFD

        mask = Flags.IN_DELETE_SELF | Flags.IN_MOVE_SELF | Flags.IN_ONLYDIR
        if not itself:
            mask |= Flags.IN_CREATE | Flags.IN_DELETE | Flags.IN_MOVED_TO | Flags.IN_MOVED_FROM | Flags.IN_CLOSE_WRITE
        callback = _Callback(heard, self._overflow, None if names is None else frozenset(names))
        number = next(self._ids)
        try:
            if self._fd is None:
                self._fd = InotifyFD()
                self._fd.daemon = True
                self._fd.start()
            wd = self._fd.add_callback(os.fsencode(folder), mask, callback, number)  # type: ignore[arg-type]
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EMFILE)
            raise Unavailable(error.strerror or str(error), full=full) from None
        if wd < 0:
            raise Unavailable("permission denied")
        return FolderWatch(self._fd, wd, number, callback)

    @property
    def broken(self) -> bool:
        """Whether the thread that reads events has ended by an error: nothing more is heard."""
        return self._fd is not None and not self._fd.is_alive()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._fd is not None:
            self._fd.stop()
            self._fd.join()
            self._fd = None


@dataclass(frozen=True)
class FolderWatch:
    """One watched folder, to be ended."""

    _fd: InotifyFD
    _wd: int
    _number: int
    _callback: _Callback

    def end(self) -> None:
        """Stop watching it."""
        self._callback.gone = True
        with contextlib.suppress(OSError):
            self._fd.remove_callbacks([(self._wd, self._number)])  # type: ignore[list-item]


def limit_problem(why: str) -> tuple[str, str]:
    """Return what to say where a limit of inotify is reached, and the fix."""
    name = "max_user_instances" if "instance" in why else "max_user_watches"
    try:
        now = int((LIMITS / name).read_text())
    except (OSError, ValueError):
        now = 8192
    return f"{why} ({now})", f"sudo sysctl fs.inotify.{name}={now * 4}"
