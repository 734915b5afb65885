"""The receiver: each event gets one answer, and only a good one asks for a pass."""

from __future__ import annotations

import json
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from minipach.project.project import Project
from minipach.triggers.receiver import Receiver
from minipach.triggers.signatures import FORGES, sign
from tests.fixtures.projects import Study
from tests.fixtures.receivers import SECRET, VARIABLES, ask, heard, post, signed


@pytest.fixture
def receiver(study: Study, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that has a secret for each sender."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    yield Receiver(Project(study.root), every=0, body_limit=50_000)


@pytest.mark.parametrize("forge", FORGES)
def test_signed_event_is_heard_and_others_are_not(study: Study, receiver: Receiver, forge: str) -> None:
    headers, body = signed(forge)
    response = post(receiver, f"/hooks/{forge}", body, headers)
    assert (response.status_code, response.json()) == (202, {"outcome": "heard"})
    assert len(heard(study)) == 1 and heard(study)[0].startswith(f"{forge}: ")
    without = {name: value for name, value in headers.items() if SECRET not in value and "ignature" not in name}
    assert post(receiver, f"/hooks/{forge}", body, without).status_code == 401
    assert len(heard(study)) == 1


def test_answers(study: Study, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "minipach.serve")
    headers, body = signed("github")
    assert post(receiver, "/hooks/github", body + b"x", headers).status_code == 401
    bad = {**headers, **sign("github", SECRET, b"[]", 0, "x")}
    assert post(receiver, "/hooks/github", b"[]", bad).status_code == 400
    assert post(receiver, "/hooks/nothing", body, headers).status_code == 404
    assert post(receiver, "/hooks/../github", body, headers).status_code in (404, 405)
    assert ask(receiver, "GET", "/hooks/github").status_code == 405
    assert post(receiver, "/hooks/github", b"x" * 50_001, headers).status_code == 413
    assert heard(study) == []
    for text in ("refused: wrong signature", "malformed: ", "too-large: "):
        assert text in caplog.text
    assert SECRET not in caplog.text


def test_the_same_delivery_again_is_only_logged(
    study: Study, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "minipach.serve")
    headers, body = signed("github", "abc")
    for _ in range(2):
        assert post(receiver, "/hooks/github", body, headers).status_code == 202
    assert len(heard(study)) == 2 and "(abc, again)" in caplog.text


def test_control_characters_of_an_event_reach_no_log(
    study: Study, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIPACH_WEBHOOK_GITEA_UNSIGNED", "1")
    receiver = Receiver(Project(study.root), every=0)
    body = json.dumps({"ref": "refs/heads/x\n\x1b]0;y\x07\ud800", "repository": {"full_name": "a\r\nb"}}).encode()
    assert post(receiver, "/hooks/gitea", body, {"X-Gitea-Event": "push"}).status_code == 202
    (line,) = heard(study)
    assert "\\x1b" in line and line.isprintable()


def test_without_a_secret_nothing_is_accepted(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "minipach.serve")
    study.git(".", "config", "minipach.webhook.gitea.unsigned", "true")
    receiver = Receiver(Project(study.root), every=0)
    headers, body = signed("github")
    assert post(receiver, "/hooks/github", body, headers).status_code == 401
    assert "MINIPACH_WEBHOOK_GITHUB_SECRET" in caplog.text
    assert post(receiver, "/hooks/gitea", signed("gitea")[1], {"X-Gitea-Event": "push"}).status_code == 202
    assert len(heard(study)) == 1


def test_metrics(study: Study, receiver: Receiver) -> None:
    headers, body = signed("s3")
    post(receiver, "/hooks/s3", body, headers)
    post(receiver, "/hooks/s3", body, {})
    text = ask(receiver, "GET", "/metrics").text
    assert 'minipach_events_total{forge="s3",outcome="heard"} 1\n' in text
    assert 'minipach_events_total{forge="s3",outcome="refused"} 1\n' in text
    assert "minipach_unanswered_lines 1\n" in text
    assert ask(receiver, "GET", "/healthz").status_code == 503  # nothing starts passes: no server runs


_METHODS = st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "X"])
_PATHS = st.sampled_from([f"/hooks/{forge}" for forge in FORGES]) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126), max_size=20
).map(lambda text: "/" + text.replace("#", "").replace("?", ""))
_KNOWN = "X-GitHub-Event X-Hub-Signature-256 X-Gitlab-Token Authorization webhook-signature Content-Type Expect"
_NAMES = st.sampled_from([*_KNOWN.split(), "webhook-timestamp", "X-Event-Key", "X-Gitea-Event", "Content-Encoding"])
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.strip)


