"""How many contents of the branches can be had here: they are in this clone, or a remote of it has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from minipach.git.git_error import GitError
from minipach.git.repo import annex
from minipach.project.project import Project
from minipach.storage.setup import branches, repos


@dataclass(frozen=True, slots=True)
class Reachable:
    """The contents of a project. missing: `(repo, key)` of those that neither this clone nor a remote has."""

    keys: int
    missing: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The line of `minipach ci status`."""
        keys = "annexed key" if self.keys == 1 else "annexed keys"
        return f"content: {self.keys - len(self.missing)} of {self.keys} {keys} reachable here"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach ci status --json`."""
        rows = [{"repo": repo, "key": key} for repo, key in self.missing]
        return {"keys": self.keys, "reachable": self.keys - len(self.missing), "missing": rows}


def read_reachable(project: Project) -> Reachable:
    """Return which contents of the installed repos can be had here.

    A content that is not in this clone is asked for at the remotes that git-annex knows to have it. What only the
    location log says does not count.
    """
    number, missing = 0, []
    for path, repo in repos(project):
        wanted: dict[str, None] = {}
        here: set[str] = set()
        for branch in branches(repo):
            wanted |= dict.fromkeys(_keys(repo, "--anything", f"--branch={branch}"))
            here |= set(_keys(repo, "--in=here", f"--branch={branch}"))
        number += len(wanted)
        asked = [key for key in wanted if key not in here]
        if not asked:
            continue
        try:
            out = annex(
                repo, "checkpresentkey", "--batch", stdin="".join(f"{key}\n" for key in asked).encode(), ok=(0, 1, 100)
            )
        except GitError:
            out = b""
        answers = out.split(b"\n")
        missing += [(path, key) for at, key in enumerate(asked) if at >= len(answers) or answers[at] != b"1"]
    return Reachable(number, tuple(missing))


def _keys(repo: Any, *words: str) -> list[str]:
    return os.fsdecode(annex(repo, "find", "--format=${key}\\n", *words)).split()
