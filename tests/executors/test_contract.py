"""What every executor promises (`minipach/executors/base.py`): one suite, run by each of them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from minipach.execution.run_set import stop_early
from minipach.executors.base import Executor
from minipach.executors.in_process import Memory, MemoryExecutor
from minipach.executors.local.executor import LocalExecutor
from minipach.executors.registry import BACKENDS, backend
from minipach.executors.resources import Capacity, ResourceClass
from minipach.executors.slurm.executor import SlurmExecutor
from minipach.git.repo import Repo
from minipach.git.worktrees import slots_dir
from minipach.model.repo_layout import RESULT_REFS
from minipach.model.work_set import Needs, Outcome, WorkSet
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import find_project
from minipach.publish.fold_results import fold_results
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.work_sets import make_set
from tests.fixtures.fake_kubernetes import fake_cluster, on_kubernetes
from tests.fixtures.leftovers import until
from tests.fixtures.projects import Study
from tests.fixtures.slurm_cluster import shared_cluster

# It says beside the project that it runs, and for how long; the file's text says what it does.
SCRIPT = """
MARKS="${PFS%%/study/*}/marks"
name=$(basename "$images"); what=$(cat "$images")
echo "$$" >"$MARKS/$name.begun"
case $what in
  slow) sleep 600 ;;
  bad) echo "no good" >&2; exit 7 ;;
  *) sleep 0.2 ;;
esac
cp "$images" "$PFS/out/$name"
date +%s.%N >"$MARKS/$name.ended"
"""
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_tries: 1
"""


@dataclass
class Bench:
    """An executor, and a project to try it with.

    another: one more, as a later schedule would make it · lasting: whether its sets outlive it.
    """

    study: Study
    marks: Path
    engine: Executor
    another: Callable[[], Executor]
    lasting: bool

    def put(self, **content: str) -> None:
        """Files of the input, by name."""
        for name, text in content.items():
            self.study.put(f"images/{name}", text, save=False)
        self.study.save("images")

    def sets(self, *groups: str, job: str = "a" * 32, pipeline: str = "edges") -> list[WorkSet]:
        """Sets of the datums named, such as "a" or "a b"."""
        project = find_project(self.study.root)
        assessment = Assessment(project, pipeline, SnapshotStore(project))
        try:
            base = build_base(assessment)
            tasks = {t.datum.name: t for t in assessment.tasks}
            logs = self.study.root / ".git" / "minipach" / "logs" / pipeline / "1"
            return [
                make_set(assessment, base, [tasks[name] for name in group.split()], job, str(logs / f"{group}.log"))
                for group in groups
            ]
        finally:
            assessment.close()

    def ends(self, count: int, engine: Executor | None = None, seconds: float = 90) -> dict[str, Outcome]:
        """The next outcomes, by the set's id."""
        found: dict[str, Outcome] = {}
        deadline = time.monotonic() + seconds
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} outcomes, then none"
            for outcome in (engine or self.engine).poll(0.5):
                assert outcome.set_id not in found, "told twice"
                found[outcome.set_id] = outcome
        return found

    def results(self) -> set[str]:
        """The sets that have left a result."""
        return {ref.removeprefix(RESULT_REFS) for ref in Repo(self.study.root / "edges").refs(RESULT_REFS)}

    def begun(self, name: str) -> bool:
        """Has a datum's command begun?"""
        return (self.marks / f"{name}.begun").exists()


@contextlib.contextmanager
def _memory(study: Study) -> Iterator[Callable[[], Executor]]:
    memory = Memory()
    yield lambda: MemoryExecutor(memory, lasting=True)


@contextlib.contextmanager
def _local(study: Study) -> Iterator[Callable[[], Executor]]:
    yield lambda: LocalExecutor(2)


@contextlib.contextmanager
def _slurm(study: Study) -> Iterator[Callable[[], Executor]]:
    with shared_cluster():
        yield lambda: SlurmExecutor(find_project(study.root), None)


@contextlib.contextmanager
def _rq(study: Study) -> Iterator[Callable[[], Executor]]:
    from minipach.executors.rq.executor import RqExecutor
    from tests.fixtures.redis_servers import Redis, Workers

    with Redis() as server, Workers(study, server) as workers:
        workers.start("-j", "2")
        yield lambda: RqExecutor(find_project(study.root), server.client())


@contextlib.contextmanager
def _kubernetes(study: Study) -> Iterator[Callable[[], Executor]]:
    from minipach.executors.kubernetes.executor import KubernetesExecutor

    place = study.root.parent / "cluster"
    place.mkdir()
    (place / "marks").symlink_to(study.root.parent / "marks")
    with fake_cluster(place / "study", env={"MINIPACH_RUNTIME": "none"}):
        on_kubernetes(study)
        yield lambda: KubernetesExecutor(find_project(study.root), None)