@hypothesis.settings(
    max_examples=100, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(_METHODS, _PATHS, st.lists(st.tuples(_NAMES, _VALUES), max_size=4), st.binary(max_size=60))
def test_no_request_fails_the_receiver_or_is_heard(
    study: Study, receiver: Receiver, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    response = ask(receiver, method, path, body, headers)
    assert response.status_code < 500 or response.status_code == 503
    assert heard(study) == []


_TEXT = {"type": "string"}
_PUSH = {
    "type": "object",
    "required": ["ref", "repository"],
    "properties": {
        "ref": {"enum": ["refs/heads/main", "refs/heads/git-annex", "refs/tags/1"]},
        "before": _TEXT,
        "after": _TEXT,
        "commits": {"type": "array", "items": {"type": "object"}, "maxItems": 2},
        "repository": {"type": "object", "properties": {"full_name": _TEXT}},
        "push": {"type": "object", "properties": {"changes": {"type": "array", "maxItems": 2}}},
        "Records": {"type": "array", "items": {"type": "object", "properties": {"s3": {"type": "object"}}}},
    },
}
_SAYS = {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}
_TELLS = {"description": "", "content": {"text/plain": {}}}


def _of(name: str) -> dict[str, object]:
    header = {"name": name, "in": "header", "schema": {"enum": ["push", "ping", "repo:push"]}}
    return {"parameters": [header], "requestBody": {"content": {"application/json": {"schema": _PUSH}}}}


_API = {
    "openapi": "3.0.3",
    "info": {"title": "the receiver", "version": "1"},
    "paths": {
        **{
            f"/hooks/{forge}": {
                "post": {**_of(name), "responses": {code: _SAYS for code in ("202", "400", "401", "413")}}
            }
            for forge, name in (
                ("github", "X-GitHub-Event"),
                ("gitea", "X-Gitea-Event"),
                ("forgejo", "X-Forgejo-Event"),
                ("gitlab", "X-Gitlab-Event"),
                ("bitbucket", "X-Event-Key"),
                ("s3", "X-Amz-Request-Id"),
            )
        },
        "/healthz": {"get": {"responses": {"503": _TELLS, "200": _TELLS}}},
        "/metrics": {"get": {"responses": {"200": _TELLS}}},
    },
}


async def _description(_request: Request) -> Response:
    return JSONResponse(_API)


@pytest.mark.slow
@pytest.mark.parametrize("unsigned", [True, False], ids=["unsigned", "signed"])
def test_every_route_answers_as_it_is_described(study: Study, monkeypatch: pytest.MonkeyPatch, unsigned: bool) -> None:
    """schemathesis sends what fits the description, and what does not. Unsigned: each body is parsed."""
    import schemathesis  # it takes a second
    from schemathesis.specs.openapi import checks

    for name, value in VARIABLES.items():
        monkeypatch.setenv(name.replace("_SECRET", "_UNSIGNED") if unsigned else name, "true" if unsigned else value)
    receiver = Receiver(Project(study.root), every=0, body_limit=50_000)
    app = Starlette(routes=[Route("/openapi.json", _description), Mount("/", app=receiver.app())])
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(modes=list(schemathesis.GenerationMode))
    wanted = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    asked = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        asked.add(operation.path)

        @hypothesis.settings(max_examples=10, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(case=operation.as_strategy())
        def one_operation(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=wanted)

        one_operation()
    assert asked == _API["paths"].keys()  # type: ignore[attr-defined]
    assert bool(heard(study)) == unsigned
