"""The plan for showing, kept in the cache with all that it follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

from minipach.datums.identity import VERSION, Identifier
from minipach.datums.inputs import apart
from minipach.git.repo import is_dataset
from minipach.model.datum import Datum, Task
from minipach.model.neutral_names import neutral
from minipach.model.repo_layout import PUBLISHED_REF, STATE
from minipach.planning.collisions import foretold, shared_places
from minipach.planning.plan import Plan, PlannedDatum, equal_content_hint, visible_names_note
from minipach.planning.service_datum import NOTE, left_outputs, service_problems
from minipach.records.results_branch import results_commit
from minipach.support.errors import Problem

if TYPE_CHECKING:
    from minipach.planning.assessment import Assessment


def quick_plan(assessed: Assessment, blocked: str = "", news: Callable[[], object] | None = None) -> Plan:
    """Return the plan for showing (its steps have no tasks), from the cache if nothing has moved.

    news: given by who then does what the plan says. It is called before the plan is made, if spec, code, image or
    inputs are others than when it was last called: then something will have to run, most likely. If nothing was ever
    published, it is called before anything is read of the environment, which can take as long as all the rest.
    """
    if assessed.has_nothing:  # what was published stays as it is
        return Plan(assessed.pipeline.name, ())
    if assessed.pipeline.service is not None:
        problems = service_problems(assessed.pipeline, assessed.datums)
        note = NOTE if assessed.datums else assessed.no_datums
        left = left_outputs(assessed.pipeline, assessed.state)
        hints = (left.message,) if left else ()
        return Plan(assessed.pipeline.name, (), problems=problems, note=note, hints=hints, is_service=True)
    where = str(assessed.repo.path)
    told = news is not None and assessed.project.cache.get("news", where) is None and not assessed.state
    if told and news is not None:
        news()
    key = _plan_key(assessed, blocked)
    kept = assessed.project.cache.get("plan", where) if key else None
    if kept is not None and kept[0] == list(key or ()) and _subdatasets_as(assessed, kept[1]):
        steps = tuple(map(PlannedDatum, *kept[2]))
        return Plan(
            assessed.pipeline.name,
            steps,
            problems=tuple(Problem(*fields) for fields in kept[3]),
            note=kept[4],
            hints=kept[5],
        )
    if news is not None and key and key[0] != assessed.project.cache.get("news", where):
        assessed.project.cache.put("news", where, key[0])
        if not told:
            news()
    plan = assessed.plan(blocked)
    plan = replace(
        plan,
        problems=foretold(assessed, plan),
        note=shared_places(assessed.pipeline.out, plan),
        hints=_hints(assessed, plan),
    )
    if key and not (news and plan.counts["run"]):  # what runs at once is soon planned again
        steps = plan.steps
        columns = (
            [s.name for s in steps],
            [s.id for s in steps],
            [s.action for s in steps],
            [s.reason for s in steps],
        )
        fields = tuple(map(astuple, plan.problems))
        kept = (list(key), _subdatasets(assessed), columns, fields, plan.note, plan.hints)
        assessed.project.cache.put("plan", where, kept)
    return plan


def _hints(assessed: Assessment, plan: Plan) -> tuple[str, ...]:
    """Return what people may not expect.

    Datasets in plain folders, content that is computed more than once, names that stay visible.
    """
    left_out = tuple(apart(assessed.project, assessed.pipeline, assessed.datums))
    running = [step.task for step in plan.of("run") if step.task is not None]
    if assessed.pipeline.identity == "content":
        seen = [step.task for step in plan.steps if step.task is not None and step.task.visible]
        return (*left_out, visible_names_note(seen)) if seen else left_out
    copies = _copies(assessed, running)
    return (*left_out, equal_content_hint(copies)) if copies else left_out


def _copies(assessed: Assessment, tasks: Sequence[Task]) -> int:
    """Return how many of these datums have the same content as others, and could be computed once."""
    alike: dict[object, list[Datum]] = {}
    for task in tasks:
        rows = (assessed.snapshots[m.repo, m.branch].below(m.path) for m in task.datum.matches)
        content = tuple(tuple(entry.content for _, entry in files) for files in rows)
        alike.setdefault(content, []).append(task.datum)
    found = 0
    shared = assessed.counted
    ids = Identifier(shared, by_path=False)
    for datums in alike.values():
        if len(datums) > 1:
            words = [(datum, neutral(datum, assessed.snapshots).words) for datum in datums]
            made = [ids.id_of(assessed.files_of(d, w), assessed.variables_of(d, w)) for d, w in words if w]
            found += len(made) - len(set(made))
    return found


def _plan_key(assessed: Assessment, blocked: str) -> tuple[str, str] | None:
    """Return all that the plan depends on, in object ids, as two hashes; None if that is not in git yet.

    The first is of what is asked for, the second of what is there.
    """
    if assessed.head is None:
        return None
    asked = [
        VERSION,
        repr(assessed.pipeline),
        [assessed.image.content, assessed.image.label],
        assessed.counted.as_json(),
        sorted((repo, branch or "", commit) for (repo, branch), commit in assessed.commits.items()),
        *assessed.kept_apart,
    ]
    others = assessed.head if assessed.repo.resolve(PUBLISHED_REF) != assessed.head else ""  # somebody's commits
    there = [_state_tree(assessed, assessed.head), results_commit(assessed.repo), blocked, others]
    first, second = (hashlib.sha256(json.dumps(parts).encode()).hexdigest() for parts in (asked, there))
    return first, second


def _state_tree(assessed: Assessment, commit: str) -> str | None:
    """Return the object id of the published state in a commit."""
    where = str(assessed.repo.path)
    kept = assessed.project.cache.get("state-tree", where)
    if kept is not None and kept[0] == commit:
        return str(kept[1])
    found = assessed.repo.objects.resolve(f"{commit}:{STATE}")
    if found is not None:
        assessed.project.cache.put("state-tree", where, (commit, found))
    return found


def _subdatasets(assessed: Assessment) -> list[tuple[str, list[str], list[str]]]:
    return [(repo, list(s.nested), list(s.missing)) for (repo, _), s in assessed.snapshots.items()]


def _subdatasets_as(assessed: Assessment, kept: list[tuple[str, list[str], list[str]]]) -> bool:
    root = assessed.project.root
    return all(
        all(is_dataset(root / repo / p) for p in nested) and not any(is_dataset(root / repo / p) for p in missing)
        for repo, nested, missing in kept
    )
