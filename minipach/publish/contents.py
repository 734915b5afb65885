"""Contents on this machine: fetched and dropped by pipeline and datum, and kept within a size.

git-annex decides what may go: it keeps the last copies (`numcopies`, `mincopies`) and what is required here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from minipach.git import crash_cleanup
from minipach.git.annex_errors import row_reason
from minipach.git.annex_keys import size_of
from minipach.git.presence import note_presence
from minipach.git.repo import Repo, annex, has_annex, is_dataset
from minipach.model.pipeline import folder_in
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.project.targets import parse_targets
from minipach.records.published_outputs import published_paths
from minipach.records.published_state import output_paths, read_state
from minipach.records.results_branch import StoredResults
from minipach.storage.setup import unconfirmed
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.sizes import parse_size
from minipach.support.text import many, quoted

_SETTING = "cache-size"
_BATCH = 100  # contents that are dropped before the sizes are compared again


@dataclass(frozen=True, slots=True)
class MovedContents:
    """The contents of one repo that were fetched or dropped.

    Args:
        repo: The path in the project.
        contents: The number of contents.
        size: Their bytes.
        kept: The contents that git-annex did not drop, or could not fetch.
        problems: The first reason for that.
    """

    repo: str
    contents: int = 0
    size: int = 0
    kept: int = 0
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach get --json` and `drop --json`."""
        return {
            "repo": self.repo,
            "contents": self.contents,
            "bytes": self.size,
            "kept": self.kept,
            "problems": problems_json(self.problems),
        }


def move_contents(project: Project, verb: Literal["get", "drop"], words: Sequence[str]) -> list[MovedContents]:
    """Fetch or drop the contents of pipelines, of some of their datums, or of repos with data.

    Args:
        project: The project.
        verb: The action, as the lines name it.
        words: `PIPELINE`, `PIPELINE:DATUM` (names and globs), or the path of a repo or a plain folder.

    Raises:
        UserError: Something is not known by that name.
    """
    found = []
    for path, chosen in _chosen(project, words):
        folder = project.is_folder(path)
        holder = project.holder_of(path)
        repo = Repo(project.root / (holder if folder else path))
        try:
            with _moving(repo):
                moved = _move(repo, path, verb, chosen, below=folder_in(path, holder) if folder else "")
            found.append(_with_stores(project, moved) if verb == "get" and moved.problems else moved)
        finally:
            repo.close()
    return found


def keep_within_limit(project: Project) -> tuple[int, int]:
    """Drop what was not used for longest, until the contents take at most `minipach.cache-size`.

    Returns:
        How many contents went, and their bytes.

    Raises:
        UserError: The setting is no size.
    """
    limit = _limit(project)
    return (0, 0) if limit is None else trim(project, limit)


def trim(project: Project, limit: int) -> tuple[int, int]:
    """Drop what was not used for longest, until the contents take at most so many bytes; return what went."""
    rows: list[tuple[float, int, Path, str]] = []
    for path in (*project.repos, "."):
        repo_path = project.root / path
        for content in (repo_path / ".git" / "annex" / "objects").glob("*/*/*/*"):
            try:
                stat = content.stat()
            except OSError:
                continue
            rows.append((max(stat.st_atime, stat.st_mtime), stat.st_size, repo_path, content.name))
    total = sum(size for _, size, _, _ in rows)
    went = freed = 0
    rows.sort()
    while rows and total - freed > limit:
        batch: list[tuple[float, int, Path, str]] = []
        while rows and len(batch) < _BATCH and total - freed - sum(size for _, size, _, _ in batch) > limit:
            batch.append(rows.pop(0))
        for repo_path in {where for _, _, where, _ in batch}:
            sizes = {key: size for _, size, where, key in batch if where == repo_path}
            repo = Repo(repo_path)
            with _moving(repo):
                gone = _drop_keys(repo, sizes)
            went += len(gone)
            freed += sum(sizes[key] for key in gone)
    return went, freed


def _drop_keys(repo: Repo, keys: Iterable[str]) -> list[str]:
    """Drop contents that git-annex lets go; return them. Files are named, so that their attributes count."""
    wanted = set(keys)
    rows = annex(repo, "find", "--json", "--in=here", ok=(0, 1)).splitlines() if repo.head() else []
    files: dict[str, list[str]] = {}
    for row in map(json.loads, rows):
        if row["key"] in wanted:
            files.setdefault(row["key"], []).append(row["file"])
    named = "".join(f"{names[0]}\0" for names in files.values()).encode("utf-8", "surrogateescape")
    rest = "".join(f"{key}\n" for key in sorted(wanted - files.keys())).encode()
    gone = []
    for words, stdin in ((("--batch", "-z"), named), (("--batch-keys",), rest)):
        if stdin:
            out = annex(repo, "drop", "--json", "--json-error-messages", *words, stdin=stdin, ok=(0, 1))
            gone += [row["key"] for row in _rows(out) if row.get("success")]
    return gone


