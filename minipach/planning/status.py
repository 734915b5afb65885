"""The status of each pipeline: the plan in one word, with the failures of the job database. Reads only."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from minipach.git.repo import is_dataset
from minipach.model.failures import LEFT_AFTER, failure_kind, folded, named
from minipach.model.job_entries import Attempt, Repeated
from minipach.model.outside import Outside
from minipach.model.repo_layout import INPUTS
from minipach.model.states import ENDS, OPEN
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.failures import failed_now, last_now
from minipach.planning.outside_now import outside_now
from minipach.planning.plan import Plan, runs_again, skip_repeated_failures
from minipach.project.project import Project
from minipach.records.job_database import Ledger
from minipach.records.job_history import as_they_are
from minipach.records.service_state import service_line
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import many

_COUNTS = ("datums", "current", "stored", "missing", "failed", "left", "recovered", "remove", "upstream")
_NAMED = 5  # at most so many datums in a line
_WAYS = 5  # at most so many kinds of failure
State = Literal["current", "running", "behind", "failed", "blocked", "new", "service"]


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """One pipeline.

    counts: all datums, and each of them once: current, stored (its result waits to be published), missing, failed (at
    its last attempt), left (failed in several jobs with this very content), recovered; besides, what is to be removed,
    and the inputs that have changed upstream ·
    problems: what the user must mend before more can be known of it, or published; then it is blocked.
    """

    name: str
    state: State
    counts: dict[str, int]
    details: tuple[str, ...]
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach status --json`."""
        data = {"name": self.name, "state": self.state, "counts": self.counts, "details": list(self.details)}
        return data | ({"problems": problems_json(self.problems)} if self.problems else {})


def project_status(project: Project, paths: Collection[str] | None = None) -> list[PipelineStatus]:
    """Return the status of these pipelines (None: of all), in order.

    What is broken has its row, and keeps no other from its own.
    """
    store = SnapshotStore(project)
    ledger_path = project.local.database
    ledger = Ledger(ledger_path) if ledger_path.is_file() else None
    rows: list[PipelineStatus] = []
    pending: set[str] = set()
    for path in project.order if paths is None else project.upstream_of(paths):
        waits = [u for u in project.upstream(path) if u in pending]
        row, settled = _row(project, path, store, ledger, waits)
        if not settled:
            pending.add(path)
        if paths is None or path in paths:
            rows.append(row)
    if ledger:
        ledger.close()
    return rows


def _row(
    project: Project, path: str, store: SnapshotStore, ledger: Ledger | None, waits: list[str]
) -> tuple[PipelineStatus, bool]:
    """Return the status of one pipeline, and whether what takes from it has nothing to wait for."""
    if path in project.problems:
        return _blocked(project.name_of(path), project.problems[path]), False
    assessment = Assessment(project, path, store)
    try:
        attempts = ledger.last_attempts(assessment.pipeline.name) if ledger else {}
        unborn = [u for u in project.upstream(path) if not is_dataset(project.root / u)]
        repeated = ledger.repeated_failures(assessment.pipeline.name, LEFT_AFTER) if ledger else {}
        row = _status(assessment, waits, attempts, repeated, unborn=unborn)
        job = _running(project, ledger, row.name)
        if job:
            return replace(row, state="running", details=(job, *row.details)), False
        return row, row.state == "current" or _gave_what_it_has(assessment, row, waits)
    except UserError as error:
        return _blocked(project.name_of(path), error.problems), False
    finally:
        assessment.close()


def _running(project: Project, ledger: Ledger | None, name: str) -> str:
    """Return the line that names the job which runs for a pipeline, or whose sets are submitted; empty if none does."""
    rows = as_they_are(project, ledger.jobs(name, 1)) if ledger else []
    if not rows or rows[0].state not in OPEN:
        return ""
    return f"job {rows[0].id[:12]} is {rows[0].state}; minipach top"


def _blocked(name: str, problems: tuple[Problem, ...] = (), details: tuple[str, ...] = ()) -> PipelineStatus:
    counts = dict.fromkeys(_COUNTS, 0)
    return PipelineStatus(name, "blocked", counts, details, problems)


def _gave_what_it_has(assessment: Assessment, row: PipelineStatus, waits: list[str]) -> bool:
    """Return whether only failed datums are missing and `publish: available` lets downstream continue."""
    counts = row.counts
    settled = not (counts["missing"] or counts["stored"] or counts["recovered"] or counts["remove"] or waits)
    return assessment.pipeline.publish == "available" and row.state == "failed" and settled


