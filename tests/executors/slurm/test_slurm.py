"""Slurm: real daemons. What was handed over goes on by itself; what dies there is tried again; nothing hangs."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minipach.executors.slurm import client
from minipach.executors.slurm.client import SlurmAwayError
from minipach.executors.slurm.executor import take_back
from minipach.executors.slurm.options import SlurmOptions
from minipach.executors.slurm.submission import OutcomeWriter, Submission, final, narrowed
from minipach.model.job_entries import DatumResult
from minipach.model.work_set import Needs, Outcome, WorkSet
from minipach.project.project import find_project
from minipach.records import pending_work
from tests.fixtures.leftovers import (
    Background,
    hold,
    leftovers,
    processes,
    result_of,
    schedule_killed,
    unpublished,
    until,
)
from tests.fixtures.meetings import meet_side_by_side
from tests.fixtures.projects import SHOWN, Study
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files
from tests.fixtures.slurm_cluster import Cluster, cluster, on_slurm, shared_cluster, submissions
from tests.fixtures.small_disks import small_disk
from tests.fixtures.work_sets import a_set

# Kills the batch process, which is the topmost of those above: the command doesn't get Slurm's variables.
KILL_TASK = """
if [ "$(cat "$images")" = 2 ]; then
  pid=$$ top=
  while [ "$pid" -gt 1 ]; do
    if grep -q executors.slurm.task "/proc/$pid/cmdline"; then top=$pid; fi
    pid=$(sed 's/.*) [A-Z] //; s/ .*//' "/proc/$pid/stat")
  done
  kill -9 "$top"
  sleep 60
fi
"""
COPY = 'cp "$images" "$PFS/out/"\n'


@pytest.fixture
def slurm() -> Iterator[Cluster]:
    with shared_cluster() as made:
        yield made


def states(study: Study) -> dict[str, str]:
    """The state of each pipeline's last job."""
    rows = study.minipach("jobs", "--json").json["jobs"]
    return {row["pipeline"]: row["state"] for row in reversed(rows)}


def done(study: Study, seconds: float = 300) -> None:
    """Wait until all is done."""
    waited = study.minipach("wait", "--timeout", str(seconds), timeout=seconds + 30)
    assert waited.code == 0, waited.err


def running(slurm: Cluster, count: int) -> list[str]:
    """Wait until so many tasks run; their ids."""
    until(f"{count} tasks run", lambda: sum("RUNNING minipach:edges" in task for task in slurm.tasks()) >= count)
    return [task.split()[0] for task in slurm.tasks() if "RUNNING minipach:edges" in task]


# --- the way it goes ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_pipelines_get_done_without_anyone_waiting(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study", images=3))
    with slurm.drained():
        first = study.minipach("schedule")
        assert first.code == 0, first.err
        assert "submitted; minipach wait" in first.out
        assert states(study) == {"edges": "submitted"}
        names = [task.split()[2] for task in slurm.tasks()]
        assert names.count("minipach:next") == 1, names
        again = study.minipach("schedule")  # which submits nothing twice, and no second step
        assert again.code == 0, again.err
        assert sorted(task.split()[2] for task in slurm.tasks()) == sorted(names)
        # what is on its way names the folder where the project was: it is handed over anew
        before = {task.split()[0] for task in slurm.tasks()}
        study = Study(study.root.rename(tmp_path / "moved"))
        moved = study.minipach("schedule")
        said = f"edges: sets submitted in {tmp_path / 'study'}, the project's earlier location, are withdrawn\n"
        assert (moved.code, moved.err.count(said)) == (0, 1), moved.err
        until("the tasks of before are gone", lambda: not before & {task.split()[0] for task in slurm.tasks()})
        assert sorted(task.split()[2] for task in slurm.tasks()) == sorted(names)
    done(study)
    assert states(study) == {"edges": "published", "montage": "published"}
    assert study.read("montage/all.txt") == b"picture 0\npicture 1\npicture 2\n"
    until("the last step has ended", lambda: not slurm.tasks())
    assert submissions(study) == []
    assert leftovers(study) == []
    assert study.minipach("schedule").out == "nothing to do\n"
    assert not slurm.tasks()


