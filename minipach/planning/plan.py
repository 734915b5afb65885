"""The plan: for each datum what would happen to it, and why. Pure.

`make_plan` decides whether a datum runs. `assessment` collects what it is asked with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

from minipach.datums.identity import IdentityRecipe
from minipach.model.datum import Task
from minipach.model.failures import LEFT_AFTER
from minipach.model.job_entries import Repeated
from minipach.model.neutral_names import restore as with_words
from minipach.model.outside import Outside, outlived
from minipach.model.states import ENDS
from minipach.planning.branch_triggers import Deferral
from minipach.records.published_state import Published
from minipach.records.results_branch import Result
from minipach.support.errors import Problem, problems_json
from minipach.support.text import many, short

Action = Literal["run", "reuse", "current", "remove", "skip", "blocked"]
ACTIONS: tuple[Action, ...] = ("run", "reuse", "current", "remove", "skip", "blocked")
NEW = "new content"
NEW_NAME = "new name"


class KnownResults(Protocol):
    """The questions of the plan to the results branch."""

    def __contains__(self, datum_id: str) -> bool: ...

    def of(self, datum_id: str) -> tuple[Result, ...]:
        """Return the stored results of an id."""
        ...

    def named(self, datum_id: str, name: str) -> Result | None:
        """Return the result of an id that was stored under this name."""
        ...


class FailedBefore(Protocol):
    """The memory of a datum whose last attempt did not succeed."""

    @property
    def datum_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def times(self) -> int: ...


class PlannedDatum(NamedTuple):
    """One datum's action with its reason; `task` is None for what is removed.

    source: the result that a reuse copies (None while its first run is itself still to come).
    """

    name: str
    id: str
    action: Action
    reason: str
    task: Task | None = None
    source: Result | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are put back into the paths of its result."""
        return self.task.words if self.task else ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one pipeline, in the order of its datums, what is removed last.

    waits: for which pipeline upstream (`waits for edges (2 to run)`); what that one will publish, nobody knows yet ·
    problems: what the user must mend before there can be any steps, or before what they give can be published · note:
    why it has no datums, if it has none; or that some may be in each other's way · hints: what would pay, or is not
    as the spec asks for · deferred: inputs with commits that their trigger has not released · is_service: it has
    no jobs.
    """

    pipeline: str
    steps: tuple[PlannedDatum, ...]
    waits: str = ""
    problems: tuple[Problem, ...] = ()
    note: str = ""
    hints: tuple[str, ...] = ()
    deferred: tuple[Deferral, ...] = ()
    is_service: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """The number of datums by action."""
        found = Counter(step.action for step in self.steps)
        return {action: found[action] for action in ACTIONS}

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        return not self.problems and all(step.action == "current" for step in self.steps)

    @property
    def is_empty(self) -> bool:
        """Whether it has no datums."""
        return all(step.action == "remove" for step in self.steps)

    def of(self, action: Action) -> tuple[PlannedDatum, ...]:
        """Return the steps with one action."""
        return tuple(step for step in self.steps if step.action == action)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as documented for `minipach plan --json`."""
        data: dict[str, Any] = {
            "name": self.pipeline,
            "counts": self.counts,
            "datums": [
                {"name": s.name, "id": s.id, "action": s.action, "reason": s.reason}
                | ({"visible": s.task.visible} if s.task and s.task.visible else {})
                for s in self.steps
            ],
        }
        data |= {"waits": self.waits} if self.waits else {}
        data |= {"note": self.note} if self.note else {}
        data |= {"hints": list(self.hints)} if self.hints else {}
        data |= {"deferred": [one.as_json() for one in self.deferred]} if self.deferred else {}
        return data | ({"problems": problems_json(self.problems)} if self.problems else {})


def make_plan(
    pipeline: str,
    tasks: Sequence[Task],
    *,
    state: Mapping[str, Published],
    known: KnownResults,
    explain: Callable[[Task, Published], str],
    blocked: str = "",
    earlier: Plan | None = None,
) -> Plan:
    """Compare what should be with what is.

    explain: why a published datum must run again (see `reason_for`) · blocked: if set, the reason why nothing of
    this pipeline can be decided yet; datums that are current stay so · earlier: a plan of these very tasks and this
    very state: what is current in it is so still.
    """
    steps: list[PlannedDatum] = []
    leaders: dict[str, Task] = {}
    for index, task in enumerate(tasks):
        if earlier is not None and earlier.steps[index].action == "current":
            steps.append(earlier.steps[index])
            continue
        name = task.datum.name
        before = state.get(name)
        if before is not None and (before.id, before.dest) == (task.id, task.dest):
            steps.append(PlannedDatum(name, task.id, "current", "", task))
            continue
        if blocked:
            steps.append(PlannedDatum(name, task.id, "blocked", blocked, task))
            continue
        step = _from_known(task, known) if task.id in known else None
        if step is not None and step.action == "reuse":
            steps.append(step)
            continue
        leader = leaders.get(task.id)
        if leader is not None and step is None:
            steps.append(PlannedDatum(name, task.id, "reuse", f"same content as {leader.datum.name}", task))
            continue
        leaders.setdefault(task.id, task)
        reason = step.reason if step else explain(task, before) if before else NEW
        if task.visible and step is None:
            reason += f"; {'a part of its name is' if task.words else 'its names stay'} visible: {task.visible}"
        steps.append(PlannedDatum(name, task.id, "run", reason, task))
    wanted = {task.datum.name for task in tasks}
    for name in sorted(state.keys() - wanted):
        action: Action = "blocked" if blocked else "remove"
        steps.append(PlannedDatum(name, state[name].id, action, blocked or "no longer matched"))
    return Plan(pipeline, tuple(steps))