def _status(
    assessment: Assessment,
    waits: list[str],
    attempts: dict[str, Attempt],
    repeated: Mapping[str, Repeated],
    *,
    unborn: list[str],
) -> PipelineStatus:
    name = assessment.pipeline.name
    # one without datums has nothing to do, and still there is nothing to take from it before it exists
    waiting = ", ".join(assessment.project.name_of(w) for w in dict.fromkeys((*waits, *unborn)))
    if unborn:
        return _blocked(name, details=(f"waits for {waiting}",))
    plan = assessment.quick_plan()

    def outside() -> Outside | None:
        return outside_now(assessment.project, assessment.pipeline)

    plan = skip_repeated_failures(plan, repeated, outside)
    again = runs_again(plan, repeated, outside)
    left = [attempts[s.name] for s in plan.of("skip") if s.name in attempts]
    failed = failed_now(plan, attempts)
    recovered = sum(a.kind == "recovered" for a in last_now(plan, attempts))
    to_come = {s.id for s in plan.steps if s.action in ("run", "skip")}  # what has the same content waits for these
    followers = sum(s.action == "reuse" and s.id in to_come for s in plan.steps)
    # where every datum is as before, there is nothing to take in
    upstream = [] if plan.is_current else _upstream_changes(assessment)
    counts = {
        "datums": len(plan.steps) - plan.counts["remove"],
        "current": plan.counts["current"],
        "stored": plan.counts["reuse"] - followers,
        "missing": plan.counts["run"] + followers - len(failed) - recovered,
        "failed": len(failed),
        "left": plan.counts["skip"],
        "recovered": recovered,
        "remove": plan.counts["remove"],
        "upstream": len(upstream),
    }
    details = [*_failures(name, failed, "failed", again), *_failures(name, left, "failed repeatedly, left alone")]
    details += upstream
    details += [*assessment.exclusions, *assessment.acceptances]
    details += [f"deferred: {one.repo}: {one.text}" for one in assessment.deferred]
    if absence := assessment.image.absence:
        details.append(absence)
    if waits:
        details.append(f"waits for {waiting}")
    elif assessment.pipeline.service is not None:
        details.append(service_line(assessment.project.local, assessment.pipeline))
    elif plan.is_empty and not (assessment.has_nothing and assessment.deferred):  # that is said above
        details.append(assessment.no_datums)
    return PipelineStatus(name, _word(assessment, plan, [*failed, *left], waits), counts, tuple(details), plan.problems)


def _failures(
    name: str, attempts: Sequence[Attempt], what: str, again: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Say what failed, of datums that failed in the same way once. again: why some run again, by datum id."""
    alike = folded((failure_kind(a), a.datum) for a in attempts)
    first = {a.datum: a for a in attempts}
    for names in list(alike.values())[:_WAYS]:
        a = first[names[0]]
        word = what if a.kind == "failed" else ENDS[a.kind]
        shown = names[0] if len(names) == 1 else f"{many(len(names), 'datum')} ({named(names, _NAMED)})"
        more = f"; {again[a.datum_id]}" if a.datum_id in again else ""
        yield f"{word}: {shown}: {a.message}{more}; minipach logs {name} {shlex.quote(names[0])}"
    if len(alike) > _WAYS:
        yield f"and {many(sum(map(len, list(alike.values())[_WAYS:])), 'datum')} in other ways; minipach logs {name}"


def _word(assessment: Assessment, plan: Plan, failed: list[Attempt], waits: list[str]) -> State:
    if failed:
        return "failed"
    if waits or plan.problems:
        return "blocked"
    if assessment.pipeline.service is not None:
        return "service"
    if plan.is_current and assessment.exists:
        return "current"
    return "behind" if assessment.state else "new"


def _upstream_changes(assessment: Assessment) -> list[str]:
    """Return the inputs that have moved on since the commit that the branch pins."""
    from minipach.model.run_record import slugs

    if assessment.head is None:
        return []
    folders = slugs(assessment.pipeline)
    entries = assessment.repo.ls_tree(assessment.head, ":(top,literal)inputs", recursive=True)
    pinned = {e.path: e.sha for e in entries}
    found = []
    for (repo, branch), commit in assessment.commits.items():
        was = pinned.get(f"{INPUTS}{folders[repo, branch]}")
        if was is not None and was != commit:
            found.append(f"{repo} has moved on ({was[:8]} → {commit[:8]})")
    return found
