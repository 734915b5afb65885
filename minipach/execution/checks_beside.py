"""The checksums of large inputs, computed while the command runs on them.

A content that was never verified on this machine has to be read once for its checksum. Beside the command that needs no
time of its own on an idle processor. Nothing is made of what the command wrote before `need_sound` has returned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence

from minipach.execution.resource_usage import launchers_below
from minipach.execution.staging import StagingError, Unverified
from minipach.git.annex_checksums import damaged, is_same
from minipach.git.repo import Repo

_AGAIN = 0.2  # seconds until a launcher is looked for again: it may be about to start


class DamagedInputError(StagingError):
    """A content that the command has read is not what its key names."""


class ChecksBeside:
    """Contents that a thread verifies. It ends the launcher below this process as soon as one is damaged."""

    def __init__(self, waiting: Sequence[Unverified]) -> None:
        """Begin."""
        self._waiting = waiting
        self._bad: list[str] = []
        self._error: BaseException | None = None
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def need_sound(self) -> None:
        """Wait for the checksums.

        Raises:
            DamagedInputError: A content is damaged, or is no longer the file that was staged.
            OSError: A content can't be read.
        """
        self._asked.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._bad:
            raise DamagedInputError(f"content of {self._bad[0]} is damaged; what the command made of it is dropped")

    def close(self) -> None:
        """Leave launchers alone from now on: what ran on these contents is over."""
        self._asked.set()

    def _run(self) -> None:
        try:
            for one in self._waiting:
                bad = damaged(Repo(one.repo), one.files)
                other = [key for key, file in one.files.items() if not is_same(file, one.stamps[key])]
                self._bad += [one.names[key] for key in (*bad, *other)]
                if self._bad:
                    break
        except BaseException as error:
            self._error = error
        while (self._bad or self._error) and not self._asked.wait(_AGAIN):
            for launcher in launchers_below(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(launcher, signal.SIGTERM)
