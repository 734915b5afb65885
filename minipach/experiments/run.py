"""The run of an experiment: the datums of all points, each once, in one executor. No branch moves.

With parameters of several pipelines, a pipeline upstream has a commit for each of its points, below `POINT_REFS`. The
pipelines downstream take their input from these commits instead of its branch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from minipach.executors.base import Executor
from minipach.executors.registry import Backend, chosen
from minipach.experiments import record
from minipach.experiments.joining import Inbox, JoinAnswer, JoinFailure, JoinRequest
from minipach.experiments.points import Point, Value, flat, nested, of_pipeline, parse_points
from minipach.experiments.record import Experiment, RecordedPoint
from minipach.git.repo import need_identity
from minipach.model.datum import Task
from minipach.model.job_entries import Attempt
from minipach.model.repo_layout import POINT_REFS
from minipach.model.states import SUCCEEDED
from minipach.model.work_set import Base
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.lock import Registered, register
from minipach.project.parameters import Parameters
from minipach.project.project import Project
from minipach.project.spec_file import read_text
from minipach.publish.fold_results import fold_results
from minipach.publish.publisher import unpublished
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.dispatch import Round
from minipach.spec.template import is_used, merged, parameters_in
from minipach.spec.validate import dig
from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, quoted, suggest

_PAUSE = 0.5  # seconds to wait for an outcome


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome of a run. known: datums that had a result before · joined: whether another process ran the points."""

    experiment: Experiment
    ran: int
    known: int
    failed: tuple[JoinFailure, ...]
    joined: bool = False


@dataclass
class _Variant:
    """A pipeline with some parameters. points: the numbers of the points that it serves."""

    assessment: Assessment
    base: Base
    points: list[int]


@dataclass(frozen=True, slots=True)
class _Served:
    """A request of another process. ids: of the datums that run for it · known: of those that had a result."""

    request: JoinRequest
    ids: frozenset[str]
    known: int


def run_experiment(
    project: Project,
    words: Sequence[str],
    name: str,
    notify: Callable[[str], None],
    *,
    jobs: int | None = None,
) -> Ran:
    """Run all points that have no result yet, and record the experiment. With the name of an earlier one, add to it.

    Args:
        project: The project.
        words: `PIPELINE.PARAMETER=VALUES` each.
        name: The name of the experiment; "": a new one.
        notify: Receives lines for people.
        jobs: Datums at once; None: as configured.

    Raises:
        UserError: The points are wrong, or a pipeline does not use their parameters.
    """
    names, points = parse_points(words)
    chain = experiment_chain(project, names)
    main = project.name_of(chain[-1])
    points = [_for_main(point, main) for point in points]
    project.need(tuple(chain))
    _check_named(project, chain, points)
    return _run_chain(project, chain, points, name, notify, jobs)


def run_points(
    project: Project,
    path: str,
    points: Sequence[Point],
    name: str,
    notify: Callable[[str], None],
    *,
    jobs: int | None = None,
) -> Ran:
    """Run all points of one pipeline that have no result yet. Schedules of other pipelines run beside it.

    Args:
        project: The project.
        path: The path of the pipeline.
        points: The points.
        name: The name of the experiment; "": a new one.
        notify: Receives lines for people.
        jobs: Datums at once; None: as configured.

    Raises:
        UserError: The pipeline is broken, or makes the same datums at all points.
    """
    return _run_chain(project, [path], points, name, notify, jobs)


def _run_chain(
    project: Project,
    chain: Sequence[str],
    points: Sequence[Point],
    name: str,
    notify: Callable[[str], None],
    jobs: int | None,
) -> Ran:
    path = chain[-1]
    project.need(tuple(chain))
    if name:
        record.check_name(name)
    with register(project.local.lock, (), wait=True, notify=notify) as claims:
        answer = _joined(project, chain, points, name, notify, claims) if name else None
        if answer is not None and answer.problems:
            raise UserError(answer.problems)
        if answer is not None:
            return Ran(record.find(project, name), answer.ran, answer.known, answer.failed, joined=True)
        for one in chain:
            claims.take_when_free(one)
        earlier = next((one for one in record.experiments(project) if one.name == name), None)
        if earlier is not None and earlier.pipeline != path:
            message = f"an experiment of {project.name_of(earlier.pipeline)}"
            raise UserError(Problem("exp.name-taken", name, message, "choose another name"))
        name = name or record.new_name(record.experiments(project))
        sweep = _Sweep(project, name, project.name_of(path), chain, points, notify, jobs)
        try:
            return sweep.run(earlier)
        finally:
            sweep.close()


