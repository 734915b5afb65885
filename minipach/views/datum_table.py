"""The datums of pipelines as rows: the plan of each, with the last attempt that the job database remembers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from minipach.model.failures import without_name
from minipach.model.job_entries import Attempt
from minipach.planning.plan import Plan
from minipach.planning.project_plan import Plans, plan_project
from minipach.project.project import Project
from minipach.project.targets import Targets, parse_targets
from minipach.records.job_database import Ledger
from minipach.support.errors import Problem, problems_json

# The states of datums, in the order in which people want to see them.
STATES = ("failed", "lost", "skipped", "blocked", "to run", "stored", "recovered", "remove", "current")
SORTS = ("name", "state", "seconds", "memory")


class DatumRow(NamedTuple):
    """One datum. state: one of STATES · reason: of its failure, else of its action · why: of its action.

    The rest is of its last attempt with this content.

    seconds, memory, ended: None where nothing is known · exit: None where it never ran with this content.
    """

    name: str
    id: str
    action: str
    state: str
    reason: str
    why: str
    seconds: float | None = None
    memory: int | None = None
    tries: int = 0
    exit: int | None = None
    host: str = ""
    ended: float | None = None

    def is_selected(self, state: str, text: str) -> bool:
        """Return whether it is in a state, and its name or reason has a text; "" for any."""
        return (not state or self.state == state) and (not text or text in self.name or text in self.reason)

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return self._asdict()


@dataclass(frozen=True)
class DatumTable:
    """The datums of one pipeline. waits, problems, hints: as in its plan · cost: of what is to run, for people."""

    pipeline: str
    rows: tuple[DatumRow, ...]
    waits: str = ""
    problems: tuple[Problem, ...] = ()
    hints: tuple[str, ...] = ()
    cost: str = ""

    def with_cost(self, cost: str) -> DatumTable:
        """Return the table that says what the runs are expected to cost."""
        return replace(self, cost=cost)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the names in their order: the number of a row means the same as long as it does."""
        names = "\0".join(row.name for row in self.rows)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {row.name: number for number, row in enumerate(self.rows)}

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of datums by state; states without any are left out."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES if found[state]}

    @cached_property
    def reasons(self) -> dict[tuple[str, str], list[str]]:
        """The names of datums that are not current, by state and reason (see `by_reason`)."""
        return by_reason(self.rows)

    def row(self, name: str) -> DatumRow | None:
        """Return the row of a datum."""
        at = self._places.get(name)
        return None if at is None else self.rows[at]

    def select(self, *, state: str = "", text: str = "", sort: str = "name", reverse: bool = False) -> list[DatumRow]:
        """Return the rows in one state whose name or reason has a text, sorted; unknown numbers come last."""
        found = [row for row in self.rows if row.is_selected(state, text)]
        if sort in ("seconds", "memory"):
            numbers = [((row.seconds if sort == "seconds" else row.memory), row) for row in found]
            known = [(number, row) for number, row in numbers if number is not None]
            known.sort(key=lambda pair: pair[0], reverse=reverse)
            return [row for _, row in known] + [row for number, row in numbers if number is None]
        if sort == "state":
            return sorted(found, key=lambda r: STATES.index(r.state), reverse=reverse)
        return found[::-1] if reverse else found

    def as_json(self) -> dict[str, Any]:
        """Return what is known of the pipeline besides its rows."""
        data: dict[str, Any] = {"pipeline": self.pipeline, "counts": self.counts, "hints": list(self.hints)}
        return {**data, "waits": self.waits, "problems": problems_json(self.problems)}


def read_tables(project: Project, targets: Targets | None = None) -> tuple[dict[str, DatumTable], Plans]:
    """Return the tables of the pipelines by path, and the plans that they follow from."""
    chosen = targets or parse_targets(project, [])
    plans = plan_project(project, chosen)
    ledger = Ledger(project.local.database) if project.local.database.is_file() else None
    try:
        tables = {}
        for path, plan in zip(chosen.order, plans.plans, strict=True):
            tables[path] = table_of(plan, ledger.last_attempts(plan.pipeline) if ledger else {})
        return tables, plans
    finally:
        if ledger:
            ledger.close()


def table_of(plan: Plan, last: Mapping[str, Attempt]) -> DatumTable:
    """Return the table of one pipeline. last: the last attempt of each datum, by name."""
    rows = tuple(_row(step.name, step.id, step.action, step.reason, last.get(step.name)) for step in plan.steps)
    return DatumTable(plan.pipeline, rows, plan.waits, plan.problems, plan.hints)


def _row(name: str, ident: str, action: str, reason: str, last: Attempt | None) -> DatumRow:
    state = {"run": "to run", "skip": "skipped", "reuse": "stored"}.get(action, action)
    if last is None or last.datum_id != ident:
        return DatumRow(name, ident, action, state, reason, reason)
    shown = reason
    if last.kind != "ok" and action == "run":
        state, shown = last.kind, last.message or reason
    took = (last.took.seconds, last.took.memory, last.tries, last.result.exit, last.host, last.ended)
    return DatumRow(name, ident, action, state, shown, reason, *took)


def by_reason(rows: Sequence[DatumRow]) -> dict[tuple[str, str], list[str]]:
    """Return the names of datums that are not current, by state and reason, the most frequent first.

    The name of the datum itself is left out of the reason, so that equal reasons are equal.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.state != "current":
            found.setdefault((row.state, without_name(row.reason, row.name)), []).append(row.name)
    return dict(sorted(found.items(), key=lambda item: (STATES.index(item[0][0]), -len(item[1]), item[0][1])))