# name: what makes executors for a project, and takes down what they need. A lasting one is made several times.
ENGINES: dict[str, Callable[[Study], contextlib.AbstractContextManager[Callable[[], Executor]]]] = {
    "memory": _memory,
    "local": _local,
    "slurm": _slurm,
    "rq": _rq,
    "kubernetes": _kubernetes,
}
WITH_PROCESSES = [name for name in ENGINES if name != "memory"]
LASTING = [name for name in ENGINES if name not in BACKENDS or backend(name).lasting]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("executors") / "study")
    (study.root.parent / "marks").mkdir()
    study.put("images/first", "x")
    study.pipeline("edges", SPEC, run=SCRIPT)
    study.pipeline("other", SPEC, run=SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIPACH_RUNTIME", "none")
        study.schedule()
    return study


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, computed: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks outside of /pfs
    study = computed.duplicate(tmp_path / "study")
    marks = tmp_path / "marks"
    marks.mkdir()
    with ENGINES[request.param](study) as make:
        engine = make()
        try:
            yield Bench(study, marks, engine, make, request.param in LASTING)
        finally:
            engine.cancel()
            engine.close()


def every(names: list[str], quick: tuple[str, ...] = ("memory", "local")) -> pytest.MarkDecorator:
    """Run a test with each of these engines. quick: those of them that are not slow."""
    params = [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]
    return pytest.mark.parametrize("bench", params, indirect=True)


@every(list(ENGINES), quick=("memory", "local", "slurm", "rq"))
def test_each_set_comes_back_once_with_what_became_of_it(bench: Bench) -> None:
    bench.engine.expect(5)
    bench.put(a="1", b="bad", c="3", d="bad", e="5")
    one, failing, both = sets = bench.sets("a", "b", "c d e")
    bench.engine.submit(sets)
    ends = bench.ends(3)
    assert ends[one.id].kind == "ok" and {d.state for d in ends[one.id].datums} == {"ok"}
    assert (ends[failing.id].kind, ends[failing.id].exit) == ("failed", 7)
    assert ends[both.id].kind == "ok" and [(d.index, d.exit) for d in ends[both.id].datums if d.state != "ok"] == [
        (1, 7)
    ]
    assert "no good" in Path(ends[failing.id].log).read_text()
    assert all(end.host and end.seconds > 0 for end in ends.values())
    assert bench.results() == {one.id, both.id}
    assert bench.engine.poll(0) == []
    fold_results(Repo(bench.study.root / "edges"))
    bench.engine.settle(sets)
    assert bench.study.schedule("edges", code=1)["edges"]["counts"]["ran"] == 0, (
        "the results are there: only b and d are tried"
    )


@every(list(ENGINES))
def test_a_set_submitted_twice_runs_once(bench: Bench) -> None:
    bench.put(a="1")
    (work,) = bench.sets("a")
    bench.engine.submit([work])
    if bench.lasting:
        bench.engine.submit([work])
    assert bench.ends(1)[work.id].kind == "ok"
    assert bench.engine.poll(1) == []


@every(["memory"])
def test_a_worker_without_a_set_ends_when_it_is_asked_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minipach.execution.run_set._Stop.asked", False)
    bench.put(a="1", b="2")
    (work,) = bench.sets("a b")
    bench.engine.submit([work])
    assert bench.ends(1)[work.id].kind == "ok"
    assert not stop_early(), "nothing runs that could be finished"


@every(WITH_PROCESSES)
def test_no_more_at_once_than_the_limit(bench: Bench) -> None:
    bench.put(a="1", b="2", c="3")
    bench.engine.limit("edges", 1)
    bench.engine.submit(bench.sets("a", "b", "c"))
    assert {end.kind for end in bench.ends(3).values()} == {"ok"}
    spans = sorted(
        ((bench.marks / f"{n}.begun").stat().st_mtime, (bench.marks / f"{n}.ended").stat().st_mtime) for n in "abc"
    )
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans


@every(WITH_PROCESSES, quick=("local", "rq"))
def test_cancel_ends_the_commands_and_starts_nothing_more(bench: Bench) -> None:
    bench.put(a="slow", b="slow", c="3", d="4", e="5")
    sets = bench.sets("a", "b")
    bench.engine.submit(sets)
    deadline = time.monotonic() + 60
    while not (bench.begun("a") and bench.begun("b")):
        assert time.monotonic() < deadline
        bench.engine.poll(0.1)
    pids = [int((bench.marks / f"{name}.begun").read_text()) for name in "ab"]
    bench.engine.cancel()
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "the command outlived its cancel"
        time.sleep(0.1)
    assert bench.results() == set()


@every(list(ENGINES))
def test_cancel_of_one_pipeline_leaves_the_others_alone(bench: Bench) -> None:
    bench.put(a="1")
    ours, theirs = bench.sets("a"), bench.sets("a", pipeline="other")
    bench.engine.submit(ours)
    bench.engine.submit(theirs)
    bench.engine.cancel(Repo(bench.study.root / "other"))
    assert bench.ends(1).keys() == {ours[0].id}
    assert bench.engine.poll(0.5) == []


@every(["local"])
def test_cancel_of_one_pipeline_ends_its_command_alone(bench: Bench) -> None:
    bench.put(a="slow", b="2", c="3")
    theirs, ours = bench.sets("a", pipeline="other"), bench.sets("b", "c")
    bench.engine.submit(theirs)
    until("it runs", lambda: bench.begun("a"))
    pid = int((bench.marks / "a.begun").read_text())
    bench.engine.submit(ours)
    bench.engine.cancel(Repo(bench.study.root / "other"))
    assert not _runs(pid)
    assert bench.ends(2).keys() == {work.id for work in ours}
    bench.put(a="1")
    again = bench.sets("a", pipeline="other")
    bench.engine.submit(again)
    assert bench.ends(1)[again[0].id].kind == "ok", "more can be submitted"


@pytest.mark.slow
@every(["local"])
def test_a_free_slot_goes_to_the_pipeline_that_is_preferred(bench: Bench) -> None:
    bench.put(**{name: "1" for name in "abc"})
    engine = LocalExecutor(1)
    try:
        engine.prefer(["other", "edges"])
        engine.submit(bench.sets("a", "b"))
        engine.submit(bench.sets("c", pipeline="other"))
        assert {end.kind for end in bench.ends(3, engine).values()} == {"ok"}
    finally:
        engine.close()
    assert sorted("abc", key=lambda name: (bench.marks / f"{name}.begun").stat().st_mtime) == ["a", "c", "b"]


@every(["local"])
def test_sets_that_need_all_of_the_machine_run_one_after_the_other(bench: Bench) -> None:
    bench.put(a="1", b="2", c="3")
    room = Capacity(["0"], 4.0, 2**33)
    needs = {"a": Needs(cpu=3.0), "b": Needs(cpu=1.5), "c": Needs(cpu=0.5, memory=2**40, gpus=1)}
    engine = LocalExecutor(3, capacity=room)
    try:
        engine.submit([replace(work, needs=needs[name]) for name, work in zip("abc", bench.sets(*"abc"), strict=True)])
        assert {end.kind for end in bench.ends(3, engine).values()} == {"ok"}
    finally:
        engine.close()
    spans = {
        n: ((bench.marks / f"{n}.begun").stat().st_mtime, (bench.marks / f"{n}.ended").stat().st_mtime) for n in "abc"
    }
    assert spans["a"][1] <= spans["b"][0] or spans["b"][1] <= spans["a"][0], "3 and 1.5 of 4 CPUs"
    assert (room.lacks(ResourceClass(1, "", 4.0, 2**33)), room.gpus) == ("", ("0",)), "all of it is free again"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@every(WITH_PROCESSES)
def test_nothing_is_left_behind(bench: Bench) -> None:
    bench.put(a="1")
    sets = bench.sets("a")
    bench.engine.submit(sets)
    bench.ends(1)
    repo = Repo(bench.study.root / "edges")
    fold_results(repo)
    bench.engine.settle(sets)
    bench.engine.cancel()
    bench.engine.close()
    assert not [p for p in slots_dir(repo).glob("*") if p.suffix != ".lock" and not bench.lasting]
    assert not [ref for ref in repo.refs("refs/minipach/sets/")]


@every(LASTING)
def test_what_an_earlier_schedule_left_is_adopted_until_it_is_settled(bench: Bench) -> None:
    bench.put(a="1", b="2")
    sets = bench.sets("a", "b")
    bench.engine.submit(sets)
    bench.engine.close()
    repo = Repo(bench.study.root / "edges")
    later = bench.another()
    try:
        adopted = later.adopt(repo)
        assert {work.id for work in adopted} == {work.id for work in sets}
        assert adopted[0].parts in [work.parts for work in sets]
        assert {end.kind for end in bench.ends(2, later).values()} == {"ok"}
        later.settle(sets)
        assert later.adopt(repo) == []
    finally:
        later.cancel()
        later.close()


@every(LASTING)
def test_a_chunk_is_cut_by_its_worker_and_told_of_in_parts(bench: Bench) -> None:
    names = [f"n{n}" for n in range(9)]
    bench.put(**{name: "bad" if name == "n4" else name for name in names})
    (work,) = bench.sets(" ".join(names))
    work = replace(work, chunk=True)
    bench.engine.submit([work])
    told: list[int] = []
    bad = []
    deadline = time.monotonic() + 90
    while len(told) < len(names):
        assert time.monotonic() < deadline, told
        for end in bench.engine.poll(0.5):
            assert end.set_id == work.id
            told += [one.index for one in end.results(len(names))]
            bad += [one.index for one in end.results(len(names)) if one.state != "ok"]
    assert sorted(told) == list(range(9))
    assert bad == [4]
    assert len(bench.results()) > 1, "a chunk is several sets"
