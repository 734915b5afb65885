"""How many contents of the branches can be had here: they are in this clone, or a remote of it has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex
from minipach.project.project import Project
from minipach.storage.setup import branches, repos, usable_stores
from minipach.storage.store import stores


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """The answers of a store.

    Args:
        name: The store.
        expected: How many contents git-annex expects there, of the repos in which the store was asked.
        confirmed: How many of them the store has, by its own answer.
        not_asked: The repos in which it is not set up or not confirmed here, so that it was not asked.
        repos: The number of all repos.
    """

    name: str
    expected: int
    confirmed: int
    not_asked: tuple[str, ...]
    repos: int

    @property
    def text(self) -> str:
        """The part of the line of `minipach ci status`."""
        if len(self.not_asked) == self.repos:
            return f"{self.name} not asked"
        left_out = f" (not asked in {len(self.not_asked)} of {self.repos} repos)" if self.not_asked else ""
        return f"{self.name} confirms {self.confirmed} of {self.expected}{left_out}"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach ci status --json`."""
        counts = {"expected": self.expected, "confirmed": self.confirmed}
        return {"store": self.name, **counts, "not_asked": list(self.not_asked)}


@dataclass(frozen=True, slots=True)
class Reachable:
    """The contents of a project. missing: `(repo, key)` of those that neither this clone nor a remote has."""

    keys: int
    missing: tuple[tuple[str, str], ...]
    stores: tuple[StoreAnswer, ...] = ()

    @property
    def text(self) -> str:
        """The line of `minipach ci status`."""
        keys = "annexed key" if self.keys == 1 else "annexed keys"
        line = f"content: {self.keys - len(self.missing)} of {self.keys} {keys} reachable here"
        return "; ".join((line, *(store.text for store in self.stores)))

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach ci status --json`."""
        rows = [{"repo": repo, "key": key} for repo, key in self.missing]
        return {
            "keys": self.keys,
            "reachable": self.keys - len(self.missing),
            "missing": rows,
            "stores": [store.as_json() for store in self.stores],
        }


def read_reachable(project: Project) -> Reachable:
    """Return which contents of the installed repos can be had here.

    Each store that is confirmed in this clone is asked for what git-annex expects there. A content that is neither in
    this clone nor in such a store is asked for at the remotes that git-annex knows to have it. What only the location
    log says does not count.
    """
    number, missing = 0, []
    expected, confirmed = dict.fromkeys(stores(project), 0), dict.fromkeys(stores(project), 0)
    not_asked: dict[str, list[str]] = {name: [] for name in expected}
    every = 0
    for path, repo in repos(project):
        every += 1
        wanted = _keys(repo, "--anything")
        number += len(wanted)
        had = set(_keys(repo, "--in=here"))
        usable = usable_stores(project, repo)
        for name in expected:
            if name not in usable:
                not_asked[name].append(path)
                continue
            there = _keys(repo, f"--in={name}")
            found = _present(repo, there, name)
            expected[name] += len(there)
            confirmed[name] += len(found)
            had |= found
        asked = [key for key in wanted if key not in had]
        had |= _present(repo, asked)
        missing += [(path, key) for key in asked if key not in had]
    answers = [StoreAnswer(n, expected[n], confirmed[n], tuple(not_asked[n]), every) for n in expected]
    return Reachable(number, tuple(missing), tuple(answers))


def _present(repo: Repo, keys: Sequence[str], *remote: str) -> set[str]:
    """Return the contents that a remote has by its own answer; without one, those that any known remote has."""
    if not keys:
        return set()
    lines = "".join(f"{key}\n" for key in keys).encode()
    try:
        out = annex(repo, "checkpresentkey", "--batch", *remote, stdin=lines, ok=(0, 1, 100))
    except GitError:
        return set()
    return {key for key, answer in zip(keys, out.split(b"\n"), strict=False) if answer == b"1"}


def _keys(repo: Repo, word: str) -> list[str]:
    """Return the keys of the branches that people need, each once."""
    found: dict[str, None] = {}
    for branch in branches(repo):
        out = annex(repo, "find", "--format=${key}\\n", word, f"--branch={branch}")
        found |= dict.fromkeys(os.fsdecode(out).split())
    return list(found)
