"""The moves of branches that minipach itself made in this clone. A watcher does not answer them.

Losing an entry costs one pass that finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from minipach.model.local_state import LocalState
from minipach.support.git_objects import NO_OBJECT

_SIZE = 200_000  # bytes of the file, after which only the last entries are kept
_KEPT = 1000  # entries


def note_moves(common_dir: Path, lines: Iterable[str]) -> None:
    """Note those lines of `git update-ref --stdin` that move a branch. Call it before the move."""
    words = (line.split(" ") for line in lines)
    moved = [(w[3] if len(w) > 3 else NO_OBJECT, w[2]) for w in words if len(w) > 2 and _moves_branch(w)]
    if not moved:
        return
    file = LocalState.of(common_dir).own_moves
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.writelines(f"{old} {new}\n" for old, new in moved)
    if file.stat().st_size > _SIZE:
        kept = file.with_name(f"{file.name}.new")
        kept.write_text("".join(f"{line}\n" for line in file.read_text().splitlines()[-_KEPT:]))
        kept.replace(file)


def is_own_move(common_dir: Path, old: str | None, new: str) -> bool:
    """Return whether minipach moved a branch from one commit to another. old: None: the branch was not there."""
    before: dict[str, set[str]] = {}
    try:
        lines = LocalState.of(common_dir).own_moves.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    for line in lines:
        words = line.split(" ")
        if len(words) == 2:
            before.setdefault(words[1], set()).add(words[0])
    if old is None:
        return new in before
    found, ahead = {new}, [new]
    while ahead:
        fresh = before.get(ahead.pop(), set()) - found
        found |= fresh
        ahead += fresh
    return old in found


def _moves_branch(words: list[str]) -> bool:
    is_branch = words[1].startswith("refs/heads/") and words[1] != "refs/heads/git-annex"  # no watcher hears of that
    return words[0] in ("update", "create") and (words[1] == "HEAD" or is_branch)
