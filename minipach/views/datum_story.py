"""The whole story of one datum: what it is made of, what is published for it, what would happen, and its last run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from minipach.model.job_entries import Attempt
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.plan import PlannedDatum
from minipach.planning.project_plan import with_failures
from minipach.project.project import Project
from minipach.project.targets import unknown_datum
from minipach.records.branch_history import record_commits
from minipach.records.job_database import Ledger
from minipach.records.published_state import Published
from minipach.support.errors import UserError
from minipach.support.text import many, suggest


@dataclass(frozen=True)
class Story:
    """The story of a datum. results: [name, stored under, folder] of all results of its id."""

    pipeline: str
    step: PlannedDatum
    files: tuple[tuple[str, str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    published: Published | None
    results: tuple[tuple[str, str], ...]
    record: str
    attempt: Attempt | None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach plan --why --json`."""
        return {
            "pipeline": self.pipeline,
            "name": self.step.name,
            "id": self.step.id,
            "action": self.step.action,
            "reason": self.step.reason,
            "files": [{"input": i, "path": p, "content": c} for i, p, c in self.files],
            "recipe": dict(self.recipe),
            "published": {"id": self.published.id, "place": self.published.dest or "/"} if self.published else None,
            "results": [{"name": n, "where": w} for n, w in self.results],
            "record": self.record,
            "last_attempt": {"kind": self.attempt.kind, "log": self.attempt.log} if self.attempt else None,
        }

    def lines(self) -> list[str]:
        """Return the lines for people."""
        step = self.step
        found = [f"{self.pipeline}: {step.name}", f"  {step.action}" + (f": {step.reason}" if step.reason else "")]
        found.append(f"  id {step.id}, made of")
        found += [f"    {name}: {value}" for name, value in self.recipe]
        found += [f"    {name}:{path}  {content}" for name, path, content in self.files[:20]]
        found += [f"    and {many(len(self.files) - 20, 'more file')}"] if len(self.files) > 20 else []
        if self.published is None:
            found.append("  published: nothing yet")
        else:
            same = "this very id" if self.published.id == step.id else f"id {self.published.id}"
            found.append(f"  published: {same}, at {self.published.dest or '/'}")
        if self.record:
            found.append(f"  record: {self.record}")
        for name, where in self.results:
            found.append(f"  result known: {name}, minipach:{where}")
        if self.attempt is not None:
            when = datetime.fromtimestamp(self.attempt.ended, UTC).isoformat(timespec="seconds")
            what = f"{self.attempt.kind}, {self.attempt.took.seconds:.1f} s, {when}"
            found.append(f"  last run here: {what}; minipach logs {self.pipeline} '{step.name}'")
        return found


def story(project: Project, path: str, datum: str) -> Story:
    """Return everything about one datum; UserError if there is none of that name."""
    a = Assessment(project, path, SnapshotStore(project))
    try:
        return story_of(a, step_of(a, datum))
    finally:
        a.close()


def step_of(a: Assessment, datum: str) -> PlannedDatum:
    """Return what would be done with a datum; UserError if there is none of that name."""
    (plan,) = with_failures(a.project, [a.quick_plan()])
    step = next((s for s in plan.steps if s.name == datum), None)
    if step is None:
        fix = suggest(datum, [s.name for s in plan.steps])
        raise UserError(unknown_datum(a.path, datum, fix, a.pipeline.exclude))
    return step


def story_of(a: Assessment, step: PlannedDatum) -> Story:
    """Return everything about one datum. step: what would be done with it."""
    datum = step.name
    task = next((task for task in a.tasks if task.datum.name == datum), None)
    files: list[tuple[str, str, str]] = []
    for m in task.datum.matches if task else ():
        snapshot = a.snapshots[m.repo, m.branch]
        files += [(m.input, "/" + p, e.content) for p, e in snapshot.below(m.path)]
    recipe = [("image", f"{a.image.label} ({a.recipe.image})"), ("code", a.recipe.code)]
    recipe += [(k, str(v)) for k, v in sorted(a.recipe.transform.items())]
    return Story(
        a.pipeline.name,
        step,
        tuple(files),
        tuple(recipe),
        a.state.get(datum),
        tuple((r.name, r.where) for r in a.known.of(step.id)),
        _record(a, datum),
        _attempt(a.project, a.pipeline.name, datum, step.id),
    )


def _record(a: Assessment, datum: str) -> str:
    """Return the commit on the branch that holds the run record of what is published for this datum."""
    published = a.state.get(datum)
    if published is None or a.head is None:
        return ""
    found = record_commits(a.repo, a.head, [(published.name, published.id)])
    commit = next((commit for commit, _ in found.values()), "")
    return a.repo.line("log", "-1", "--format=%H %s", commit) if commit else ""


def _attempt(project: Project, pipeline: str, datum: str, datum_id: str) -> Attempt | None:
    """Return the last attempt of a datum, if it was one with the content of now."""
    path = project.local.database
    if not path.is_file():
        return None
    ledger = Ledger(path)
    try:
        last = ledger.last_attempt(pipeline, datum)
        return last if last is not None and last.datum_id == datum_id else None
    finally:
        ledger.close()
