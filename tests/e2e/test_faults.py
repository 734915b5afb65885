"""Faults of disks, clocks and other programs: the right outcome, whatever fails, and on with it afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.git.gc_lock import gc_held_off
from minipach.git.repo import Repo
from tests.fixtures.leftovers import leftovers, two_pipelines
from tests.fixtures.projects import MINIPACH, Study, need
from tests.fixtures.repos import Files


def fresh(study: Study, count: int = 3) -> Study:
    """A pipeline that has never run; each datum is a set of its own."""
    for number in range(count):
        study.put(f"images/{number}", f"{number}\n", save=False)
    study.save("images")
    study.copier(more="datum_set_spec: {number: 1}\n")
    return study


def is_whole(study: Study, *names: str) -> None:
    """All is published, and no repository lacks an object."""
    assert set(study.outputs("edges")) == set(names)
    for repo in ("edges", "."):
        study.git(repo, "fsck", "--connectivity-only")


# --- git gc ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def pruning(*repos: Path) -> Iterator[None]:
    """`git gc --prune=now`, over and over."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            for repo in repos:
                if (repo / ".git").exists():
                    subprocess.run(["git", "-C", repo, "gc", "-q", "--prune=now"], capture_output=True, check=False)
            time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_first_schedule_while_git_prunes_all_the_time(study: Study) -> None:
    fresh(study)
    with pruning(study.root / "edges", study.root / "images", study.root):
        report = study.schedule()["edges"]
    assert (report["state"], report["counts"]["ran"]) == ("published", 3)
    is_whole(study, "0", "1", "2")
    assert leftovers(study) == [] and not list(study.root.rglob("gc.pid*"))


@pytest.mark.slow
def test_what_a_pruned_base_lacks_is_made_again(study: Study) -> None:
    """As an earlier version may have left it: the base has its ref, and not all of its objects."""
    fresh(study)
    study.schedule()
    repo = Repo(study.root / "edges")
    blob = repo.line("rev-parse", "refs/minipach/base:.minipach/launch")
    study.git("edges", "update-ref", "-d", "refs/heads/minipach")
    lost = study.root / "edges/.git/objects" / blob[:2] / blob[2:]
    if not lost.exists():
        pytest.skip("git has packed it")
    lost.unlink()
    study.put("images/new", "new")
    study.schedule()
    is_whole(study, "0", "1", "2", "new")


def test_gc_waits_for_us_and_we_for_gc_but_for_no_process_that_has_ended(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.put("a", "a")
    repo.commit()
    lock = repo.common_dir / "gc.pid"
    with gc_held_off(repo, 0):
        done = subprocess.run(["git", "-C", repo.path, "gc"], capture_output=True, check=False)
        assert done.returncode != 0 and b"already running" in done.stderr
    assert not lock.exists()
    repo.git("gc", "--quiet")
    for text in ("999999999 " + socket.gethostname(), "", "x y", "1"):
        lock.write_text(text)
        with gc_held_off(repo, 0):
            assert lock.read_text().startswith(f"{os.getpid()} "), text
    other = subprocess.Popen(["sleep", "60"])
    try:
        lock.write_text(f"{other.pid} {socket.gethostname()}")
        with gc_held_off(repo, 0):
            assert lock.read_text().startswith(f"{other.pid} "), "it is that one's"
        assert lock.exists()
    finally:
        other.kill()
        other.wait()


# --- kills inside of git-annex -------------------------------------------------------------------------------------


def adding(folder: Path) -> list[tuple[int, int]]:
    """The processes (number, parent's) of `git annex add` that work below a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_annex = words[0].endswith(b"git-annex") or words[1:2] == [b"annex"]
            if is_annex and b"add" in words and folder in (entry / "cwd").resolve().parents:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found.append((int(entry.name), parent))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["git-annex", "its parent", "the schedule"])
def test_a_kill_in_the_midst_of_git_annex_add(study: Study, victim: str) -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("processes are found in /proc")
    fresh(study, 6)
    # a setting with which outputs are left to git-annex: see git/annex_outputs.py
    env = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "annex.largefiles",
        "GIT_CONFIG_VALUE_0": "anything",
    }
    process = subprocess.Popen(
        [*MINIPACH, "schedule", "-j", "2"],
        cwd=study.root,
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    killed = 0
    while process.poll() is None and killed < 3:
        for pid, parent in adding(study.root.resolve() / "edges"):
            target = {"git-annex": pid, "its parent": parent}.get(victim, process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
                killed += 1
    _, err = process.communicate()
    assert killed, "git annex add was never seen"
    assert "Traceback" not in err, err
    study.schedule()
    names = [str(number) for number in range(6)]
    is_whole(study, *names)
    for name in names:
        assert study.read(f"edges/{name}") == f"{name}\n".encode()
    assert leftovers(study) == []


# --- clocks --------------------------------------------------------------------------------------------------------

_CLOCK = """
import itertools, time
_now, _calls = time.time, itertools.count()
def _jumping():
    return _now() + {jump} * (next(_calls) % 2)
time.time = _jumping
"""


@pytest.mark.slow
@pytest.mark.parametrize("jump", [86400, -86400, 4e9, -1e9])
def test_a_clock_that_jumps_to_and_fro_changes_no_outcome(study: Study, tmp_path: Path, jump: float) -> None:
    fresh(study)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_CLOCK.format(jump=jump))
    env = {"PYTHONPATH": str(tmp_path / "site")}
    done = study.minipach("schedule", env=env)
    assert done.code == 0 and "Traceback" not in done.err, done.err
    is_whole(study, "0", "1", "2")
    for view in ("status", "jobs", "job edges", "top", "usage edges", "logs edges", "wait"):
        done = study.minipach(*view.split(), env=env)
        assert "Traceback" not in done.err and done.code in (0, 1, 2), f"{view}: {done.err}"
    assert study.minipach("schedule", env=env).out == "nothing to do\n"


# --- what was lost or damaged meanwhile ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_ledger_that_is_cut_off_between_two_jobs(study: Study) -> None:
    fresh(study)
    study.schedule()
    ledger = study.root / ".git/minipach/ledger.sqlite"
    os.truncate(ledger, ledger.stat().st_size // 2)
    study.put("images/new", "new")
    done = study.minipach("schedule")
    assert done.code == 0 and "damaged" in done.err and "Traceback" not in done.err, done.err
    is_whole(study, "0", "1", "2", "new")


def _objects(study: Study, *revisions: str) -> list[Path]:
    """The loose objects of revisions of the pipeline's repo that no branch but the results branch has."""
    found = study.git("edges", "rev-list", "--objects", *revisions, "--not", "master").split("\n")
    paths = [
        study.root / "edges/.git/objects" / sha[:2] / sha[2:40] for sha in (row.split(" ")[0] for row in found) if sha
    ]
    return [path for path in paths if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "garbage", "no commit", "another tree"])
