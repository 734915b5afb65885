"""Fold result refs into the results branch: one commit for all that are pending, then the refs go.

Of many thousand results, the commits have some thousands each.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minipach.git.annex_keys import key_of_link
from minipach.git.fast_import import Stream, committer
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, FILE, SYMLINK
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import BUILD_REFS, RECORD_FILE, RESULT_FILE, RESULT_REFS, RESULTS_BRANCH, RESULTS_FILE
from minipach.records.results_branch import StoredResults, folder_of, result_json
from minipach.storage.places import has_stores, note_places
from minipach.support.background import BackgroundCall
from minipach.support.errors import UserError
from minipach.support.text import many
from minipach.support.validation import InvalidError, parse_object

_log = logging.getLogger("minipach.publish")
_BUILD = f"{BUILD_REFS}results"
_SETS = 64  # of one commit: some 10 kB of memory are needed for each of their results
_MANY = 100  # contents: for fewer, git-annex's own start takes longer than the answers


def fold_results(repo: Repo, tries: int = 5) -> int:
    """Fold every pending result of this repo, and return how many. Safe to kill at any point, and to run again.

    tries: how often to begin again on what others have changed meanwhile. GitError if that was not often enough.
    UserError if a store that may have the contents does not answer; then all refs stay.
    """
    refs = list(repo.refs(RESULT_REFS).items())
    number = 0
    for start in range(0, len(refs), _SETS):
        done = _fold(repo, dict(refs[start : start + _SETS]), last=tries <= 1)
        if done is None:
            return number + fold_results(repo, tries - 1)
        number += done
    return number


def _fold(repo: Repo, pending: Mapping[str, str], *, last: bool) -> int | None:
    """Fold these refs, and return how many results. None: others have changed them meanwhile, so try once more."""
    known = StoredResults(repo)
    stream = Stream(_BUILD, known.commit, committer(repo), repo.common_dir)
    described = [d for sha in pending.values() for d in _described(repo, sha)]
    taken = {where for d in described for where in known.folders_of(d["id"])}
    fresh = [d for d in described if d.get("forced") or known.named(d["id"], d["name"]) is None]
    fresh = _stored(repo, fresh)
    if fresh:
        names = ", ".join(str(d["name"]) for d in fresh[:3]) + (" ..." if len(fresh) > 3 else "")
        stream.commit(f"{SUBJECT}{many(len(fresh), 'result')}: {names}\n")
    seen: set[tuple[str, str]] = set()
    for d in fresh:
        if (d["id"], d["name"]) in seen:
            continue
        seen.add((d["id"], d["name"]))
        old = known.named(d["id"], d["name"])
        if old is not None:  # it was run again on purpose: the new result takes the place of the old one
            stream.delete(old.where)
        where = old.where if old else folder_of(d["id"], d["name"], taken)
        taken.add(where)
        _add(stream, d, where)
    new = stream.run(repo)
    lines = [f"delete {ref} {sha}" for ref, sha in pending.items()]
    if new and new != known.commit:
        lines.append(f"update {RESULTS_BRANCH} {new} {known.own or '0' * len(new)}")
        lines.append(f"delete {_BUILD}")
    try:
        repo.update_refs(lines)
    except GitError:
        # somebody may have pushed results into this repo, or a set that was taken for lost has ended once more
        there = repo.refs(RESULT_REFS)
        gone = any(there.get(ref) != sha for ref, sha in pending.items())
        changed = gone or repo.resolve(RESULTS_BRANCH) != known.own
        if not changed or last:
            raise
        return None
    return len(seen)


class PlacesAhead:
    """The places of contents of pending results, noted in the background while other datums run.

    `fold` asks stores for the same contents again only if this has not found them: a store answers in the time of its
    network, content by content.
    """

    def __init__(self, path: Path) -> None:
        """path: the pipeline's repo."""
        self._path = path
        self._seen: set[str] = set()
        self._call: BackgroundCall[None] | None = None

    def look(self) -> None:
        """Begin to note what has come since, unless that is being done."""
        if self._call is None or self._call.is_done:
            self._call = BackgroundCall(self._note)

    def end(self) -> None:
        """Wait for what is being noted."""
        if self._call is not None:
            self._call.result()

    def _note(self) -> None:
        repo = Repo(self._path)  # of its own: this is another thread
        try:
            pending = set(repo.refs(RESULT_REFS).values()) - self._seen
            if not pending or not has_stores(repo):
                return
            keys = set(_keys(repo, [d for sha in pending for d in _described(repo, sha)]).values())
            if len(keys) >= _MANY:
                note_places(repo, keys)
                self._seen |= pending
        except (UserError, GitError) as error:  # fold meets it again, and says what it means
            _log.debug("%s: places are not noted ahead: %s", self._path, error)
        finally:
            repo.close()


def _described(repo: Repo, commit: str) -> list[dict[str, Any]]:
    """Return what a worker has left.

    Results that no worker of this version writes are left out, so that their datums run.
    """
    try:
        results = parse_object(repo.objects.read(f"{commit}:{RESULTS_FILE}") or b"{}").get("results", [])
    except InvalidError:
        return []
    return [d for d in results if _is_whole(d)] if isinstance(results, list) else []


def _stored(repo: Repo, described: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results whose contents are somewhere. A worker may have sent them to a store.

    Raises:
        UserError: A store that may have them does not answer. The result refs stay.
    """
    keys = _keys(repo, described)
    lost = note_places(repo, set(keys.values()))
    found = []
    for d in described:
        if any(keys.get(blob) in lost for _, _, blob in d["files"]):
            _log.warning("%s: no store has the contents of the result of %s; it runs again", repo.path, d["name"])
        else:
            found.append(d)
    return found


def _keys(repo: Repo, described: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the annex keys of outputs, by the blob of their link."""
    links = sorted({blob for d in described for _, mode, blob in d["files"] if mode == SYMLINK})
    return {
        blob: key
        for blob, data in zip(links, repo.objects.read_many(links), strict=True)
        if data and (key := key_of_link(data))
    }


_TEXTS = ("id", "name", "dest", "author", "record", "code_tree")
_ID = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def _is_whole(described: Any) -> bool:
    """Return whether it has all that is stored, and each output a place of its own below the result's."""
    if not isinstance(described, dict) or not all(isinstance(described.get(name), str) for name in _TEXTS):
        return False
    files = described.get("files")
    return bool(_ID.fullmatch(described["id"])) and isinstance(files, list) and all(map(_is_output, files))


def _is_output(row: Any) -> bool:
    if not (isinstance(row, list) and len(row) == 3 and all(isinstance(value, str) for value in row)):
        return False
    path, mode, blob = row
    plain = all(part not in ("", ".", "..", ".git") for part in path.split("/"))
    return plain and mode in (FILE, EXECUTABLE, SYMLINK) and bool(_BLOB.fullmatch(blob))


def _add(stream: Stream, described: Mapping[str, Any], where: str) -> None:
    for path, mode, blob in described["files"]:
        stream.put(mode, blob, f"{where}/out/{path}")
    stream.write(FILE, result_json(dict(described)), f"{where}/{RESULT_FILE}")
    stream.write(FILE, os.fsencode(described["record"]), f"{where}/{RECORD_FILE}")
