"""SIGKILL at any moment: the next `schedule` completes, the result is the same, and nothing piles up."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.leftovers import (
    Background,
    hold,
    leftovers,
    no_leftovers,
    result_of,
    schedule_killed,
    two_pipelines,
    unpublished,
    until,
)
from tests.fixtures.projects import SHOWN, Study


def twins(tmp_path: Path, *, published: bool = True) -> tuple[Study, Study]:
    """A project to kill in, and its like that is left in peace."""
    make = two_pipelines if published else unpublished
    study = make(tmp_path / "killed" / "study")
    shutil.copytree(study.root, tmp_path / "peace" / "study", symlinks=True)
    return study, Study(tmp_path / "peace" / "study")


def change(study: Study) -> None:
    """A new file, and a removed one."""
    study.put("images/new.txt", "new\n")
    study.remove("images/0.txt")


# --- at random ---------------------------------------------------------------------------------------------------


def kill_at_random(study: Study, kills: int, seed: int) -> list[str]:
    """Kill so many times, with a complete run after each fourth; which kinds of process it hit.

    Where the machine's speed made too many of them miss, some more.
    """
    chance = random.Random(seed)
    hit: list[str] = []
    for n in range(kills * 4):
        if n >= kills and len(hit) >= kills * 2 // 3:
            break
        study.put(f"images/more {n}.txt", f"picture {n}\n")
        if n % 3 == 2:
            study.remove(f"images/more {n - 1}.txt")
        wanted = ("scheduler", "worker", "launch", "command", "git")[chance.randrange(5)]
        moment = chance.uniform(0, 1.5)
        running = Background(study, "schedule", "-j", "2")
        start = time.monotonic()
        while running.process.poll() is None:
            found = running.of(wanted)
            if time.monotonic() - start > moment and (found or wanted == "scheduler"):
                victim = chance.choice(found).pid if found else running.process.pid
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                hit.append(wanted)
                break
        done = running.end()
        assert "Traceback" not in done.err, done.err
        if n % 4 == 3:
            study.schedule()
            assert leftovers(study) == []
    return hit


@pytest.mark.parametrize("kills", [pytest.param(3, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.soak)])
def test_after_kills_at_random_moments_the_result_is_that_of_an_undisturbed_run(tmp_path: Path, kills: int) -> None:
    study, peace = twins(tmp_path)
    hit = kill_at_random(study, kills, seed=20261122)
    assert len(hit) >= kills * 2 // 3, f"too few processes were hit: {hit}"
    study.schedule()
    assert leftovers(study) == []
    assert study.minipach("schedule").out == "nothing to do\n"
    result = result_of(study)
    names = sorted(path.name for path in (study.root / "images").glob("*.txt"))
    assert sorted(study.outputs("edges")) == names
    assert study.read("montage/all.txt") == b"".join(study.read(f"images/{name}") for name in names)
    if kills > 3:
        shutil.rmtree(peace.root / "images")
        peace.ok("datalad", "clone", str(study.root / "images"), "images")
        peace.schedule()
        assert result == result_of(peace)


# --- the processes of a running datum ----------------------------------------------------------------------------


@pytest.mark.soak
def test_a_killed_command_is_a_failed_datum_and_the_others_are_kept(tmp_path: Path) -> None:
    study, peace = twins(tmp_path)
    change(study), change(peace)
    gate = hold(study)
    running = Background(study, "schedule", "-j", "1").waiting()
    os.kill(running.of("command")[0].pid, signal.SIGKILL)
    done = running.end()
    assert done.code == 1
    assert "new.txt failed" in done.err
    gate.unlink()
    with no_leftovers(study):
        assert study.schedule()["edges"]["counts"]["ran"] == 1
    peace.schedule()
    assert result_of(study) == result_of(peace)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "launch"])
def test_a_killed_worker_is_replaced_in_the_same_run_and_a_killed_launcher_is_no_try(tmp_path: Path, kind: str) -> None:
    study = two_pipelines(tmp_path / "study")
    change(study)
    gate = hold(study)
    running = Background(study, "schedule", "-j", "1").waiting()
    before = {p.pid for p in running.processes()}
    os.kill(running.of(kind)[0].pid, signal.SIGKILL)
    until("the datum runs again", lambda: {p.pid for p in running.of("command")} - before)
    gate.unlink()
    assert running.end().code == 0
    row = next(r for r in study.minipach("jobs", "--json").json["jobs"] if r["pipeline"] == "edges")
    (attempt,) = study.minipach("job", row["id"], "--json").json["attempts"]
    assert attempt["tries"] == 1
    assert [(t["kind"], bool(t["started"])) for t in attempt["tried"]] == [("lost", True), ("ok", True)]
    assert study.minipach("logs", "edges", "new.txt", "--try", "1").code == 0
    with no_leftovers(study):
        study.schedule()
    assert sorted(study.outputs("edges")) == ["1.txt", "new.txt"]


@pytest.mark.slow
def test_what_a_killed_scheduler_started_ends_with_it_and_its_results_are_kept(tmp_path: Path) -> None:
    study, peace = twins(tmp_path)
    study.put("images/a first.txt", "first\n")
    change(study)
    with no_leftovers(study):
        gate = hold(study)
        running = Background(study, "schedule", "-j", "1")
        refs = "refs/minipach/results"
        until("the first result", lambda: study.git("edges", "for-each-ref", refs))
        running.waiting().kill()  # waits until no process of it is left
        assert leftovers(study) != []
        gate.unlink()
        assert study.schedule()["edges"]["counts"]["ran"] == 1
    peace.put("images/a first.txt", "first\n")
    change(peace)
    peace.schedule()
    assert result_of(study) == result_of(peace)


# --- the scheduler, between two of its steps ---------------------------------------------------------------------

ADOPTION = [
    pytest.param(*("after", "minipach.project.adoption:_build_dataset", 1), marks=pytest.mark.slow),
    pytest.param(*("after", "minipach.project.adoption:_Holder.make_dataset", 1), marks=pytest.mark.soak),
    pytest.param(*("after", "minipach.project.adoption:_Holder.make_dataset", 2), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.project.adoption:register_datasets", 1), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.project.register_datasets:move_branch", 1), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.git.checkout:_apply", 1), marks=pytest.mark.soak),
]
PUBLISHING = [
    pytest.param(*("before", "minipach.git.worktrees:Owner.release", 1), marks=pytest.mark.soak),
    pytest.param(*("after", "minipach.git.fast_import:Stream.run", 1), marks=pytest.mark.soak),  # of fold
    pytest.param(*("after", "minipach.git.fast_import:Stream.run", 2), marks=pytest.mark.slow),  # of publish
    pytest.param(*("before", "minipach.git.checkout:_apply", 1), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.git.checkout_files:remove_path", 1), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.publish.superdataset:commit_gitlinks", 1), marks=pytest.mark.slow),
    pytest.param(*("before", "minipach.publish.superdataset:move_branch", 1), marks=pytest.mark.soak),
    pytest.param(*("before", "minipach.git.checkout:_apply", 3), marks=pytest.mark.soak),  # of the superdataset
]


@pytest.mark.parametrize(("when", "point", "nth"), ADOPTION, ids=lambda value: str(value).rpartition(":")[2])
def test_killed_while_a_folder_becomes_a_dataset(tmp_path: Path, when: str, point: str, nth: int) -> None:
    study, peace = twins(tmp_path, published=False)
    for one in (study, peace):  # some of it is tracked by the superdataset already: those files move over
        one.ok("datalad", "save", "-d", ".", "-m", "drafts", "edges/code")
    schedule_killed(study, when, point, nth)
    with no_leftovers(study):
        study.schedule()
    peace.schedule()
    assert result_of(study) == result_of(peace)
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.parametrize(("when", "point", "nth"), PUBLISHING, ids=lambda value: str(value).rpartition(":")[2])
def test_killed_between_two_steps_of_publishing(tmp_path: Path, when: str, point: str, nth: int) -> None:
    study, peace = twins(tmp_path)
    change(study), change(peace)
    schedule_killed(study, when, point, nth)
    with no_leftovers(study):
        study.schedule()
    peace.schedule()
    assert result_of(study) == result_of(peace)


@pytest.mark.slow
def test_killed_between_the_branch_and_its_checkout(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    change(study)
    old = study.git("edges", "rev-parse", "HEAD")
    schedule_killed(study, "before", "minipach.git.checkout:_apply")
    assert study.git("edges", "rev-parse", "HEAD") != old
    assert not (study.root / "edges/new.txt").is_symlink()
    (study.root / "edges/.git/index.lock").touch()  # as of a git that was killed with it
    with no_leftovers(study):
        study.schedule()
    assert study.read("edges/new.txt") == b"new\n"
    assert not (study.root / "edges/0.txt").is_symlink()
    result_of(study)


@pytest.mark.slow
def test_what_somebody_changed_after_the_kill_is_left_as_it_is(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    change(study)
    schedule_killed(study, "before", "minipach.git.checkout:_apply")
    (study.root / "edges/new.txt").write_text("mine")
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert "edges: new.txt was changed by somebody and is left as it is" in done.err
    assert study.read("edges/new.txt") == b"mine"
    assert not (study.root / "edges/0.txt").is_symlink()
    assert leftovers(study) == []


@pytest.mark.soak
def test_killed_in_the_superdataset_commit(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    change(study)
    head = study.git(".", "rev-parse", "HEAD")
    schedule_killed(study, "before", "minipach.publish.superdataset:move_branch")
    assert study.git(".", "rev-parse", "HEAD") == head
    with no_leftovers(study):
        assert study.schedule()["edges"]["counts"]["ran"] == 0
    result_of(study)
    assert study.git(".", "rev-parse", "HEAD~1") == head


@pytest.mark.soak
def test_killed_while_an_image_is_taken_in(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/a.sqfs", b"hsqs, but no image\n", save=False)
    study.save("images")
    spec = study.root / "edges/spec.yml"
    spec.write_text(spec.read_text().replace("{cmd:", "{image: images/a.sqfs, cmd:"))
    study.save("edges")
    spec.write_text(spec.read_text())
    schedule_killed(study, "before", "minipach.environment.import_image:annexed_entry")
    schedule_killed(study, "after", "minipach.environment.import_image:annex")
    assert leftovers(study) != []
    assert study.minipach("schedule").code == 1  # the image is none
    assert leftovers(study) == []


@pytest.mark.slow
def test_an_interrupt_keeps_the_finished_datums_of_a_set(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    for name in "abc":
        study.put(f"images/{name}.txt", name, save=False)
    study.save("images")
    (SHOWN / "hold").touch()
    wait = f"while [ -e {SHOWN}/hold ]; do sleep 0.1; done"
    script = f'case $images in *b.txt) {wait} ;; esac; cp "$images" "$PFS/out/"'
    study.pipeline(
        "edges",
        "input: {pfs: {repo: images, glob: '/*'}}\ntransform: {cmd: [sh, code/copy.sh]}\ndatum_set_spec: {number: 3}\n",
        copy=script,
    )
    running = Background(study, "schedule", "-j", "1")
    held = "sh code/copy.sh"
    log = study.root / ".git/minipach/logs/edges"
    until("b runs", lambda: any(b"datum: begins 2" in p.read_bytes() for p in log.glob("*/*.log")))
    until("its command waits", lambda: any(" ".join(p.args) == held for p in running.processes()))
    assert running.kill(signal.SIGINT).code == 130
    (SHOWN / "hold").unlink()
    (row,) = study.minipach("status", "--json").json["pipelines"]
    assert (row["counts"]["stored"], row["counts"]["missing"]) == (1, 2), row
    report = study.schedule()["edges"]["counts"]
    assert (report["ran"], report["reused"]) == (2, 1), "a.txt is not computed again"
    assert {n: study.read(f"edges/{n}.txt") for n in "abc"} == {"a": b"a", "b": b"b", "c": b"c"}
