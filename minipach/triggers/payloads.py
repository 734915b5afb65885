"""Push events of forges and events of buckets, as HTTP brings them: whether one asks for a look. Pure.

Who sent an event is checked in `signatures` (`verify`), not here. An event decides nothing but that a pass looks. So
only one question matters here: did a branch or an object change. Names in an event are for the log.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minipach.model.repo_layout import RESULTS
from minipach.support.validation import InvalidError, parse_object
from minipach.triggers.signatures import EventRefusedError, Headers, sign

_LONGEST = 200  # characters of a name in the log
_MOST_REFS = 20


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event that was understood. counts: it asks for a look · what: its kind, and what changed, for the log."""

    counts: bool
    what: str
    delivery: str = ""


def asks_for_a_look(ref: str) -> bool:
    """Return whether a ref is a branch that a pipeline may take as input. The hooks have the same rule."""
    name = ref.removeprefix("refs/heads/")
    return name != ref and name not in ("git-annex", RESULTS) and not name.startswith("synced/")


def read(forge: str, headers: Headers, body: bytes) -> Incoming:
    """Return what an event says. Raises EventRefusedError (400) if it is none of this forge."""
    delivery = headers.get(*_DELIVERIES[forge]) or ""
    try:
        data = parse_object(_json_of(headers, body))
        counts, what = _READERS[forge](headers, data)
    except InvalidError as error:
        raise EventRefusedError(400, str(error)) from None
    return Incoming(counts, _cut(what), _cut(delivery))


_DELIVERIES: Mapping[str, tuple[str, ...]] = {
    "github": ("X-GitHub-Delivery",),
    "gitea": ("X-Gitea-Delivery", "X-GitHub-Delivery"),
    "forgejo": ("X-Forgejo-Delivery", "X-Gitea-Delivery", "X-GitHub-Delivery"),
    "gitlab": ("webhook-id", "X-Gitlab-Webhook-UUID", "X-Gitlab-Event-UUID"),
    "bitbucket": ("X-Request-UUID", "X-Request-Id"),
    "s3": ("X-Amz-Request-Id", "X-Request-Id"),
}


