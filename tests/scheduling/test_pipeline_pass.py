"""Passes that hand their sets over and go: a later pass takes what has come, publishes, and goes on downstream."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minipach.executors.in_process import Memory, MemoryBackend, MemoryExecutor
from minipach.model.work_set import WorkSet
from minipach.project.project import Project, find_project
from minipach.project.targets import parse_targets
from minipach.records import pending_work
from minipach.records.job_database import Ledger
from minipach.records.log_stream import follow
from minipach.scheduling.events import Event, Reporter
from minipach.scheduling.schedule_report import Options, ScheduleReport
from minipach.scheduling.scheduler import Scheduler
from tests.fixtures.projects import Study

FAILS_ON_B = 'case $images in */b) exit 3 ;; esac; cp "$images" "$PFS/out/"\n'


class Quiet(Reporter):
    """Says nothing."""

    def report(self, event: Event) -> None: ...


class Interrupted(MemoryExecutor):
    """Its pass is interrupted just before what it was told of is settled."""

    def settle(self, sets: Sequence[WorkSet]) -> None:
        raise KeyboardInterrupt


class InterruptedLater(MemoryExecutor):
    """Its pass is interrupted as soon as what it was told of is settled."""

    def settle(self, sets: Sequence[WorkSet]) -> None:
        super().settle(sets)
        raise KeyboardInterrupt


class SpecChanges(MemoryExecutor):
    """Somebody commits another command while its sets run."""

    change: Callable[[], object]

    def settle(self, sets: Sequence[WorkSet]) -> None:
        super().settle(sets)
        type(self).change()


class Made(MemoryBackend):
    """The backend of an executor that is there already."""

    def __init__(self, executor: MemoryExecutor) -> None:
        super().__init__(executor.memory)
        self.executor = executor

    def make(self, project: Project, jobs: int | None) -> MemoryExecutor:
        return self.executor


@dataclass
class Engine:
    """A project, and an engine whose sets outlive each schedule."""

    study: Study
    memory: Memory = field(default_factory=Memory)
    at_once: bool = False
    left: list[Path] = field(default_factory=list)  # by the last pass

    def pass_(
        self,
        *words: str,
        follow: bool = False,
        force: bool = False,
        keep_going: bool = False,
        engine: type[MemoryExecutor] = MemoryExecutor,
    ) -> ScheduleReport:
        """One `minipach schedule`."""
        project = find_project(self.study.root)
        ledger = Ledger(project.state_dir / "ledger.sqlite")
        made = engine(self.memory, 2, at_once=self.at_once, lasting=True)
        try:
            scheduler = Scheduler(project, ledger, Made(made), Quiet())
            options = Options(follow=follow, force=force, keep_going=keep_going)
            return scheduler.run(parse_targets(project, list(words)), options)
        finally:
            made.close()
            ledger.close()
            self.left = made.left

    def states(self, report: ScheduleReport) -> dict[str, str]:
        return {row.name: row.state for row in report.pipelines}

    def until_done(self) -> ScheduleReport:
        """Work and pass in turn, as an engine's go-on steps would."""
        for _ in range(20):
            report = self.pass_()
            if not report.in_flight:
                return report
            assert self.left, "nobody would go on"
            self.memory.work(1000)
        raise AssertionError("it never ends")


@pytest.fixture
def engine(study: Study) -> Engine:
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier()
    study.copier("copies", repo="edges")
    return Engine(study)


@pytest.mark.slow
def test_a_pass_leaves_and_later_ones_publish_and_go_on_downstream(engine: Engine) -> None:
    report = engine.pass_()
    assert engine.states(report) == {"edges": "submitted", "copies": "waiting"}
    assert report.ok and not engine.study.outputs("edges")
    assert [p.name for p in engine.left] == ["edges"]
    assert engine.pass_().in_flight, "nothing has run yet: the sets are adopted, not submitted again"
    assert len(engine.memory.waiting()) == 3
    report = engine.until_done()
    assert engine.states(report) == {"edges": "current", "copies": "published"}
    assert set(engine.study.outputs("copies")) == {"a", "b", "c"}
    assert not engine.memory.entries, "what is on record is settled"
    jobs = engine.study.minipach("jobs", "--json").json["jobs"]
    assert [(j["pipeline"], j["state"], j["counts"]["ran"]) for j in jobs] == [
        ("copies", "published", 3),
        ("edges", "published", 3),
    ]


