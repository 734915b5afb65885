"""The expected cost of a plan: time, by earlier durations of datums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minipach.planning.plan import Plan
from minipach.project.project import Project
from minipach.records.job_database import Ledger
from minipach.support.text import many


@dataclass(frozen=True, slots=True)
class Cost:
    """The expected cost of the runs of a plan, from earlier durations of such datums.

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
        """Return the JSON object of `minipach plan --json`."""
        return {
            "datums": self.datums,
            "wall_seconds": round(self.wall, 1),
            "cpu_hours": round(self.cpu / 3600, 4),
            "slots": self.slots,
            "from_runs": self.runs,
            "datums_unknown": self.unknown,
        }

    def text(self) -> str:
        """Return the cost for people."""
        more = f"; {many(self.unknown, 'more datum')} of pipelines that never ran here" if self.unknown else ""
        return (
            f"expected: {many(self.datums, 'datum')}, about {_duration(self.wall)} at -j {self.slots}, "
            f"{_duration(self.cpu)} of CPU time (from {many(self.runs, 'earlier run')}){more}"
        )


def expected_cost(project: Project, plans: Sequence[Plan], slots: int) -> Cost | None:
    """Return the expected cost of the runs in these plans; None where there is nothing to run or nothing is known."""
    path = project.local.database
    if not path.is_file():
        return None
    ledger = Ledger(path)
    datums = runs = unknown = 0
    wall = cpu = 0.0
    try:
        for plan in plans:
            count = plan.counts["run"]
            times = ledger.durations(plan.pipeline) if count else []
            if times:
                seconds = sum(t.seconds for t in times) / len(times)
                datums += count
                runs += len(times)
                wall += max(seconds * count / slots, seconds)
                cpu += count * sum(t.cpu for t in times) / len(times)
            else:
                unknown += count
    finally:
        ledger.close()
    return Cost(datums, wall, cpu, slots, runs, unknown) if datums else None


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