def _json_of(headers: Headers, body: bytes) -> bytes:
    """Return the JSON of a body; GitHub and Gitea can also send it as the field `payload` of a form.

    A program that names no content type, such as curl, sends JSON as a form. No form begins with a brace.
    """
    kind = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" or body.lstrip()[:1] == b"{":
        return body
    try:
        fields = urllib.parse.parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError:
        raise InvalidError("not a form") from None
    if "payload" not in fields:
        raise InvalidError("a form without the field payload; send JSON with Content-Type: application/json")
    return fields["payload"][0].encode("utf-8", "surrogateescape")


def _push(name: str) -> Callable[[Headers, Mapping[str, Any]], tuple[bool, str]]:
    """Return the reader for the forges whose push events look like GitHub's. name: how their headers begin."""

    def read_push(headers: Headers, data: Mapping[str, Any]) -> tuple[bool, str]:
        kind = headers.get(f"X-{name}-Event", "X-Gitea-Event", "X-GitHub-Event")
        if kind is None:
            raise InvalidError(f"no header X-{name}-Event")
        if kind != "push":
            return False, kind
        ref = _text(data, "ref")
        return asks_for_a_look(ref), f"push {_name(data, 'repository', 'full_name')} {ref}"

    return read_push


def _gitlab(headers: Headers, data: Mapping[str, Any]) -> tuple[bool, str]:
    kind = headers.get("X-Gitlab-Event")
    if kind is None:
        raise InvalidError("no header X-Gitlab-Event")
    if kind != "Push Hook" and (kind != "System Hook" or data.get("object_kind") != "push"):
        return False, kind
    ref = _text(data, "ref")
    return asks_for_a_look(ref), f"push {_name(data, 'project', 'path_with_namespace')} {ref}"


def _bitbucket(headers: Headers, data: Mapping[str, Any]) -> tuple[bool, str]:
    kind = headers.get("X-Event-Key")
    if kind is None:
        raise InvalidError("no header X-Event-Key")
    if kind == "repo:push":  # Bitbucket Cloud
        news = [change.get("new") for change in _objects(data.get("push"), "changes")]
        refs = [f"refs/heads/{_text(n, 'name')}" for n in news if isinstance(n, dict) and n.get("type") == "branch"]
    elif kind == "repo:refs_changed":  # Bitbucket Data Center
        refs = [
            _text(change["ref"], "id") for change in _objects(data, "changes") if isinstance(change.get("ref"), dict)
        ]
    else:
        return False, kind
    return any(
        map(asks_for_a_look, refs)
    ), f"push {_name(data, 'repository', 'full_name')} {' '.join(refs[:_MOST_REFS])}"


def _s3(_headers: Headers, data: Mapping[str, Any]) -> tuple[bool, str]:
    if isinstance(data.get("Records"), list):  # AWS, MinIO and those that follow them
        records = _objects(data, "Records")
        changed = [record for record in records if _kind_of(record) in ("ObjectCreated", "ObjectRemoved")]
        return bool(changed), " ".join(map(_record, (changed or records)[:_MOST_REFS])) or "no records"
    if isinstance(data.get("detail"), dict) and data.get("source") == "aws.s3":  # AWS EventBridge; keys are plain
        detail = data["detail"]
        what = f"{_name(detail, 'bucket', 'name')}/{_name(detail, 'object', 'key')}"
        return data.get("detail-type") in ("Object Created", "Object Deleted"), f"{data.get('detail-type')} {what}"
    if isinstance(data.get("key"), str) and isinstance(data.get("event_type"), str):  # SeaweedFS
        key = data["key"]
        return key.startswith("/buckets/"), f"{data['event_type']} {key.removeprefix('/buckets/')}"
    if data.get("Event") == "s3:TestEvent":
        return False, "test event"
    raise InvalidError("not an event of a bucket")


def _kind_of(record: Mapping[str, Any]) -> str:
    return _text(record, "eventName").removeprefix("s3:").partition(":")[0]


def _record(record: Mapping[str, Any]) -> str:
    s3 = record.get("s3")
    if not isinstance(s3, dict):
        raise InvalidError("a record without s3")
    key = urllib.parse.unquote_plus(_name(s3, "object", "key"), errors="backslashreplace")
    return f"{_text(record, 'eventName')} {_name(s3, 'bucket', 'name')}/{key}"


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise InvalidError(f"no text {key}")
    return value


def _name(data: Mapping[str, Any], part: str, key: str) -> str:
    """Return a name that is for the log alone; `?` where there is none."""
    inside = data.get(part)
    value = inside.get(key) if isinstance(inside, dict) else None
    return value if isinstance(value, str) else "?"


def _objects(data: object, key: str) -> list[dict[str, Any]]:
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidError(f"no list of objects {key}")
    return found


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


_READERS: Mapping[str, Callable[[Headers, Mapping[str, Any]], tuple[bool, str]]] = {
    "github": _push("GitHub"),
    "gitea": _push("Gitea"),
    "forgejo": _push("Forgejo"),
    "gitlab": _gitlab,
    "bitbucket": _bitbucket,
    "s3": _s3,
}


# --- samples ---


def sample(forge: str, secret: str | None, now: float, delivery: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an event as this forge sends it, signed unless there is no secret."""
    commit = {"before": "0" * 40, "after": "1" * 40, "ref": "refs/heads/main", "commits": []}
    repo = {"full_name": "minipach/test", "clone_url": "https://forge.example/minipach/test.git"}
    push = {**commit, "repository": repo}
    found: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
        "github": ({"X-GitHub-Event": "push", "X-GitHub-Delivery": delivery}, push),
        "gitea": ({"X-Gitea-Event": "push", "X-Gitea-Delivery": delivery}, push),
        "forgejo": ({"X-Forgejo-Event": "push", "X-Forgejo-Delivery": delivery}, push),
        "gitlab": (
            {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": delivery},
            {**commit, "object_kind": "push", "project": {"path_with_namespace": "minipach/test"}},
        ),
        "bitbucket": (
            {"X-Event-Key": "repo:push", "X-Request-UUID": delivery},
            {"push": {"changes": [{"new": {"type": "branch", "name": "main"}}]}, "repository": repo},
        ),
        "s3": (
            {"X-Amz-Request-Id": delivery},
            {
                "EventName": "s3:ObjectCreated:Put",
                "Key": "minipach-test/a key",
                "Records": [
                    {
                        "eventName": "s3:ObjectCreated:Put",
                        "s3": {"bucket": {"name": "minipach-test"}, "object": {"key": "a+key", "size": 5}},
                    }
                ],
            },
        ),
    }
    headers, data = found[forge]
    body = json.dumps(data).encode()
    signed = sign(forge, secret, body, now, delivery) if secret else {}
    return {"Content-Type": "application/json", "User-Agent": "minipach", **headers, **signed}, body
