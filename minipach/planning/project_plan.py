"""The plans of a whole project: each pipeline's own, blocked where it waits for one upstream. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from minipach.environment import host
from minipach.git.repo import is_dataset
from minipach.model.failures import LEFT_AFTER
from minipach.model.outside import Outside
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.outside_now import outside_now
from minipach.planning.plan import Plan, force_datums, mark_failures, skip_repeated_failures
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.records.job_database import Ledger
from minipach.support.disk_cache import user_cache
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import many


@dataclass(frozen=True)
class Plans:
    """The plans of what was asked for, in order.

    remarks: for people · problems: what keeps any of it from being done, by file and line, each once.
    """

    plans: tuple[Plan, ...]
    remarks: tuple[str, ...]
    problems: tuple[Problem, ...]


def plan_project(project: Project, targets: Targets, *, forced: bool = False, now: bool = False) -> Plans:
    """Return the plans of the chosen pipelines, cut down to the datums asked for.
    What is broken keeps no other from its plan.

    UserError if a datum is asked for that isn't there.
    """
    store = SnapshotStore(project, release=now)
    plans: list[Plan] = []
    remarks: list[str] = []
    pending: dict[str, Plan] = {}  # what isn't as it will be
    for path in project.upstream_of(targets.order):
        asked = path in targets.order
        ups = [u for u in project.upstream(path) if u in pending]
        # `schedule` waits for what it does itself; what else there is it takes as it is
        waited = [u for u in ups if u in targets.order or not asked or project.trouble([u])]
        waits = _waits(pending[waited[0]]) if waited else ""
        lacks = project.lacks(path, but=targets.order) if asked and not project.trouble([path]) else ()
        if lacks:
            plan = Plan(project.name_of(path), (), waits, lacks)
        else:
            plan = _plan(project, path, store, waits, remarks if asked else [])
        if plan.problems or plan.waits or not plan.is_current or not is_dataset(project.root / path):
            pending[path] = plan
        if not asked:
            continue
        if ups and not waited and not plan.problems:
            remarks.append(_as_it_is(plan, [pending[u] for u in ups]))
        if forced and path in targets.named and plan.steps:
            plan = replace(plan, problems=())  # what runs again may write other files
            plan = force_datums(plan, targets.names(path, [s.name for s in plan.steps if s.action != "remove"]))
        known = project.pipelines.get(path)
        plans.append(_limited(plan, targets, path, known.exclude if known else ()))
    problems = [*project.trouble(targets.order), *(p for plan in plans for p in plan.problems)]
    again = {project.name_of(p) for p in targets.order if targets.limits(p) or (forced and p in targets.named)}
    plans = _with_skips(with_failures(project, plans, retry=again), pending.values())
    remarks += [_skipped(plan) for plan in plans if plan.counts["skip"]]
    return Plans(tuple(plans), tuple(remarks), each_once(problems))


def _skipped(plan: Plan) -> str:
    """Return the remark that some datums are not run again, and the command that runs them."""
    return (
        f"{plan.pipeline}: {many(plan.counts['skip'], 'datum')} failed in earlier jobs with this content, "
        f"and {'is' if plan.counts['skip'] == 1 else 'are'} not run again; minipach retry {plan.pipeline}"
    )


def _with_skips(plans: Sequence[Plan], before: Iterable[Plan]) -> list[Plan]:
    """Return the plans; those that wait for a pipeline whose failures are skipped say so.

    before: the same pipelines, as they were before the job database was asked for failures.
    """
    skips = {plan.pipeline: plan for plan in plans if plan.counts["skip"]}
    said = {_waits(old): _waits(skips[old.pipeline]) for old in before if old.pipeline in skips}
    return [
        replace(
            plan,
            waits=said[plan.waits],
            steps=tuple(s._replace(reason=said.get(s.reason, s.reason)) for s in plan.steps),
        )
        if plan.waits in said
        else plan
        for plan in plans
    ]


def _waits(plan: Plan) -> str:
    """Return what a pipeline downstream of this one says: `waits for edges (2 to run)`."""
    return f"waits for {_in_short(plan)}"


def with_failures(project: Project, plans: Sequence[Plan], *, retry: Collection[str] = ()) -> list[Plan]:
    """Return the plans, with the failed attempts in this machine's job database.

    retry: the pipelines of which also what failed again and again is to run.
    """
    path = project.local.database
    if not path.is_file() or not any(plan.counts["run"] for plan in plans):
        return list(plans)
    ledger = Ledger(path)
    try:
        return [_with_failures(project, p, ledger, retry=retry) if p.counts["run"] else p for p in plans]
    finally:
        ledger.close()


def _with_failures(project: Project, plan: Plan, ledger: Ledger, *, retry: Collection[str]) -> Plan:
    marked = mark_failures(plan, ledger.failures(plan.pipeline))
    if plan.pipeline in retry:
        return marked

    def outside() -> Outside | None:
        return outside_now(project, project.pipelines.get(project.path_of(plan.pipeline)))

    return skip_repeated_failures(marked, ledger.repeated_failures(plan.pipeline, LEFT_AFTER), outside)


def _plan(project: Project, path: str, store: SnapshotStore, waits: str, remarks: list[str]) -> Plan:
    """Return the plan of one pipeline; remarks are added."""
    name = project.name_of(path)
    if path in project.problems:
        return Plan(name, (), waits, project.problems[path])
    if waits and not all(is_dataset(project.root / u) for u in project.upstream(path)):
        return Plan(name, (), waits)  # its input doesn't exist yet, so that its datums can't be known
    assessment = Assessment(project, path, store)
    try:
        plan = assessment.quick_plan(blocked=waits)
        plan = replace(plan, deferred=assessment.deferred)
        unsaid = plan.is_empty and not waits and not (assessment.has_nothing and assessment.deferred)
        plan = replace(plan, waits=waits, note=plan.note or (assessment.no_datums if unsaid else ""))
        remarks += [*image_remarks(assessment), *drift_remarks(assessment)]
        remarks += python_remarks(assessment) if plan.counts["run"] else []
        return plan
    except UserError as error:
        return Plan(name, (), waits, error.problems)
    finally:
        assessment.close()


def _in_short(plan: Plan) -> str:
    """Return a pipeline that isn't as it will be: `edges (2 to run, 1 skipped)`."""
    counts = ((plan.counts["run"], "to run"), (plan.counts["skip"], "skipped"))
    todo = ", ".join(f"{n} {what}" for n, what in counts if n)
    why = many(len(plan.problems), "problem") if plan.problems else todo
    return plan.pipeline + (f" ({why})" if why else "")


