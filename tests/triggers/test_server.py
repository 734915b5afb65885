"""`minipach serve` as a process: senders that are slow, large or broken, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from minipach.support.errors import UserError
from minipach.triggers import server
from minipach.triggers.signatures import FORGES, sign
from tests.fixtures.projects import PATIENCE, Study
from tests.fixtures.receivers import SECRET, VARIABLES, Serving, heard, serving, signed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Serving]]:
    """A server whose passes don't start: `heard` keeps all lines."""
    folder = tmp_path_factory.mktemp("serve")
    study = Study.create(folder / "study")
    state = study.root / ".git" / "minipach"
    state.mkdir(exist_ok=True)
    (state / "waiting").write_text(f"{os.getpid()}\n")  # as if a pass were about to begin
    with serving(study, folder / "log", "--every", "0", "--body-limit", "50000") as found:
        yield study, found


def raw(port: int, data: bytes, *more: bytes) -> bytes:
    """Send bytes, and return all that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for piece in (data, *more):
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        return answer


def test_events_over_the_network(running: tuple[Study, Serving]) -> None:
    study, found = running
    before = len(heard(study))
    for forge in ("github", "s3"):
        headers, body = signed(forge)
        assert httpx.post(f"{found.url}/hooks/{forge}", content=body, headers=headers).status_code == 202
        assert httpx.post(f"{found.url}/hooks/{forge}", content=iter([body[:9], body[9:]]), headers=headers).is_success
    assert len(heard(study)) == before + 4
    done = study.minipach("triggers", "test", "gitlab", "--url", found.url, env=VARIABLES)
    assert (done.code, done.out) == (0, 'gitlab: 202 {"outcome":"heard"}\n')
    assert httpx.get(f"{found.url}/healthz").text == "ok\n"
    row = next(r for r in study.minipach("triggers", "--json").json["triggers"] if r["name"] == "github")
    assert row["kind"] == "receiver" and row["state"] == "runs" and row["heard"]


def test_requests_that_are_no_events(running: tuple[Study, Serving]) -> None:
    study, found = running
    before = heard(study)
    host = b"Host: x\r\nConnection: close\r\n"
    post = b"POST /hooks/github HTTP/1.1\r\n" + host
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    for data, status in (
        (post + b"Content-Length: 50001\r\n\r\n", b"413"),
        (post + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", b"4"),
        (post + b"Content-Length: -1\r\n\r\n", b"400"),
        (post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"400"),
        (chunked + b"zz\r\n", b"400"),
        (chunked + b"c350\r\n" + b"x" * 50000 + b"\r\n2\r\nxx\r\n0\r\n\r\n", b"413"),
        (chunked + b"2\r\n{}\r\n0\r\n\r\n", b"401"),
        (b"POST /hooks/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n", b"404"),
        (b"POST /hooks/github%00 HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 500_000 + b"\r\n\r\n", b"4"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n", b"400"),
        (post + b"X-Hub-Signature-256: sha256=\xff\xfe\r\nContent-Length: 0\r\n\r\n", b"40"),
    ):
        assert raw(found.port, data)[9:12].startswith(status), data[:200]
    assert heard(study) == before
    assert "Traceback" not in found.log.read_text()


def test_a_sender_of_a_large_body_gets_the_answer(running: tuple[Study, Serving]) -> None:
    """It sends all of the body before it reads. With unread data, the kernel would reset the connection."""
    _, found = running
    head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n"
    for more in (b"", b"Connection: close\r\n"):
        with socket.create_connection(("127.0.0.1", found.port), timeout=PATIENCE) as connection:
            connection.sendall(head + more + b"\r\n")
            for _ in range(300):
                connection.sendall(b"x" * 100_000)
            assert b"413" in connection.recv(65536)[:20]
    assert httpx.get(f"{found.url}/healthz").text == "ok\n"


_FIELDS = ["ref", "repository", "full_name", "push", "changes", "new", "type", "name"]
_FIELDS += ["Records", "eventName", "s3", "bucket", "object", "key", "detail"]
_WORDS = st.sampled_from(
    ["push", "Push Hook", "repo:push", "$(id)", "refs/heads/a;id", "../..", "\x1b[2J", "ref", "x" * 300]
)
_JSON = st.recursive(
    _WORDS | st.integers() | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=10,
)
_ROUTES = st.sampled_from(
    [*(f"/hooks/{forge}" for forge in FORGES), "/hooks/x", "/healthz", "/metrics", "/", "/hooks/"]
)
_METHODS = st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
_EVENTS = st.sampled_from(["X-GitHub-Event", "X-Gitea-Event", "X-Gitlab-Event", "X-Event-Key", "X-Forgejo-Event"])


@hypothesis.settings(
    max_examples=120, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    _METHODS,
    _ROUTES,
    _JSON.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=40),
    st.lists(st.tuples(_EVENTS, st.sampled_from(["push", "Push Hook", "repo:push", "ping", "x"])), max_size=2),
    st.booleans(),
)
def test_no_route_fails_or_runs_anything(
    running: tuple[Study, Serving], method: str, path: str, body: bytes, events: list[tuple[str, str]], good: bool
) -> None:
    """Signed nonsense reaches the parser, as only somebody with the secret can have it."""
    study, found = running
    before = heard(study)
    forge = path.rpartition("/")[2]
    headers = sign(forge, SECRET, body, time.time(), "$(id)") if good and forge in FORGES else {}
    answer = found.client.request(method, f"{found.url}{path}", content=body, headers=[*headers.items(), *events])
    assert answer.status_code in (200, 202, 400, 401, 404, 405)
    fresh = heard(study)[len(before) :]
    assert len(fresh) == (answer.status_code == 202 and answer.json() == {"outcome": "heard"})
    assert all(line.isprintable() and len(line) <= 500 for line in fresh)
    assert not Path(f"/proc/{found.process.pid}/task/{found.process.pid}/children").read_text()
    assert found.process.poll() is None and "Traceback" not in found.log.read_text()


@pytest.mark.slow  # it waits for the server to give up
def test_slow_senders_keep_nobody_else_from_being_heard(running: tuple[Study, Serving]) -> None:
    _study, found = running
    answers: list[bytes] = []
    slow = [
        threading.Thread(target=lambda data=data: answers.append(raw(found.port, data)))
        for data in (
            b"",
            b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-",
            b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nx",
        )
    ]
    for thread in slow:
        thread.start()
    headers, body = signed("github")
    assert httpx.post(f"{found.url}/hooks/github", content=body, headers=headers).status_code == 202
    for thread in slow:
        thread.join()  # the server closes these connections
    assert sorted(answer[:12] for answer in answers) == [b"", b"", b"HTTP/1.1 404"]


def test_bad_setup_is_one_line(running: tuple[Study, Serving], study: Study) -> None:
    done = study.minipach("serve")
    assert done.code == 2 and done.reports("webhook.no-secret", "webhooks", "MINIPACH_")
    assert len(done.err.splitlines()) == 1
    done = study.minipach("serve", "--port", str(running[1].port), env=VARIABLES)
    assert (done.code, len(done.err.splitlines())) == (2, 1) and done.reports("serve.no-port")
    done = study.minipach("serve", "--host", "no such host", env=VARIABLES)
    assert (done.code, len(done.err.splitlines())) == (2, 1) and done.reports("serve.no-host")
    done = study.minipach("triggers", "test", "gitub", env=VARIABLES)
    assert (done.code, done.refusals) == (2, [("webhook.no-sender", "gitub")])
    done = study.minipach("triggers", "test", "s3", "--url", "ftp://x", env=VARIABLES)
    assert done.code == 2 and done.reports("serve.bad-url", "ftp://x")


def test_addresses() -> None:
    assert [server.is_loopback(host) for host in ("127.0.0.9", "::1", "localhost", "0.0.0.0", "x")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(UserError):
        server.listen("192.0.2.1", 0)


def test_end_by_a_signal(study: Study, tmp_path: Path) -> None:
    with serving(study, tmp_path / "log", "--every", "0") as found:
        assert found.stop() == 0
        assert found.log.read_text().endswith("ended; passes that run continue\n")
    assert VARIABLES["MINIPACH_WEBHOOK_S3_SECRET"] not in found.log.read_text()
