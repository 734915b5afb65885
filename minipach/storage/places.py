"""The places of contents that a worker has sent to a store: asked of the store itself, and noted for git-annex."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from minipach.git.annex_layout import is_plain
from minipach.git.git_error import GitError
from minipach.git.location_log import note_present, places_on_branch
from minipach.git.repo import Repo, annex, has_annex
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_ABSENT = 1  # exit code of checkpresentkey; 100: the remote doesn't know


def has_stores(repo: Repo) -> bool:
    """Return whether there are remotes which may have contents that this clone does not know of."""
    return has_annex(repo) and bool(_special_remotes(repo))


def note_places(repo: Repo, keys: Collection[str]) -> set[str]:
    """Note which stores have contents of which this clone knows no place. Return those that no store has.

    Contents that are here, or known to be somewhere, are not asked for.

    Raises:
        UserError: A store that may have one of them does not answer.
    """
    if not keys or not has_annex(repo) or not (remotes := _special_remotes(repo)):
        return set()
    left = _not_here(repo, sorted(keys))
    noted = places_on_branch(repo, left)
    left = [key for key in left if not noted.get(key)]
    # those of which the branch knows no place are asked for at once; git-annex may know of one nevertheless
    left = _without_place(repo, left, [key for key in left if key not in noted])
    for name, identity in remotes.items():
        if not left:
            return set()
        answers = annex(repo, "checkpresentkey", "--batch", name, stdin=_lines(left), ok=(0, 1)).split(b"\n")
        found = [key for key, answer in zip(left, answers, strict=False) if answer == b"1"]
        if found:
            _note(repo, found, identity)
        left = [key for key in left if key not in set(found)]
    left = _without_place(repo, left, left)
    for key in left:  # a batch does not separate what is absent from what can't be asked
        for name in remotes:
            if not _is_absent(repo, name, key):
                problem = f"{many(len(left), 'content')} of results may be in {name}, which does not answer"
                fix = "minipach store check, then minipach schedule; the results wait"
                raise UserError(Problem("store.no-answer", str(repo.path), problem, fix))
    return set(left)


def _special_remotes(repo: Repo) -> dict[str, str]:
    """Return the remotes without a git repository, with their ids."""
    found: dict[str, str] = {}
    with_git = set()
    for key, value in repo.settings().items():
        if not key.startswith("remote."):
            continue
        name, _, field = key.removeprefix("remote.").rpartition(".")
        if field == "url":
            with_git.add(name)
        elif name and field == "annex-uuid":
            found[name] = value
    return {name: identity for name, identity in found.items() if name not in with_git}


def _not_here(repo: Repo, keys: Sequence[str]) -> list[str]:
    """Return the contents that are not in this clone."""
    here = annex(repo, "contentlocation", "--batch", stdin=_lines(keys), ok=(0, 1)).split(b"\n")
    return [key for key, path in zip(keys, here, strict=False) if not path]


def _without_place(repo: Repo, keys: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return the keys without those of which git-annex knows a place. asked: those that it is asked for."""
    if not asked:
        return list(keys)
    rows = annex(repo, "whereis", "--json", "--batch-keys", stdin=_lines(asked), ok=(0, 1)).splitlines()
    known = {row["key"] for row in map(json.loads, rows) if row.get("whereis")}
    return [key for key in keys if key not in known]


def _note(repo: Repo, keys: Sequence[str], identity: str) -> None:
    """Note that a store has contents."""
    plain = [key for key in keys if is_plain(key)]
    if plain:
        note_present(repo, plain, identity)
    if others := [f"{key} {identity} 1" for key in keys if not is_plain(key)]:
        annex(repo, "setpresentkey", "--batch", "--quiet", stdin=_lines(others))


def _is_absent(repo: Repo, remote: str, key: str) -> bool:
    try:
        annex(repo, "checkpresentkey", key, remote)
    except GitError as error:
        return error.code == _ABSENT
    return False


def _lines(rows: Sequence[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()
