"""The owners of a branch's files: each published datum's paths, and what other commits did to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from minipach.git.repo import Repo
from minipach.model.messages import BY_MINIPACH, BY_PUBLISH, WITH_RECORD
from minipach.model.neutral_names import restore
from minipach.model.repo_layout import PUBLISHED_REF, reserved_in_pipeline
from minipach.records.published_state import Published, read_state, recorded_outputs
from minipach.records.results_branch import Result, StoredResults

_AT_ONCE = 1000  # datums whose outputs are read together
_LISTING = ("-z", "--no-renames", "--name-only", "--diff-filter=a")


def published_paths(
    repo: Repo, head: str, known: StoredResults, old: Published, *, again: bool = False
) -> Sequence[str]:
    """Return the paths that a published datum's outputs have on the branch.

    again: what is stored for it is newer than what was published; then its record on the branch says it.
    """
    found = None if again else _result_of(known, old)
    if found is None:
        return recorded_outputs(repo, head, old)
    return _at(old, (e.path for e in known.files(found)))


def many_published_paths(
    repo: Repo, head: str, known: StoredResults, olds: Sequence[Published]
) -> Iterator[tuple[Published, Sequence[str]]]:
    """Yield the published datums, each with the paths that its outputs have on the branch.

    They are read some at a time, which is quicker than one after the other.
    """
    for start in range(0, len(olds), _AT_ONCE):
        some = olds[start : start + _AT_ONCE]
        known.read_ahead(old.id for old in some)
        found = {old.name: _result_of(known, old) for old in some}
        files = known.paths({one.tree for one in found.values() if one and one.tree})
        for old in some:
            result = found[old.name]
            paths = sorted(files[result.tree]) if result and result.tree else []
            yield old, recorded_outputs(repo, head, old) if result is None else _at(old, paths)


def _result_of(known: StoredResults, old: Published) -> Result | None:
    """Return the stored result that a published datum is of; None, if there is none any more."""
    results = known.of(old.id)
    exact = next((r for r in results if (r.name, r.words) == (old.name, old.words)), None)
    alike = (r for r in results if r.words and len(r.words) == len(old.words))
    return exact or next(alike, None)


def _at(old: Published, paths: Iterable[str]) -> list[str]:
    """Return paths in a result as they are on the branch."""
    prefix = old.dest + "/" if old.dest else ""
    return [prefix + restore(path, old.words) for path in paths]


def altered_datums(
    repo: Repo,
    head: str,
    state: Mapping[str, Published],
    paths_of: Callable[[Published], Iterable[str]],
    outputs: Callable[[], frozenset[str]],
) -> frozenset[str]:
    """Return the published datums whose outputs at `head` are not those that were published.

    state: at `head`; a branch that was reset has an older one, and is measured by that · paths_of: a datum's outputs ·
    outputs: all paths of outputs at `head`.
    """
    if not state:
        return frozenset()
    before = repo.resolve(PUBLISHED_REF)
    if before == head:
        return frozenset()
    if before is not None and repo.succeeds("merge-base", "--is-ancestor", before, head):
        return _changed_of(repo, before, state, paths_of, _changed(repo, before, head))
    # a clone that has published nothing, or a branch that was reset: what came after the publisher's last commit
    base = os.fsdecode(repo.git("log", "-1", "--topo-order", "--format=%H", BY_MINIPACH, head)).strip()
    found = _changed_of(repo, base, state, paths_of, _by_hand(repo, base, head)) if base else frozenset()
    if before is None:
        return found
    # a publish is several commits, and somebody may go back to one in the middle, where outputs are still to come
    there = outputs()
    return found | {name for name, published in state.items() if not there.issuperset(paths_of(published))}


def added_by_hand(repo: Repo, head: str) -> set[str]:
    """Return paths that commits without a run record, and not the publisher's, have added since the last publish."""
    before = repo.resolve(PUBLISHED_REF + "^{commit}")
    if before == head:
        return set()
    if before is None or not repo.succeeds("merge-base", "--is-ancestor", before, head):
        found = repo.git("log", "-1", "--topo-order", "--format=%H", BY_PUBLISH, head)
        before = os.fsdecode(found).strip() or None
    how = ("-z", "--no-renames", "--name-only", "--diff-filter=A", "--format=")
    recorded = ("--invert-grep", WITH_RECORD, BY_PUBLISH)
    names = repo.git("log", *how, *recorded, f"{before}..{head}" if before else head).split(b"\0")
    return {name for name in map(os.fsdecode, names) if name}


def _changed_of(
    repo: Repo,
    before: str,
    state: Mapping[str, Published],
    paths_of: Callable[[Published], Iterable[str]],
    changed: Set[str],
) -> frozenset[str]:
    """Return the datums that were the same at a commit before, of whose paths one has been changed."""
    if not changed:
        return frozenset()
    then = read_state(repo, before)
    return frozenset(
        name
        for name, published in state.items()
        if then.get(name) == published and not changed.isdisjoint(paths_of(published))
    )


def _changed(repo: Repo, old: str, new: str) -> set[str]:
    """Return paths of outputs that are others, or gone, by commits without a run record."""
    return _by_hand(repo, old, new).intersection(
        map(os.fsdecode, repo.git("diff-tree", "-r", *_LISTING, old, new).split(b"\0"))
    )


def _by_hand(repo: Repo, old: str, new: str) -> set[str]:
    """Return paths of outputs that commits without a run record have changed or removed.

    What was added is in nobody's way here; and what `datalad rerun` did, or the publisher of a clone, is on record.
    """
    recorded = ("--invert-grep", WITH_RECORD, BY_MINIPACH)
    found = repo.git("log", *_LISTING, "--format=", *recorded, f"{old}..{new}").split(b"\0")
    return {n for n in map(os.fsdecode, found) if n and not reserved_in_pipeline(n.split("/", 1)[0])}
