"""The process that workers are forked from: what they are, how they end, and what becomes of them if it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.executors.child_process import WorkerProcess, ended_within
from minipach.executors.early_start import end_early, note_state, start_early, take_early
from minipach.executors.local.fork_server import ForkServer, new_worker, new_worker_source
from minipach.model.local_state import LocalState
from minipach.support.processes import is_alive
from tests.fixtures.launchers import wait_until
from tests.fixtures.projects import Study, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="each worker is started by itself there")


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.kill()


def warm(worker: WorkerProcess) -> WorkerProcess:
    """Wait until a worker takes requests."""
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"\n"
    return worker


def close(worker: WorkerProcess) -> None:
    assert worker.stdin is not None
    worker.stdin.close()
    assert ended_within(worker, 20)


def test_workers_are_groups_of_their_own_and_end_with_their_requests(server: ForkServer) -> None:
    one, two = (warm(server.fork()) for _ in range(2))
    assert len({one.pid, two.pid, os.getpid(), server._process.pid}) == 4
    assert [os.getsid(worker.pid) for worker in (one, two)] == [one.pid, two.pid]
    assert one.poll() is None
    close(one)
    assert one.returncode == 0
    assert two.poll() is None, "it has no end of another one's pipes"
    close(two)


def test_a_worker_has_the_umask_of_now(server: ForkServer) -> None:
    """It may have been changed since the fork server began, as a schedule does for shared repositories."""
    before = os.umask(0o027)
    try:
        worker = warm(server.fork())
    finally:
        os.umask(before)
    assert "Umask:\t0027" in Path(f"/proc/{worker.pid}/status").read_text()
    close(worker)


def test_the_end_of_a_killed_worker_is_known(server: ForkServer) -> None:
    worker = warm(server.fork())
    os.kill(worker.pid, signal.SIGKILL)
    assert ended_within(worker, 20)
    assert worker.returncode == -signal.SIGKILL


def test_a_wait_ends_in_time(server: ForkServer) -> None:
    worker = warm(server.fork())
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=0.05)
    close(worker)


def test_workers_outlive_their_fork_server(server: ForkServer) -> None:
    worker = warm(server.fork())
    assert server.alive
    server._process.kill()
    wait_until(lambda: not server.alive)
    assert worker.poll() is None
    late = server.fork()
    assert late.stdout is not None
    assert late.stdout.read() == b"", "nobody is there to make it"
    assert late.wait() != 0
    close(worker)
    assert worker.returncode == -signal.SIGKILL, "nobody can say how it ended"


def test_nothing_is_left_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "from minipach.executors.local.fork_server import ForkServer\n"
        "import time\n"
        "server = ForkServer(); worker = server.fork(); worker.stdout.readline()\n"
        "print(server._process.pid, worker.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path)
    assert parent.stdout is not None
    pids = parent.stdout.readline().split()
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def test_elsewhere_workers_are_started_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    source = new_worker_source()
    assert source is None
    close(warm(new_worker(source)))


def starts_early(*words: str) -> bool:
    """Whether a command line starts a fork server early."""
    from minipach.executors import early_start

    start_early(words or ["schedule"])
    found = len(early_start._early)
    end_early()
    assert early_start._early == []
    return found == 1


def test_it_starts_early_while_there_may_be_work(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.root)
    study.put("images/a.txt", "1\n")
    study.copier()
    assert starts_early()
    assert not starts_early("plan")
    assert not starts_early("schedule", "--help")
    run("minipach", "schedule", cwd=study.root)
    assert not starts_early(), "nothing is left to do"
    monkeypatch.chdir(study.root / "edges")
    assert not starts_early()
    study.put("images/b.txt", "2\n")
    assert starts_early()
    run("minipach", "schedule", cwd=study.root)
    assert not starts_early()
    (study.root / "edges/spec.yml").write_text("input: {}\n")
    assert starts_early()


def test_it_starts_early_for_no_other_executor(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.root)
    state = LocalState.in_root(study.root)
    note_state(state, [study.root], [], local=False, done=False)
    assert not starts_early()
    note_state(state, [study.root], [], local=True, done=False)
    assert starts_early()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"local": true}', '{"local": true, "seen": 3}', '{"seen": {"a\\u0000": 1}, "local": 1}']
)
def test_a_damaged_note_is_none(study: Study, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(study.root)
    LocalState.in_root(study.root).early_start.parent.mkdir(exist_ok=True)
    LocalState.in_root(study.root).early_start.write_text(text)
    assert starts_early()


def test_outside_of_a_project_nothing_starts_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not starts_early()


def test_what_started_in_another_world_is_not_used(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.root)
    start_early(["schedule"])
    monkeypatch.setenv("WORLD", "another")
    taken = take_early()
    assert taken is not None
    assert taken.environment["WORLD"] == "another"
    taken.kill()
    start_early(["schedule"])
    monkeypatch.chdir("images")
    taken = take_early()
    assert taken is not None
    assert taken.folder == os.getcwd()
    taken.kill()


def test_a_schedule_goes_on_without_its_fork_server(study: Study) -> None:
    for name in "abcdef":
        study.put(f"images/{name}.txt", f"{name}\n", save=False)
    study.save("images")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\ndatum_set_spec: {number: 1}\n',
        run='sleep 0.7\ncp "$images" "$PFS/out/"\n',
    )
    schedule = subprocess.Popen(
        [sys.executable, "-m", "minipach", "schedule", "-j", "2"], cwd=study.root, stderr=subprocess.PIPE, text=True
    )

    def children(pid: int) -> list[int]:
        with contextlib.suppress(FileNotFoundError):  # it has ended
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def workers() -> list[int]:
        return [worker for server in children(schedule.pid) for worker in children(server)]

    wait_until(lambda: len(workers()) == 2)
    [killed] = {server for server in children(schedule.pid) if children(server)}
    one = workers()[0]
    os.kill(killed, signal.SIGKILL)
    time.sleep(0.3)
    os.kill(one, signal.SIGKILL)  # another one is needed, and nobody is there to fork it
    _, err = schedule.communicate(timeout=120)
    assert schedule.returncode == 0, err
    assert sorted(study.outputs("edges")) == [f"{name}.txt" for name in "abcdef"]
