"""An executor is one module and one line: the in-memory one is added that way, and every command works with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.executors import registry
from minipach.executors.in_process import Memory, MemoryBackend
from minipach.executors.registry import BACKENDS, Backend, backend, chosen, withdraw_others
from minipach.executors.stored_sets import set_ids, write_sets
from minipach.git.repo import Repo
from minipach.project.project import Project, find_project
from minipach.project.targets import parse_targets
from minipach.scheduling import service
from minipach.scheduling.events import DatumFailed, Event, Message, PipelineEnded, PipelineStarted, Progress, Reporter
from minipach.scheduling.schedule_report import Options
from minipach.scheduling.stalled import remarks
from minipach.support.errors import Finding
from minipach.views.doctor import examine
from minipach.views.top import Top
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused

FAILS_ON_B = 'case $images in */b) exit 3 ;; esac; cp "$images" "$PFS/out/"\n'

ONE_TRY = "input: {pfs: {repo: images, glob: /*}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_tries: 1\n"


class Kept(Reporter):
    """The events of a schedule."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def report(self, event: Event) -> None:
        self.events.append(event)


class SelfChecking(MemoryBackend):
    """One that has something to say in every command that asks."""

    def check_setup(self, project: Project) -> Iterator[Finding]:
        yield Finding("problem", "no memory", "buy some")

    def stalled(self, project: Project) -> Iterator[str]:
        yield "1 set waits for memory"

    def explain(self, project: Project, error: Exception) -> str | None:
        return "memory is away" if isinstance(error, MemoryError) else None


@pytest.fixture
def memory(study: Study, monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The engine of a project with two pipelines, registered and chosen."""
    engine = Memory()
    monkeypatch.setitem(BACKENDS, "memory", lambda: SelfChecking(engine))
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier()
    study.copier("copies", repo="edges")
    study.ok("git", "config", "minipach.executor", "memory")
    return engine


def run(study: Study, *words: str) -> tuple[dict[str, str], Kept]:
    project, kept = find_project(study.root), Kept()
    report = service.run(project, parse_targets(project, list(words)), Options(), kept)
    return {p.name: p.state for p in report.pipelines}, kept


def resume(study: Study) -> dict[str, str]:
    report = service.resume(find_project(study.root), Kept())
    return {} if report is None else {p.name: p.state for p in report.pipelines}


def work_and_resume(study: Study, memory: Memory) -> dict[str, str]:
    """What the engine does by itself: run what is queued, and make the next pass."""
    memory.work(100)
    return resume(study)


@pytest.mark.slow
def test_a_registered_executor_runs_schedules_and_their_later_passes(study: Study, memory: Memory) -> None:
    assert run(study)[0] == {"edges": "submitted", "copies": "waiting"}
    states: dict[str, str] = {}
    while more := work_and_resume(study, memory):
        states |= more
    assert states == {"edges": "published", "copies": "published"}
    assert set(study.outputs("copies")) == {"a", "b", "c"}
    assert service.wait(find_project(study.root), ["edges", "copies"], 0, print) == []


@pytest.mark.slow
def test_every_view_asks_the_registered_executor(study: Study, memory: Memory) -> None:
    run(study)
    project = find_project(study.root)
    assert Top(project).look().executor == "memory"
    assert list(remarks(project)) == ["1 set waits for memory"]
    assert [(f.what, f.fix) for f in examine(study.root) if f.level == "problem"] == [("no memory", "buy some")]
    assert registry.explain(project, MemoryError()) == "memory is away"
    assert registry.explain(project, ValueError()) is None


def test_what_is_submitted_to_it_can_be_cancelled(study: Study, memory: Memory) -> None:
    run(study)
    done = service.cancel(find_project(study.root), 10, print)
    assert done.holders == () and done.gone and [row.pipeline for row in done.jobs] == ["edges"]
    assert not memory.waiting() and resume(study) == {}


@pytest.mark.slow
def test_retry_runs_what_failed_and_nothing_else(study: Study, memory: Memory) -> None:
    study.pipeline(
        "edges",
        ONE_TRY,
        run=FAILS_ON_B,
    )
    run(study, "edges")
    states: dict[str, str] = {}
    while more := work_and_resume(study, memory):
        states |= more
    assert states["edges"] == "failed"
    project, kept = find_project(study.root), Kept()
    assert service.retry(project, ["copies"], kept) is None
    report = service.retry(project, ["edges"], kept)
    assert report is not None and report.in_flight
    assert [d["name"] for work in memory.waiting() for d in work.datums] == ["b"]


def test_events_tell_all_of_a_schedule_in_order(study: Study, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    study.ok("git", "config", "minipach.executor", "local")
    study.pipeline(
        "edges",
        ONE_TRY,
        run=FAILS_ON_B,
    )
    states, kept = run(study, "edges")
    assert states["edges"] == "failed"
    events = [e for e in kept.events if not isinstance(e, Message)]
    assert isinstance(events[0], PipelineStarted) and events[0].counts["run"] == 3
    (failed,) = [e for e in events if isinstance(e, DatumFailed)]
    assert (failed.as_json()["datum"], failed.as_json()["exit"]) == ("b", 3) and Path(failed.end.log).is_file()
    assert [e.as_json() for e in events if isinstance(e, Progress)][-1] == {
        "event": "progress", "pipeline": "edges", "done": 3, "failed": 1, "total": 3,
    }  # fmt: skip
    ends = [e.report.name for e in events if isinstance(e, PipelineEnded)]
    assert ends == ["edges", "copies"] and isinstance(events[-1], PipelineEnded)


def test_an_unknown_executor_is_refused_with_the_known_ones(study: Study, memory: Memory) -> None:
    study.ok("git", "config", "minipach.executor", "sulrm")
    with refused("setting.bad-value", "minipach.executor", "sulrm", "local, rq, slurm, kubernetes, memory"):
        chosen(find_project(study.root))


def test_every_engine_has_a_backend_of_its_name() -> None:
    for name in BACKENDS:
        found = backend(name)
        assert isinstance(found, Backend) and found.name == name


def test_queued_sets_of_others_are_withdrawn(study: Study, memory: Memory) -> None:
    run(study)
    repo = Repo(study.root / "edges")
    write_sets(repo, memory.waiting())
    assert set_ids(repo)
    withdraw_others(backend("local"), repo)
    assert not set_ids(repo)


def test_events_are_printed_as_lines_of_json(study: Study, memory: Memory) -> None:
    study.ok("git", "config", "minipach.executor", "local")
    done = study.minipach("schedule", "edges", "--no-downstream", "--events")
    found = [json.loads(line) for line in done.err.splitlines()]
    assert [row["event"] for row in found if row["event"] not in ("message", "progress")] == [
        "pipeline-started",
        "pipeline-ended",
    ]
    assert found[-1]["report"]["counts"]["ran"] == 3
