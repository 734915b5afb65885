"""The way of a set to a machine with a private clone, and the way of its result back."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from minipach.execution.chosen_runtime import needs_image
from minipach.execution.staging import StagingError, locate
from minipach.executors.clones import REMOTE, Clones, touch
from minipach.executors.stored_sets import UnknownSetError, finished, read_set
from minipach.git.annex_errors import row_reason
from minipach.git.annex_keys import key_of_link
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, at_once
from minipach.git.tree_entries import SYMLINK
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import CODE, RESULT_REFS, RESULTS, RESULTS_BRANCH, RESULTS_FILE, SET_REFS
from minipach.model.work_set import WorkSet
from minipach.support.validation import InvalidError, parse_object

_FETCH = ("fetch", "--quiet", "--no-write-fetch-head", REMOTE)
_REFS = 500  # refs of a push: their names must fit a command line
_BLOB = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Transfer:
    """Fetches sets and what they read into clones, and pushes results.

    is_pushing: whether it does that now · pushes: how often it called `git push`.
    """

    def __init__(self, clones: Clones) -> None:
        self.clones = clones
        self.is_pushing = False
        self.pushes = 0
        self.pauses: tuple[float | None, ...] = (2.0, 4.0, None)  # seconds after each attempt; None: the last one

    def fetch_set(self, repo: Repo, set_id: str, refs: list[str]) -> WorkSet:
        """Return the set, its base commit, and its result if somebody had it before."""
        wanted = (SET_REFS + set_id, RESULT_REFS + set_id)
        here = repo.refs("refs/minipach/")
        if here.keys() & set(wanted):  # of a process that was killed, or a result that waits to be pushed
            there = list(_listed(repo, *wanted))
            repo.git(*_FETCH, *(f"+{ref}:{ref}" for ref in there))
        else:
            repo.git(*_FETCH, *(f"+{ref}*:{ref}*" for ref in wanted))  # a pattern that matches nothing is no error
            there = [ref for ref in wanted if repo.resolve(ref) is not None]
        if wanted[0] not in there:
            raise UnknownSetError(f"{self.clones.url}: no set {set_id}; it was cancelled, or is done")
        refs += there
        work = read_set(repo, set_id)
        if repo.resolve(f"{work.base}^{{commit}}") is None:
            repo.git(*_FETCH, work.base)
        return work

    def finished(self, repo: Repo, work: WorkSet) -> list[int]:
        """Return the datums of a set that was begun before that have a result in the project, by their index."""
        there = _listed(repo, RESULTS_BRANCH, f"{RESULT_REFS}*")
        found = {ref: sha for ref, sha in there.items() if ref != RESULTS_BRANCH}
        if found:  # without refs of our own: those are of sets that run here
            repo.git(*_FETCH, *found)
        if RESULTS_BRANCH in there:
            with self.clones.lock():  # another process of this worker may fetch it, too
                repo.git(*_FETCH, f"+{RESULTS_BRANCH}:refs/remotes/{REMOTE}/{RESULTS}")
        return finished(repo, work, found.values())

    def here(self, work: WorkSet, path: str) -> WorkSet:
        """Return the set with its paths in these clones.

        Each path that it names is below the project's root, there and here.
        """
        root = work.repo.removesuffix(f"/{path}")

        def moved(there: str) -> str:
            inside = os.path.relpath(there, root)
            if inside.startswith(".."):
                raise UnknownSetError(f"set {work.id}: names {there}, which is outside of the project")
            return inside

        for place in sorted({moved(f.repo) for f in work.files}):
            self.clones.clone(place)
        return replace(
            work,
            repo=str(self.clones.root / path),
            files=tuple(replace(f, repo=str(self.clones.root / moved(f.repo))) for f in work.files),
            log=str(self.clones.logs / f"{work.id}.log"),
            secrets_folder=str(LocalState.in_root(self.clones.root).secrets) if work.secrets else "",
        )

    def fetch_contents(self, repo: Repo, work: WorkSet) -> None:
        """Fetch what the set reads, with image and scripts, from wherever it is. Raises StagingError."""
        by_repo: dict[str, set[str]] = {work.repo: self._base_keys(repo, work)}
        for file in work.files:
            by_repo.setdefault(file.repo, set())
            if file.kind == "annex" and file.key:
                by_repo[file.repo].add(file.key)
        for path, keys in by_repo.items():
            there = Repo(Path(path))
            blobs = [f.blob for f in work.files if f.repo == path and f.kind in ("git", "link")]
            try:
                if any(there.resolve(f"{blob}^{{blob}}") is None for blob in blobs):
                    self.clones.refresh(there)
                for content in self._located(there, keys).values():
                    touch(content)
            finally:
                there.close()

    def _located(self, repo: Repo, keys: set[str]) -> dict[str, Path]:
        if not keys:
            return {}
        try:
            return locate(repo, keys, usual=True)
        except StagingError:  # they may be in a store, and it may be known by now where they are
            self.clones.enable_stores(repo)
            self.clones.refresh(repo)
            return locate(repo, keys)

    def _base_keys(self, repo: Repo, work: WorkSet) -> set[str]:
        """Return the annexed contents that every record of this pipeline names."""
        entries = [e for e in repo.ls_tree(work.base, recursive=True) if e.mode == SYMLINK]
        paths = [path for path in (*work.always, CODE) if path != work.image or needs_image()]
        named = [e for e in entries if any(e.path == p or e.path.startswith(f"{p}/") for p in paths)]
        found = (key_of_link(data) for data in repo.objects.read_many([e.sha for e in named]) if data)
        return {key for key in found if key}

    def push(self, repo: Repo, ref: str) -> None:
        """Push a ref and the contents that it names; several attempts, since it was work.

        Raises:
            StagingError: It could not be pushed.
        """
        self.is_pushing = True
        try:
            for why in self.push_all(repo, [ref]).values():
                raise StagingError(why)
        finally:
            self.is_pushing = False

    def push_all(self, repo: Repo, refs: Sequence[str], at: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """Push refs and the contents that they name, in one push if the server takes all of them.

        Several attempts are made. Returns the refs that could not be pushed, each with the reason.

        Args:
            repo: The clone.
            refs: The refs.
            at: The objects to push for refs that may move meanwhile.
        """
        failed: dict[str, str] = {}
        left = list(refs)
        for pause in self.pauses:
            try:
                failed = self._push_once(repo, left, at)
            except (GitError, StagingError) as error:
                failed = dict.fromkeys(left, in_a_line(error) if isinstance(error, GitError) else str(error))
            left = list(failed)
            if not left or pause is None:
                break
            time.sleep(pause)
        return failed

    def _push_once(self, repo: Repo, refs: Sequence[str], at: Mapping[str, str]) -> dict[str, str]:
        """Push the contents of all outputs, then the refs that name them. Returns why some could not be pushed."""
        keys = {ref: self._keys(repo, ref) for ref in refs}
        missing = self._copy(repo, sorted(set().union(*keys.values())))
        failed = {}
        for ref in refs:
            lost = next((key for key in sorted(keys[ref]) if key in missing), None)
            if lost is not None:
                failed[ref] = missing[lost]
        whole = [ref for ref in refs if ref not in failed]
        for start in range(0, len(whole), _REFS):
            failed |= self._push_refs(repo, whole[start : start + _REFS], at)
        return failed

    def _push_refs(self, repo: Repo, refs: Sequence[str], at: Mapping[str, str]) -> dict[str, str]:
        """Push refs at once. Where the server refuses some or all of them, push halves: one bad ref costs no other."""
        tells = () if len(refs) == 1 else ("--porcelain",)
        self.pushes += 1
        try:
            moves = [f"{at.get(ref, ref)}:{ref}" for ref in refs]
            # without the hook of this clone, which git-annex has made: no commit of files goes
            repo.git("push", "--quiet", "--no-verify", *tells, "--force", REMOTE, *moves)
        except GitError as error:
            if len(refs) == 1:
                return {refs[0]: in_a_line(error)}
            refused = refused_refs(os.fsdecode(error.stdout), refs)
            if not refused:  # the server could not be reached
                raise
            middle = len(refused) // 2
            halves = (refused[:middle], refused[middle:]) if middle else (refused,)
            return {ref: why for half in halves for ref, why in self._push_refs(repo, half, at).items()}
        return {}

    def _keys(self, repo: Repo, ref: str) -> set[str]:
        """Return the contents that a result names. A ref of something else names none."""
        blobs = annexed_outputs(repo.objects.read(f"{ref}:{RESULTS_FILE}") or b"{}")
        return {key for data in repo.objects.read_many(blobs) if data and (key := key_of_link(data))}

    def _copy(self, repo: Repo, keys: Sequence[str]) -> dict[str, str]:
        """Copy contents to where they belong. Returns those that could not be copied, each with the reason."""
        failed: dict[str, str] = {}
        if not keys:
            return failed
        request = "".join(f"{key}\n" for key in keys).encode()
        stores = {store.name: at_once(repo, len(keys), store.transfers) for store in self.clones.stores}
        if stores:
            self.clones.enable_stores(repo)
        for target, jobs in (stores or {REMOTE: ()}).items():
            words = ("copy", "--json", "--json-error-messages", "--to", target, *jobs, "--batch-keys")
            out = annex(repo, *words, stdin=request, ok=(0, 1))
            rows = [json.loads(line) for line in out.splitlines() if line.strip()]
            reported = {str(row.get("key")): row for row in rows}
            place = target if stores else self.clones.url
            for key in keys:
                row = reported.get(key)  # none: it is not here; it may be there since another attempt
                if row is None and _is_at(repo, key, target):
                    continue
                if row is None or not row.get("success", True):
                    why = row_reason(row) if row else "it is not here"
                    failed[key] = f"git annex copy --to {place}: {key}: {why}"
        return failed


def _is_at(repo: Repo, key: str, remote: str) -> bool:
    """Return whether a remote has a content; False, too, where it can't be asked."""
    try:
        annex(repo, "checkpresentkey", key, remote)
    except GitError:
        return False
    return True