def _joined(
    project: Project,
    chain: Sequence[str],
    points: Sequence[Point],
    name: str,
    notify: Callable[[str], None],
    claims: Registered,
) -> JoinAnswer | None:
    """Let a process that runs the experiment run the points, too. None: none did, and a pipeline has become free."""
    if claims.take(chain[-1]):
        claims.release(chain[-1])  # each in its turn, below
        return None
    inbox = Inbox(project, name)
    request = inbox.ask(chain, points)
    try:
        while not claims.take(chain[-1]):
            if (answer := inbox.answer_to(request)) is not None:
                return answer
            time.sleep(_PAUSE)
        claims.release(chain[-1])
        return inbox.answer_to(request)
    finally:
        inbox.withdraw(request)


def _spec_text(project: Project, path: str) -> str:
    place = next(place for place in project.places if place.path == path)
    return read_text(project.root / path, f"{path}/{place.spec}", project.cache, is_dataset=place.is_dataset)


def _check_named(project: Project, chain: Sequence[str], points: Sequence[Point]) -> None:
    """Raise a UserError if no template names a parameter of the points."""
    problems = []
    main = project.name_of(chain[-1])
    for path in chain:
        name = project.name_of(path)
        given = dict.fromkeys(one for point in points for one in of_pipeline(point, name, main))
        named = parameters_in(_spec_text(project, path)) if given else frozenset()
        for one in given:
            if not is_used(one, named):
                fix = suggest(one, sorted(named)) or f"write {{{{ params.{one} }}}} in its command"
                unused = f"params.{one}"
                problems.append(
                    Problem("exp.unused-parameter", project.spec_path(path), f"no template names {unused}", fix)
                )
    if problems:
        raise UserError(problems)


def own_point(project: Project, path: str) -> Point:
    """Return the parameters that a pipeline has now: those of its spec, and before them those of `params.yml`."""
    text = _spec_text(project, path)
    own = dig(read_yaml(text).data, "minipach", "params")
    return flat(merged(own if isinstance(own, dict) else {}, project.parameters.of(project.name_of(path), path)))


def _for_main(point: Point, main: str) -> Point:
    """Return a point with the parameters of the experiment's own pipeline without its name."""
    return {chain.removeprefix(f"{main}:"): value for chain, value in point.items()}


def experiment_chain(project: Project, names: Sequence[str]) -> list[str]:
    """Return the pipelines that run: those named and those between them, the last one downstream of all.

    UserError if there is no such pipeline.
    """
    named = [project.path_of(name) for name in names]
    for path in named:
        above = project.upstream_of([path])
        if set(named) <= set(above):
            below = project.downstream(named)
            return [one for one in above if one in below]
    shown = ", ".join(project.name_of(path) for path in named)
    message = f"none of {shown} takes from all the others, directly or through other pipelines"
    raise UserError(Problem("exp.not-connected", "-S", message, "run an experiment for each of them"))


