"""Erasure of data and of all that was computed from it: found in every repo and branch, dropped from every copy known.

Nothing is rewritten. What stays in the history (names, files in git itself) is reported, with the commands that remove
it, too.
"""

from __future__ import annotations

import fnmatch
import json
import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipach.git.annex_keys import key_of_link, key_of_pointer
from minipach.git.repo import SYMLINK, Repo, annex, has_annex, is_dataset
from minipach.model.neutral_names import restore
from minipach.model.pipeline import ALL, folder_in
from minipach.model.repo_layout import RESULT_FILE, RESULTS_BRANCH
from minipach.project.project import Project
from minipach.records.results_branch import Result, from_json
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted, suggest
from minipach.support.validation import InvalidError, parse_object

Notify = Callable[[str], None]
_OURS = ("git-annex", "minipach")  # branches without files of people


@dataclass(slots=True)
class Found:
    """The erased data in one repo.

    Args:
        repo: The path in the project.
        paths: Files, at any commit.
        keys: Annexed contents that nothing else has.
        shared: Contents that other files have, too: they are kept.
        in_git: Files whose content is in git itself.
        results: Names of datums with a result that was computed from it.
        dropped: By place, how many contents went.
        left: The contents that could not be dropped, and the reasons.
    """

    repo: str
    paths: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    in_git: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.paths or self.results)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach erase --json`."""
        lists = {name: sorted(getattr(self, name)) for name in ("paths", "keys", "shared", "in_git", "results")}
        return {"repo": self.repo, **lists, "dropped": self.dropped, "left": self.left}


def find(project: Project, word: str) -> list[Found]:
    """Return what every repo of the project has of some data, and of all that was computed from it.

    Args:
        project: The project.
        word: `REPO:PATH`; REPO may be a plain folder, and PATH is a file, a folder or a glob.

    Raises:
        UserError: There is no such repo or path.
    """
    name, _, pattern = word.partition(":")
    pattern = pattern.strip("/")
    if not pattern or pattern in (".", ".."):
        raise UserError(Problem("erase.no-path", word, "no path in a repo", "name one: REPO:PATH, such as raw:sub-13"))
    name = name.rstrip("/") or name
    if project.is_folder(name):
        path = project.holder_of(name) or ALL
        pattern = posixpath.join(folder_in(name, project.holder_of(name)), pattern)
    else:
        path = name if name in project.repos else project.path_of(name)
    if not is_dataset(project.root / path):
        raise UserError(Problem("repo.not-installed", path, "not installed", f"datalad get -n {quoted(path)}"))
    tainted: dict[str, set[str]] = {}
    found = []
    order = list(project.order)
    for place in dict.fromkeys((path, *(p for p in project.repos if p not in order), *order)):
        if not is_dataset(project.root / place):
            continue
        repo = Repo(project.root / place)
        try:
            here = _look(project, repo, place, pattern if place == path else None, tainted)
        finally:
            repo.close()
        if here:
            tainted[place] = here.paths
            found.append(here)
    if not found:
        names = sorted({row[0].split("/")[0] for row in _history(Repo(project.root / path))})
        raise UserError(Problem("erase.no-path", word, "no such file at any commit", suggest(pattern, names)))
    return found


def _look(project: Project, repo: Repo, place: str, pattern: str | None, tainted: dict[str, set[str]]) -> Found:
    here = Found(place)
    blobs: set[tuple[str, str]] = set()
    others: set[tuple[str, str]] = set()
    for result in _results(repo):
        if not _uses(project, result, tainted):
            others.update((mode, sha) for _, mode, sha in _below(repo, result.tree))
        else:
            here.results.add(result.name)
            prefix = f"{result.dest}/" if result.dest else ""
            for path, mode, sha in _below(repo, result.tree):
                here.paths.add(prefix + restore(path, result.words))
                blobs.add((mode, sha))
    for path, mode, sha in _history(repo):
        if path in here.paths or (pattern is not None and _matches(path, pattern)):
            here.paths.add(path)
            blobs.add((mode, sha))
        else:
            others.add((mode, sha))
    keys = {blob: _key(repo, *blob) for blob in blobs}
    elsewhere = {key for blob in others if (key := _key(repo, *blob))}
    here.keys = {key for key in keys.values() if key and key not in elsewhere}
    here.shared = {key for key in keys.values() if key and key in elsewhere}
    if any(key is None for key in keys.values()):
        plain = {blob[1] for blob, key in keys.items() if key is None}
        here.in_git = {path for path, _, sha in _history(repo) if sha in plain and path in here.paths}
    return here


def _uses(project: Project, result: Result, tainted: dict[str, set[str]]) -> bool:
    """Return whether a result was computed from a tainted file, or from a folder with one."""
    for _, repo, path in result.matches:
        for place, plain in _places(project, repo, path.strip("/")):
            for file in tainted.get(place, ()):
                if not plain or file == plain or file.startswith(f"{plain}/"):
                    return True
    return False


def _places(project: Project, repo: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the datasets that a match can be from, with its path there: a repo may have been a plain folder."""
    yield repo, path
    if repo != ALL:
        holder = project.holder_of(repo)
        yield holder or ALL, posixpath.join(folder_in(repo, holder), path).rstrip("/")


def _results(repo: Repo) -> Iterator[Result]:
    """Yield the results at any commit of the results branches here."""
    refs = [ref for ref in repo.refs("refs/") if ref == RESULTS_BRANCH or ref.endswith("/minipach")]
    if not refs:
        return
    for commit in repo.line("rev-list", "--topo-order", *refs).splitlines():
        changed = repo.git("diff-tree", "-r", "-z", "--root", "-m", "--no-commit-id", "--name-only", commit)
        folders = {"/".join(os.fsdecode(p).split("/")[:2]) for p in changed.split(b"\0") if p}
        for folder in sorted(folders):
            text = repo.objects.read(f"{commit}:{folder}/{RESULT_FILE}")
            if text is None:
                continue
            try:
                yield from_json(parse_object(text), folder, repo.resolve(f"{commit}:{folder}/out"), "")
            except (InvalidError, ValueError, TypeError, LookupError):
                continue  # somebody else's commit: then it isn't a result


def _below(repo: Repo, tree: str | None) -> Iterator[tuple[str, str, str]]:
    if tree is None:
        return
    for entry in repo.ls_tree(tree, recursive=True):
        yield entry.path, entry.mode, entry.sha


def _history(repo: Repo) -> Iterator[tuple[str, str, str]]:
    """Yield path, mode and blob of each file at any commit of any branch of people."""
    leave = [word for name in _OURS for word in (f"--exclude=refs/heads/{name}", f"--exclude=refs/remotes/*/{name}")]
    leave.append("--exclude=refs/minipach/*")
    shown = ("--format=", "--raw", "-z", "-m", "--no-renames", "--no-abbrev", "--diff-filter=AMT")
    fields = repo.git("log", *leave, "--all", *shown).split(b"\0")
    for row, path in zip(fields[::2], fields[1::2], strict=False):
        words = os.fsdecode(row).lstrip("\n").split(" ")
        if len(words) == 5 and words[1] != "160000":
            yield os.fsdecode(path), words[1], words[3]


def _matches(path: str, pattern: str) -> bool:
    parts = path.split("/")
    return any(fnmatch.fnmatchcase("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _key(repo: Repo, mode: str, sha: str) -> str | None:
    data = repo.objects.read(sha) or b""
    return key_of_link(data) if mode == SYMLINK else key_of_pointer(data)


def erase(project: Project, found: Collection[Found], notify: Notify) -> None:
    """Drop the contents from this clone, from all its remotes, and from the clones below. The caller holds the lock."""
    for here in found:
        repo = Repo(project.root / here.repo)
        try:
            if here.keys and has_annex(repo):
                _drop(repo, here, notify)
        finally:
            repo.close()
    wanted = {key for here in found for key in here.keys}
    for copy in _copies(project.root, wanted):  # installed inputs
        for here in found:
            if keys := here.keys & {path.name for path in copy.glob("annex/objects/*/*/*/*")}:
                other = Repo(copy.parent if copy.name == ".git" else copy)
                stdin = "".join(f"{key}\n" for key in sorted(keys)).encode()
                annex(other, "drop", "--force", "--quiet", "--batch-keys", stdin=stdin, ok=(0, 1))
                here.dropped[str(copy)] = len(keys)


def _copies(root: Path, keys: Collection[str]) -> list[Path]:
    """Return the git folders below the project that still have one of these contents."""
    found = []
    for objects in root.rglob("annex/objects"):
        if any(path.name in keys for path in objects.glob("*/*/*/*")):
            found.append(objects.parent.parent)
    return found


def _drop(repo: Repo, here: Found, notify: Notify) -> None:
    stdin = "".join(f"{key}\n" for key in sorted(here.keys)).encode()
    names = [name for name in repo.line("remote").splitlines() if repo.config(f"remote.{name}.annex-uuid")]
    for name in ("", *(n for n in names if repo.config(f"remote.{n}.annex-ignore") != "true")):
        words = [f"--from={name}"] if name else []
        shown = ("--json", "--json-error-messages")
        out = annex(repo, "drop", "--force", *words, *shown, "--batch-keys", stdin=stdin, ok=(0, 1))
        rows = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
        bad = [row for row in rows if not row.get("success")]
        here.dropped[name or "here"] = len(rows) - len(bad)
        if bad:
            why = " ".join(" ".join(bad[0].get("error-messages") or [str(bad[0].get("note") or "")]).split())
            here.left.append(f"{len(bad)} contents in {name or 'here'}: {why}")
    rows = annex(repo, "whereis", "--json", "--batch-keys", stdin=stdin, ok=(0, 1)).splitlines()
    elsewhere = {place["description"] for row in map(json.loads, rows) for place in row.get("whereis", ())}
    here.left += [f"git-annex knows copies in {place}" for place in sorted(elsewhere)]
    notify(f"{here.repo}: {len(here.keys)} contents dropped, {len(here.left)} places left")


def write_report(folder: Path, word: str, found: Collection[Found], *, dry: bool) -> Path:
    """Write the report, and beside it the paths of each repo; return the report."""
    folder.mkdir(parents=True)
    lists = {}
    for number, here in enumerate(found):
        lists[here.repo] = folder / f"paths-{number}"
        lists[here.repo].write_bytes(b"".join(os.fsencode(path) + b"\n" for path in sorted(here.paths)))
    file = folder / "report.md"
    file.write_text(_report(word, found, lists, dry=dry), errors="surrogateescape")
    return file


def _report(word: str, found: Collection[Found], lists: Mapping[str, Path], *, dry: bool) -> str:
    """Return the report in Markdown: what went, what stays, and how to remove that, too."""
    lines = [f"# Erasure of {word}", ""]
    lines += ["Nothing was changed: this is what would be erased.", ""] if dry else []
    for here in found:
        lines += [f"## {here.repo}", ""]
        lines += [f"- files, at any commit: {len(here.paths)}", f"- contents to erase: {len(here.keys)}"]
        lines += [f"- results computed from it: {', '.join(sorted(here.results))}"] if here.results else []
        lines += [f"- dropped from {place}: {number}" for place, number in here.dropped.items()]
        lines += [f"- kept, since other files have the same content: {key}" for key in sorted(here.shared)]
        lines += [f"- not erased: {problem}" for problem in here.left]
        lines += [f"- in git itself, so still in the history: {path}" for path in sorted(here.in_git)]
        lines.append("")
    lines += [
        "## What remains",
        "",
        "Names, and files in git itself, remain in the history of each repo and of each clone. Results keep their",
        "records. Logs in `.git/minipach/logs` may quote the data. To remove all that, too:",
        "",
        "1. Remove the files, save, and run `minipach schedule`, so that the outputs go:",
        "",
    ]
    first = next(iter(found)).repo
    words = f"rm -r --ignore-unmatch --pathspec-from-file={quoted(lists[first])}"
    lines += [
        f"   `git -C {quoted(first)} {words}`",
        "",
        "2. Rewrite each history, in each clone, and push with force:",
    ]
    lines += [""]
    for here in found:
        words = f"filter-repo --invert-paths --paths-from-file {quoted(lists[here.repo])}"
        lines.append(f"   `git -C {quoted(here.repo)} {words}`")
    with_results = [here.repo for here in found if here.results]
    lines += [f"   `git -C {quoted(repo)} branch -D minipach`, which forgets all its results" for repo in with_results]
    lines += ["", "3. Run the same `minipach erase` in every other clone, and again for what is not erased above.", ""]
    return "\n".join(lines)
