"""Datums of now by how they stand: which of them failed last time, and are still missing. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from minipach.model.job_entries import Attempt
from minipach.model.states import FAILED
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.plan import Plan
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.records.job_history import open_ledger


def failed_now(plan: Plan, attempts: dict[str, Attempt]) -> list[Attempt]:
    """Return the last attempts of the datums that are missing because they failed, as they are now."""
    return [a for a in last_now(plan, attempts) if a.kind in FAILED]


def last_now(plan: Plan, attempts: dict[str, Attempt]) -> list[Attempt]:
    """Return the last attempts of the datums that are missing, as they are now, in the plan's order."""
    found = [(s.id, attempts.get(s.name)) for s in plan.steps if s.action == "run"]
    return [last for datum_id, last in found if last is not None and last.datum_id == datum_id]


def datum_states(project: Project, assessment: Assessment) -> dict[str, str]:
    """Return `current`, `missing` or `failed` (missing, and failed at its last attempt) for each datum of now."""
    plan = assessment.quick_plan()
    ledger = open_ledger(project)
    failed = {a.datum for a in failed_now(plan, ledger.last_attempts(assessment.pipeline.name))}
    ledger.close()
    found = {}
    for step in plan.steps:
        if step.action != "remove":
            rest = "failed" if step.name in failed else "missing"
            found[step.name] = "current" if step.action == "current" else rest
    return found


def failed_last_time(project: Project, paths: Sequence[str]) -> Targets | None:
    """Return targets for datums that are missing and failed at their last attempt, whatever has changed; None: none.

    By name: after a fix of the code these are to run first. Where none of them is to run any more, since a result
    of earlier stands for it or it is no longer there, the pipeline is asked for as a whole: its branch may be behind.
    """
    store = SnapshotStore(project)
    ledger = open_ledger(project)
    patterns: dict[str, tuple[str, ...]] = {}
    whole: set[str] = set()
    try:
        for path in paths:
            attempts = ledger.last_attempts(project.name_of(path))
            names = {a.datum for a in attempts.values() if a.kind != "ok"}
            if not names:
                continue
            assessment = Assessment(project, path, store)
            try:
                plan = assessment.quick_plan()
            finally:
                assessment.close()
            chosen = tuple(s.name for s in plan.steps if s.action in ("run", "reuse") and s.name in names)
            if chosen:
                patterns[path] = chosen
            elif not plan.is_current and not plan.counts["run"]:
                whole.add(path)
    finally:
        ledger.close()
    named = frozenset({*patterns, *whole})
    return Targets(project.downstream(named), patterns, named) if named else None
