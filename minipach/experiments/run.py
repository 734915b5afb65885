"""The run of an experiment: the datums of all points, each once, in one executor. No branch moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.executors.base import Executor
from minipach.executors.registry import Backend, chosen
from minipach.experiments import record
from minipach.experiments.points import Point, flat, nested, parse_points
from minipach.experiments.record import Experiment, Trial
from minipach.git.repo import need_identity
from minipach.model.attempt import Attempt
from minipach.model.datum import Task
from minipach.model.states import SUCCEEDED
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.lock import register
from minipach.project.parameters import Parameters
from minipach.project.project import Project
from minipach.project.spec_file import read_text
from minipach.publish.fold_results import fold
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.dispatch import Round
from minipach.spec.template import merged
from minipach.spec.validate import dig
from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_PAUSE = 0.5  # seconds to wait for an outcome


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome of a run. known: datums that had a result before · failed: the last attempts of those that failed."""

    experiment: Experiment
    ran: int
    known: int
    failed: tuple[Attempt, ...]


def run_experiment(
    project: Project,
    words: Sequence[str],
    name: str,
    tell: Callable[[str], None],
    *,
    jobs: int | None = None,
) -> Ran:
    """Run all points that have no result yet, and record the experiment. With the name of an earlier one, add to it.

    Args:
        project: The project.
        words: `PIPELINE.PARAMETER=VALUES` each.
        name: The name of the experiment; "": a new one.
        tell: Receives lines for people.
        jobs: Datums at once; None: as configured.

    Raises:
        UserError: The points are wrong, or the pipeline does not use their parameters.
    """
    pipeline, points = parse_points(words)
    return run_points(project, project.path_of(pipeline), points, name, tell, jobs=jobs)


def run_points(
    project: Project,
    path: str,
    points: Sequence[Point],
    name: str,
    tell: Callable[[str], None],
    *,
    jobs: int | None = None,
) -> Ran:
    """Run all points of one pipeline that have no result yet. Schedules of other pipelines run beside it.

    Args:
        project: The project.
        path: The path of the pipeline.
        points: The points.
        name: The name of the experiment; "": a new one.
        tell: Receives lines for people.
        jobs: Datums at once; None: as configured.

    Raises:
        UserError: The pipeline is broken, or does not use the parameters of the points.
    """
    project.need((path,))
    if name:
        record.check_name(name)
    with register(project.local.lock, (), wait=True, tell=tell) as claims:
        claims.take_when_free(path)
        earlier = next((one for one in record.experiments(project) if one.name == name), None)
        if earlier is not None and earlier.pipeline != path:
            message = f"an experiment of {project.name_of(earlier.pipeline)}"
            raise UserError(Problem("exp.name-taken", name, message, "choose another name"))
        name = name or record.new_name(record.experiments(project))
        store = SnapshotStore(project)
        found = [(point, Assessment(_at(project, path, point), path, store)) for point in points]
        try:
            return _run(project, path, name, earlier, found, tell, jobs)
        finally:
            for _, assessment in found:
                assessment.close()


def own_point(project: Project, path: str) -> Point:
    """Return the parameters that a pipeline has now: those of its spec, and before them those of `params.yml`."""
    place = next(place for place in project.places if place.path == path)
    text = read_text(project.root / path, f"{path}/{place.spec}", project.cache, is_dataset=place.is_dataset)
    own = dig(read_yaml(text).data, "minipach", "params")
    return flat(merged(own if isinstance(own, dict) else {}, project.parameters.of(project.name_of(path), path)))


def _at(project: Project, path: str, point: Point) -> Project:
    """Return the project as it would be with the parameters of a point."""
    before = project.parameters
    name = project.name_of(path)
    own = merged(before.of(name, path), nested(point))
    return Project(project.root, project.given, Parameters({**before.by_pipeline, path: own}))


def _run(
    project: Project,
    path: str,
    name: str,
    earlier: Experiment | None,
    found: Sequence[tuple[Point, Assessment]],
    tell: Callable[[str], None],
    jobs: int | None,
) -> Ran:
    first = found[0][1]
    if not first.exists or first.source is None:
        pipeline = project.name_of(path)
        raise UserError(Problem("exp.not-a-dataset", path, "not a dataset yet", f"minipach schedule {pipeline}"))
    need_identity(first.repo)
    base = build_base(first)
    trials = [Trial(point, tuple((t.datum.name, t.id) for t in a.tasks)) for point, a in found]
    if not any(trial.datums for trial in trials):
        raise UserError(Problem("exp.no-datums", path, first.no_datums))
    if len(trials) > 1 and len({trial.datums for trial in trials}) == 1:
        unused = ", ".join(f"params.{chain}" for chain in trials[0].params)
        fix = f"write {{{{ params.{next(iter(trials[0].params))} }}}} in its command"
        raise UserError(Problem("exp.unused-parameter", first.pipeline.source, f"no template names {unused}", fix))
    before = {tuple(sorted(t.params.items())): t for t in earlier.trials} if earlier else {}
    before.update((tuple(sorted(t.params.items())), t) for t in trials)
    created = earlier.created if earlier else record.now()
    experiment = Experiment(name, path, created, first.source, tuple(before.values()))
    todo, known = _missing(found)
    experiment = record.write(project, experiment)
    count = sum(map(len, todo))
    tell(f"{name}: {many(len(found), 'point')}, {count} to run, {known} with a result")
    failed: list[Attempt] = []
    if count:
        backend = chosen(project)
        engine = backend.make(project, jobs)
        try:
            rounds = [_round(project, name, n, a, base, engine, backend) for n, (_, a) in enumerate(found)]
            _drive(rounds, todo, engine, failed, lambda done: tell(f"{name}: {done} of {count} done"))
        except BaseException:
            engine.cancel()
            raise
        finally:
            engine.close()
            fold(first.repo)
    return Ran(experiment, count - len(failed), known, tuple(failed))


def _missing(found: Sequence[tuple[Point, Assessment]]) -> tuple[list[list[Task]], int]:
    """Return for each point the datums without a result that no point before it has; and how many have one."""
    seen: set[str] = set()
    todo: list[list[Task]] = []
    known = 0
    for _, a in found:
        mine = []
        for task in a.tasks:
            if task.id in a.known:
                known += 1
            elif task.id not in seen:
                mine.append(task)
            seen.add(task.id)
        todo.append(mine)
    return todo, known


def _round(
    project: Project, name: str, number: int, assessment: Assessment, base: Any, engine: Executor, backend: Backend
) -> Round:
    assessment.refresh()  # an image that was recorded just now has a place and a content id
    logs = project.local.logs / assessment.pipeline.name / f"experiment-{name}-{number + 1}"
    return Round(assessment, base, "0" * 32, logs, engine, frozenset(), backend.lasting)


def _drive(
    rounds: Sequence[Round],
    todo: Sequence[Sequence[Task]],
    engine: Executor,
    failed: list[Attempt],
    tell: Callable[[int], None],
) -> None:
    """Run the rounds of all points at once until each datum has ended."""
    for round_, tasks in zip(rounds, todo, strict=True):
        round_.begin(tasks)
    engine.expect(sum(map(len, todo)))
    done = 0
    while going := [round_ for round_ in rounds if round_.go_on()]:
        outcomes = engine.poll(_PAUSE)
        for round_ in going:
            ends = round_.take([o for o in outcomes if round_.waits_for(o.set_id)])
            failed += [end for end in ends if end.kind not in SUCCEEDED]
            done += len(ends)
            if ends:
                tell(done)
    engine.settle([work for round_ in rounds for work in round_.ended])
