"""The reason of a failure, out of what git-annex prints."""

from __future__ import annotations

import pytest

from minipach.git.annex_errors import annex_reason, row_reason

_REQUEST = """git-annex: HttpExceptionRequest Request {
  host                 = "127.0.0.1"
  port                 = 9
  secure               = False
  requestHeaders       = [("Date","Mon, 30 Nov 2026"),("Authorization","<REDACTED>")]
  path                 = "/abc/"
}
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            _REQUEST + " (ConnectionFailure Network.Socket.connect: <socket: 11>: does not exist (Connection refused))",
            "127.0.0.1:9: Connection refused",
        ),
        (
            _REQUEST + ' (InternalException (Restricted "not allowed: 127.0.0.1"))\nfailed\ninitremote: 1 failed',
            "127.0.0.1:9: not allowed: 127.0.0.1",
        ),
        (
            _REQUEST
            + ' (StatusCodeException (Response {responseStatus = Status {statusCode = 500, statusMessage = "Oops"},'
            ' responseOriginalRequest = Request {\n  host                 = "b"\n}\n}) "")',
            "127.0.0.1:9: Oops",
        ),
        (_REQUEST + " ResponseTimeout", "127.0.0.1:9: ResponseTimeout"),
        ("copy a (to s...)\n  no space left\nfailed\ncopy: 1 failed\n", "no space left"),
        ("initremote: 1 failed", "initremote: 1 failed"),
        ("", ""),
    ],
)
def test_the_reason_is_whole_and_one_line(text: str, reason: str) -> None:
    assert annex_reason(text) == reason


_REFUSED = _REQUEST + " (ConnectionFailure Network.Socket.connect: <socket: 11>: does not exist (Connection refused))"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"error-messages": [_REFUSED]}, "127.0.0.1:9: Connection refused"),
        ({"error-messages": _REFUSED.splitlines()}, "127.0.0.1:9: Connection refused"),
        ({"error-messages": ["no space", "  left"], "note": "x"}, "no space left"),
        ({"error-messages": [], "note": "unsafe\n  0 of 1 copies"}, "unsafe 0 of 1 copies"),
        ({}, ""),
    ],
)
def test_the_reason_of_one_content(row: dict[str, object], reason: str) -> None:
    assert row_reason(row) == reason