def test_how_many_a_job_is_to_run_stays_what_it_was_when_some_have_come(engine: Engine) -> None:
    engine.pass_("edges")
    engine.memory.work(2)
    engine.pass_("edges")
    with closing(Ledger(engine.study.root / ".git/minipach/ledger.sqlite")) as ledger:
        assert [row.asked for row in ledger.jobs("edges", 9)] == [3]


@pytest.mark.slow
def test_what_waits_is_queued_anew_where_the_spec_asks_for_other_resources(engine: Engine) -> None:
    engine.study.copier(more="resource_requests: {gpu: {type: a100, number: 9}}\ndatum_set_spec: {number: 1}\n")
    assert engine.pass_().in_flight and len(engine.memory.waiting()) == 3
    engine.memory.work(1)  # begun, or done: that is kept
    engine.study.copier(more="datum_set_spec: {number: 1}\n")
    engine.study.save("edges")
    assert engine.pass_().in_flight
    assert [work.needs.gpus for work in engine.memory.waiting()] == [0, 0], "nobody has nine"
    engine.until_done()
    assert set(engine.study.outputs("copies")) == {"a", "b", "c"}
    (edges,) = [j for j in engine.study.minipach("jobs", "--json").json["jobs"] if j["pipeline"] == "edges"][:1]
    assert edges["state"] == "published"


@pytest.mark.slow
def test_what_a_job_takes_over_from_the_one_before_is_shown_as_its_own(engine: Engine) -> None:
    engine.study.copier(more="datum_set_spec: {number: 1}\n")
    (engine.study.root / "edges/code/copy.sh").write_text('echo seen\ncp "$images" "$PFS/out/"\n')
    engine.pass_()
    engine.study.put("images/d", "d")
    for _ in range(2):
        assert engine.pass_().in_flight
    latest = engine.study.root / ".git/minipach/logs/edges/2"
    assert len((latest / "sets.jsonl").read_text().splitlines()) == 4, "each once"
    engine.memory.work(4)
    assert sorted(follow(latest, lambda: True)) == [(name, "seen") for name in "abcd"]


