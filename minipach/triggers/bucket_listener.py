"""Listeners for buckets whose store can't reach us: they hold a connection to it, and hear its events there.

MinIO and stores that follow it have this, and the private server of `minipach up --store`. Elsewhere the store sends
events to `/hooks/s3`, or the periodic look finds what has changed.
"""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Iterator

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.storage.private_store import events, is_private
from minipach.storage.s3 import EVENTS, client, describe, reason
from minipach.support.errors import UserError
from minipach.support.text import printable
from minipach.triggers.bucket_inputs import BucketInput, bucket_inputs, key_of
from minipach.triggers.heard_lines import write_request

_LEAST, _MOST = 1.0, 300.0  # seconds between two connections

log = logging.getLogger("minipach.serve")


class Listener(threading.Thread):
    """A thread that listens to one bucket until the process ends. wake: called after each line."""

    def __init__(self, project: Project, one: BucketInput, wake: Callable[[], None]) -> None:
        super().__init__(name=f"bucket {one.path}", daemon=True)
        self._project = project
        self._one = one
        self._wake = wake
        self._end = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def one(self) -> BucketInput:
        """The input whose bucket it listens to."""
        return self._one

    def run(self) -> None:
        """Listen, and connect again after a failure. Each new connection asks for a look: events were missed."""
        pause = _LEAST
        while not self._end.is_set():
            try:
                for what in self._events():
                    write_request(self._project.local, f"bucket {self._one.path}: {what}")
                    self._wake()
                    pause = _LEAST
            except (UserError, GitError, OSError) as error:
                log.warning("bucket %s: %s", self._one.path, printable(str(error)))
            except Exception as error:  # minio and urllib3 raise more than they say
                place = self._one.place
                where = f"{place.host}:{place.port}"
                log.warning("bucket %s: no connection to %s: %s", self._one.path, where, printable(reason(error)))
            self._end.wait(pause)
            pause = min(2 * pause, _MOST)

    def _events(self) -> Iterator[str]:
        """Yield what changed; first that the listener has connected."""
        place = self._one.place
        if is_private(self._project.local, place):
            yield from events(self._project.local, place, self._began)
            return
        store = client(place, key_of(Repo(self._project.root / self._one.path), place))
        with store.listen_bucket_notification(place.name, prefix=place.prefix, events=EVENTS) as found:
            yield "listens"
            for event in found:
                yield describe(event)

    def _began(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._end.is_set():
            process.kill()

    def stop(self) -> None:
        """Connect no more."""
        self._end.set()
        if self._process is not None:
            self._process.kill()


class Listeners:
    """The listeners of a project's inputs, as they are added and removed. wake: called after each line."""

    def __init__(self, project: Project, wake: Callable[[], None]) -> None:
        self._project = project
        self._wake = wake
        self._threads: list[Listener] = []
        self._read: int | None = None  # when the settings of this clone were written that were read last

    def follow(self) -> None:
        """Start listeners of new inputs, and stop those of inputs that are gone."""
        written = (self._project.repo.common_dir / "config").stat().st_mtime_ns
        if written == self._read:
            return
        self._read = written
        wanted = listened(self._project)
        for thread in self._threads:
            if thread.one not in wanted:
                thread.stop()
        self._threads = [thread for thread in self._threads if thread.one in wanted]
        known = [thread.one for thread in self._threads]
        for one in wanted:
            if one not in known:
                self._threads.append(Listener(self._project, one, self._wake))
                self._threads[-1].start()

    def stop(self) -> None:
        """Stop all."""
        for thread in self._threads:
            thread.stop()


def listened(project: Project) -> list[BucketInput]:
    """Return the inputs whose buckets are listened to: those that ask for it, and those of the private server."""
    return [one for one in bucket_inputs(project) if one.listen or is_private(project.local, one.place)]
