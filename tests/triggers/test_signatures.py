"""Who sent an event: forged, replayed and unsigned ones are refused."""

from __future__ import annotations

import base64
import secrets as random_secrets
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from minipach.triggers.payloads import read, sample
from minipach.triggers.signatures import FORGES, EventRefusedError, Headers, sign, verify

SECRET = "correct-horse-battery"
NOW = 1_800_000_000.0


def signed(forge: str, secret: str = SECRET, now: float = NOW) -> tuple[Headers, bytes]:
    headers, body = sample(forge, secret, now, "delivery-1")
    return Headers(list(headers.items())), body


def status_of(forge: str, headers: Headers, body: bytes, *secrets: str, now: float = NOW) -> int:
    try:
        verify(forge, headers, body, secrets or (SECRET,), now)
    except EventRefusedError as error:
        assert not any(secret in str(error) for secret in secrets or (SECRET,))
        return error.status
    return 202


@pytest.mark.parametrize("forge", FORGES)
def test_sample_is_accepted_and_forged_ones_are_not(forge: str) -> None:
    headers, body = signed(forge)
    assert status_of(forge, headers, body) == 202
    assert status_of(forge, headers, body, "new-secret", SECRET) == 202  # while a secret is replaced
    assert status_of(forge, headers, body, "another-secret") == 401
    assert status_of(forge, Headers([]), body) == 401
    if forge not in ("gitlab", "s3"):  # there the secret itself is sent
        assert status_of(forge, headers, body + b" ") == 401
    event = read(forge, headers, body)
    assert event.counts and event.delivery == "delivery-1" and "minipach" in event.what


@pytest.mark.parametrize("forge", ["gitea", "forgejo"])
def test_signature_of_github_counts_with_gitea_too(forge: str) -> None:
    body = b"{}"
    headers = Headers([*sign("github", SECRET, body, NOW, "x").items()])
    assert status_of(forge, headers, body) == 202


def test_header_that_decides_may_be_there_once() -> None:
    headers, body = sample("github", SECRET, NOW, "x")
    twice = Headers([*headers.items(), ("X-HUB-signature-256", headers["X-Hub-Signature-256"])])
    assert status_of("github", twice, body) == 400


@pytest.mark.parametrize(("away", "status"), [(0, 202), (299, 202), (-299, 202), (301, 401), (-301, 401)])
def test_standard_webhooks_of_gitlab(away: int, status: int) -> None:
    secret = "whsec_" + base64.b64encode(random_secrets.token_bytes(24)).decode()
    headers, body = sample("gitlab", secret, NOW + away, "msg_1")
    assert status_of("gitlab", Headers(list(headers.items())), body, secret) == status
    assert headers["webhook-signature"] == Webhook(secret).sign(
        "msg_1", datetime.fromtimestamp(NOW + away, UTC), body.decode()
    )


@pytest.mark.parametrize("moment", ["", "x", "-5", "1e9", "9" * 30, "١٢٣"])
def test_standard_webhooks_need_a_timestamp(moment: str) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    headers, body = sample("gitlab", secret, NOW, "msg_1")
    headers["webhook-timestamp"] = moment
    assert status_of("gitlab", Headers(list(headers.items())), body, secret) == 401


def test_several_signatures_of_which_one_is_right() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    headers, body = sample("gitlab", secret, NOW, "msg_1")
    headers["webhook-signature"] = "v1,AAAA v1a,xyz " + headers["webhook-signature"]
    assert status_of("gitlab", Headers(list(headers.items())), body, secret) == 202


def test_signing_key_is_no_token() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    assert status_of("gitlab", Headers([("X-Gitlab-Token", secret)]), b"{}", secret) == 401
