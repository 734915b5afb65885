"""How each pipeline stands: the plan put into one word, with the failures that the ledger remembers. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minipach.assess import Assessment, SnapshotStore
from minipach.entries import Attempt
from minipach.errors import UserError
from minipach.git import is_dataset
from minipach.jobs import failed_now, last_now
from minipach.ledger import Ledger
from minipach.plan import ENDS, Plan
from minipach.project import Project

State = Literal["current", "behind", "failed", "blocked", "new"]


@dataclass(frozen=True, slots=True)
class Status:
    """One pipeline. counts: datums, current, missing, failed (of the missing, at their last attempt), upstream.

    problems: what the user must mend before more can be known of it, or published; then it is blocked.
    """

    name: str
    state: State
    counts: dict[str, int]
    details: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As documented for `minipach status --json`."""
        data = {"name": self.name, "state": self.state, "counts": self.counts, "details": list(self.details)}
        return data | ({"problems": list(self.problems)} if self.problems else {})


def project_status(project: Project) -> list[Status]:
    """The status of every pipeline, in order. What is broken has its row, and keeps no other from its own."""
    store = SnapshotStore(project)
    ledger_path = project.state_dir / "ledger.sqlite"
    ledger = Ledger(ledger_path) if ledger_path.is_file() else None
    rows: list[Status] = []
    pending: set[str] = set()
    for path in project.order:
        waits = [u for u in project.upstream(path) if u in pending]
        row, settled = _row(project, path, store, ledger, waits)
        if not settled:
            pending.add(path)
        rows.append(row)
    if ledger:
        ledger.close()
    return rows


def _row(
    project: Project, path: str, store: SnapshotStore, ledger: Ledger | None, waits: list[str]
) -> tuple[Status, bool]:
    """The status of one pipeline, and whether what takes from it has nothing to wait for."""
    if path in project.problems:
        return _blocked(project.name_of(path), project.problems[path]), False
    assessment = Assessment(project, path, store)
    try:
        attempts = ledger.last_attempts(assessment.pipeline.name) if ledger else {}
        unborn = [u for u in project.upstream(path) if not is_dataset(project.root / u)]
        row = _status(assessment, waits, attempts, unborn=unborn)
        return row, row.state == "current" or _gave_what_it_has(assessment, row, waits)
    except UserError as error:
        return _blocked(project.name_of(path), error.problems), False
    finally:
        assessment.close()


def _blocked(name: str, problems: tuple[str, ...] = (), details: tuple[str, ...] = ()) -> Status:
    counts = {"datums": 0, "current": 0, "missing": 0, "failed": 0, "recovered": 0, "remove": 0, "upstream": 0}
    return Status(name, "blocked", counts, details, problems)


def _gave_what_it_has(assessment: Assessment, row: Status, waits: list[str]) -> bool:
    """Whether only failed datums are missing where `publish: available` lets downstream go on without them."""
    counts = row.counts
    settled = counts["missing"] == counts["failed"] and not counts["remove"] and not waits
    return assessment.pipeline.publish == "available" and row.state == "failed" and settled


def _status(assessment: Assessment, waits: list[str], attempts: dict[str, Attempt], *, unborn: list[str]) -> Status:
    name = assessment.pipeline.name
    # one without datums has nothing to do, and still there is nothing to take from it before it exists
    waiting = ", ".join(assessment.project.name_of(w) for w in dict.fromkeys((*waits, *unborn)))
    if unborn:
        return _blocked(name, details=(f"waits for {waiting}",))
    plan = assessment.quick_plan()
    missing = [s for s in plan.steps if s.action in ("run", "reuse")]
    failed = failed_now(plan, attempts)
    recovered = sum(a.kind == "recovered" for a in last_now(plan, attempts))
    # where every datum is as before, there is nothing to take in
    upstream = [] if plan.is_current else _upstream_changes(assessment)
    counts = {
        "datums": len(plan.steps) - plan.counts["remove"],
        "current": plan.counts["current"],
        "missing": len(missing),
        "failed": len(failed),
        "recovered": recovered,
        "remove": plan.counts["remove"],
        "upstream": len(upstream),
    }
    details = [f"{ENDS[a.kind]}: {a.datum}: {a.message}; minipach logs {name} {a.datum}" for a in failed[:5]]
    details += [f"and {len(failed) - 5} more failed"] if len(failed) > 5 else []
    details += upstream
    if waits:
        details.append(f"waits for {waiting}")
    elif plan.is_empty:
        details.append(assessment.no_datums)
    return Status(name, _word(assessment, plan, failed, waits), counts, tuple(details), plan.problems)


def _word(assessment: Assessment, plan: Plan, failed: list[Attempt], waits: list[str]) -> State:
    if failed:
        return "failed"
    if waits or plan.problems:
        return "blocked"
    if plan.is_current and assessment.exists:
        return "current"
    return "behind" if assessment.state else "new"


def _upstream_changes(assessment: Assessment) -> list[str]:
    """The inputs that have moved on since the commit that the branch pins."""
    from minipach.records import slugs

    if assessment.head is None:
        return []
    folders = slugs(assessment.pipeline)
    entries = assessment.repo.ls_tree(assessment.head, ":(top,literal)inputs", recursive=True)
    pinned = {e.path: e.sha for e in entries}
    found = []
    for (repo, branch), commit in assessment.commits.items():
        was = pinned.get(f"inputs/{folders[repo, branch]}")
        if was is not None and was != commit:
            found.append(f"{repo} has moved on ({was[:8]} → {commit[:8]})")
    return found