class _Sweep:
    """The points of an experiment, pipeline by pipeline from upstream to downstream."""

    def __init__(
        self,
        project: Project,
        name: str,
        main: str,
        chain: Sequence[str],
        points: Sequence[Point],
        notify: Callable[[str], None],
        jobs: int | None,
        inbox: Inbox | None = None,
    ) -> None:
        self._project = project
        self._name = name
        self._main = main
        self._chain = chain
        self._points = list(points)
        self._inbox = inbox or Inbox(project, name)
        self._experiment: Experiment | None = None
        self._seen: set[str] = set()  # the ids of datums of the last pipeline that ran, run or have a result
        self._served: list[_Served] = []
        self._notify = notify
        self._jobs = jobs
        self._store = SnapshotStore(project)
        self._commits: list[dict[str, str]] = [{} for _ in points]  # by point: pipelines upstream at their commits
        self._opened: list[Assessment] = []
        self._ran = self._known = 0
        self._failed: list[Attempt] = []

    def close(self) -> None:
        """Close what was opened."""
        for assessment in self._opened:
            assessment.close()

    def run(self, earlier: Experiment | None) -> Ran:
        """Run what has no result, and record the experiment before its own pipeline runs."""
        going = list(range(len(self._points)))
        for path in self._chain[:-1]:
            going = self._upstream(path, going)
        variants = self._variants(self._chain[-1], going)
        self._experiment = self._record(variants, earlier)
        alone = len(self._chain) == 1
        self._compute(variants, self._joining if alone else None)
        experiment = self._experiment
        ran, known, failed = self._ran, self._known, list(self._failed)
        for served in self._served:
            own = [end for end in failed if end.datum_id in served.ids]
            self._inbox.answer(served.request, JoinAnswer(len(served.ids) - len(own), served.known, _failures(own)))
            ran, known = ran - len(served.ids) + len(own), known - served.known
            failed = [end for end in failed if end.datum_id not in served.ids]
        while not alone and (requests := self._inbox.requests(self._chain)):
            for request in requests:
                experiment = self._run_after(request, experiment)
        return Ran(experiment, ran, known, _failures(failed))

    def _run_after(self, request: JoinRequest, experiment: Experiment) -> Experiment:
        """Run the points of a request by themselves, from the first pipeline on."""
        rest = (self._notify, self._jobs, self._inbox)
        sweep = _Sweep(self._project, self._name, self._main, self._chain, request.points, *rest)
        try:
            done = sweep.run(experiment)
        except UserError as error:
            self._inbox.answer(request, JoinAnswer(problems=error.problems))
            return experiment
        finally:
            sweep.close()
        self._inbox.answer(request, JoinAnswer(done.ran, done.known, done.failed))
        return done.experiment

    def _joining(self) -> list[tuple[_Variant, list[Task]]]:
        """Return the pipeline at the points that other processes ask for, and their datums without a result."""
        found: list[tuple[_Variant, list[Task]]] = []
        for request in self._inbox.requests(self._chain):
            first = len(self._points)
            self._points += request.points
            self._commits += [{} for _ in request.points]
            try:
                variants = self._variants(self._chain[-1], range(first, len(self._points)))
                self._experiment = self._record(variants, self._experiment)
            except UserError as error:
                del self._points[first:], self._commits[first:]
                self._inbox.answer(request, JoinAnswer(problems=error.problems))
                continue
            todo, known = _missing([v.assessment for v in variants], self._seen)
            self._known += known
            ids = frozenset(task.id for tasks in todo for task in tasks)
            self._served.append(_Served(request, ids, known))
            self._notify(f"{self._name}: {many(len(request.points), 'point')} joined, {len(ids)} more to run")
            found += zip(variants, todo, strict=True)
        return found

    def _upstream(self, path: str, going: Sequence[int]) -> list[int]:
        """Run a pipeline for all its points. Returns the points that have all results, with commits of its outputs."""
        variants = self._variants(path, going)
        self._check_used(path, variants)
        bad = self._compute(variants)
        left = []
        for variant in variants:
            if any(task.id in bad for task in variant.assessment.tasks):
                continue
            commit = unpublished(self._again(variant), variant.base, f"outputs for the experiment {self._name}")
            ref = f"{POINT_REFS}{self._name}/{commit[:16]}"
            variant.assessment.repo.update_refs([f"update {ref} {commit}"])
            for point in variant.points:
                self._commits[point][path] = commit
            left += variant.points
        if not left:
            raise UserError(
                Problem(
                    "exp.upstream-failed",
                    path,
                    f"no point has all results, and {self._main} takes from them "
                    f"({self._failed[0].datum}: {self._failed[0].message})",
                    f"read {quoted(self._failed[0].log)}",
                )
            )
        return sorted(left)

    def _again(self, variant: _Variant) -> Assessment:
        """Return a variant's assessment, with the results that have come meanwhile."""
        before = variant.assessment
        fresh = Assessment(before.project, before.path, before.store)
        self._opened.append(fresh)
        return fresh

    def _variants(self, path: str, going: Sequence[int]) -> list[_Variant]:
        """Return the pipeline at each combination of its own parameters and of commits upstream."""
        found: dict[tuple[object, ...], _Variant] = {}
        for number in going:
            own = of_pipeline(self._points[number], self._project.name_of(path), self._main)
            needed = {n.repo for n in self._project.needs(path)}
            commits = {repo: sha for repo, sha in self._commits[number].items() if repo in needed}
            key = (tuple(sorted(own.items())), tuple(sorted(commits.items())))
            if key not in found:
                store = self._store.with_commits(commits)
                assessment = Assessment(_at(self._project, path, own), path, store)
                self._opened.append(assessment)
                found[key] = _Variant(assessment, self._base(assessment), [])
            found[key].points.append(number)
        return list(found.values())

    def _base(self, assessment: Assessment) -> Base:
        if not assessment.exists or assessment.source is None:
            name = self._project.name_of(assessment.path)
            raise UserError(
                Problem("exp.not-a-dataset", assessment.path, "not a dataset yet", f"minipach schedule {quoted(name)}")
            )
        need_identity(assessment.repo)
        base = build_base(assessment)
        assessment.refresh()  # an image that was recorded just now has a place and a content id
        if not assessment.tasks:
            raise UserError(Problem("exp.no-datums", assessment.path, assessment.no_datums))
        return base

    def _check_used(self, path: str, variants: Sequence[_Variant]) -> None:
        """Raise a UserError if all points of a pipeline with parameters have the same datums."""
        name = self._project.name_of(path)
        own = [of_pipeline(self._points[v.points[0]], name, self._main) for v in variants]
        ids = {tuple((t.datum.name, t.id) for t in v.assessment.tasks) for v in variants}
        if len({tuple(sorted(one.items())) for one in own}) > 1 and len(ids) == 1:
            unused = ", ".join(f"params.{chain}" for chain in own[0])
            fix = f"write {{{{ params.{next(iter(own[0]))} }}}} in its command"
            source = variants[0].assessment.pipeline.source
            raise UserError(Problem("exp.unused-parameter", source, f"no template names {unused}", fix))

    def _record(self, variants: Sequence[_Variant], earlier: Experiment | None) -> Experiment:
        self._check_used(self._chain[-1], variants)
        first = variants[0].assessment
        trials: dict[tuple[tuple[str, Value], ...], RecordedPoint] = {}
        for trial in earlier.trials if earlier else ():
            trials[tuple(sorted(trial.params.items()))] = trial
        of_point = {point: v for v in variants for point in v.points}
        for number, point in enumerate(self._points):
            if number in of_point:
                datums = tuple((t.datum.name, t.id) for t in of_point[number].assessment.tasks)
                trials[tuple(sorted(point.items()))] = RecordedPoint(point, datums)
        created = earlier.created if earlier else record.now()
        assert first.source is not None
        new = Experiment(self._name, first.path, created, first.source, tuple(trials.values()))
        return record.write(self._project, new)

    def _compute(
        self, variants: Sequence[_Variant], more: Callable[[], list[tuple[_Variant, list[Task]]]] | None = None
    ) -> set[str]:
        """Run the datums without a result. Returns the ids of those that still have none.

        more: returns what has joined meanwhile, or None if nothing can.
        """
        name, path = self._name, variants[0].assessment.path
        todo, known = _missing([v.assessment for v in variants], self._seen if more else set())
        self._known += known
        count = sum(map(len, todo))
        which = f" of {self._project.name_of(path)}" if len(self._chain) > 1 else ""
        self._notify(f"{name}: {many(len(variants), 'point')}{which}, {count} to run, {known} with a result")
        if not count:
            return set()
        backend = chosen(self._project)
        engine = backend.make(self._project, self._jobs)
        failed: list[Attempt] = []
        rounds: list[Round] = []

        def begin(found: Sequence[tuple[_Variant, Sequence[Task]]]) -> int:
            for variant, tasks in found:
                rounds.append(self._round(len(rounds), variant, engine, backend))
                rounds[-1].begin(tasks)
            engine.expect(sum(len(tasks) for _, tasks in found))
            return sum(len(tasks) for _, tasks in found)

        try:
            begin(list(zip(variants, todo, strict=True)))
            for done in _drive(rounds, engine, failed):
                if more:
                    count += begin(more())
                if done:
                    self._notify(f"{name}: {done} of {count} done")
        except BaseException:
            engine.cancel()
            raise
        finally:
            engine.close()
            fold_results(variants[0].assessment.repo)
        self._failed += failed
        self._ran += count - len(failed)
        return {end.datum_id for end in failed}

    def _round(self, number: int, variant: _Variant, engine: Executor, backend: Backend) -> Round:
        folder = f"experiment-{self._name}-{number + 1}"
        logs = self._project.local.logs / variant.assessment.pipeline.name / folder
        return Round(variant.assessment, variant.base, "0" * 32, logs, engine, frozenset(), backend.lasting)


