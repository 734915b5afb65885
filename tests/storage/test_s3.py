"""What is said of a store that does not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from minipach.storage.s3 import Credentials, bucket, listing, prove
from tests.fixtures.refusals import refused

KEY = Credentials("access", "secret")


@pytest.fixture
def hangs_up() -> Iterator[int]:
    """The port of a server that closes each connection at once."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
def test_nobody_listens(url: str) -> None:
    with refused("bucket.no-store", f"{url}/raw") as found:
        listing(bucket(url, "raw", ""), KEY)
    assert found.problem.message.endswith("at 127.0.0.1:9: Connection refused")


def test_the_name_has_no_address() -> None:
    with refused("bucket.no-store") as found:
        listing(bucket("http://nowhere.invalid:9000", "raw", ""), KEY)
    assert " at nowhere.invalid:9000: " in found.problem.message and "Pool" not in found.problem.message


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_server_hangs_up(scheme: str, hangs_up: int) -> None:
    with refused("bucket.no-store") as found:
        listing(bucket(f"{scheme}://127.0.0.1:{hangs_up}", "raw", ""), KEY)
    message = found.problem.message
    assert f" at 127.0.0.1:{hangs_up}: " in message and "url:" not in message and "object at" not in message


@pytest.mark.parametrize("body", [b"", b"hello\n", b"<!doctype html><p>Console", b"<html></html>"])
def test_a_host_that_answers_anything_is_no_store(body: bytes) -> None:
    class Anything(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        do_HEAD = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with HTTPServer(("127.0.0.1", 0), Anything) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = bucket(f"http://127.0.0.1:{server.server_port}", "raw", "")
        try:
            with refused("bucket.no-store") as found:
                prove(at, KEY)
        finally:
            server.shutdown()
    assert "accepts anything" in found.problem.message
