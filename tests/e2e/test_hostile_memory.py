"""What engines, the ledger, notes and caches hold may be anybody's: each reader skips what it can't use."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.job import Job

from minipach.executors.local import status_file
from minipach.executors.outcome_check import check_outcome
from minipach.executors.resources import ResourceClass
from minipach.executors.rq.names import Names, project_id
from minipach.executors.rq.queue import QueueStore
from minipach.executors.slurm.submission import Submission, read_json
from minipach.executors.stored_sets import UnknownSetError, known_sets, read_file
from minipach.git.repo import Repo
from minipach.model.job_entries import DatumResult, Took
from minipach.model.repo_layout import RESULT_FILE, SET_REFS
from minipach.model.work_set import Outcome, WorkSet
from minipach.project import lock
from minipach.project.project import find_project
from minipach.records import job_logs, pending_work
from minipach.records.job_database import Ledger
from minipach.records.results_branch import StoredResults
from minipach.support import validation
from minipach.support.validation import InvalidError
from minipach.views.progress import Sheet
from tests.fixtures.leftovers import two_pipelines
from tests.fixtures.projects import Study
from tests.fixtures.redis_servers import Redis, Workers
from tests.fixtures.refusals import refused

NESTED = "[" * 100_000 + "]" * 100_000
GARBAGE: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{not json",
    "no UTF-8": b"\xff\xfe{}",
    "null": b"null",
    "a number": b"7",
    "huge number": b"9" * 5000,
    "negative": b"-1",
    "NaN": b"NaN",
    "infinite": b'{"due": 1e999, "pid": 1e999, "set": -Infinity}',
    "a text": b'"text"',
    "controls": b'"\\u001b]0;x\\u0007\\ud800"',
    "list": b"[1, 2]",
    "nested": NESTED.encode(),
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "empty object": b"{}",
    "zeros": b"\0" * 4096,
    "lines": b"\n{}\n[]\n\xff\n",
}
COUNTS = dict.fromkeys(("ran", "reused", "current", "removed", "recovered", "failed"), 0)
WRONG: list[Any] = [None, True, -1, 1.5, 2**63, 10**400, float("nan"), float("inf"), "", "x", "\x1b]0;x\x07", "\ud800"]
WRONG += [[], [1], {}, {"a": []}, "y" * 2_000_000, "../../x", "\0"]

OUTCOME = Outcome("a" * 40, "ok", 0, "", 1.0, 1, "/p/logs/0.log", "host", started=5.0, ended=6.0)
garbage = pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)


def variants(whole: Any) -> list[Any]:
    """What a JSON value becomes where any one part of it is wrong or missing."""
    if not isinstance(whole, dict):
        return list(WRONG)
    found: list[Any] = list(WRONG)
    for name in whole:
        found.append({k: v for k, v in whole.items() if k != name})
        found += [{**whole, name: wrong} for wrong in WRONG]
    return [*found, {**whole, "more": 1}]


# --- JSON ------------------------------------------------------------------------------------------------------


@given(st.binary())
def test_bytes_are_json_or_invalid(data: bytes) -> None:
    with contextlib.suppress(InvalidError):
        validation.parse(data)


@garbage
def test_what_is_parsed_is_an_object_or_invalid(data: bytes) -> None:
    with contextlib.suppress(InvalidError):
        assert isinstance(validation.parse_object(data), dict)


@pytest.mark.parametrize(
    "value, hint, fits",
    [
        (1, int, True),
        (True, int, False),
        (2**63, int, False),
        (1, float, True),
        (float("nan"), float, False),
        (float("inf"), float, False),
        ("x", str, True),
        (b"x", str, False),
        (None, int | None, True),
        ("x", int | None, False),
        ((1, "a"), tuple[int, str], True),
        ((1,), tuple[int, str], False),
        ((1, 2), tuple[int, ...], True),
        ([1, "2"], list[int], False),
        ({"a": [1]}, dict[str, list[int]], True),
        ({1: [1]}, dict[str, list[int]], False),
    ],
)
def test_a_value_conforms_to_its_hint(value: Any, hint: Any, fits: bool) -> None:
    assert validation.conforms(value, hint) is fits


# --- outcomes and sets -----------------------------------------------------------------------------------------


def test_a_damaged_outcome_is_no_outcome() -> None:
    datum = DatumResult(0, "failed", 3, "why", 0, Took(1.0, 2.0, 1.0, 1.0), 1, 2)
    whole = json.loads(replace(OUTCOME, datums=(datum,)).to_json())
    for wrong in (*WRONG, *([one] for one in variants(whole["datums"][0])), [{**whole["datums"][0], "took": {"x": 1}}]):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            validation.checked(Outcome.from_json(json.dumps({**whole, "datums": wrong})))
    whole = json.loads(OUTCOME.to_json())
    assert Outcome.from_json(json.dumps(whole)) == OUTCOME
    for wrong in variants(whole):
        try:
            found = Outcome.from_json(json.dumps(wrong))
        except (ValueError, KeyError, TypeError):
            continue
        validation.checked(found)
        found.message.encode()  # it can be stored


def work() -> WorkSet:
    datums = tuple({"id": str(n) * 64, "name": f"n{n}", "dest": f"n{n}"} for n in range(2))
    parts = (("-d", "n0"), ("-d", "n1"))
    return WorkSet(
        "a" * 40, "edges", "/p/edges", "0" * 40, "image", (), parts, (), ((), ()), (), (), datums, "", False, 1,
        "/p/logs/0.log",
    )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"set_id": "b" * 40},
        {"datums": (DatumResult(0, "ok"), DatumResult(2, "failed", 1))},
        {"datums": (DatumResult(-1, "ok"), DatumResult(0, "ok"))},
        {"datums": (DatumResult(0, "failed", 1), DatumResult(0, "failed", 2))},
        {"datums": (DatumResult(0, "ok", part=7), DatumResult(1, "ok"))},
        {"datums": (DatumResult(0, "ok", took=Took(1e18, 1.0, 1.0, 1.0)), DatumResult(1, "ok"))},
        {"log": "/etc/passwd"},
        {"log": "/p/logs/../secrets/x.log"},
        {"log": "/p/logs/sets.jsonl"},
        {"started": 1e18},
        {"ended": -5.0},
        {"seconds": -1.0},
    ],
)
def test_an_outcome_that_cant_be_of_the_set_is_refused(wrong: dict[str, Any]) -> None:
    assert check_outcome(OUTCOME, work()) == OUTCOME
    with pytest.raises(InvalidError):
        check_outcome(replace(OUTCOME, **wrong), work())


@garbage
def test_a_damaged_set_in_git_is_one_that_is_not_known(data: bytes, study: Study) -> None:
    repo = Repo(study.root)
    blob = repo.git("hash-object", "-w", "--stdin", stdin=data).decode().strip()
    repo.update_refs([f"update {SET_REFS}{'a' * 40} {blob}"])
    assert known_sets(repo) == {"a" * 40: None}


# --- notes -----------------------------------------------------------------------------------------------------


def _goal(study: Study, data: bytes) -> None:
    file = study.root / ".git/minipach/goal.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    project = find_project(study.root)
    assert pending_work.pending(project) is None and pending_work.due(project) is None
    assert pending_work.due_in(project.state_dir, "edges") is None


def _lock(study: Study, data: bytes) -> None:
    (study.root / "lock").write_bytes(data)
    assert lock.holder(study.root / "lock") is None


def _board(study: Study, data: bytes) -> None:
    project = find_project(study.root)
    project.state_dir.mkdir(parents=True, exist_ok=True)
    project.local.local_status.mkdir(exist_ok=True)
    (project.local.local_status / f"{os.getpid()}.json").write_bytes(data)
    with lock.project_lock(project.state_dir / "lock", wait=False, notify=print):
        assert status_file.looker(project)({}).workers == ()


def _notes(study: Study, data: bytes) -> None:
    (study.root / job_logs.SETS).write_bytes(data + b"\n")
    assert job_logs.noted_sets(study.root) == set()
    ledger = Ledger(study.root / "ledger.sqlite")
    sheet = Sheet(study.root, 1)
    sheet.read(ledger)
    ledger.close()
    assert sheet.open_sets() == {}


def _slurm(study: Study, data: bytes) -> None:
    folder = study.root / "slurm"
    made = Submission.create(folder, "/p/edges", "", [work()], "edges")
    made.add_array(["a" * 40])
    made.note_job(0, "7")
    (made.folder / "0.job").write_bytes(data)
    (made.folder / "told" / "0-0-x.jsonl").write_bytes(data + b"\n" + OUTCOME.to_json().encode() + b"\n")
    found = Submission.open(made.folder) if _is_text(data) else made
    assert [told.outcome for told in found.new_lines() if told.outcome] == [OUTCOME]
    assert all(job.isdecimal() for job in found.jobs.values())
    (made.folder / "sets" / f"{'a' * 40}.json").write_bytes(data)
    assert made.sets() == []
    (made.folder / "0.tasks").write_bytes(data)
    (made.folder / "about.json").write_bytes(data)
    with refused("slurm.submission-unreadable"):
        Submission.open(made.folder)
    assert isinstance(read_json(made.folder / "about.json"), dict)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@garbage
@pytest.mark.parametrize("reads", [_goal, _lock, _board, _notes, _slurm])
def test_a_damaged_note_counts_as_none(reads: Callable[[Study, bytes], None], data: bytes, study: Study) -> None:
    reads(study, data)


def test_a_goal_with_any_wrong_part_is_none_or_whole(study: Study) -> None:
    study.copier()
    project = find_project(study.root)
    whole = {"schema": 1, "pipelines": ["edges"], "patterns": {"edges": ["a*"]}, "due": {"edges": 5.0}}
    for wrong in variants(whole):
        project.state_dir.mkdir(parents=True, exist_ok=True)
        (project.state_dir / "goal.json").write_text(json.dumps(wrong))
        found = pending_work.pending(project)
        if found is not None:
            assert (found.order, found.named) == (("edges",), {"edges"})
            assert found.patterns in ({}, {"edges": ("a*",)})
        assert pending_work.due(project) in (None, 5.0)


def test_a_note_of_a_log_elsewhere_is_no_note(tmp_path: Path) -> None:
    rows = [{"log": log, "datums": ["a"]} for log in ("../x.log", "/etc/passwd", "", "..", "0.log")]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert [row["log"] for row in job_logs.noted_lines(lines)] == ["0.log"]


@pytest.mark.parametrize("name", ["../../x", "", "a/b"])
def test_a_task_can_name_no_set_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownSetError):
        read_file(tmp_path, name)


# --- the ledger ------------------------------------------------------------------------------------------------


def filled(path: Path) -> Ledger:
    ledger = Ledger(path)
    for number in range(50):
        key = ledger.start_job(f"{number:032}", "edges")
        ledger.end_job(key, "published", COUNTS, "")
    return ledger


def test_a_ledger_that_is_cut_off_anywhere_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path / "whole.sqlite").close()
    data = (tmp_path / "whole.sqlite").read_bytes()
    for place, size in enumerate([1, 50, 99, 100, 4095, 4096, 5000, len(data) // 2, len(data) - 1]):
        path = tmp_path / str(place) / "ledger.sqlite"
        path.parent.mkdir()
        path.write_bytes(data[:size])
        caplog.clear()
        ledger = Ledger(path)
        assert ledger.jobs("edges") == [] and ledger.start_job("x", "edges"), size
        ledger.close()
        assert list(path.parent.glob("ledger.broken-*")), size
        assert "damaged" in caplog.text


@pytest.mark.parametrize("at", [0, 16, 100, 4096, 8192, 20000])
def test_a_ledger_that_is_overwritten_anywhere_can_be_used(tmp_path: Path, at: int) -> None:
    path = tmp_path / "ledger.sqlite"
    filled(path).close()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 3000)
    ledger = Ledger(path)
    for _ in range(2):
        ledger.jobs()
        ledger.last_attempts("edges")
        ledger.failures("edges")
        key = ledger.start_job("new", "edges")
        ledger.leave_job(key)
    assert "new" in {row.id for row in ledger.open_jobs("edges")}
    ledger.close()


@pytest.mark.parametrize("sql", ["CREATE TABLE job (x)", "CREATE VIEW job AS SELECT 1", "CREATE TABLE attempt (key)"])
def test_a_ledger_with_other_tables_is_begun_anew(tmp_path: Path, sql: str) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute(sql)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.start_job("x", "edges") and [row.id for row in ledger.jobs()] == ["x"]
    ledger.close()


_VALUES = ["NULL", "'text'", "-1", "1e308", "9e999", "x'ff00'", "CAST(x'ff' AS TEXT)", "9223372036854775807", "''"]


@pytest.mark.parametrize("value", _VALUES)
def test_rows_of_the_ledger_with_any_wrong_value_are_left_out(tmp_path: Path, value: str) -> None:
    path = tmp_path / "ledger.sqlite"
    for table in ("job", "attempt", "try"):
        ledger = filled(path)
        with sqlite3.connect(path) as db:
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            for name in names[1:]:
                db.execute(
                    f"INSERT INTO {table} (job, pipeline) VALUES (1, 'edges')"
                    if table != "job"
                    else "INSERT INTO job (id, pipeline, started, state) VALUES ('x', 'edges', 1, 'submitted')"
                )
                db.execute(f"UPDATE {table} SET {name} = {value} WHERE key = (SELECT max(key) FROM {table})")
        for read in (ledger.jobs, ledger.open_jobs):
            for row in read():
                validation.checked(row)
        for made in (*ledger.last_attempts("edges").values(), *ledger.failures("edges").values()):
            validation.checked(made)
        for used in (*ledger.attempts(1), *ledger.successes("edges", 9), *ledger.forced_runs("edges")):
            validation.checked(used)
        ledger.durations("edges"), ledger.tries(1), ledger.tries_of(1, "a"), ledger.news(1, 0)
        ledger.ids_since("edges", 0), ledger.jobs_called("x")
        ledger.close()
        path.unlink()


# --- commands --------------------------------------------------------------------------------------------------

_VIEWS = ["status", "jobs", "job edges", "top", "logs", "logs edges", "usage edges", "plan", "wait", "doctor"]


@pytest.mark.slow
@pytest.mark.parametrize("value", ["'text'", "1e300", "x'ff00'"])
def test_no_command_ends_with_a_traceback_by_a_damaged_ledger(study: Study, value: str) -> None:
    study.put("images/a", "a")
    study.copier()
    study.schedule()
    with sqlite3.connect(study.root / ".git/minipach/ledger.sqlite") as db:
        for table in ("job", "attempt"):
            for _, name, *_rest in db.execute(f"PRAGMA table_info({table})").fetchall()[1:]:
                if name not in ("pipeline", "job"):
                    db.execute(
                        f"INSERT INTO {table} SELECT (SELECT max(key) + 1 FROM {table}), "
                        + ", ".join(value if n == name else n for n in _columns(db, table)[1:])
                        + f" FROM {table} ORDER BY key LIMIT 1"
                    )
    for view in _VIEWS:
        done = study.minipach(*view.split())
        assert "Traceback" not in done.err and done.code in (0, 1, 2), f"{view}: {done.err}"
    study.put("images/b", "b")
    assert study.schedule()["edges"]["state"] == "published"


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


@garbage
def test_a_damaged_result_is_not_known(data: bytes, study: Study) -> None:
    repo = Repo(study.root)
    blob = repo.git("hash-object", "-w", "--stdin", stdin=data).decode().strip()
    inner = repo.git("mktree", stdin=f"100644 blob {blob}\t{RESULT_FILE}\n".encode()).decode().strip()
    shard = repo.git("mktree", stdin=f"040000 tree {inner}\t{'a' * 64}\n".encode()).decode().strip()
    top = repo.git("mktree", stdin=f"040000 tree {shard}\taa\n".encode()).decode().strip()
    repo.update_refs([f"update refs/heads/minipach {repo.commit_tree(top, 'x')}"])
    assert StoredResults(repo).of("a" * 64) == ()


# --- Redis -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Any:
    with Redis() as found:
        yield found


@pytest.fixture
def board(server: Redis) -> QueueStore:
    server.client().flushall()
    return QueueStore(server.client(), Names("mini"))


FACTS = {
    "host": "h", "pid": 1, "slots": 2, "gpus": ["0"], "gpu_type": "", "cpus": 4.0, "memory": 5, "queues": [],
    "publishes": True,
}  # fmt: skip


def test_what_no_worker_says_is_no_worker(board: QueueStore) -> None:
    board.report("good", FACTS)
    seen = json.loads(board.client.hget(board.names.workers, "good"))
    for number, wrong in enumerate([*variants(seen)[:-1], *GARBAGE.values()]):
        data = wrong if isinstance(wrong, bytes) else json.dumps(wrong).encode()
        board.client.hset(board.names.workers, b"evil\xff%d" % number, data)
    workers = board.workers()
    assert "good" in workers
    for facts in workers.values():
        assert facts["slots"] >= 0 and isinstance(facts["gpus"], list)
    board.tend()
    assert set(board.workers()) == set(workers) and board.client.hlen(board.names.workers) == len(workers)


_FIELDS = ["status", "created_at", "data", "meta", "retries_left", "result_ttl", "started_at", "ended_at", "origin"]
_FIELDS += ["timeout", "worker_name", "last_heartbeat", "description", "enqueued_at", "group_id", "dependency_ids"]


def test_a_damaged_job_has_ended_without_a_result_or_is_taken_by_nobody(board: QueueStore) -> None:
    job = Job.key_for(board.names.job("a" * 40))
    queue = board.queue(board.names.queues + "any")
    for field in _FIELDS:
        for data in (b"\xff\xfe", b"yesterday", b"-1", b"9" * 5000, b"[]", b"{}", NESTED.encode(), b"\x1b[2J"):
            board.client.flushall()
            board.client.hset(job, mapping={"status": "failed", "created_at": "2020-01-01T00:00:00.0Z", "origin": "x"})
            board.client.hset(job, field, data)
            board.ended(["a" * 40])
            board.client.rpush(queue.key, board.names.job("a" * 40), b"\xff", b"")
            board.client.hset(job, "status", "queued" if field != "status" else data)
            board.take(queue.name, 0)
            board.client.zadd(queue.started_job_registry.key, {board.names.job("a" * 40): 1, b"\xff": 1, b"x:y": 1})
            board.client.rpush(queue.intermediate_queue_key, b"\xff", b"x")
            board.client.sadd("rq:queues", queue.key, b"rq:queue:\xff", "rq:queue:minipach.mini.gpu" + "9" * 400)
            board.tend()
            board.queues()


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_worker_is_alive_whatever_our_clock_says(
    board: QueueStore, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    board.report("good", FACTS)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    board.report("other", FACTS)
    board.tend()
    assert set(board.workers()) == {"good", "other"}


def test_keys_of_another_kind_are_made_anew(board: QueueStore) -> None:
    names = board.names
    wrong = [names.workers, names.tails, names.left("q"), names.tail("x"), board.queue(names.queues + "any").key]
    for key in wrong:
        board.client.set(key, "str")
    board.client.sadd("rq:queues", board.queue(names.queues + "any").key)
    board.client.set(Job.key_for(names.job("a" * 40)), "str")
    board.client.sadd(names.folder, "x")
    board.client.set("minipach:other:workers", "str")
    dropped = set(board.mend())
    assert {*wrong, names.folder} <= dropped and "minipach:other:workers" not in dropped
    board.report("good", FACTS)
    assert list(board.workers()) == ["good"] and board.mend() == []


CALLS: dict[str, Callable[[QueueStore, WorkSet], object]] = {
    "claim": lambda board, work: board.claim(Path("/there")),
    "ended": lambda board, work: board.ended([work.id]),
    "enqueue": lambda board, work: board.enqueue([(work, "q", ResourceClass())]),
    "forget": lambda board, work: board.forget([work.id], "q"),
    "is_claimed": lambda board, work: board.is_claimed(),
    "is_early_pass_due": lambda board, work: board.is_early_pass_due(),
    "left": lambda board, work: board.left("q"),
    "over": lambda board, work: board.over(work.id, "q"),
    "request_pass": lambda board, work: board.request_pass(),
    "is_pass_pending": lambda board, work: board.is_pass_pending(),
    "queues": lambda board, work: board.queues(),
    "remove_queued": lambda board, work: board.remove_queued([work.id]),
    "report": lambda board, work: board.report("good", FACTS),
    "retire": lambda board, work: board.retire("good"),
    "states": lambda board, work: board.states([work.id]),
    "take": lambda board, work: board.take(board.names.queues + "any", 1),
    "tend": lambda board, work: board.tend(),
    "to_do": lambda board, work: board.to_do(board.names.queues + "any"),
    "withdraw_pass": lambda board, work: board.withdraw_pass(),
    "workers": lambda board, work: board.workers(),
}


def test_every_call_of_the_board_is_among_them() -> None:
    public = {name for name in vars(QueueStore) if not name.startswith("_") and callable(getattr(QueueStore, name))}
    assert public - {"job", "mend", "queue"} == CALLS.keys()


@pytest.mark.parametrize("by_another", [False, True])
@pytest.mark.parametrize("call", sorted(CALLS))
def test_no_call_ends_at_a_key_of_another_kind(board: QueueStore, call: str, by_another: bool) -> None:
    """by_another: another process deletes the keys at that moment, so that nothing is left to delete."""
    names, one = board.names, work()
    board.enqueue([(one, "q", ResourceClass())])
    jobs = board.queue(names.queues + "any")
    ours = [names.workers, names.tails, names.left("q"), names.tending]
    queues = [jobs.key, jobs.intermediate_queue_key, jobs.started_job_registry.key, jobs.finished_job_registry.key]
    for key in [*ours, *queues, Job.key_for(names.publish_job)]:
        board.client.delete(key)
        board.client.set(key, "a string")
    board.client.delete(names.folder, names.tending)
    board.client.sadd(names.folder, "a set")
    if by_another:
        mend = board.mend

        def mended_by_another() -> list[str]:
            mend()
            return []

        board.mend = mended_by_another  # type: ignore[method-assign]
    CALLS[call](board, one)


def test_a_set_whose_queue_was_of_another_kind_can_be_taken(board: QueueStore) -> None:
    one = work()
    jobs = board.queue(board.names.queues + "any")
    board.client.set(jobs.key, "a string")
    assert board.enqueue([(one, "q", ResourceClass())]) == 1
    assert board.take(jobs.name, 0) is not None


def test_states_of_jobs_of_another_kind_are_not_known(board: QueueStore) -> None:
    board.client.set(Job.key_for(board.names.job("a" * 40)), "str")
    board.client.hset(Job.key_for(board.names.job("b" * 40)), "status", b"\xff")
    assert set(board.states(["a" * 40, "b" * 40])) == {"b" * 40}


@pytest.mark.slow
def test_a_schedule_goes_on_whatever_is_in_redis(tmp_path: Path, server: Redis) -> None:
    """All of the garbage at once, while workers run sets; nothing ends, and all is published."""
    study = two_pipelines(tmp_path / "study")
    study.put("images/new", "new")
    with Workers(study, server) as workers:
        workers.start("-j", "1")
        client = server.client()
        names = Names(project_id(Repo(study.root)))
        for number, data in enumerate(GARBAGE.values()):
            client.hset(names.workers, f"evil{number}", data)
            client.hset(f"rq:job:evil{number}", mapping={"status": "queued", "data": data, "origin": data})
            client.lpush(f"rq:queue:{names.queues}any", f"evil{number}", data)
            client.sadd(names.tails, data)
            client.sadd(names.left("edges"), data)
            client.publish(names.done, data)
            client.publish(names.work, data)
            for worker in client.smembers("rq:workers"):
                client.publish(b"rq:pubsub:" + worker.rpartition(b":")[2], data)
        workers.minipach("schedule", "--wait")
        client.delete(names.workers, names.tails)
        client.set(names.workers, "of another kind")
        client.set(names.tails, "of another kind")
        study.put("images/newer", "newer")
        workers.minipach("schedule")
        for view in ("top", "jobs"):
            workers.minipach(view)
        workers.minipach("wait")
        assert "Traceback" not in workers.said, workers.said
    assert {"new", "newer"} <= set(study.outputs("edges"))
