"""Listeners for buckets whose store can't reach us: they hold a connection to it, and hear its events there.

MinIO and stores that follow it have this. Elsewhere the store sends events to `/hooks/s3`, or the periodic look finds
what has changed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from minipach.git.repo import GitError, Repo
from minipach.project.project import Project
from minipach.storage.s3 import EVENTS, client, describe, reason
from minipach.support.errors import UserError
from minipach.support.text import printable
from minipach.triggers.bucket_inputs import BucketInput, bucket_inputs, key_of
from minipach.triggers.heard_lines import hear

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

    def run(self) -> None:
        """Listen, and connect again after a failure. Each new connection asks for a look: events were missed."""
        pause = _LEAST
        while not self._end.is_set():
            try:
                for what in self._events():
                    hear(self._project.local, f"bucket {self._one.path}: {what}")
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
        store = client(place, key_of(Repo(self._project.root / self._one.path)))
        with store.listen_bucket_notification(place.name, prefix=place.prefix, events=EVENTS) as events:
            yield "listens"
            for event in events:
                yield describe(event)

    def stop(self) -> None:
        """Connect no more."""
        self._end.set()


def listeners(project: Project, wake: Callable[[], None]) -> list[Listener]:
    """Return the listeners of the project; none of them has started."""
    return [Listener(project, one, wake) for one in bucket_inputs(project) if one.listen]