@pytest.mark.slow
def test_when_a_jobs_time_is_over_what_has_ended_counts_and_the_rest_has_failed(engine: Engine) -> None:
    engine.study.copier(more="job_timeout: 500s\ndatum_set_spec: {number: 1}\n")
    project = find_project(engine.study.root)
    pending_work.begin(project, parse_targets(project, []))
    assert engine.states(engine.pass_())["edges"] == "submitted"
    due = pending_work.due(project)
    assert due is not None and 0 < due - time.time() <= 500
    engine.memory.work(1)
    with sqlite3.connect(project.state_dir / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE job SET started = started - 500")
    report = engine.pass_()
    assert engine.states(report) == {"edges": "failed", "copies": "blocked"}
    (edges, _) = report.pipelines
    assert "job_timeout" in edges.reason
    assert (edges.counts["ran"], [row["name"] for row in edges.failed]) == (1, ["b", "c"])
    assert not engine.memory.waiting(), "what was on its way is cancelled"
    assert pending_work.due(project) is None
    engine.study.copier()
    assert engine.pass_(follow=True).pipelines[0].counts["ran"] == 2, "what ended in time was kept"


@pytest.mark.slow
def test_a_pass_goes_on_with_what_is_sound_and_names_what_has_been_broken_meanwhile(engine: Engine) -> None:
    engine.study.copier("broken", more="nonsense: 1\n")
    report = engine.pass_(follow=True)
    assert engine.states(report) == {"edges": "published", "copies": "published", "broken": "error"}
    (problem,) = report.problems
    assert (problem.code, problem.location) == ("spec.unknown-field", "broken/spec.yml:3:1")
    assert not (engine.study.root / "broken/.git").exists()


@pytest.mark.soak
def test_a_job_whose_time_is_over_ends_also_while_its_pipeline_waits_once_more(engine: Engine) -> None:
    engine.study.copier("copies", repo="edges", more="job_timeout: 500s\n")
    project = find_project(engine.study.root)
    pending_work.begin(project, parse_targets(project, []))
    engine.pass_()
    engine.memory.work(1000)
    assert engine.states(engine.pass_()) == {"edges": "published", "copies": "submitted"}
    engine.study.put("images/d", "d")
    report = engine.pass_()
    assert engine.states(report) == {"edges": "submitted", "copies": "waiting"}
    assert {Path(w.repo).name for w in engine.memory.waiting()} == {"edges", "copies"}, "it goes on in its time"
    pending_work.note_due(project, "copies", time.time() - 1)
    assert engine.states(engine.pass_()) == {"edges": "submitted", "copies": "waiting"}
    assert {Path(w.repo).name for w in engine.memory.waiting()} == {"edges"}
    assert pending_work.due(project) is None
    assert engine.states(engine.until_done()) == {"edges": "current", "copies": "published"}


@pytest.mark.slow
def test_following_it_does_all_in_one_pass(engine: Engine) -> None:
    assert engine.states(engine.pass_(follow=True)) == {"edges": "published", "copies": "published"}


@pytest.mark.slow
def test_handed_over_at_once_a_worker_cuts_the_sets(engine: Engine) -> None:
    for number in range(10):
        engine.study.put(f"images/n{number}", str(number), save=False)
    engine.study.save("images")
    engine.at_once = True
    engine.pass_()
    assert [len(w.parts) for w in engine.memory.waiting()] == [7, 6], "one chunk for each slot"
    engine.until_done()
    assert len(engine.study.outputs("copies")) == 13


@pytest.mark.parametrize("at_once", [pytest.param(False, marks=pytest.mark.soak), True])
def test_what_failed_is_not_tried_again_by_itself_but_by_the_next_schedule(engine: Engine, at_once: bool) -> None:
    engine.at_once = at_once
    study = engine.study
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\ndatum_tries: 2\n',
        copy=FAILS_ON_B,
    )
    report = engine.until_done()
    assert engine.states(report) == {"edges": "failed", "copies": "blocked"}
    (edges, _) = report.pipelines
    assert [row["name"] for row in edges.failed] == ["b"]
    assert not study.outputs("edges")
    job = study.minipach("job", edges.job, "--json").json
    assert sorted((a["datum"], a["kind"], a["tries"]) for a in job["attempts"]) == [
        ("a", "ok", 1),
        ("b", "failed", 2),
        ("c", "ok", 1),
    ]
    assert engine.pass_().in_flight, "asked again, it is tried again"
    assert [d["name"] for w in engine.memory.waiting() for d in w.datums] == ["b"]


@pytest.mark.parametrize("keep_going", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_pass_that_sees_the_first_datums_fail_alike_takes_the_others_back(study: Study, keep_going: bool) -> None:
    for name in "abcdef":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, -c, "exit 3"]}\n'
        "datum_tries: 1\ndatum_set_spec: {number: 1}\n",
    )
    study.ok("git", "config", "minipach.give-up-after", "2")
    engine = Engine(study)
    assert engine.pass_(keep_going=keep_going).in_flight
    engine.memory.work(2)
    report = engine.pass_(keep_going=keep_going)
    if keep_going:
        assert report.in_flight
        engine.memory.work(1000)
        report = engine.pass_(keep_going=keep_going)
    [edges] = report.pipelines
    assert edges.state == "failed"
    assert len(edges.failed) == (6 if keep_going else 2)
    assert ("so the job stopped with 4 not run" in edges.reason) is not keep_going
    assert not engine.memory.waiting() and not engine.memory.entries
    assert not report.in_flight


