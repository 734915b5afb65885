"""Ids of git's trees, computed without a process: what is stored already need not be written again.

Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from minipach.git.tree_entries import TREE, TreeEntry
from minipach.support.git_objects import object_id


def tree_id(entries: Iterable[TreeEntry]) -> str:
    """Return the id of the tree that holds exactly these entries (full paths, no trees among them)."""
    return _tree([(os.fsencode(entry.path), entry.mode, entry.sha) for entry in entries])


def _tree(entries: list[tuple[bytes, str, str]]) -> str:
    here: list[tuple[bytes, str, str]] = []
    below: dict[bytes, list[tuple[bytes, str, str]]] = {}
    for path, mode, sha in entries:
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, []).append((rest, mode, sha))
        else:
            here.append((name, mode, sha))
    here += [(name, TREE, _tree(inside)) for name, inside in below.items()]
    here.sort(key=lambda entry: entry[0] + b"/" if entry[1] == TREE else entry[0])
    data = b"".join(mode.lstrip("0").encode() + b" " + name + b"\0" + bytes.fromhex(sha) for name, mode, sha in here)
    return object_id("tree", data)