def refused_refs(said: str, refs: Sequence[str]) -> list[str]:
    """Return the refs that a push to a server could not set, from what `git push --porcelain` said."""
    rows = [line.split("\t") for line in said.splitlines() if line.startswith("!\t")]
    refused = {row[1].partition(":")[2] for row in rows if len(row) > 1}
    return [ref for ref in refs if ref in refused]


def _listed(repo: Repo, *patterns: str) -> dict[str, str]:
    """Return the refs of the project's repo with their commits."""
    rows = (row.split("\t") for row in repo.line("ls-remote", REMOTE, *patterns).splitlines())
    return {ref: sha for sha, ref in rows}


def annexed_outputs(data: bytes) -> list[str]:
    """Return the blobs of the links among the outputs of a set's results.

    They may have come from the server. What no worker writes is left out, as it is where results are stored.
    """
    try:
        results = parse_object(data).get("results")
    except InvalidError:
        return []
    files = [row.get("files") for row in results if isinstance(row, dict)] if isinstance(results, list) else []
    rows = [row for each in files if isinstance(each, list) for row in each if isinstance(row, list) and len(row) == 3]
    return [blob for _, mode, blob in rows if mode == SYMLINK and isinstance(blob, str) and _BLOB.fullmatch(blob)]


def in_a_line(error: GitError) -> str:
    """Return what git could not do, and the line in which it says why."""
    return f"{str(error).partition(' failed (')[0]}: {error.reason}"
