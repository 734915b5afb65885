"""Whether an event asks for a look, and what is none."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from minipach.triggers.payloads import asks_for_a_look, read
from minipach.triggers.signatures import FORGES, EventRefusedError, Headers, verify


@pytest.mark.parametrize(
    ("ref", "asks"),
    [
        ("refs/heads/main", True),
        ("refs/heads/feature/x", True),
        ("refs/heads/git-annex", False),
        ("refs/heads/minipach", False),
        ("refs/heads/synced/main", False),
        ("refs/tags/v1", False),
        ("main", False),
        ("", False),
    ],
)
def test_refs_that_ask_for_a_look(ref: str, asks: bool) -> None:
    assert asks_for_a_look(ref) is asks
    body = json.dumps({"ref": ref, "repository": {"full_name": "a/b"}}).encode()
    assert read("gitea", Headers([("X-Gitea-Event", "push")]), body).counts is asks


@pytest.mark.parametrize(
    ("forge", "headers"),
    [
        ("github", {"X-GitHub-Event": "ping"}),
        ("gitlab", {"X-Gitlab-Event": "Tag Push Hook"}),
        ("bitbucket", {"X-Event-Key": "diagnostics:ping"}),
        ("gitea", {"X-Gitea-Event": "issues"}),
    ],
)
def test_other_events_are_ignored(forge: str, headers: dict[str, str]) -> None:
    assert not read(forge, Headers(list(headers.items())), b"{}").counts


def test_forms_of_bitbucket() -> None:
    server = {"changes": [{"ref": {"id": "refs/heads/main", "type": "BRANCH"}}]}
    assert read("bitbucket", Headers([("X-Event-Key", "repo:refs_changed")]), json.dumps(server).encode()).counts
    deleted: dict[str, Any] = {"push": {"changes": [{"new": None}]}}
    assert not read("bitbucket", Headers([("X-Event-Key", "repo:push")]), json.dumps(deleted).encode()).counts


def test_json_is_known_by_its_brace_where_the_content_type_is_that_of_curl() -> None:
    body = b' {"ref": "refs/heads/main"}'
    form = ("Content-Type", "application/x-www-form-urlencoded")
    for kind in ([], [form], [("Content-Type", "text/plain")]):
        assert read("github", Headers([("X-GitHub-Event", "push"), *kind]), body).counts
    with pytest.raises(EventRefusedError) as error:
        read("github", Headers([("X-GitHub-Event", "push"), form]), b"ref=main")
    assert error.value.status == 400 and "payload" in str(error.value) and "application/json" in str(error.value)


def test_form_with_a_payload() -> None:
    headers = Headers(
        [("X-GitHub-Event", "push"), ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
    )
    assert read("github", headers, b"payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D").counts
    with pytest.raises(EventRefusedError):
        read("github", headers, b"other=1")


def record(name: str, key: str = "a%2Bb+c") -> dict[str, Any]:
    return {"eventName": name, "s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}


@pytest.mark.parametrize(
    ("data", "counts", "shown"),
    [
        ({"Records": [record("ObjectCreated:Put")]}, True, "raw/a+b c"),
        ({"EventName": "x", "Key": "raw/x", "Records": [record("s3:ObjectRemoved:Delete")]}, True, "raw/a+b c"),
        ({"Records": [record("s3:ObjectAccessed:Get")]}, False, "ObjectAccessed"),
        ({"Records": [record("s3:ObjectCreated:Put", "%FF%00")]}, True, "\\xff"),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw"}, False, "test"),
        (
            {
                "source": "aws.s3",
                "detail-type": "Object Created",
                "detail": {"bucket": {"name": "raw"}, "object": {"key": "a+b"}},
            },
            True,
            "raw/a+b",
        ),
        ({"key": "/buckets/raw/a b", "event_type": "create", "message": {}}, True, "raw/a b"),
        ({"key": "/etc/iam/x", "event_type": "update", "message": {}}, False, "/etc"),
    ],
)
def test_forms_of_bucket_events(data: dict[str, Any], counts: bool, shown: str) -> None:
    event = read("s3", Headers([]), json.dumps(data).encode())
    assert (event.counts, shown in event.what) == (counts, True), event.what


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"ref": 1}',
        b'{"a": NaN}',
        b'{"ref": ' + b"9" * 9000 + b"}",
    ],
)
def test_what_is_no_event_is_malformed(body: bytes) -> None:
    headers = Headers([("X-GitHub-Event", "push"), ("X-Gitlab-Event", "Push Hook"), ("X-Event-Key", "repo:push")])
    for forge in FORGES:
        with pytest.raises(EventRefusedError) as found:
            read(forge, headers, body)
        assert found.value.status == 400


_KEYS = "ref repository full_name push changes new type name id Records eventName s3 bucket object key detail source"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_KEYS.split(), "event_type", "project", "object_kind"]), inner, max_size=4)
    ),
    max_leaves=12,
)
_VALUES = st.sampled_from(["push", "Push Hook", "System Hook", "repo:push", "repo:refs_changed", "sha256=", "v1,", "é"])
_NAMES = ["X-GitHub-Event", "X-Gitea-Event", "X-Gitlab-Event", "X-Event-Key", "X-Gitlab-Token", "Authorization"]
_NAMES += ["X-Hub-Signature-256", "webhook-signature", "webhook-timestamp", "webhook-id", "Content-Type"]
_HEADERS = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES | st.text(max_size=6)), max_size=5)
_BODIES = st.binary(max_size=30) | _JSON.map(lambda found: json.dumps(found).encode())


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(
    st.sampled_from(FORGES), _HEADERS, st.binary(max_size=30) | _JSON.map(lambda j: json.dumps(j).encode())
)
def test_nothing_but_an_answer(forge: str, pairs: list[tuple[str, str]], body: bytes) -> None:
    try:
        verify(forge, Headers(pairs), body, ("correct-horse-battery",), 1_800_000_000.0)
        raise AssertionError("a forged event was accepted")
    except EventRefusedError as error:
        assert error.status in (400, 401)
    try:
        assert len(read(forge, Headers(pairs), body).what) <= 200
    except EventRefusedError as error:
        assert error.status == 400
