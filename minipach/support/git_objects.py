"""Ids of git's objects, without git."""

from __future__ import annotations

import hashlib

NO_OBJECT = "0" * 40  # the id of none


def blob_id(data: bytes) -> str:
    """Return the id that git gives to a blob (SHA-1 repositories, as git and DataLad make them)."""
    return object_id("blob", data)


def object_id(kind: str, data: bytes) -> str:
    """Return the id that git gives to an object of a kind ("blob", "tree")."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()
