"""The commits that made files what they are at a commit: of a repository, for one path or for many."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.model.run_record import parse
from minipach.provenance.lineage import Commit
from minipach.provenance.web_links import commit_page
from minipach.records.branch_history import added_paths, our_record

_FORM = "%H%n%an%n%ae%n%at%n%B"
_FEW = 30  # paths for which git is asked one by one


@dataclass(frozen=True, slots=True)
class FileChange:
    """A commit that changed a file. record: its run record, minipach's or another of DataLad's · datum: (name, id)."""

    commit: str
    author: str
    email: str
    at: int
    message: str
    record: Mapping[str, Any] | None = None
    datum: tuple[str, str] | None = None

    def as_commit(self, url: str = "") -> Commit:
        """Return what is shown of the commit."""
        when = datetime.fromtimestamp(max(0, self.at), UTC).isoformat().replace("+00:00", "Z")
        return Commit(self.commit, self.author, self.email, when, self.message.partition("\n")[0], url)


def change_of(repo: Repo, *options: str) -> FileChange | None:
    """Return the first commit that `git log` finds with these options."""
    return next(_log(repo, "-1", *options), None)


def changes(repo: Repo, at: str, paths: Sequence[str]) -> dict[str, FileChange]:
    """Return for each path the newest commit in the history of `at` that made it, or that has a record of it.

    A record without a change is one too: the same bytes were computed again, of other code or other inputs.
    """
    touched = _touched(repo, at, paths)
    recorded = _recorded(repo, at, paths)
    found = {}
    for path in paths:
        change, record = touched.get(path), recorded.get(path)
        newer = record is not None and (change is None or _is_before(repo, change.commit, record.commit))
        if chosen := record if newer else change:
            found[path] = chosen if chosen.datum else _with_record(chosen, path)
    return found


def _is_before(repo: Repo, one: str, other: str) -> bool:
    return one != other and repo.succeeds("merge-base", "--is-ancestor", one, other)


def _touched(repo: Repo, at: str, paths: Sequence[str]) -> dict[str, FileChange]:
    if len(paths) <= _FEW:
        found = {}
        for path in paths:
            if change := change_of(repo, at, "--", f":(top,literal){path}"):
                found[path] = change
        return found
    commits = repo.line("rev-list", "--topo-order", at).split()
    by_commit = added_paths(repo, commits)
    left, latest = set(paths), {}
    for commit in commits:
        mine = left.intersection(by_commit.get(commit, ()))
        left -= mine
        latest.update(dict.fromkeys(mine, commit))
        if not left:
            break
    named = dict.fromkeys(latest.values())
    about = {c.commit: c for c in _log(repo, "--no-walk=unsorted", "--stdin", stdin=named)} if named else {}
    return {path: about[commit] for path, commit in latest.items() if commit in about}


def _recorded(repo: Repo, at: str, paths: Sequence[str]) -> dict[str, FileChange]:
    """Return the newest records that list these paths by themselves, as where their commit does not add the files."""
    wanted, found = set(paths), dict[str, FileChange]()
    listed = '"outputs": ['
    word = json.dumps(paths[0], ensure_ascii=False) if len(paths) == 1 else listed
    for change in _log(repo, "--fixed-strings", f"--grep={word}", at):
        record = our_record(change.message)
        for datum in _datums(record):
            outputs = datum.get("outputs")
            for path in wanted.intersection(p for p in outputs if isinstance(p, str)) if outputs else ():
                if path not in found:
                    found[path] = _recorded_as(change, record, datum)
        if len(found) == len(wanted):
            break
    return found


def _with_record(change: FileChange, path: str) -> FileChange:
    """Return a change with its run record, and with the datum that wrote the path."""
    ours = our_record(change.message)
    datums = _datums(ours)
    mine = [d for d in datums if path in (d.get("outputs") or ())] or (datums if len(datums) == 1 else [])
    if ours is not None and mine:
        return _recorded_as(change, ours, mine[0])
    try:
        record = parse(change.message + "\n")[1]
    except ValueError:
        return change
    return FileChange(change.commit, change.author, change.email, change.at, change.message, record)


def _recorded_as(change: FileChange, record: Mapping[str, Any] | None, datum: Mapping[str, Any]) -> FileChange:
    which = (str(datum.get("name", "")), str(datum.get("id", "")))
    return FileChange(change.commit, change.author, change.email, change.at, change.message, record, which)


def _datums(record: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the datums of a record, whoever wrote it."""
    datums = record["minipach"].get("datums") if record else None
    rows = [row for row in datums if isinstance(row, dict)] if isinstance(datums, list) else []
    return [row for row in rows if isinstance(row.get("outputs", []), list)]


def _log(repo: Repo, *options: str, stdin: Iterable[str] = ()) -> Iterator[FileChange]:
    """Yield commits, newest first. Signatures, notes and mail maps of the user are no part of it."""
    data = "".join(f"{line}\n" for line in stdin).encode() if stdin else None
    args = ("log", "-z", "--no-show-signature", "--no-notes", "--no-mailmap", f"--format={_FORM}", *options)
    try:
        out = os.fsdecode(repo.git(*args, stdin=data))
    except GitError as error:
        if error.code == 128 and "bad object" in error.stderr:  # a shallow clone
            return
        raise
    for row in out.split("\0"):
        parts = row.split("\n", 4)
        if len(parts) == 5 and parts[3].lstrip("-").isdigit():
            yield FileChange(parts[0], parts[1], parts[2], int(parts[3]), parts[4])


class Pages:
    """The pages of a repository's commits on a forge. Each repository's remotes are read once."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._remotes: list[tuple[str, str]] | None = None

    def page(self, commit: str) -> str:
        """Return the page of a commit that was pushed to a known forge, or ""."""
        remote = self.remote_with(commit)
        return commit_page(remote, commit) if remote else ""

    def remote_with(self, commit: str) -> str:
        """Return the address of a remote on a known forge that has a commit, or ""."""
        for name, url in self._addresses():
            if self._repo.line("for-each-ref", "--count=1", f"--contains={commit}", f"refs/remotes/{name}/"):
                return url
        return ""

    def _addresses(self) -> list[tuple[str, str]]:
        if self._remotes is None:
            out = os.fsdecode(self._repo.git("config", "-z", "--get-regexp", r"^remote\..*\.url$", ok=(0, 1)))
            rows = (row.partition("\n") for row in out.split("\0") if row)
            named = [(key.removeprefix("remote.").removesuffix(".url"), url) for key, _, url in rows]
            known = [(name, url) for name, url in named if commit_page(url, "0") and not set(name) & set("*?[")]
            self._remotes = sorted(known, key=lambda pair: pair[0] != "origin")
        return self._remotes
