"""The plans of a whole project: each pipeline's own, blocked where it waits for one upstream. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from minipach import hostenv
from minipach.assess import Assessment, SnapshotStore
from minipach.git import is_dataset
from minipach.plan import Plan
from minipach.project import Project


def plan_project(project: Project, names: Sequence[str]) -> tuple[list[Plan], list[str]]:
    """The plans of the named pipelines and those downstream, in order; and remarks for people."""
    store = SnapshotStore(project)
    plans: list[Plan] = []
    remarks: list[str] = []
    pending: dict[str, str] = {}
    chosen = project.select(names)
    for path in project.upstream_of(chosen):
        waits = next((pending[u] for u in project.upstream(path) if u in pending), "")
        unborn = [u for u in project.upstream(path) if not is_dataset(project.root / u)]
        assessment = Assessment(project, path, store)
        try:
            if unborn:
                # its input doesn't exist yet, so that its datums can't be known
                plan = Plan(assessment.pipeline.name, ())
                remarks.append(f"{plan.pipeline}: {waits or 'waits for ' + unborn[0]}")
            else:
                plan = assessment.quick_plan(blocked=waits)
                remarks += _drift(assessment) if path in chosen else []
        finally:
            assessment.close()
        if waits or unborn or not plan.is_current:
            pending[path] = _waits_for(plan)
        if path in chosen:
            plans.append(plan)
    return plans, remarks


def _waits_for(plan: Plan) -> str:
    runs = plan.counts["run"]
    return f"waits for {plan.pipeline}" + (f" ({runs} to run)" if runs else "")


def _drift(assessment: Assessment) -> list[str]:
    """A remark if the host environment is no longer the one on record."""
    image = assessment.image
    if image.text is None or assessment.head is None:
        return []
    changes = hostenv.drift(image.text, hostenv.fingerprint(assessment.pipeline.transform.cmd))
    if not changes:
        return []
    shown = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
    name = assessment.pipeline.name
    return [
        f"{name}: this host's environment differs from the one on record ({shown}); minipach lock {name} takes it in"
    ]