def mark_new_names(plan: Plan, content_of: Callable[[PlannedDatum], Hashable]) -> Plan:
    """Return the plan that says of each datum whether its content is new, or only its name.

    Args:
        plan: The plan.
        content_of: The content of a step's inputs, without names; None where nobody knows it.
    """
    actions = {step.action for step in plan.steps}
    if actions.isdisjoint(("current", "remove")) or not any(_is_new(step) for step in plan.steps):
        return plan  # nothing to compare: contents of many datums take time
    known: dict[Hashable, str] = {}
    for step in plan.steps:
        if step.action in ("current", "remove"):
            known.setdefault(content_of(step), step.name)
    known.pop(None, None)
    return replace(
        plan, steps=tuple(_with_old_name(s, known.get(content_of(s)) if _is_new(s) else None) for s in plan.steps)
    )


def _is_new(step: PlannedDatum) -> bool:
    return step.action == "run" and step.reason.startswith(NEW)


def _with_old_name(step: PlannedDatum, old: str | None) -> PlannedDatum:
    if old is None:
        return step
    return step._replace(reason=f"{NEW_NAME} (the content is that of {old}){step.reason.removeprefix(NEW)}")


def force_datums(plan: Plan, names: Set[str]) -> Plan:
    """Return the plan with the named datums run again, whatever is known of them."""
    steps = tuple(
        s._replace(action="run", reason="forced", source=None)
        if s.name in names and s.action in ("current", "reuse")
        else s
        for s in plan.steps
    )
    return replace(plan, steps=steps)


def skip_repeated_failures(plan: Plan, repeated: Mapping[str, Repeated], outside: Callable[[], Outside | None]) -> Plan:
    """Return the plan that runs nothing which failed again and again.

    Args:
        plan: The plan.
        repeated: The datum ids that failed in several jobs with this very content, code and image.
        outside: Gives the limits of now, and more that isn't in the identity; None: all failures count.
    """
    if not repeated:
        return plan
    again = runs_again(plan, repeated, outside)
    return replace(plan, steps=tuple(_skipped(s, repeated.get(s.id), again.get(s.id)) for s in plan.steps))


def runs_again(plan: Plan, repeated: Mapping[str, Repeated], outside: Callable[[], Outside | None]) -> dict[str, str]:
    """Return why what failed again and again runs once more, by datum id: see `skip_repeated_failures`."""
    wanted = {s.id for s in plan.steps if s.action in ("run", "skip")} & repeated.keys()
    if not any(end.outside for datum_id in wanted for end in repeated[datum_id].ends):
        return {}
    now = outside()
    if now is None:
        return {}
    names: dict[str, set[str]] = {}
    for step in plan.steps:
        if step.action != "remove":
            names.setdefault(step.id, set()).add(step.name)
    found = {}
    for datum_id in wanted:
        ends = repeated[datum_id].ends
        reasons = [why for end in ends if (why := outlived(end.outside, end.datum, now, names))]
        if len(ends) - len(reasons) < LEFT_AFTER:
            found[datum_id] = reasons[-1]
    return found


def _skipped(step: PlannedDatum, repeated: Repeated | None, again: str | None) -> PlannedDatum:
    if repeated is None or step.action != "run":
        return step
    if again is not None:
        return step._replace(reason=again if step.reason == NEW else f"{step.reason}; {again}")
    return step._replace(action="skip", reason=f"failed in {repeated.jobs} jobs with this content: {repeated.message}")


def mark_failures(plan: Plan, failures: Mapping[str, FailedBefore]) -> Plan:
    """Return the plan whose reasons say of what runs again that it failed last time, and how.

    For showing: what is remembered of attempts is this machine's, and nothing is decided by it.
    """
    if not failures:
        return plan
    return replace(plan, steps=tuple(_failed_before(s, failures.get(s.name)) for s in plan.steps))


def _failed_before(step: PlannedDatum, last: FailedBefore | None) -> PlannedDatum:
    if last is None or step.action != "run" or last.datum_id != step.id:
        return step
    when = "last time" if last.times == 1 else f"the last {last.times} times"
    what = f"{ENDS.get(last.kind, last.kind)} {when}" + (f": {last.message}" if last.message else "")
    return step._replace(reason=what if step.reason == NEW else f"{step.reason}; {what}")


