"""`minipach.forges.pull_request`: one comment, whatever happens between the requests; statuses. On a fake forge."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from minipach.forges.dialects import FORGES, Forge, headers
from minipach.forges.pull_request import MARKER, CommitStatus, keep_comment, marked, set_status, text_limit
from minipach.forges.requests import Api
from minipach.support.errors import UserError
from tests.fixtures.fake_forges import SHA, TOKEN, FakeForge, Trouble, fake_forge

REPO = "lab/study"


@pytest.fixture(params=list(FORGES))
def forge(request: pytest.FixtureRequest) -> Iterator[FakeForge]:
    with fake_forge(request.param) as made:
        yield made


@pytest.fixture
def github() -> Iterator[FakeForge]:
    with fake_forge("github") as made:
        yield made


def at(forge: FakeForge, waits: list[float] | None = None, token: str = TOKEN) -> Forge:
    slept = waits if waits is not None else []
    api = Api(forge.api, headers(forge.kind, token), token, slept.append, lambda: 1000.0)
    return FORGES[forge.kind](api, REPO, "7")


def texts(forge: FakeForge) -> list[str]:
    return [one.text for one in forge.comments]


def refused(forge: FakeForge, waits: list[float] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        keep_comment(at(forge, waits), "x")
    (problem,) = caught.value.problems
    assert problem.code == "ci.refused" and TOKEN not in str(problem) and "\n" not in str(problem)
    return str(problem)


def test_it_is_written_once_and_edited_then(forge: FakeForge) -> None:
    forge.add("a comment of a person", author=1)
    assert keep_comment(at(forge), "first").action == "created"
    assert keep_comment(at(forge), "second").action == "edited"
    assert texts(forge) == ["a comment of a person", marked("second")]


def test_it_is_found_behind_many_others(forge: FakeForge) -> None:
    forge.page_size = 50 if forge.kind in ("forgejo", "gitea") else 100
    for number in range(230):
        forge.add(f"comment {number}", author=1)
    keep_comment(at(forge), "first")
    forge.add("later", author=1)
    assert keep_comment(at(forge), "second").action == "edited"
    assert sum(MARKER in text for text in texts(forge)) == 1


def test_a_server_without_pages_is_asked_twice_at_most(github: FakeForge) -> None:
    github.has_pages = False
    for number in range(130):
        github.add(f"comment {number}", author=1)
    keep_comment(at(github), "first")
    assert len(github.named("GET")) <= 5


def test_the_marker_in_a_comment_of_somebody_else(forge: FakeForge) -> None:
    forge.add(marked("fake results"), author=1)
    if forge.kind == "bitbucket-server":
        forge.tells_me = False
    assert keep_comment(at(forge), "true").action == "created"
    assert keep_comment(at(forge), "truer").action == "edited"
    assert texts(forge) == [marked("fake results"), marked("truer")]


def test_a_token_of_a_workflow_has_no_account(github: FakeForge) -> None:
    github.tells_me = False
    github.add(marked("fake results"), author=1)
    keep_comment(at(github), "one")
    keep_comment(at(github), "two")
    assert texts(github) == [marked("fake results"), marked("two")]


def test_a_comment_that_somebody_deletes_meanwhile(forge: FakeForge) -> None:
    keep_comment(at(forge), "first")

    def delete(verb: str, _path: str) -> None:
        if verb in ("PUT", "PATCH"):
            forge.comments.clear()
            forge.before = None

    forge.before = delete
    assert keep_comment(at(forge), "second").action == "created"
    assert texts(forge) == [marked("second")]


def test_two_runs_at_once_leave_one_comment(forge: FakeForge) -> None:
    both = threading.Barrier(2)
    seen = threading.local()

    def wait(verb: str, _path: str) -> None:
        if verb == "POST" and not hasattr(seen, "waited"):
            seen.waited = True
            both.wait(30)

    forge.before = wait  # a connection of its own, so a thread of its own, for each request
    runs = [threading.Thread(target=keep_comment, args=(at(forge), name)) for name in ("one", "two")]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(forge.named("POST")) == 2
    assert texts(forge) in ([marked("one")], [marked("two")])


def test_a_lost_answer_leaves_one_comment(forge: FakeForge) -> None:
    forge.fail("POST", Trouble(0, after=True))
    assert keep_comment(at(forge), "first").action == "edited"
    assert texts(forge) == [marked("first")]


@pytest.mark.parametrize(
    ("trouble", "waits"),
    [
        (Trouble(429, {"Retry-After": "3"}), [3.0]),
        (Trouble(429, {"Retry-After": "Thu, 01 Jan 1970 00:16:50 GMT"}), [10.0]),
        (Trouble(503, {"Retry-After": "99999"}), [60.0]),
        (Trouble(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1005"}), [5.0]),
        (Trouble(403, {"Retry-After": "4"}), [4.0]),
    ],
)
def test_it_waits_as_long_as_the_forge_asks(github: FakeForge, trouble: Trouble, waits: list[float]) -> None:
    slept: list[float] = []
    github.fail("GET", trouble)
    assert keep_comment(at(github, slept), "x").action == "created"
    assert slept == waits


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_trouble_that_passes(github: FakeForge, status: int) -> None:
    keep_comment(at(github), "first")
    github.fail("PATCH", Trouble(status, times=2))
    assert keep_comment(at(github), "second").action == "edited"
    assert texts(github) == [marked("second")]


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "expired"), (403, "right to write"), (404, "names"), (500, "again")]
)
def test_trouble_that_stays_is_one_line(github: FakeForge, status: int, hint: str) -> None:
    github.fail("POST", Trouble(status, times=99))
    said = refused(github)
    assert f"answered {status} (trouble with ***)" in said and hint in said and not github.comments


def test_a_wrong_token(forge: FakeForge) -> None:
    with pytest.raises(UserError) as caught:
        keep_comment(at(forge, token="wrong"), "x")
    assert "answered 401 (Bad credentials)" in str(caught.value) and "wrong" not in str(caught.value)


def test_a_redirect_gets_no_token(github: FakeForge) -> None:
    with fake_forge("github") as other:
        github.fail("GET", Trouble(302, {"Location": f"{other.api}/user"}, times=99))
        assert "answered 302" in refused(github)
        assert not other.requests


def test_an_address_that_is_no_api(github: FakeForge) -> None:
    github.fail("GET", Trouble(200, body={"page": "a login"}, times=99))
    assert "is this the address of the API?" in refused(github)


def test_the_longest_comment_fits(forge: FakeForge) -> None:
    kind = FORGES[forge.kind]
    keep_comment(at(forge), "x" * text_limit(kind))
    assert len(texts(forge)[0]) <= kind.limit


def test_statuses(forge: FakeForge) -> None:
    line = "content: 214 of 214 annexed keys reachable here"
    set_status(at(forge), SHA, CommitStatus("minipach/content", "success", line), "https://ci.example.org/1")
    set_status(at(forge), SHA, CommitStatus("minipach/content", "failure", "x" * 500), "https://ci.example.org/1")
    good, bad = forge.statuses
    assert good["description"] == line and len(bad["description"]) <= 255
    assert (good["state"], bad["state"]) in (("success", "failure"), ("success", "failed"), ("SUCCESSFUL", "FAILED"))
    assert "minipach/content" in (good.get("context"), good.get("name"))
    assert SHA in good["path"]


def test_a_status_needs_a_page_on_bitbucket() -> None:
    with fake_forge("bitbucket") as forge, pytest.raises(UserError) as caught:
        set_status(at(forge), SHA, CommitStatus("x", "success", "y"), "")
    assert caught.value.problems[0].code == "ci.no-page"


def test_gitlab_refuses_the_same_state_again() -> None:
    with fake_forge("gitlab") as forge:
        forge.fail("POST", Trouble(400, body={"message": "Cannot transition status via :run from :running"}))
        set_status(at(forge), SHA, CommitStatus("x", "pending", "y"), "")
        forge.fail("POST", Trouble(400, body={"message": "sha is invalid"}))
        with pytest.raises(UserError):
            set_status(at(forge), SHA, CommitStatus("x", "pending", "y"), "")
