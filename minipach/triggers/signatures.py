"""Signatures of webhooks: whether the sender of an event knows the secret, and how a sample event is signed. Pure.

What an event says is read in `payloads`, and the secrets in `webhook_secrets`. `receiver` decides in this order.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

FORGES = ("github", "gitea", "forgejo", "gitlab", "bitbucket", "s3")
TOLERANCE = 300.0  # seconds that a timestamp of Standard Webhooks may be away from now
_SIGNING = "whsec_"  # begins a secret of Standard Webhooks: the rest is base64


class EventRefusedError(Exception):
    """An event that is not accepted. status: of the HTTP answer · the text is for the log, without a secret."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


class Headers:
    """The headers of a request. A header that decides something may be there once."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, *names: str) -> str | None:
        """Return the first of these headers that is there. Raises EventRefusedError if it is there twice."""
        for name in names:
            found = self._values.get(name.lower(), [])
            if len(found) > 1:
                raise EventRefusedError(400, f"header {name} is there {len(found)} times")
            if found:
                return found[0]
        return None


def verify(forge: str, headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> None:
    """Check that the sender knows one of the secrets. Raises EventRefusedError (401; 400: a header is there twice)."""
    if not any([_is_signed(forge, headers, body, secret, now) for secret in secrets]):  # a list: all take equally long
        raise EventRefusedError(401, "wrong signature" if _credential(forge, headers) else "no signature")


_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "github": ("X-Hub-Signature-256",),
    "gitea": ("X-Gitea-Signature", "X-Hub-Signature-256"),
    "forgejo": ("X-Forgejo-Signature", "X-Gitea-Signature", "X-Hub-Signature-256"),
    "bitbucket": ("X-Hub-Signature", "X-Hub-Signature-256"),
    "gitlab": ("webhook-signature", "X-Gitlab-Token"),
    "s3": ("Authorization",),
}


def _credential(forge: str, headers: Headers) -> str:
    return headers.get(*_SIGNATURES[forge]) or ""


def _is_signed(forge: str, headers: Headers, body: bytes, secret: str, now: float) -> bool:
    given = _credential(forge, headers)
    if forge == "s3":
        return _equal(given, f"Bearer {secret}") | _equal(given, secret)
    if forge == "gitlab":
        if headers.get("webhook-signature") is not None:
            return _is_standard(headers, body, secret, now)
        # a signing key is never sent as a token: whoever sends it that way is not GitLab
        return _equal(given, secret) and not secret.startswith(_SIGNING)
    return _equal(given.removeprefix("sha256="), _hex(secret, body))


def _hex(secret: str, body: bytes) -> str:
    return hmac.new(_bytes(secret), body, hashlib.sha256).hexdigest()


def _is_standard(headers: Headers, body: bytes, secret: str, now: float) -> bool:
    """Return whether a request is signed as Standard Webhooks specify it.

    Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    ident, moment = headers.get("webhook-id") or "", headers.get("webhook-timestamp") or ""
    if not (moment.isascii() and moment.isdigit() and len(moment) < 20 and abs(int(moment) - now) <= TOLERANCE):
        raise EventRefusedError(401, f"the signature's timestamp is more than {TOLERANCE:.0f} s away from now, or none")
    wanted = standard_signature(secret, ident, moment, body)
    return any([_equal(given, wanted) for given in (headers.get("webhook-signature") or "").split(" ")[:16]])


def standard_signature(secret: str, ident: str, moment: str, body: bytes) -> str:
    """Return a signature of Standard Webhooks, version 1."""
    try:
        key = base64.b64decode(secret.removeprefix(_SIGNING), validate=True)
    except (binascii.Error, ValueError):
        key = _bytes(secret)
    signed = _bytes(f"{ident}.{moment}.") + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def sign(forge: str, secret: str, body: bytes, now: float, delivery: str) -> dict[str, str]:
    """Return the headers by which a forge proves that it knows the secret."""
    if forge == "s3":
        return {"Authorization": f"Bearer {secret}"}
    if forge == "gitlab":
        if not secret.startswith(_SIGNING):
            return {"X-Gitlab-Token": secret}
        moment = f"{now:.0f}"
        signature = standard_signature(secret, delivery, moment, body)
        return {"webhook-id": delivery, "webhook-timestamp": moment, "webhook-signature": signature}
    name = _SIGNATURES[forge][0]
    return {name: _hex(secret, body) if "Hub" not in name else f"sha256={_hex(secret, body)}"}
