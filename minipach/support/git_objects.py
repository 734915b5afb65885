"""Ids of git's objects, without git."""

from __future__ import annotations

import hashlib

NO_OBJECT = "0" * 40  # the id of none


def blob_id(data: bytes) -> str:
    """Return the id that git gives to a blob (SHA-1 repositories, as git and DataLad make them)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
