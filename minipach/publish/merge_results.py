"""Merge two results branches: a union of their results, by plumbing alone; there are no conflicts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from minipach.git.fast_import import Stream, committer
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.tree_entries import TREE
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import BUILD_REFS, RESULT_FILE, RESULTS_BRANCH
from minipach.records.results_branch import folder_of, id_of_folder, read_folders
from minipach.support.text import many
from minipach.support.validation import parse_object

_BUILD = f"{BUILD_REFS}merge"


def merge_results(repo: Repo, theirs: str, source: str) -> None:
    """Merge a commit of another results branch into ours; never a conflict. `source` is for the message."""
    while True:
        ours = repo.resolve(RESULTS_BRANCH)
        if ours is not None and repo.succeeds("merge-base", "--is-ancestor", theirs, ours):
            return
        lines = [f"update {RESULTS_BRANCH} {theirs} {ours or '0' * len(theirs)}"]
        if ours is not None and not repo.succeeds("merge-base", "--is-ancestor", ours, theirs):
            lines = [f"update {RESULTS_BRANCH} {_merged(repo, ours, theirs, source)} {ours}", f"delete {_BUILD}"]
        try:
            repo.update_refs(lines)
            return
        except GitError:
            if repo.resolve(RESULTS_BRANCH) == ours:
                raise
            # else somebody pushed into this repo meanwhile: merge with that


def _merged(repo: Repo, ours: str, theirs: str, source: str) -> str | None:
    bases = os.fsdecode(repo.git("merge-base", "--all", ours, theirs, ok=(0, 1))).split()
    # with several bases nobody can say who removed what: then all is kept
    base = read_folders(repo, bases[0]) if len(bases) == 1 else {}
    mine, other = read_folders(repo, ours), read_folders(repo, theirs)
    put, gone = _union(repo, mine, other, base)
    stream = Stream(_BUILD, ours, committer(repo))
    stream.commit(f"{SUBJECT}merge {many(len(put), 'result')} from {source}\n")
    stream.merge(theirs)
    for where in gone:
        stream.delete(where)
    for where, tree in put.items():
        stream.put(TREE, tree, where)
    return stream.run(repo)


def _union(
    repo: Repo, ours: Mapping[str, str], theirs: Mapping[str, str], base: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return what to add to ours, and what to remove, as git's three-way merge would do it, folder by folder.

    Where both sides have a result of their own in one folder ours stands; theirs comes beside it if it was made
    under another name (what a name leaks into can't stand for another).
    """
    put: dict[str, str] = {}
    for where, tree in theirs.items():
        mine, before = ours.get(where), base.get(where)
        if tree in (mine, before):
            continue  # the same, or unchanged there: ours is newer, or was dropped
        if mine == before:
            put[where] = tree
        elif mine is not None:
            name = _name(repo, tree)
            beside = folder_of(id_of_folder(where), name, [where])
            if name != _name(repo, mine) and beside not in ours and beside not in theirs:
                put[beside] = tree
        else:
            put[where] = tree  # dropped here, made again there
    gone = [where for where, tree in ours.items() if where not in theirs and base.get(where) == tree]
    return put, gone


def _name(repo: Repo, tree: str) -> str:
    data = repo.objects.read(f"{tree}:{RESULT_FILE}")
    try:
        return str(parse_object(data or b"")["name"])
    except (ValueError, LookupError):
        return ""  # not a result of ours