def publish_forced(plan: Plan, names: Set[str], known: KnownResults) -> Plan:
    """Return the plan with the named datums, which ran again though current, published from their new results."""
    steps = tuple(
        s._replace(action="reuse", reason="computed before", source=known.named(s.id, s.name))
        if s.name in names and s.action == "current"
        else s
        for s in plan.steps
    )
    return replace(plan, steps=steps)


def restore_outputs(plan: Plan, names: Set[str], known: KnownResults) -> Plan:
    """Return the plan with these datums, whose outputs somebody has changed, published again (or run, if needed)."""
    if not names:
        return plan
    return replace(plan, steps=tuple(_restored(s, known) if s.name in names else s for s in plan.steps))


def _restored(step: PlannedDatum, known: KnownResults) -> PlannedDatum:
    if step.action != "current" or step.task is None:
        return step
    found = _from_known(step.task, known) if step.id in known else step._replace(action="run")
    return found._replace(reason="its output was changed by a commit")


def remove_recovered(plan: Plan, ids: Set[str], state: Mapping[str, Published]) -> Plan:
    """Return the plan with what was published before for these datum ids, which recovered, taken away."""
    steps = tuple(
        s._replace(action="remove", reason="recovered: it has no output", task=None)
        if s.id in ids and s.action in ("run", "reuse") and s.source is None and s.name in state
        else s
        for s in plan.steps
    )
    return replace(plan, steps=steps)


def equal_content_hint(copies: int) -> str:
    """Return the hint for datums that have the same content as others, but are computed because their names differ."""
    one = copies == 1
    return (
        f"{many(copies, 'datum')} {'has' if one else 'have'} the same content as others; "
        f'with "identity: content" {"it" if one else "they"} would be computed once (docs/design/identity.md)'
    )


def visible_names_note(tasks: Sequence[Task]) -> str:
    """Return what to say of datums whose names the command sees, though the spec has `identity: content`."""
    first = tasks[0]
    more = f" (and {len(tasks) - 1} more; minipach plan --json)" if len(tasks) > 1 else ""
    return f"{many(len(tasks), 'datum')} with visible names, which count: {first.datum.name}: {first.visible}{more}"


def _from_known(task: Task, known: KnownResults) -> PlannedDatum:
    """Return the reuse of a stored result, its own or another datum's; a run, if none can be read."""
    name = task.datum.name
    results = known.of(task.id)
    if not results:
        return PlannedDatum(name, task.id, "run", "its stored result can't be read", task)
    own = next((result for result in results if result.name == name), None)
    if own is not None:
        return PlannedDatum(name, task.id, "reuse", "computed before", task, own)
    return PlannedDatum(name, task.id, "reuse", f"same content as {results[0].name}", task, results[0])


def reason_for(
    *,
    old: Result | None,
    new: IdentityRecipe,
    inputs: Mapping[str, Sequence[Any]],
    task: Task,
    code_changes: Callable[[], Sequence[str]],
    image_label: str,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Return what changed between the result that is published and what is wanted now.

    inputs, variables: of the datum as identity has them now.
    """
    if old is None:
        return "its published result isn't known here"
    reasons = []
    if old.recipe.get("image") != new.image:
        reasons.append(f"image {image_label} changed ({short(old.recipe.get('image', ''))} → {short(new.image)})")
    if old.recipe.get("code") != new.code:
        changed = code_changes()
        reasons += [f"{path} changed" for path in changed] or ["code/ or another of its own files changed"]
    before = old.recipe.get("transform", {})
    for field in sorted(before.keys() | new.transform.keys()):
        if before.get(field) != new.transform.get(field):
            reasons.append(f"{field} changed")
    if not reasons and bool(old.words) != bool(task.words):
        reasons = ["minipach.identity changed"]
    if not reasons:
        reasons = [f"inputs {where} changed" for where in _changed_inputs(old.inputs, inputs, task)]
    if not reasons and variables:
        names = sorted(old.variables.keys() | variables.keys())
        reasons = [f"{name} changed" for name in names if old.variables.get(name) != variables.get(name)]
    if len(reasons) > 3:
        reasons = [*reasons[:3], f"and {len(reasons) - 3} more"]
    return "; ".join(reasons) or "identity changed"


def _changed_inputs(old: Mapping[str, Sequence[Any]], new: Mapping[str, Sequence[Any]], task: Task) -> list[str]:
    """Return `INPUT:/path` of each file that is another, new or gone; the input alone, where it has no match now."""
    found: dict[str, None] = {}
    for name in sorted(old.keys() | new.keys()):
        before = {tuple(row) for row in old.get(name, ())}
        after = {tuple(row) for row in new.get(name, ())}
        changed = sorted({str(row[0]) for row in before ^ after})
        if changed and not any(m.input == name for m in task.datum.matches):
            found[name] = None
        else:
            found |= dict.fromkeys(f"{name}:/{with_words(path, task.words)}" for path in changed)
    return list(found)