def _at(project: Project, path: str, own: Point) -> Project:
    """Return the project as it would be with other parameters of a pipeline."""
    if not own:
        return project
    before = project.parameters
    found = merged(before.of(project.name_of(path), path), nested(own))
    return Project(project.root, project.given, Parameters({**before.by_pipeline, path: found}))


def _failures(ends: Sequence[Attempt]) -> tuple[JoinFailure, ...]:
    return tuple(JoinFailure(end.datum, end.message, end.log) for end in ends)


def _missing(found: Sequence[Assessment], seen: set[str]) -> tuple[list[list[Task]], int]:
    """Return for each assessment the datums without a result that none before it has; and how many have one.

    seen: the ids of datums that run or are known already; gets those that are found.
    """
    todo: list[list[Task]] = []
    known = 0
    for a in found:
        mine = []
        for task in a.tasks:
            if task.id in a.known:
                known += 1
            elif task.id not in seen:
                mine.append(task)
            seen.add(task.id)
        todo.append(mine)
    return todo, known


def _drive(rounds: Sequence[Round], engine: Executor, failed: list[Attempt]) -> Iterator[int]:
    """Run the rounds of all points at once until each datum has ended; rounds may be added meanwhile.

    Yields again and again how many datums have ended, or 0 if none has since.
    """
    done = 0
    while going := [round_ for round_ in rounds if round_.go_on()]:
        outcomes = engine.poll(_PAUSE)
        before = done
        for round_ in going:
            ends = round_.take([o for o in outcomes if round_.waits_for(o.set_id)])
            failed += [end for end in ends if end.kind not in SUCCEEDED]
            done += len(ends)
        yield done if done > before else 0
    engine.settle([work for round_ in rounds for work in round_.ended])