def test_what_later_passes_must_know_of_a_schedule_is_noted(study: Study) -> None:
    study.copier()
    project = find_project(study.root)
    pending_work.begin(project, parse_targets(project, []), ["keep-going"])
    pending_work.note_due(project, "edges", 1e9)
    assert pending_work.options(find_project(study.root)) == {"keep-going"}
    pending_work.keep(project, ["edges"])
    assert pending_work.options(project) == {"keep-going"}
    pending_work.keep(project, [])
    assert pending_work.options(project) == frozenset()


@pytest.mark.slow
def test_a_try_in_a_set_is_on_record_also_when_the_next_one_ends_in_a_later_pass(study: Study) -> None:
    for name in "ab":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier(more="datum_tries: 3\ndatum_set_spec: {number: 2}\n")
    (study.root / "edges/code/copy.sh").write_text(FAILS_ON_B)
    engine = Engine(study)
    engine.pass_()
    engine.memory.work(1)
    with pytest.raises(KeyboardInterrupt):  # told of what the set came to; the next pass is told once more
        engine.pass_(engine=Interrupted)
    engine.pass_()
    engine.until_done()
    (row,) = study.minipach("jobs", "--json").json["jobs"][:1]
    attempts = {a["datum"]: a for a in study.minipach("job", row["id"], "--json").json["attempts"]}
    assert [(t["kind"], t["exit"]) for t in attempts["b"]["tried"]] == [("failed", 3)] * 3
    assert len({t["log"] for t in attempts["b"]["tried"]}) == 2, "in the set, and by itself"
    assert attempts["b"]["tries"] == 3 and len(attempts["a"]["tried"]) == 1


@pytest.mark.slow
def test_an_engine_that_forgets_everything_costs_only_what_had_not_come(engine: Engine) -> None:
    engine.pass_()
    engine.memory.work(1)
    engine.memory.entries.clear()
    engine.pass_()
    assert len(engine.memory.waiting()) == 2, "the result of the first is in git"
    engine.until_done()
    assert len(engine.study.outputs("copies")) == 3


@pytest.mark.slow
def test_sets_of_an_older_spec_are_not_waited_for(engine: Engine) -> None:
    engine.pass_("edges")
    engine.study.put("edges/code/copy.sh", 'cat "$images" "$images" >"$PFS/out/$(basename "$images")"\n')
    report = engine.until_done()
    assert engine.states(report)["edges"] == "current"
    assert engine.study.read("edges/a") == b"aa"
    states = [j["state"] for j in engine.study.minipach("jobs", "edges", "--json").json["jobs"]]
    assert states == ["published", "superseded"]


@pytest.mark.soak
def test_a_forced_run_that_is_left_is_still_a_forced_run(engine: Engine) -> None:
    engine.until_done()
    before = engine.study.git("edges", "rev-list", "--count", "HEAD")
    engine.pass_("edges:a", force=True)
    engine.memory.work(10)
    assert engine.states(engine.pass_())["edges"] == "published"
    assert int(engine.study.git("edges", "rev-list", "--count", "HEAD")) > int(before)
    assert '"forced": true' in engine.study.git("edges", "log", "-3", "--format=%B")


@pytest.fixture
def forcing(study: Study) -> Engine:
    """Three datums, a set for each, all published, and all forced to run again: nothing has run yet."""
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier(more="datum_set_spec: {number: 1}\n")
    engine = Engine(study)
    engine.until_done()
    engine.pass_(force=True)
    assert len(engine.memory.waiting()) == 3, "what is forced is handed over at once"
    return engine