def test_a_damaged_results_branch_loses_no_published_output(study: Study, damage: str) -> None:
    fresh(study)
    study.schedule()
    ref = study.root / "edges/.git/refs/heads/minipach"
    if damage == "gone":
        ref.unlink()
    elif damage == "garbage":
        ref.write_text("garbage\n")
    elif damage == "no commit":
        ref.write_text("1" * 40 + "\n")
    else:
        study.git("edges", "update-ref", "refs/heads/minipach", "master")
    study.put("images/new", "new")
    done = study.minipach("schedule")
    assert "Traceback" not in done.err, done.err
    named = {"garbage": "refs/heads/minipach", "no commit": "1" * 40}.get(damage)  # a branch that is gone is made again
    assert bool(done.code) == (named is not None), done.err
    if named:
        assert named in done.err
        assert set(study.outputs("edges")) == {"0", "1", "2"}
        ref.unlink()
        study.schedule()
    is_whole(study, "0", "1", "2", "new")


@pytest.mark.slow
def test_objects_of_the_results_branch_that_are_lost(study: Study) -> None:
    fresh(study)
    study.schedule()
    for path in _objects(study, "minipach"):
        path.unlink()
    study.put("images/new", "new")
    done = study.minipach("schedule")
    assert "Traceback" not in done.err, done.err
    assert {"0", "1", "2"} <= set(study.outputs("edges"))


@pytest.mark.slow
def test_results_that_are_dropped_while_a_schedule_runs_cost_no_output(tmp_path: Path) -> None:
    study = two_pipelines(tmp_path / "study")
    study.put("images/new.txt", "new")
    over = threading.Event()

    def drop() -> None:
        while not over.is_set():
            subprocess.run(
                ["git", "-C", study.root / "edges", "update-ref", "-d", "refs/heads/minipach"],
                capture_output=True,
                check=False,
            )
            time.sleep(0.05)

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        done = study.minipach("schedule")
    finally:
        over.set()
        thread.join()
    assert "Traceback" not in done.err, done.err
    study.schedule()
    assert "new.txt" in study.outputs("edges")
    assert b"new" in study.read("montage/all.txt")