@pytest.mark.slow
def test_schedules_of_several_pipelines_run_side_by_side(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks
    on_slurm(study)
    study.put("images/a", "a\n")
    with cluster(cpus=4):
        meet_side_by_side(study)
        done(study)
        assert submissions(study) == []
        assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_a_failure_is_seen_and_retried_and_the_rest_is_kept(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(Study.create(tmp_path / "study"))
    study.copier(more="datum_tries: 1\n")
    script = study.root / "edges/code/copy.sh"
    bad = SHOWN / "bad"
    script.write_text(f"case $images in *b) [ ! -e {bad} ] || {{ echo no good; exit 7; }} ;; esac\n" + COPY)
    study.put("images/a", "a")
    study.schedule("--wait")
    bad.touch()
    for name in ("b", "c"):
        study.put(f"images/{name}", name)
    followed = study.minipach("schedule", "--wait")
    assert followed.code == 1
    assert "edges: b failed: the command exited with 7" in followed.err
    assert "no good" in study.minipach("logs", "edges", "b").out
    assert [d["name"] for d in study.minipach("datums", "edges", "--state", "failed", "--json").json["datums"]] == ["b"]
    ran = study.minipach("jobs", "--json").json["jobs"][0]
    story = study.minipach("job", ran["id"][:12]).out
    assert "b: failed, the command exited with 7" in story
    bad.unlink()
    assert study.minipach("retry", "edges").code == 0  # it leaves, and the step that goes on publishes
    done(study)
    assert sorted(study.outputs("edges")) == ["a", "b", "c"]
    assert study.minipach("jobs", "--json").json["jobs"][0]["counts"]["ran"] == 1
    assert leftovers(study) == []


@pytest.mark.slow
def test_cancel_ends_tasks_and_the_step_that_would_go_on(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study"))
    study.schedule()
    done(study)
    gate = hold(study)
    study.put("images/new.txt", "new\n")
    assert study.minipach("schedule").code == 0
    running(slurm, 1)
    follower = Background(study, "logs", "edges", "--follow")
    until("the command runs", lambda: any(p.kind == "command" for p in processes("SLURM_JOB_ID=", study.root)))
    assert "ended: job" in study.minipach("cancel").out
    assert not [p for p in processes("SLURM_JOB_ID=", study.root) if p.kind == "command"]
    assert states(study)["edges"] == "cancelled"
    follower.end()
    until("nothing is left in Slurm", lambda: not slurm.tasks())
    assert submissions(study) == []
    assert leftovers(study) == []
    gate.unlink()
    study.schedule("--wait")
    assert sorted(study.outputs("edges")) == ["0.txt", "1.txt", "new.txt"]


@pytest.mark.soak
def test_a_job_has_its_time_also_when_nobody_follows(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study", images=3))
    limit = "job_timeout: 15s\n"
    spec = study.root / "edges/spec.yml"
    spec.write_text(spec.read_text() + limit)
    with slurm.drained():
        assert study.minipach("schedule").code == 0
        held = hold(study)
        assert [task.split()[2] for task in slurm.tasks()].count("minipach:due") == 1
    until("the time is over", lambda: not pending_work.exists(find_project(study.root)))
    (job,) = study.minipach("jobs", "--json").json["jobs"]
    assert (job["pipeline"], job["state"], job["counts"]["failed"]) == ("edges", "failed", 3)
    until("nothing is left of it", lambda: not slurm.tasks())
    held.unlink()
    spec.write_text(spec.read_text().replace(limit, "job_timeout: 10h\n"))
    study.save("edges")
    assert study.minipach("schedule").code == 0
    assert any("minipach:due" in task for task in slurm.tasks())
    done(study)
    until("nobody waits for a time that no longer counts", lambda: not slurm.tasks())
    assert len(study.outputs("edges")) == 3


@pytest.mark.soak
def test_who_gets_more_time_has_more_time(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study", images=2))
    spec = study.root / "edges/spec.yml"
    spec.write_text(spec.read_text() + "job_timeout: 25s\n")
    with slurm.drained():
        assert study.minipach("schedule").code == 0
        held = hold(study)
    due = pending_work.due(find_project(study.root), "edges")
    assert due is not None
    began = running(slurm, 1)
    spec.write_text(spec.read_text().replace("25s", "10h"))
    study.save("edges")
    assert study.minipach("schedule").code == 0
    until("the first time is over", lambda: time.time() > due + 2)
    assert running(slurm, 1)[: len(began)] == began, "they go on"
    held.unlink()
    done(study)
    assert states(study)["edges"] == "published"
    assert "lost" not in study.minipach("jobs", "--json").out


@pytest.mark.slow
def test_later_passes_work_on_what_was_asked_for(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study"))
    assert study.minipach("schedule", "edges", "--no-downstream").code == 0
    done(study)
    assert states(study) == {"edges": "published"}
    until("the last step has ended", lambda: not slurm.tasks())
    assert states(study) == {"edges": "published"}
    assert not pending_work.exists(find_project(study.root))


@pytest.mark.soak
def test_with_no_step_left_nobody_waits_for_ever_and_the_next_schedule_goes_on(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study"))
    schedule_killed(study, "before", "minipach.records.pending_work:end")  # all is handed over; the step is not
    assert not [task for task in slurm.tasks() if "minipach:next" in task]
    waited = study.minipach("wait")
    assert waited.code == 2
    assert waited.reports("work.forsaken", "edges, montage", "minipach schedule")
    until("the tasks have ended", lambda: not slurm.tasks())
    assert study.minipach("schedule", "edges", "--no-downstream").code == 0
    assert study.read("edges/0.txt") == b"picture 0\n"
    assert pending_work.paths(find_project(study.root)) == ["montage"], "it was asked for, and is not done"
    assert study.minipach("schedule").code == 0
    done(study)
    assert study.read("montage/all.txt") == b"picture 0\npicture 1\n"
    assert not pending_work.exists(find_project(study.root))
    assert leftovers(study) == []


# --- where Slurm isn't there -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_slurmctld_nothing_is_submitted_and_one_line_says_so(tmp_path: Path) -> None:
    with cluster(patience=3) as slurm:
        study = on_slurm(unpublished(tmp_path / "study"))
        slurm.stop("slurmctld")
        done_ = study.minipach("schedule")
        assert done_.code == 2
        assert done_.out == ""
        lines = [line for line in done_.err.splitlines() if "slurmctld" in line]
        assert len(lines) == 1 and "slurmctld is away" in lines[0] and "scontrol ping" in lines[0], done_.err
        assert submissions(study) == []
        doctor = study.minipach("doctor")
        assert "slurmctld is away" in doctor.out
        assert doctor.code != 0


def test_without_slurms_programs_one_line_says_so(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with refused("slurm.not-found", "sbatch"):
        client.sbatch([], ["x"])


@pytest.mark.soak
def test_a_schedule_while_slurmctld_is_away_takes_nothing_from_an_earlier_one(tmp_path: Path) -> None:
    with cluster() as slurm:
        study = on_slurm(unpublished(tmp_path / "study"))
        study.schedule("--wait")
        gate = hold(study)
        study.put("images/new.txt", "new\n")
        assert study.minipach("schedule").code == 0
        running(slurm, 1)
        study.put("images/newer.txt", "newer\n")
        slurm.stop("slurmctld")
        assert study.minipach("schedule").code == 2
        slurm.start("slurmctld")
        gate.unlink()
        done(study)  # by the step of the first one
        assert sorted(study.outputs("edges")) == ["0.txt", "1.txt", "new.txt", "newer.txt"]
        assert study.read("montage/all.txt").endswith(b"new\nnewer\n")


# --- what dies there ---------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_tasks_that_somebody_cancels_are_submitted_again(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(unpublished(tmp_path / "study", images=3))
    study.schedule("--wait")
    gate = hold(study)
    for n in range(3):
        study.put(f"images/new {n}.txt", f"new {n}\n")
    assert study.minipach("schedule").code == 0
    before = running(slurm, 2)
    waiting = [task.split()[0] for task in slurm.tasks() if "PENDING minipach:edges" in task]
    for task in (before[0], *waiting):
        slurm.ask("scancel", task)
    gate.unlink()
    done(study)
    assert states(study) == {"edges": "published", "montage": "published"}
    assert len(study.outputs("edges")) == 6
    result_of(study)
    until("nothing is left in Slurm", lambda: not slurm.tasks())
    assert leftovers(study) == []


@pytest.mark.soak
def test_daemons_that_end_cost_nothing_and_who_follows_waits_for_them(tmp_path: Path) -> None:
    with cluster(more="SlurmdTimeout=5", patience=5) as slurm:
        study = on_slurm(unpublished(tmp_path / "study", images=2))
        study.schedule("--wait")
        gate = hold(study)
        for n in range(3):
            study.put(f"images/new {n}.txt", f"new {n}\n")
        following = Background(study, "schedule", "--wait")
        running(slurm, 2)
        slurm.stop("slurmctld")
        until("it says so", lambda: "slurmctld is away" in following.err)
        slurm.stop("slurmd", signal.SIGKILL)
        slurm.start("slurmctld")
        until("it says so", lambda: "slurmctld answers again" in following.err)
        until("Slurm sees the node down", lambda: "down" in slurm.ask("sinfo", "-h", "-o", "%T"))
        gate.unlink()
        slurm.start("slurmd")
        ended = following.end()
        assert ended.code == 0, ended.err
        assert ended.err.count("is away") == 1
        assert states(study) == {"edges": "published", "montage": "published"}
        assert len(study.outputs("edges")) == 5
        result_of(study)
        until("nothing is left in Slurm", lambda: not slurm.tasks())
        study.schedule()
        assert leftovers(study) == []


@pytest.mark.soak
@pytest.mark.parametrize("point", ["client:sbatch", "submission:Submission.note_job", "tracker:SubmissionTracker.take"])
def test_a_scheduler_killed_as_it_submits(tmp_path: Path, slurm: Cluster, point: str) -> None:
    study = on_slurm(unpublished(tmp_path / "study"))
    schedule_killed(study, "before", f"minipach.executors.slurm.{point}")
    study.schedule("--wait")
    assert study.read("montage/all.txt") == b"picture 0\npicture 1\n"
    until("nothing is left in Slurm", lambda: not slurm.tasks())
    jobs = {line.split("ArrayJobId=")[1].split()[0] for line in slurm.ended("minipach:edges", study.root)}
    assert len(jobs) == 1, "what the killed one had handed over was taken up"
    assert submissions(study) == []
    assert leftovers(study) == []


@pytest.mark.soak
def test_a_datum_that_kills_its_task_costs_the_others_of_its_chunk_nothing(
    tmp_path: Path, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that the command can kill what runs it
    study = on_slurm(Study.create(tmp_path / "study"), throttle="1")
    study.copier()
    script = study.root / "edges/code/copy.sh"
    script.write_text(KILL_TASK + COPY)
    for n in range(5):
        study.put(f"images/{n}", str(n), save=False)
    study.save("images")
    followed = study.minipach("schedule", "--wait")
    assert followed.code == 1, followed.err
    assert "edges: 2 could not be run: its task ended 3 times without a result (Slurm: FAILED" in followed.err
    attempts = study.minipach("job", study.minipach("jobs", "--json").json["jobs"][0]["id"], "--json").json["attempts"]
    assert {a["datum"]: a["kind"] for a in attempts} == {"0": "ok", "1": "ok", "2": "lost", "3": "ok", "4": "ok"}
    tried = {a["datum"]: [t["kind"] for t in a["tried"]] for a in attempts}
    assert tried == {**{name: ["ok"] for name in "0134"}, "2": ["lost", "lost", "lost"]}
    [lost] = [a["tried"] for a in attempts if a["datum"] == "2"]
    assert [t["host"] for t in lost] == [platform.node()] * 3
    assert [t["started"] for t in lost] == sorted({t["started"] for t in lost} - {None}), "each when its task began"
    script.write_text(COPY)
    study.save("edges")
    study.schedule("--wait")
    assert sorted(study.outputs("edges")) == ["0", "1", "2", "3", "4"]
    assert leftovers(study) == []


# --- sizes, places, secrets --------------------------------------------------------------------------------------


@pytest.mark.soak
def test_memory_that_slurm_does_not_grant_is_told_as_that(tmp_path: Path) -> None:
    keeps_to_it = ("SelectTypeParameters=CR_CPU_Memory", "DefMemPerCPU=500")
    looks = ("JobAcctGatherType=jobacct_gather/linux", "JobAcctGatherFrequency=1", "JobAcctGatherParams=OverMemoryKill")
    with cluster(more="\n".join((*keeps_to_it, *looks))):
        study = on_slurm(Study.create(tmp_path / "study"))
        study.put("images/a", "a")
        study.copier(more="resource_requests: {memory: 200M}\n")
        script = study.root / "edges/code/copy.sh"
        script.write_text("python3 -c 'import time; held = bytearray(500_000_000); time.sleep(60)'\n")
        followed = study.minipach("schedule", "--wait")
    assert followed.code == 1
    assert "a could not be run: its task ended 3 times without a result (Slurm: out of memory, " in followed.err
    assert "exceeded memory limit" in study.minipach("logs", "edges", "a").out


@pytest.mark.soak
def test_after_slurm_has_ended_a_task_for_its_memory_the_next_one_gets_more(tmp_path: Path) -> None:
    keeps_to_it = ("SelectTypeParameters=CR_CPU_Memory", "DefMemPerCPU=500")
    looks = ("JobAcctGatherType=jobacct_gather/linux", "JobAcctGatherFrequency=1", "JobAcctGatherParams=OverMemoryKill")
    with cluster(more="\n".join((*keeps_to_it, *looks))):
        study = on_slurm(Study.create(tmp_path / "study"))
        study.put("images/a", "a")
        study.copier(more="resource_requests: {memory: 200M}\nminipach: {retry: {memory: 4x}}\n")
        script = study.root / "edges/code/copy.sh"
        script.write_text("python3 -c 'import time; held = bytearray(500_000_000); time.sleep(6)'\n" + COPY)
        followed = study.minipach("schedule", "--wait")
    assert followed.code == 0, followed.err
    assert "after it was out of memory, this try gets 800.0 MB" in study.minipach("logs", "edges", "a").out


@pytest.mark.soak
def test_more_sets_than_an_array_may_have_with_a_throttle(tmp_path: Path) -> None:
    with cluster(more="MaxArraySize=3") as slurm:
        study = on_slurm(unpublished(tmp_path / "study", images=5), throttle="2")
        assert study.minipach("schedule").code == 0
        names = [task for task in slurm.tasks() if "minipach:edges" in task]
        assert len({name.split("_")[0] for name in names}) >= 2, names
        done(study)
        assert len(study.outputs("edges")) == 5
        until("nothing is left in Slurm", lambda: not slurm.tasks())
        assert leftovers(study) == []


@pytest.mark.slow
def test_worktrees_lie_on_the_nodes_own_scratch_if_asked_for(
    tmp_path: Path, slurm: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch of the node"
    scratch.mkdir()
    monkeypatch.setenv("NODE_SCRATCH", str(scratch))
    monkeypatch.setenv("MINIPACH_SECRET_TOKEN", "swordfish-77")
    study = on_slurm(Study.create(tmp_path / "study"))
    study.git(".", "config", "minipach.scratch", "$NODE_SCRATCH")
    study.copier()
    script = study.root / "edges/code/copy.sh"
    script.write_text('pwd >"$PFS/out/where"; env | grep -c SECRET_TOKEN >"$PFS/out/secrets" || :\n' + COPY)
    (study.root / "edges/spec.yml").write_text(
        (study.root / "edges/spec.yml").read_text() + "resource_requests: {cpu: 2, memory: 64M, disk: 1M}\n"
    )
    study.put("images/a", "a")
    following = study.minipach("schedule", "--wait", env={"MINIPACH_RUNTIME": "none"})
    assert following.code == 0, following.err
    assert study.read("edges/where").decode().startswith(f"{scratch}/slurm-")
    assert study.read("edges/a") == b"a"
    assert study.read("edges/secrets") == b"0\n"
    until("the task has cleared up, after it said that it is done", lambda: not slurm.tasks())
    kept = contents(slurm.folder)
    assert kept and not [p for p, content in kept.items() if b"swordfish" in content], "a secret went to Slurm's files"
    assert list(scratch.iterdir()) == []
    assert leftovers(study) == []


@pytest.mark.slow
def test_a_full_scratch_of_the_node_is_told_as_that(tmp_path: Path, slurm: Cluster) -> None:
    study = on_slurm(Study.create(tmp_path / "study"))
    study.copier()
    study.put("images/a", "a")
    with small_disk(tmp_path / "scratch", "64k") as disk:
        disk.fill()
        study.git(".", "config", "minipach.scratch", str(disk.folder))
        following = study.minipach("schedule", "--wait")
        assert following.code == 1, following.err
        full = f"{disk.folder} (scratch of its datums, minipach.scratch): the disk is full, "
        assert f"edges: a could not be run: {full}" in following.err
        (disk.folder / "filler").unlink()
        disk.grow()
        assert study.minipach("retry", "--wait").code == 0
        until("the task has cleared up", lambda: not slurm.tasks())
    assert study.read("edges/a") == b"a"


def contents(folder: Path) -> dict[Path, bytes]:
    """What is in the files below a folder, less those that go meanwhile."""
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with contextlib.suppress(OSError):
                if path.is_file():
                    found[path] = path.read_bytes()
    return found


# --- parts -------------------------------------------------------------------------------------------------------


def an_end(work: WorkSet, **more: Any) -> Outcome:
    """An outcome of a set."""
    return replace(Outcome(work.id, "ok", 0, "", 1.0, 1, work.log, "host"), **more)


def test_a_submission_is_read_back_and_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    work = a_set()
    made = Submission.create(tmp_path, "/repo", "$TMPDIR", [work])
    made.note_job(made.add_array([work.id]), "17")
    there = Submission.open(made.folder)
    assert (there.repo, there.scratch, there.jobs, there.arrays) == ("/repo", "$TMPDIR", {0: "17"}, [(work.id,)])
    assert there.sets() == [work]
    told = made.folder / "told" / "0-0-0.jsonl"
    line = an_end(work).to_json() + "\n"
    told.write_text(line[:20])
    assert list(there.new_lines()) == []
    told.write_text(line)
    assert [t.outcome for t in there.new_lines()] == [an_end(work)]
    with OutcomeWriter(made.folder, 0, 0, "1") as teller:
        teller.begin()
        assert list(there.new_lines()) == []
        begun = there.lives[0, 0]
        assert (begun.host, begun.ended, begun.seconds) == (platform.node(), None, 0.0)
        teller.end(-9)
    assert [(t.array, t.index, t.outcome, t.code) for t in there.new_lines()] == [(0, 0, None, -9)]
    ended = there.lives[0, 0].ended
    assert ended is not None and ended >= begun.began


def test_a_copy_of_a_project_lets_the_tasks_of_the_original_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repos = {name: Files.create(tmp_path / name / "edges") for name in ("original", "copy")}
    works = [a_set()]
    made = Submission.create(tmp_path / "slurm", str(repos["original"].path), "", works, "edges")
    made.note_job(made.add_array([works[0].id]), "77")
    other = Submission.create(tmp_path / "slurm", str(repos["copy"].path), "", works, "edges")
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm: to end a task would be an error
    assert take_back([made, other], "edges", repos["copy"]) == [other]
    assert not made.folder.exists() and other.folder.exists()


def test_a_set_that_is_not_what_its_name_says_is_not_run(tmp_path: Path) -> None:
    work = a_set()
    made = Submission.create(tmp_path, "/repo", "", [work])
    made.add_array([work.id])
    path = made.folder / "sets" / f"{work.id}.json"
    path.write_text(path.read_text().replace('"n1"', '"other"'))
    assert made.sets() == []


def test_what_is_the_last_word_on_a_datum_of_a_chunk() -> None:
    work = a_set(5, chunk=True)
    assert final(work, an_end(work)) == (0, 1, 2, 3, 4)
    failing = an_end(work, datums=(DatumResult(1, "ok"), DatumResult(2, "failed", 7, "no"), DatumResult(3, "ok")))
    assert final(work, failing) == (1, 3), "the failing one is tried once more by itself"
    assert final(work, an_end(work, kind="failed", datums=(DatumResult(2, "failed", 7, "no"),))) == (2,)
    part = narrowed(failing, 5, (2, 3))
    assert part.datums == (DatumResult(2, "failed", 7, "no"), DatumResult(3, "ok"))
    assert [one.index for one in narrowed(an_end(work), 5, (1, 3)).datums] == [1, 3]


def test_what_sets_need_becomes_options_of_sbatch(study: Study) -> None:
    project = find_project(study.root)
    study.git(".", "config", "minipach.slurm.account", "lab")
    study.git(".", "config", "minipach.slurm.args", "--constraint='a b' --nice")
    study.git(".", "config", "minipach.slurm.time", "1-00:00:00")
    options = SlurmOptions(project, None)
    assert options.of_tasks([a_set(needs=Needs(1.5, 3 * 2**30 + 1, 10**6, 2, "a100"))]) == [
        "--account=lab",
        "--cpus-per-task=2",
        "--mem=3073M",
        "--tmp=1M",
        "--gres=gpu:a100:2",
        "--time=1-00:00:00",
        "--constraint=a b",
        "--nice",
    ]
    assert "--gres=gpu:1" in options.of_tasks([a_set(needs=Needs(gpus=1, gpu_type="nvidia.com/gpu"))])
    with refused("slurm.bad-gpu-type", "edges/spec.yml"):
        options.of_tasks([a_set(needs=Needs(gpus=1, gpu_type="a b"))])
    study.git(".", "config", "minipach.slurm.throttle", "many")
    with refused("setting.bad-number", "minipach.slurm.throttle", '"many"'):
        _ = options.throttle


def test_the_time_limit_follows_from_datum_timeout(study: Study, slurm: Cluster) -> None:
    options = SlurmOptions(find_project(study.root), None)
    assert "--time=185" in options.of_tasks([a_set(3, timeout=1200.0)])
    assert not [o for o in options.of_tasks([a_set(3)]) if o.startswith("--time")]


def test_a_slurmctld_that_is_too_busy_is_asked_again_but_not_for_ever() -> None:
    answers = [SlurmAwayError("busy"), SlurmAwayError("busy"), None, *[SlurmAwayError("away")] * 4]

    def ask() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    client.insist(ask, pause=0)
    assert len(answers) == 4
    with pytest.raises(SlurmAwayError):
        client.insist(ask, pause=0)
    assert len(answers) == 1


def test_a_persons_habits_hide_no_task(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQUEUE_PARTITION", "SQUEUE_NAMES", "SQUEUE_ACCOUNT", "SINFO_PARTITION", "SCANCEL_PARTITION"):
        monkeypatch.setenv(name, "another")
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-2")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    job = client.sbatch(["--hold", "--output=/dev/null"], [str(script)])
    assert [task.index for task in client.squeue() if task.job == job and task.alive] == [-1]
    assert client.partition("main").cpus == 2
    client.scancel([job])
    assert not [task for task in client.squeue() if task.job == job and task.alive]


def test_an_option_that_slurm_does_not_know_is_named(slurm: Cluster) -> None:
    with refused("slurm.refused", "sbatch", "--nosuch", "minipach.slurm."):
        client.sbatch(["--nosuch"], ["/bin/true"])


@pytest.mark.slow
def test_no_client_is_waited_for_without_end(tmp_path: Path, slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nexec sleep 100\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "slurmctld is away (squeue: no answer for 3 s)" in str(client.problem(3))
