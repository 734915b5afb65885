"""`minipach accept`: record that a change of code, image or environment does not matter.

It is written here. `planning.accepted` reads and applies it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from minipach.environment.record_environment import commit_entries
from minipach.git.repo import need_identity
from minipach.git.tree_entries import FILE, TreeEntry
from minipach.model.repo_layout import ACCEPTED
from minipach.planning.accepted import Accepted, AcceptedChange, Kind
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.branch_check import need_branch
from minipach.project.project import Project
from minipach.project.uncommitted import shared_targets, uncommitted
from minipach.support.errors import Problem, UserError
from minipach.support.text import NAMED, quoted

_KINDS: tuple[Kind, ...] = ("code", "image")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The outcome of an acceptance. kept: datums that stay current · left: datums that are still to run."""

    pipeline: str
    changes: tuple[AcceptedChange, ...]
    kept: int
    left: int

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach accept --json`."""
        rows = [{"kind": c.kind, "new": c.new, "old": c.old} for c in self.changes]
        return {"pipeline": self.pipeline, "changes": rows, "current": self.kept, "to_run": self.left}


def accept_changes(project: Project, path: str, why: str) -> Acceptance:
    """Commit to the pipeline's branch that its code and image of now count as those of its published results.

    Raises:
        UserError: Nothing is published, nothing of this changed, or the results would not stay current.
    """
    project.need((path,))
    a = Assessment(project, path, SnapshotStore(project))
    try:
        if not a.state or a.source is None or a.branch:
            fix = f"minipach schedule {a.pipeline.name}"
            raise UserError(Problem("accept.nothing-published", path, "its checked-out branch has no results", fix))
        published = _published(a)
        changes = tuple(c for kind in _KINDS if (c := _change(a, published, kind, why)))
        if not changes:
            if changed := _uncommitted(a, path):
                message = f"uncommitted changes do not count ({', '.join(changed)})"
                fix = f"commit them first: datalad save -d {quoted(project.root)} -r"
                raise UserError(Problem("accept.not-committed", path, message, fix))
            message = "code, image and environment are those of the published results"
            raise UserError(Problem("accept.nothing-changed", path, message, f"minipach plan {a.pipeline.name}"))
        before = _current(a)
        a.accepted = Accepted({**a.accepted.old, **{(c.kind, c.new): c.old for c in changes}})
        kept = _current(a)
        if kept <= before:
            message = "no datum would stay current, since its command or inputs changed, too"
            raise UserError(Problem("accept.no-use", path, message, f"minipach plan {a.pipeline.name}"))
        _commit(a, path, changes, why)
        return Acceptance(a.pipeline.name, changes, kept, len(a.tasks) - kept)
    finally:
        a.close()


def _uncommitted(a: Assessment, path: str) -> list[str]:
    """Return some of the files of a pipeline and of its shared code that have uncommitted changes."""
    found = uncommitted(a.project, (path, *shared_targets(a.project, [path])))
    return [name for names in found.values() for name in names][:NAMED]


def _published(a: Assessment) -> Counter[tuple[str, str]]:
    """Return the code and image of the published results, as identity counts them, with how many have them."""
    found: Counter[tuple[str, str]] = Counter()
    a.known.read_ahead(published.id for published in a.state.values())
    for published in a.state.values():
        for result in a.known.of(published.id)[:1]:
            code, image = (str(result.recipe.get(kind, "")) for kind in _KINDS)
            found[a.accepted.first("code", code), a.accepted.first("image", image)] += 1
    return found


def _change(a: Assessment, published: Counter[tuple[str, str]], kind: Kind, why: str) -> AcceptedChange | None:
    """Return the change of one part of the recipe; None if it counts as what most results have."""
    now = a.counted.code if kind == "code" else a.counted.image
    old = published.most_common(1)[0][0][_KINDS.index(kind)] if published else ""
    if not old or old == now:
        return None
    who = a.repo.ident("AUTHOR").rpartition(">")[0] + ">"
    return AcceptedChange(kind, now, old, why, who, datetime.now(UTC).isoformat(timespec="seconds"))


def _current(a: Assessment) -> int:
    return sum((old := a.state.get(t.datum.name)) is not None and old.id == t.id for t in a.tasks)


def _commit(a: Assessment, path: str, changes: tuple[AcceptedChange, ...], why: str) -> None:
    assert a.source is not None
    need_identity(a.repo)
    before = a.repo.objects.read(f"{a.source}:{ACCEPTED}") or b""
    data = before + (b"\n" if before and not before.endswith(b"\n") else b"")
    entry = TreeEntry(FILE, a.repo.hash_blob(data + b"".join(c.line() for c in changes)), ACCEPTED)
    what = "accept a change of " + " and ".join(c.kind for c in changes)
    lines = [*([why] if why else []), *(f"{c.kind} {c.new} counts as {c.old}" for c in changes)]
    commit_entries(a.repo, path, (a.source, need_branch(a.repo, path)), {ACCEPTED: entry}, what, lines)
