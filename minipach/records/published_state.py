"""The published state of a branch: `.minipach/state/<2 hex>`, a line per datum (name, id, folder, hidden words).

Cut into 256 files by the name's hash, so that one datum's change rewrites one small file, whatever the size.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from minipach.model.repo_layout import PUBLISHED_REF, STATE, reserved_in_pipeline
from minipach.model.run_record import parse
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted
from minipach.support.validation import parse as parse_json


class Published(NamedTuple):
    """A datum whose outputs are on the branch. words: of its name that the command did not see."""

    name: str
    id: str
    dest: str
    words: tuple[str, ...] = ()


# what was read before in this process, by blob: from one pass to the next few files change
_read: dict[str, dict[str, Published]] = {}
_MOST = 4096


def read_state(repo: Repo, commit: str | None) -> dict[str, Published]:
    """Return the published datums by name; empty before the first publish. UserError if somebody has spoilt it."""
    if commit is None or repo.objects.resolve(f"{commit}:{STATE}") is None:
        return {}
    entries = repo.ls_tree(commit, STATE + "/")
    shards = [entry.sha for entry in entries]
    fresh = [sha for sha in shards if sha not in _read]
    if len(_read) + len(fresh) > _MOST:
        _read.clear()
        fresh = shards
    for sha, data in zip(fresh, repo.objects.read_many(fresh), strict=True):
        try:
            # one call for all lines: three times as fast
            rows = parse_json(b"[" + b",".join((data or b"").splitlines()) + b"]")
            texts = ((*row[:3], *chain.from_iterable(row[3:])) for row in rows)
            if not set(map(type, chain.from_iterable(texts))) <= {str}:
                raise ValueError("no texts")
            _read[sha] = {row[0]: Published(*row[:3], *map(tuple, row[3:])) for row in rows}
        except (ValueError, TypeError, LookupError):
            raise _spoilt(repo, next(entry.path for entry in entries if entry.sha == sha)) from None
    found: dict[str, Published] = {}
    for sha in shards:
        found.update(_read[sha])
    return found


def _spoilt(repo: Repo, path: str) -> UserError:
    """Return a commit that isn't ours: a merge's conflict that was saved as it lay, most likely."""
    last = PUBLISHED_REF if repo.resolve(PUBLISHED_REF) else "<a commit before that>"
    here = quoted(repo.path)
    return UserError(
        Problem(
            "state.damaged",
            str(repo.path / path),
            "not as minipach wrote it, and committed so",
            f"git -C {here} checkout {last} -- {STATE} && datalad save -d {here}",
        )
    )


def shard_of(name: str) -> str:
    """Return the file below `.minipach/state` that holds the line of a datum."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:2]


def write_shards(state: Mapping[str, Published], touched: Iterable[str]) -> dict[str, bytes]:
    """Return the new content (empty: the file goes) of every shard that a change of these names concerns."""
    shards = {shard_of(name) for name in touched}
    rows: dict[str, list[bytes]] = {shard: [] for shard in shards}
    mine = [(name, shard) for name in state if (shard := shard_of(name)) in shards]
    for name, shard in sorted(mine):
        p = state[name]
        rows[shard].append(json.dumps([p.name, p.id, p.dest, *([p.words] if p.words else [])]).encode() + b"\n")
    return {f"{STATE}/{shard}": b"".join(lines) for shard, lines in rows.items()}


def recorded_outputs(repo: Repo, head: str, published: Published) -> list[str]:
    """Return the outputs of a published datum, as the newest run record of it on the branch has them."""
    wanted = f'"id": "{published.id}"'
    out = repo.git("log", "-z", "--format=%H%n%B", "--fixed-strings", f"--grep={wanted}", head)
    for row in os.fsdecode(out).split("\0"):
        commit, _, message = row.partition("\n")
        try:
            ours = parse(message + "\n")[1].get("minipach", {})
        except ValueError:
            continue
        for datum in ours.get("datums", []):
            if (datum["name"], datum["id"]) == (published.name, published.id):
                if "outputs" in datum:
                    return list(datum["outputs"])
                paths = repo.git("diff-tree", "-r", "-z", "--name-only", "--no-commit-id", commit)
                return [os.fsdecode(p) for p in paths.split(b"\0") if p]
    return []


def reserved_entries(repo: Repo, commit: str) -> list[TreeEntry]:
    """Return the files and gitlinks below the reserved names, less the state.

    Of the outputs only their names are read.
    """
    names = [name for name in repo.names(commit) if reserved_in_pipeline(name)]
    found = repo.ls_tree(commit, *(f":(top,literal){n}" for n in names), recursive=True) if names else []
    return [e for e in found if not e.path.startswith(STATE + "/")]


def output_paths(repo: Repo, commit: str) -> list[str]:
    """Return the paths of everything else."""
    return [path for path in repo.paths(commit) if not reserved_in_pipeline(path.split("/", 1)[0])]
