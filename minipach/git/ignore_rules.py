"""Ignore rules of a superdataset, kept when a folder becomes a dataset: an ignored file may be a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from minipach.git.repo import Repo, private_index


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """The reason why a path is ignored: the file (as git names it), the line's number there, the pattern."""

    source: str
    line: str
    pattern: str

    def inside(self, folder: str) -> str | None:
        """Return the pattern as it reads inside a folder (from the top), if it can be said there."""
        if "/" not in self.pattern.rstrip("/") or self.pattern.startswith("**/"):
            return self.pattern
        above = os.path.dirname(self.source) if os.path.basename(self.source) == ".gitignore" else ""
        prefix = os.path.relpath(folder, above or ".") + "/"
        rest = self.pattern.removeprefix("/").removeprefix(prefix)
        return "/" + rest if rest and rest != self.pattern.removeprefix("/") else None


def rules(top: Repo, paths: Iterable[str]) -> dict[str, IgnoreRule]:
    """Return those of the given paths that a repository ignores; whether it tracks them all the same doesn't matter.

    Also for paths in a folder that is a repository of its own by now: git then looks at no index.
    """
    request = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not request:
        return {}
    with private_index(top.common_dir / "minipach-index") as env:
        command = ("check-ignore", "--no-index", "--verbose", "-z", "--stdin")
        fields = os.fsdecode(top.git(*command, stdin=request, env=env, ok=(0, 1))).split("\0")[:-1]
    rows = zip(*(fields[i::4] for i in range(4)), strict=True)
    return {
        path: IgnoreRule(source, line, pattern) for source, line, pattern, path in rows if not pattern.startswith("!")
    }


def keep_ignoring(top: Repo, folder: str, tracked: Collection[str]) -> None:
    """Write to `.git/info/exclude` of a new repository what the one above it ignores there.

    folder: the new repository's path from the top. tracked: paths from there that the one above tracks.
    A rule goes along, so that it holds for later files too, where it can be said in the new place and hides nothing
    there that it didn't hide before (other rules may have made exceptions from it); the rest is named path by path.
    """
    repo = Repo(top.path / folder)
    shown = _untracked(repo)
    found = rules(top, (path for n in shown if (path := f"{folder}/{n}") not in tracked))
    ignored = {path.removeprefix(folder + "/") for path in found}
    lines: list[str] = []
    hidden: set[str] = set()
    for pattern in sorted({line for rule in found.values() if (line := rule.inside(folder))}):
        hides = shown - _untracked(repo, f"--exclude={pattern}")
        if hides <= ignored:
            lines.append(pattern)
            hidden |= hides
    _exclude(repo, [*lines, *(_literal(n) for n in sorted(ignored - hidden))])


def _untracked(repo: Repo, *options: str) -> set[str]:
    out = repo.git("ls-files", "-z", "--others", "--exclude-standard", *options)
    return set(os.fsdecode(out).split("\0")[:-1])


def _exclude(repo: Repo, lines: Sequence[str]) -> None:
    if not lines:
        return
    file = repo.common_dir / "info" / "exclude"
    file.parent.mkdir(exist_ok=True)
    old = file.read_bytes() if file.exists() else b""
    if old and not old.endswith(b"\n"):
        old += b"\n"
    # in one step: half a rule may hide more than the whole one
    staged = repo.common_dir / "minipach-exclude"
    staged.write_bytes(old + b"".join(os.fsencode(line) + b"\n" for line in lines))
    os.replace(staged, file)


def _literal(path: str) -> str:
    """Return a pattern for this path alone; a line break, which no pattern can hold, is any character."""
    return "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path).replace("\n", "?")
