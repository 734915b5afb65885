"""The files of a folder that is no dataset yet, as they lie there; none of annexed files' content is needed."""

from __future__ import annotations

import os
from pathlib import Path

from minipach.git.annex_keys import MAX_POINTER, content_id, key_of_link, key_of_pointer
from minipach.model.snapshot import FileEntry
from minipach.support.git_objects import blob_id


def loose_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below `folder` by its path from there; links aren't followed."""
    found = {}
    for here, folders, names in os.walk(folder):
        for name in (*names, *(f for f in folders if os.path.islink(os.path.join(here, f)))):
            path = Path(here, name)
            found[os.path.relpath(path, folder)] = _entry(path)
    return found


def _entry(path: Path) -> FileEntry:
    if path.is_symlink():
        target = os.fsencode(os.readlink(path))
        key = key_of_link(target)
        sha = blob_id(target)
        return _annexed(key, sha) if key else FileEntry(f"link:{sha}", "link", False, sha, None, "")
    data = path.read_bytes()
    sha = blob_id(data)
    key = key_of_pointer(data) if len(data) <= MAX_POINTER else None
    return _annexed(key, sha) if key else FileEntry(f"git:{sha}", "git", os.access(path, os.X_OK), sha, None, "")


def _annexed(key: str, sha: str) -> FileEntry:
    return FileEntry(content_id(key), "annex", False, sha, key, "")