@contextlib.contextmanager
def _moving(repo: Repo) -> Iterator[None]:
    """Clear up before contents are moved what a kill may have left, in git-annex's log, too."""
    killed = crash_cleanup.is_begun(repo)
    with crash_cleanup.cleared(repo):
        if killed and has_annex(repo):
            keys = annex(repo, "findkeys", "--anything").splitlines()
            note_presence(repo, [os.fsdecode(key) for key in keys])
        yield


def _limit(project: Project) -> int | None:
    value = local_setting(project.repo, _SETTING)
    if value is None:
        return None
    try:
        return parse_size(value)
    except UserError:
        raise bad_setting(_SETTING, f'"{value[:20]}" is not a size', "100G") from None


def _chosen(project: Project, words: Sequence[str]) -> Iterator[tuple[str, list[str] | None]]:
    """Yield the repos that are asked for, with the paths in each; None: all."""
    pipelines = {place.path for place in project.places}
    names = pipelines | {project.name_of(path) for path in pipelines}
    data = [word for word in words if word not in names and _is_data(project, word.rstrip("/"))]
    for word in dict.fromkeys(word.rstrip("/") for word in data):
        if word not in project.repos:
            yield word, None
            continue
        if not is_dataset(project.root / word):
            raise UserError(Problem("repo.not-installed", word, "not installed", f"datalad get -n {quoted(word)}"))
        yield word, None
    rest = [word for word in words if word not in data]
    if not rest:
        return
    targets = parse_targets(project, rest, downstream=False)
    for path in targets.order:
        if not is_dataset(project.root / path):
            name = project.name_of(path)
            raise UserError(Problem("pipeline.not-a-dataset", path, "not a dataset yet", f"minipach schedule {name}"))
        yield path, _outputs(project, path, targets.names if targets.limits(path) else None)


def _is_data(project: Project, word: str) -> bool:
    """Return whether a word is the path of a repo, or of a plain folder (not of the superdataset, which has both)."""
    return word in project.repos or (word not in ("", ".") and ":" not in word and project.is_folder(word))


def _outputs(project: Project, path: str, names: Any) -> list[str]:
    """Return the outputs of a pipeline that are on the branch which is checked out; names: chooses datums."""
    repo = Repo(project.root / path)
    try:
        head = repo.head()
        if head is None:
            return []
        if names is None:
            return output_paths(repo, head)
        state = read_state(repo, head)
        known = StoredResults(repo)
        chosen = sorted(names(path, sorted(state)))
        return [file for name in chosen for file in published_paths(repo, head, known, state[name])]
    finally:
        repo.close()


def _move(repo: Repo, path: str, verb: str, chosen: list[str] | None, below: str = "") -> MovedContents:
    moved = MovedContents(path)
    if not has_annex(repo) or chosen == []:
        return moved
    words: tuple[str, ...] = ("--", f"./{below}")
    stdin = None
    if chosen is not None:
        there = [file for file in chosen if os.path.lexists(repo.path / file)]
        words, stdin = ("--batch", "-z"), b"".join(os.fsencode(file) + b"\0" for file in there)
    rows = list(_rows(annex(repo, verb, "--json", "--json-error-messages", *words, stdin=stdin, ok=(0, 1))))
    done = [row for row in rows if row.get("success")]
    kept = [row for row in rows if not row.get("success")]
    size = sum(_bytes(str(row.get("key") or "")) for row in done)
    moved = replace(moved, contents=len(done), size=size, kept=len(kept))
    if kept:
        first = kept[0]
        why = row_reason(first) or "git-annex refused"
        problem = f"{many(len(kept), 'content')} could not be {'fetched' if verb == 'get' else 'dropped'}: "
        fix = f"git -C {quoted(repo.path)} annex whereis {quoted(str(first.get('file') or ''))}"
        moved = replace(moved, problems=(Problem(f"contents.not-{verb}", path, problem + why, fix),))
    return moved


def _with_stores(project: Project, moved: MovedContents) -> MovedContents:
    """Name the stores that may have what could not be fetched: git-annex has no credentials of theirs yet."""
    if not (names := [store.name for store in unconfirmed(project)]):
        return moved
    fix = f"minipach store add {names[0]}, if you expect that store and have its credentials"
    if len(names) > 1:
        fix += f"; or another store: {', '.join(names[1:])}"
    return replace(moved, problems=tuple(replace(one, fix=fix) for one in moved.problems))


def _rows(out: bytes) -> Iterator[dict[str, Any]]:
    for line in out.splitlines():
        if line.startswith(b"{"):
            yield json.loads(line)


def _bytes(key: str) -> int:
    """Return the size in a key; 0 if it has none."""
    return size_of(key) or 0
