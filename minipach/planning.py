"""The plans of a whole project: each pipeline's own, blocked where it waits for one upstream. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minipach import hostenv
from minipach.assess import Assessment, SnapshotStore
from minipach.git import is_dataset
from minipach.ledger import Ledger
from minipach.plan import Plan, force, tell_failures
from minipach.project import Project
from minipach.targets import Targets


def plan_project(project: Project, targets: Targets, *, forced: bool = False) -> tuple[list[Plan], list[str]]:
    """The plans of the chosen pipelines, in order, cut down to the datums asked for; and remarks for people."""
    store = SnapshotStore(project)
    plans: list[Plan] = []
    remarks: list[str] = []
    pending: dict[str, str] = {}
    for path in project.upstream_of(targets.order):
        waits = next((pending[u] for u in project.upstream(path) if u in pending), "")
        unborn = [u for u in project.upstream(path) if not is_dataset(project.root / u)]
        assessment = Assessment(project, path, store)
        try:
            if unborn:
                # its input doesn't exist yet, so that its datums can't be known
                waits = waits or f"waits for {project.name_of(unborn[0])}"
                plan = Plan(assessment.pipeline.name, (), waits)
            else:
                plan = replace(assessment.quick_plan(blocked=waits), waits=waits)
                if forced and path in targets.named:
                    plan = force(plan, targets.names(path, [s.name for s in plan.steps if s.action != "remove"]))
                remarks += drift_remarks(assessment) if path in targets.order else []
        finally:
            assessment.close()
        if waits or unborn or not plan.is_current:
            pending[path] = _waits_for(plan)
        if path in targets.order:
            plans.append(_limited(plan, targets, path))
    return with_failures(project, plans), remarks


def with_failures(project: Project, plans: Sequence[Plan]) -> list[Plan]:
    """The plans, with what this machine's ledger remembers of attempts that failed among their reasons."""
    path = project.state_dir / "ledger.sqlite"
    if not path.is_file() or not any(plan.counts["run"] for plan in plans):
        return list(plans)
    ledger = Ledger(path)
    try:
        return [tell_failures(p, ledger.failures(p.pipeline)) if p.counts["run"] else p for p in plans]
    finally:
        ledger.close()


def _limited(plan: Plan, targets: Targets, path: str) -> Plan:
    if not targets.limits(path):
        return plan
    names = targets.names(path, [s.name for s in plan.steps])
    return replace(plan, steps=tuple(s for s in plan.steps if s.name in names))


def _waits_for(plan: Plan) -> str:
    runs = plan.counts["run"]
    return f"waits for {plan.pipeline}" + (f" ({runs} to run)" if runs else "")


def drift_remarks(assessment: Assessment) -> list[str]:
    """A remark if the host environment is no longer the one on record."""
    image = assessment.image
    if image.text is None or assessment.head is None:
        return []
    now = hostenv.fingerprint(assessment.pipeline.transform.cmd, assessment.project.cache)
    changes = hostenv.drift(image.text, now)
    if not changes:
        return []
    shown = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
    name = assessment.pipeline.name
    return [
        f"{name}: this host's environment differs from the one on record ({shown}); minipach lock {name} takes it in"
    ]


@dataclass(frozen=True, slots=True)
class Cost:
    """What the runs of a plan are expected to take, from what such datums took before.

    wall: seconds at `slots` at once · cpu: seconds of processor time · runs: how many earlier runs this is made of ·
    unknown: datums of pipelines that never ran here, which are not counted in.
    """

    datums: int
    wall: float
    cpu: float
    slots: int
    runs: int
    unknown: int

    def as_json(self) -> dict[str, float | int]:
        """As documented for `minipach plan --json`."""
        return {
            "datums": self.datums,
            "wall_seconds": round(self.wall, 1),
            "cpu_hours": round(self.cpu / 3600, 4),
            "slots": self.slots,
            "from_runs": self.runs,
            "datums_unknown": self.unknown,
        }

    def text(self) -> str:
        """For people."""
        what = "datum" if self.datums == 1 else "datums"
        more = f"; {self.unknown} more datums of pipelines that never ran here" if self.unknown else ""
        return (
            f"expected: {self.datums} {what}, about {_duration(self.wall)} at -j {self.slots}, "
            f"{self.cpu / 3600:.2g} CPU hours (from {self.runs} earlier runs){more}"
        )


def expected_cost(project: Project, plans: list[Plan], slots: int) -> Cost | None:
    """The expected cost of the runs in these plans; None where there is nothing to run or nothing is known."""
    path = project.state_dir / "ledger.sqlite"
    if not path.is_file():
        return None
    ledger = Ledger(path)
    datums = runs = unknown = 0
    wall = cpu = 0.0
    for plan in plans:
        count = plan.counts["run"]
        times = ledger.durations(plan.pipeline)
        if count and times:
            seconds = sum(t.seconds for t in times) / len(times)
            datums += count
            runs += len(times)
            wall += max(seconds * count / slots, seconds)
            cpu += count * sum(t.cpu for t in times) / len(times)
        else:
            unknown += count
    ledger.close()
    return Cost(datums, wall, cpu, slots, runs, unknown) if datums else None


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