def forced_records(engine: Engine, least: int) -> int:
    """How many of the newest commits, at least so many, are records of forced runs."""
    return engine.study.git("edges", "log", f"-{least + 2}", "--format=%B").count('"forced": true')


@pytest.mark.slow
def test_forced_runs_that_end_in_different_passes_are_all_published(forcing: Engine) -> None:
    for _ in range(3):
        forcing.memory.work(1)
        report = forcing.pass_()
    (edges,) = report.pipelines
    assert (edges.state, edges.counts["ran"]) == ("published", 3)
    assert forced_records(forcing, 3) == 3
    assert forcing.states(forcing.pass_())["edges"] == "current"


@pytest.mark.soak
def test_forced_runs_are_published_though_their_inputs_grew_meanwhile(forcing: Engine) -> None:
    forcing.memory.work(1)
    forcing.pass_()
    forcing.study.put("images/d", "d")
    assert forcing.states(forcing.until_done())["edges"] == "published"
    assert forced_records(forcing, 4) == 3
    assert set(forcing.study.outputs("edges")) == {"a", "b", "c", "d"}


@pytest.mark.slow
def test_what_a_pass_has_recorded_but_not_settled_is_not_recorded_again(forcing: Engine) -> None:
    forcing.memory.work(1)
    with pytest.raises(KeyboardInterrupt):
        forcing.pass_(engine=Interrupted)
    assert len(forcing.memory.entries) == 3, "it is told of once more"
    forcing.pass_(force=True)
    assert len(forcing.memory.entries) == 2, "to force it twice runs it once"
    report = forcing.until_done()
    (edges,) = report.pipelines
    assert (edges.state, edges.counts["ran"]) == ("published", 3)
    job = forcing.study.minipach("job", edges.job, "--json").json
    assert [a["datum"] for a in job["attempts"] if a["pass"] == 1] == ["a", "b", "c"]
    assert forced_records(forcing, 3) == 3


@pytest.mark.soak
def test_forced_runs_are_published_by_the_next_pass_if_that_of_theirs_could_not(forcing: Engine) -> None:
    forcing.memory.work(3)
    with pytest.raises(KeyboardInterrupt):
        forcing.pass_(engine=InterruptedLater)
    assert not forcing.memory.entries, "all is settled, and the branch is as it was"
    assert forcing.states(forcing.pass_())["edges"] == "published"
    assert forced_records(forcing, 3) == 3


@pytest.mark.parametrize("name", ["rq", "slurm"])
def test_whoever_is_to_stop_at_a_failure_has_to_be_there(study: Study, name: str) -> None:
    study.git(".", "config", "minipach.executor", name)
    assert study.minipach("schedule", "--fail-fast", "--wait").code == 0, "there is no pipeline yet"
    study.copier()
    before = [study.git(".", *words) for words in (["status", "--short"], ["for-each-ref"])]
    done = study.minipach("schedule", "--fail-fast")
    assert (done.code, done.out) == (2, "")
    assert done.refusals == [("option.needs-wait", "--fail-fast")] and name in done.err
    assert [study.git(".", *words) for words in (["status", "--short"], ["for-each-ref"])] == before
    assert study.minipach("jobs", "--json").json["jobs"] == []


def test_a_spec_that_changes_while_datums_run_is_not_published(engine: Engine) -> None:
    engine.at_once = True
    engine.pass_()
    study = engine.study
    published = study.git("edges", "rev-parse", "HEAD")
    study.put("images/d", "d")
    spec = (study.root / "edges/spec.yml").read_text().replace("cmd: [sh", "cmd: [sh, -e")
    SpecChanges.change = staticmethod(lambda: study.put("edges/spec.yml", spec))
    report = engine.pass_("edges", follow=True, engine=SpecChanges)
    assert [problem.code for problem in report.problems] == ["pipeline.changed-during-run"]
    assert study.git("edges", "rev-parse", "HEAD~1") == published, "only what somebody has committed is new"
    assert engine.states(engine.pass_("edges", follow=True))["edges"] == "published"
