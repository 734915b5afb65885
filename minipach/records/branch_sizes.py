"""The commits of a branch with their dates and sizes, read from git alone (no content is needed)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from minipach.git.annex_keys import size_of
from minipach.git.content import classify
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK, SYMLINK, TreeEntry
from minipach.model.repo_layout import is_pipeline, reserved_in_data, reserved_in_pipeline
from minipach.project.own_files_list import listed_own
from minipach.support.git_objects import NO_OBJECT

_BEGIN = b"commit "


def first_parents(repo: Repo, base: str | None, head: str) -> list[tuple[str, int]]:
    """Return the commits after `base` (None: from the root) up to `head` along first parents, with their dates."""
    span = [f"^{base}"] if base else []
    out = repo.line("log", "--first-parent", "--reverse", "--format=%H %ct", head, *span, "--")
    return [(sha, int(when)) for sha, _, when in (row.partition(" ") for row in out.splitlines())]


def size_at(repo: Repo, commit: str) -> int:
    """Return the bytes of all files in a commit, by their annex keys and git objects."""
    counts = _counting(repo, commit)
    entries = [entry for entry in repo.ls_tree(commit, recursive=True) if counts(entry.mode, entry.path)]
    sizes = _sizes(repo, entries)
    return sum(sizes[entry.sha, entry.mode == SYMLINK] for entry in entries)


def sizes_since(repo: Repo, base: str | None, tip: str, base_size: int) -> dict[str, int]:
    """Return the size in each of these commits: what each of them changes is read, and no whole tree."""
    span = [f"^{base}"] if base else []
    command = ("log", "--first-parent", "-m", "--reverse", "--raw", "-r", "--root", "--no-renames", "--no-abbrev", "-z")
    out = repo.git(*command, "--format=commit %H", tip, *span, "--")
    counts = _counting(repo, tip)
    changes: dict[str, list[tuple[TreeEntry | None, TreeEntry | None]]] = {}
    rows = changes.setdefault("", [])
    fields = iter(out.split(b"\0"))
    for field in fields:
        head = field.strip(b"\n")
        if head.startswith(_BEGIN):
            rows = changes.setdefault(head[len(_BEGIN) :].decode(), [])
        elif head.startswith(b":"):
            old_mode, new_mode, old, new, _ = head.decode().lstrip(":").split()
            path = os.fsdecode(next(fields))
            sides = [TreeEntry(old_mode, old, path), TreeEntry(new_mode, new, path)]
            before, after = (side if side.sha != NO_OBJECT and counts(side.mode, path) else None for side in sides)
            rows.append((before, after))
    entries = [entry for found in changes.values() for pair in found for entry in pair if entry]
    sizes = _sizes(repo, entries)
    found_sizes: dict[str, int] = {}
    size = base_size
    for commit, pairs in changes.items():
        for before, after in pairs:
            size -= sizes[before.sha, before.mode == SYMLINK] if before else 0
            size += sizes[after.sha, after.mode == SYMLINK] if after else 0
        found_sizes[commit] = size
    return found_sizes


def _counting(repo: Repo, commit: str) -> Callable[[str, str], bool]:
    """Return whether a file (mode, path) is data, and no housekeeping, in a repo that looks as this commit."""
    pipeline = is_pipeline(repo.names(commit))
    reserved = reserved_in_pipeline if pipeline else reserved_in_data
    own = (listed_own(repo, commit) if pipeline else None) or frozenset()
    return lambda mode, path: mode != GITLINK and not reserved(path.split("/", 1)[0]) and path not in own


def _sizes(repo: Repo, entries: Iterable[TreeEntry]) -> dict[tuple[str, bool], int]:
    """Return the size of each blob's content, by (blob id, is it a symlink)."""
    contents = classify(repo, entries)
    names = sorted({sha for sha, _ in contents})
    request = "".join(f"{name}\n" for name in names).encode()
    out = repo.git("cat-file", "--batch-check=%(objectsize)", stdin=request).split(b"\n") if names else []
    plain = {name: int(size) if size.isdigit() else 0 for name, size in zip(names, out, strict=False)}
    return {(sha, link): (size_of(key) or 0) if key else plain[sha] for (sha, link), (_, _, key) in contents.items()}
