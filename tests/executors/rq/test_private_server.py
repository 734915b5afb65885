"""The Redis of `minipach up`: who may do what there, its password, and its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from minipach.executors.rq import access_rights
from minipach.executors.rq.connection import Client, connect
from minipach.executors.rq.private_server import BackgroundService
from minipach.git.repo import Repo
from tests.fixtures.projects import MINIPACH, Study
from tests.fixtures.redis_servers import runs


@pytest.fixture
def study() -> Iterator[Study]:
    """A project in a folder with a short name: a socket's path may have some hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="mp.", dir="/tmp"))
    yield Study.create(folder / "s")
    shutil.rmtree(folder)


@pytest.fixture
def private(study: Study) -> Iterator[Client]:
    """A client of the Redis of `minipach up`."""
    study.ok(*MINIPACH, "up", "-j", "0")
    client = connect(Repo(study.root))
    yield client
    client.close()
    study.minipach("down")


_WRITES_FILES = ["CONFIG SET dir /tmp", "CONFIG GET *", "CONFIG REWRITE", "SAVE", "BGSAVE", "BGREWRITEAOF"]
_RUNS_CODE = ["MODULE LOAD /tmp/x.so", "MODULE LIST", "DEBUG SLEEP 0", "DEBUG OBJECT x"]
_RULES = ["ACL WHOAMI", "ACL SETUSER default nopass", "CLIENT KILL ID 1", "CLIENT PAUSE 1", "SHUTDOWN NOSAVE"]
_COPIES = ["REPLICAOF 127.0.0.1 1", "SLAVEOF NO ONE", "MIGRATE 127.0.0.1 1 k 0 1", "MONITOR", "PSYNC ? -1", "SYNC"]
_NOT_NEEDED = ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "KEYS *", "SLOWLOG GET", "RESTORE k 0 x", "LATENCY DOCTOR"]


def test_a_client_of_ups_redis_can_do_what_rq_needs_and_no_more(study: Study, private: Client) -> None:
    for line in (*_WRITES_FILES, *_RUNS_CODE, *_RULES, *_COPIES, *_NOT_NEEDED):
        with pytest.raises(redis.exceptions.ResponseError, match=r"permission|not allowed"):
            private.execute_command(*line.split())
    with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)can't run this command|acl|permission"):
        private.eval("return redis.call('FLUSHALL')", 0)
    assert private.ping() and private.set("k", "v") and private.get("k") == b"v"


@pytest.mark.slow
def test_ups_redis_asks_for_a_password_that_no_list_of_processes_shows(study: Study, private: Client) -> None:
    folder = study.root / ".git/minipach/redis"
    password = (folder / "password").read_text().strip()
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(unix_socket_path=str(folder / "redis.sock")).ping()
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(unix_socket_path=str(folder / "redis.sock"), password="another").ping()
    for file in (folder / "password", folder / "redis.conf"):
        assert file.stat().st_mode & 0o777 == 0o600
    process = Path("/proc") / (folder / "redis.pid").read_text().strip()
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert len(password) >= 32 and password.encode() not in seen
    assert password not in study.minipach("up").err + study.ok("git", "config", "-l", "--local")


def test_ups_redis_on_a_port_lets_nobody_in_without_the_password(study: Study, tmp_path: Path) -> None:
    deep = Study(shutil.move(study.root, tmp_path / ("long" * 30)))  # a socket's path may not be so long
    deep.ok(*MINIPACH, "up", "-j", "0")
    try:
        url = deep.ok("git", "config", "minipach.redis").strip()
        assert url.startswith("redis://127.0.0.1:")
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis.from_url(url).set("k", "v")
        assert connect(Repo(deep.root)).ping()
    finally:
        assert deep.minipach("down").err.endswith("ended: Redis\n")
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis.from_url(url).ping()


def test_the_password_of_ups_redis_goes_to_no_other_server(study: Study, private: Client) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIPACH_REDIS", "redis://127.0.0.1:1")
        assert connect(Repo(study.root)).get_connection_kwargs().get("password") is None


@pytest.mark.parametrize("text", ["", "x\n", "1\n", "-1\n", "99999999999999999999\n"])
def test_a_process_whose_file_with_its_number_is_damaged_is_found_by_its_socket(tmp_path: Path, text: str) -> None:
    code = "import socket as k\ns = k.create_server('./s', family=k.AF_UNIX)\nprint(flush=True), s.accept(), input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "us"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == b"\n"
        (tmp_path / "pid").write_text(text)
        ours = BackgroundService("us", tmp_path / "pid", ("us",), tmp_path, Path(os.path.relpath(tmp_path / "s")))
        found = ours.pid()
        process.kill()
    assert found == process.pid


def test_a_process_that_does_not_end_by_itself_is_killed_where_it_may_be(tmp_path: Path) -> None:
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(flush=True), input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "us"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == b"\n"
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        assert BackgroundService("us", tmp_path / "pid", ("us",), tmp_path, patience=0.1, kill=True).stop()
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("text", ["1\n"])
def test_down_ends_a_redis_whose_file_with_its_number_is_damaged(study: Study, text: str) -> None:
    study.ok(*MINIPACH, "up", "-j", "0")
    file = study.root / ".git/minipach/redis/redis.pid"
    pid = int(file.read_text())
    file.write_text(text)
    assert study.minipach("down").err == "ended: worker\nended: Redis\n"
    assert not runs(pid)


@pytest.mark.slow
def test_up_replaces_a_redis_that_asks_for_no_password(study: Study) -> None:
    study.ok(*MINIPACH, "up", "-j", "0")
    folder = study.root / ".git/minipach/redis"
    pid = int((folder / "redis.pid").read_text())
    (folder / "password").unlink()  # as an earlier version has left it
    study.ok(*MINIPACH, "up", "-j", "0")
    assert not runs(pid) and connect(Repo(study.root)).ping()
    study.ok(*MINIPACH, "down")


def test_the_rights_are_said_as_each_version_of_the_server_reads_them() -> None:
    old = access_rights.settings("secret", (5, 0))
    assert old[0] == "requirepass secret" and 'rename-command CONFIG ""' in old and 'rename-command MODULE ""' in old
    for server in ((6, 0), (6, 2), (7, 0), (7, 2), (8, 1)):
        (line,) = access_rights.settings("secret", server)
        words = line.split()
        assert "secret" not in line and words[:4] == ["user", "default", "reset", "on"]
        assert ("&*" in words) == (server >= (6, 2)) and ("+client|setinfo" in words) == (server >= (7, 2))
