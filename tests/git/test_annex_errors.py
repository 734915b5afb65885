"""The reason of a failure, out of what git-annex prints."""

from __future__ import annotations

import pytest

from minipach.git.annex_errors import annex_reason

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
        (_REQUEST + " ResponseTimeout", "127.0.0.1:9: ResponseTimeout"),
        ("copy a (to s...)\n  no space left\nfailed\ncopy: 1 failed\n", "no space left"),
        ("initremote: 1 failed", "initremote: 1 failed"),
        ("", ""),
    ],
)
def test_the_reason_is_whole_and_one_line(text: str, reason: str) -> None:
    assert annex_reason(text) == reason
