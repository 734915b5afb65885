"""New files that a plain `datalad save` would save too early: unfinished uploads, and those that a watcher saves."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from minipach.model.local_state import LocalState
from minipach.spec.glob import GlobError, compile_glob
from minipach.support.validation import InvalidError, parse_object, texts

_MOST = 1000  # files of a new folder that are looked at

# Names that programs give to files which are not complete yet, or not meant to stay.
_PARTIAL = re.compile(
    r".*(\.part|\.partial|\.crdownload|\.download|\.opdownload|\.filepart|\.aria2|\.tmp|\.temp|\.swp|~)|~\$.*",
    re.DOTALL | re.IGNORECASE,
)
_BESIDE = (".part", ".crdownload", ".aria2", ".filepart")  # a file with such a neighbour is not complete


def is_unfinished(file: Path) -> bool:
    """Return whether the name of a file, or that of a neighbour, says that it is not complete."""
    return _PARTIAL.fullmatch(file.name) is not None or any(os.path.lexists(f"{file}{ending}") for ending in _BESIDE)


def unfinished_in(dataset: Path, changed: Sequence[str]) -> str | None:
    """Return the first of these paths of a dataset that is, or has below it, an unfinished upload; None: none is.

    Removed files are none. Each folder is listed once, since there may be many paths.
    """
    listed: dict[str, frozenset[str]] = {}
    for path in changed:
        for file in _below(dataset, path) if path.endswith("/") else (path,):
            folder, name = os.path.split(file)
            if (there := listed.get(folder)) is None:
                there = listed[folder] = _listing(dataset / folder)
            if name in there and (_PARTIAL.fullmatch(name) or not there.isdisjoint(name + end for end in _BESIDE)):
                return file
    return None


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:  # it was removed, or may not be read
        return frozenset()


def _below(dataset: Path, folder: str) -> Iterator[str]:
    seen = 0
    for place, _, names in os.walk(dataset / folder):
        for name in sorted(names):
            yield os.path.relpath(os.path.join(place, name), dataset)
            seen += 1
            if seen >= _MOST:
                return


def drop_folders(state: LocalState) -> tuple[str, ...]:
    """Return the folders whose new files a watcher saves that runs now, as paths in the project."""
    try:
        drop = parse_object(state.watch.read_bytes())["drop"]
        patterns = texts(drop["patterns"])
        with state.watching.open() as lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ()
    except BlockingIOError:  # a watcher holds the lock
        pass
    except (OSError, InvalidError, KeyError, TypeError):
        return ()
    found = []
    for pattern in patterns:
        try:
            found.append(compile_glob(pattern).prefix.strip("/"))
        except GlobError:
            continue
    return tuple(found)