# --- disks -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder of which the file system can't be written."""
    need("mount")
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("part", [".", ".git", ".git/minipach", "edges", "edges/.git", "edges/.git/objects", "images"])
def test_a_file_system_that_has_become_read_only(study: Study, part: str) -> None:
    fresh(study)
    study.schedule()
    study.put("images/new", "new")
    with read_only(study.root / part):
        done = study.minipach("schedule")
        assert "Traceback" not in done.err, done.err
        if part != "images":  # which is only read
            assert done.code in (1, 2) and done.reports("access.read-only"), done.err
        for view in ("status", "plan", "jobs", "logs edges"):
            shown = study.minipach(*view.split())
            assert "Traceback" not in shown.err and shown.code in (0, 1, 2), f"{view}: {shown.err}"
    study.schedule()
    is_whole(study, "0", "1", "2", "new")


_BROKEN = """
import builtins, io, os, sys
_open = io.open
def _failing(file, mode="r", *args, **kwargs):
    if {what!r} in str(file) and ("r" in mode) == {reads}:
        raise OSError(5, "Input/output error", str(file))
    return _open(file, mode, *args, **kwargs)
io.open = builtins.open = _failing
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["/logs/", "goal.json", "spec.yml", "minipach/cache", "local.json", "sets.jsonl"])
@pytest.mark.parametrize("reads", [True, False])
def test_an_error_of_a_disk_is_one_line(study: Study, tmp_path: Path, what: str, reads: bool) -> None:
    fresh(study, 1)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_BROKEN.format(what=what, reads=reads))
    done = study.minipach("schedule", env={"PYTHONPATH": str(tmp_path / "site")})
    assert "Traceback" not in done.err and done.code in (0, 1, 2), done.err
    study.schedule()
    is_whole(study, "0")


# --- two clones ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_clones_that_publish_to_one_bare_remote_lose_nothing(study: Study, tmp_path: Path) -> None:
    """Each computes a part, and sends its results at the same time; afterwards each can have all, and runs nothing."""
    fresh(study, 4)
    study.schedule()
    bare = tmp_path / "edges.git"
    study.ok("git", "clone", "--quiet", "--bare", str(study.root / "edges"), str(bare))
    study.git("edges", "remote", "add", "origin", str(bare))
    twin = Study(tmp_path / "twin")
    shutil.copytree(study.root, twin.root, symlinks=True)
    for place, name in ((study, "mine"), (twin, "theirs")):
        place.put(f"images/{name}", f"{name}\n")
        place.schedule()
    both = [
        subprocess.Popen([*MINIPACH, "results", "push", "origin", "edges"], cwd=place.root, stderr=subprocess.PIPE)
        for place in (study, twin)
    ]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    for place in (study, twin):
        place.ok(*MINIPACH, "results", "pull", "origin", "edges")
    for place, name in ((study, "theirs"), (twin, "mine")):
        place.put(f"images/{name}", f"{name}\n")
        counts = place.schedule()["edges"]["counts"]
        assert counts["ran"] == 0, f"{name} came from the other clone: {counts}"
    assert set(study.outputs("edges")) == set(twin.outputs("edges"))


# --- datums that take what there is ----------------------------------------------------------------------------------

# each process starts two more, six times over: far beyond the limit, but no more than other tests can bear
_FORKS = """case "$images" in
  *bad) f() { [ "$1" -eq 0 ] || { f $(($1 - 1)) & f $(($1 - 1)) & }; sleep 30; }; f 6 ;;
  *) cp "$images" "$PFS/out/" ;;
esac
"""
_FILLS = """case "$images" in
  *bad) dd if=/dev/zero of="$PFS/out/big" bs=100000 count=5000; sleep 30 ;;
  *) cp "$images" "$PFS/out/" ;;
esac
"""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
@pytest.mark.parametrize(
    "script, limit, reason",
    [
        # where the launcher looks late, the kernel's own bound comes first, and the shell says so
        (_FORKS, "minipach: {limits: {processes: 60}}", "more than 60 processes|Cannot fork"),
        (_FILLS, "resource_limits: {disk: 20M}", "more than 20 MB of disk"),
    ],
)
def test_a_datum_beyond_its_limits_fails_alone(
    study: Study, runtime: str, script: str, limit: str, reason: str
) -> None:
    """A fork bomb, and one that fills the disk: they are ended with all that they started, and the others are kept."""
    if runtime == "bubblewrap":
        need("bwrap")
    for name in ("bad", "good", "well"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_tries: 1\n'
    spec += f"datum_timeout: 60s\n{limit}\n"
    study.pipeline("edges", spec, run=script)
    done = study.minipach("schedule", "--json", env={"MINIPACH_RUNTIME": runtime})
    assert done.code == 1 and re.search(reason, done.out + done.err), done.err
    assert [row["name"] for row in done.json["pipelines"][0]["failed"]] == ["bad"]
    assert leftovers(study) == []
    again = study.minipach("schedule", "--json", env={"MINIPACH_RUNTIME": runtime})
    assert "good" not in str(again.json["pipelines"][0]["failed"])