def _as_it_is(plan: Plan, ups: Sequence[Plan]) -> str:
    """Return the remark that upstream pipelines which were not requested are not current."""
    name = plan.pipeline
    marked = []
    for up in ups:
        todo = [f"{n} to {action}" for action, n in up.counts.items() if n and action in ("run", "reuse", "remove")]
        has = [many(len(up.problems), "problem")] if up.problems else todo
        marked.append(f"{up.pipeline} {up.waits or 'has ' + ', '.join(has)}")
    names = " and ".join(up.pipeline for up in ups)
    return (
        f"{name}: {', '.join(marked)}, and {names} is not requested: {name} uses what is published there now; "
        f"minipach schedule {name} --upstream does both"
    )


def _limited(plan: Plan, targets: Targets, path: str, exclude: Sequence[tuple[str, str]]) -> Plan:
    if not targets.limits(path) or (not plan.steps and (plan.problems or plan.waits)):
        return plan
    names = targets.names(path, [s.name for s in plan.steps], exclude)
    return replace(plan, steps=tuple(s for s in plan.steps if s.name in names))


def image_remarks(assessment: Assessment) -> list[str]:
    """Return a remark if the image is still to be fetched or built."""
    image, name = assessment.image, assessment.pipeline.name
    if not image.is_away:
        return []
    why = f" ({image.note})" if image.note else ""
    does = "builds" if image.recipe else "fetches"
    return [f"{name}: {image.absence}{why}; minipach schedule {name} {does} it"]


def host_changes(assessment: Assessment) -> tuple[str, ...]:
    """Return what differs between this host and the environment on record, of what the command uses."""
    image = assessment.image
    if image.text is None or assessment.head is None:
        return ()
    command = assessment.pipeline.transform.cmd
    now = host.fingerprint(command, user_cache(), fresh=host.ONE_LOOK)
    changes = host.drift(image.text, now)
    return host.drift(image.text, now, python=False) if changes and not _uses_python(assessment) else changes


def _uses_python(assessment: Assessment) -> bool:
    """Return whether Python is named in the command, its input or the code."""
    transform = assessment.pipeline.transform
    words = [*transform.cmd, *transform.stdin, *transform.err_cmd, *transform.err_stdin, *assessment.visible_files]
    if any("python" in word or word.endswith(".py") for word in words):
        return True
    files = assessment.visible_files
    if assessment.source is None:  # no dataset yet: the files lie there
        folder = assessment.repo.path
        there = (folder / path for path, entry in files.items() if entry.kind == "git" and not path.startswith("/"))
        return any(b"python" in path.read_bytes() for path in there)
    small = [entry.blob for path, entry in files.items() if entry.kind == "git" and not path.startswith("/")]
    return any(b"python" in (data or b"") for data in assessment.repo.objects.read_many(small))


def python_remarks(assessment: Assessment) -> list[str]:
    """Return which python3 a pipeline without an image runs with, if it uses one."""
    if assessment.pipeline.transform.image is not None or not _uses_python(assessment):
        return []
    found = host.host_python(user_cache())
    shown = f"python3 {found[1]} ({found[0]})" if found else "no python3: there is none on PATH"
    return [f"{assessment.pipeline.name}: runs with {shown}"]


def drift_remarks(assessment: Assessment) -> list[str]:
    """Return a remark if the host environment is no longer the one on record."""
    changes = host_changes(assessment)
    if not changes:
        return []
    shown = "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
    name = assessment.pipeline.name
    return [
        f"{name}: this host's environment differs from the one on record ({shown}); minipach lock {name} records it"
    ]
