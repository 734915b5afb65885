"""`minipach.forges.surroundings`: what each CI says in its variables, and what may not stand in an address."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minipach.forges.requests import check_address
from minipach.forges.surroundings import (
    Surroundings,
    checked,
    detect,
    need_base,
    need_commit,
    need_number,
    of_page,
    open_forge,
    token_of,
)
from minipach.support.errors import UserError
from tests.fixtures.fake_forges import SHA, TOKEN

EVENT = {
    "pull_request": {"number": 7, "html_url": "https://h/pr/7", "head": {"sha": SHA}, "base": {"sha": "b" * 40}},
}
ACTIONS = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "lab/study", "GITHUB_REF": "refs/pull/7/merge"}
API = "https://api.bitbucket.org/2.0"


@pytest.fixture
def event(tmp_path: Path) -> str:
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    return str(tmp_path / "event.json")


def test_github(event: str) -> None:
    env = {**ACTIONS, "GITHUB_EVENT_PATH": event, "GITHUB_RUN_ID": "99", "GITHUB_SHA": "c" * 40}
    page = "https://github.com/lab/study/actions/runs/99"
    assert detect(env) == Surroundings("github", "https://api.github.com", "lab/study", "7", SHA, "b" * 40, page)


def test_github_enterprise_and_a_push() -> None:
    env = {
        **ACTIONS,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": SHA,
        "GITHUB_SERVER_URL": "https://ghe.example.org",
    }
    found = detect(env)
    assert (found.url, found.number, found.commit) == ("https://ghe.example.org/api/v3", "", SHA)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"pull_request": 3}', '{"pull_request": {"head": []}}', "[" * 99_999]
)
def test_an_event_of_another_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "event.json").write_text(text)
    found = detect({**ACTIONS, "GITHUB_EVENT_PATH": str(tmp_path / "event.json"), "GITHUB_BASE_REF": "main"})
    assert (found.number, found.commit, found.base) == ("7", "", "origin/main")


@pytest.mark.parametrize("mark", ["FORGEJO_ACTIONS", "FORGEJO_TOKEN", "GITEA_ACTIONS"])
def test_forgejo_and_gitea(event: str, mark: str) -> None:
    env = {**ACTIONS, mark: "x", "GITHUB_EVENT_PATH": event, "GITHUB_SERVER_URL": "https://codeberg.org"}
    found = detect(env)
    assert (found.forge, found.url) == (mark.partition("_")[0].lower(), "https://codeberg.org/api/v1")
    assert (found.number, found.commit, found.page) == ("7", SHA, "https://h/pr/7")


def test_gitlab() -> None:
    env = {"GITLAB_CI": "true", "CI_API_V4_URL": "https://git.lab/api/v4", "CI_PROJECT_ID": "12", "CI_COMMIT_SHA": SHA}
    env |= {"CI_MERGE_REQUEST_IID": "7", "CI_MERGE_REQUEST_DIFF_BASE_SHA": "b" * 40, "CI_PIPELINE_URL": "https://p"}
    assert detect(env) == Surroundings("gitlab", "https://git.lab/api/v4", "12", "7", SHA, "b" * 40, "https://p")


def test_bitbucket() -> None:
    env = {"BITBUCKET_BUILD_NUMBER": "3", "BITBUCKET_REPO_FULL_NAME": "lab/study", "BITBUCKET_PR_ID": "7"}
    env |= {"BITBUCKET_COMMIT": SHA, "BITBUCKET_PR_DESTINATION_BRANCH": "main"}
    page = "https://bitbucket.org/lab/study/pipelines/results/3"
    assert detect(env) == Surroundings("bitbucket", API, "lab/study", "7", SHA, "origin/main", page)


def test_jenkins() -> None:
    env = {
        "JENKINS_URL": "https://j",
        "CHANGE_URL": "https://git.lab/a/b/c/-/merge_requests/7",
        "CHANGE_TARGET": "main",
    }
    found = detect({**env, "GIT_COMMIT": SHA, "BUILD_URL": "https://j/1"})
    assert found == Surroundings("gitlab", "https://git.lab/api/v4", "a/b/c", "7", SHA, "origin/main", "https://j/1")
    found = detect({"JENKINS_URL": "https://j", "GIT_URL": "git@github.com:lab/study.git"})
    assert (found.forge, found.url, found.repo) == ("github", "https://api.github.com", "lab/study")


def test_outside_of_a_ci() -> None:
    assert detect({}) == Surroundings()


@pytest.mark.parametrize(
    ("page", "forge", "url", "repo"),
    [
        ("https://github.com/lab/study/pull/7", "github", "https://api.github.com", "lab/study"),
        ("https://github.com/lab/study/pull/7/files", "github", "https://api.github.com", "lab/study"),
        ("https://ghe.lab/a/b/pull/7", "github", "https://ghe.lab/api/v3", "a/b"),
        ("https://gitlab.com/a/b/c/-/merge_requests/7", "gitlab", "https://gitlab.com/api/v4", "a/b/c"),
        ("https://codeberg.org/a/b/pulls/7", "forgejo", "https://codeberg.org/api/v1", "a/b"),
        ("https://lab.org/git/a/b/pulls/7", "forgejo", "https://lab.org/git/api/v1", "a/b"),
        ("https://bitbucket.org/a/b/pull-requests/7", "bitbucket", API, "a/b"),
        ("https://bb.lab/x/projects/P/repos/r/pull-requests/7/overview", "bitbucket-server", "https://bb.lab/x", "P/r"),
        ("https://bb.lab/users/me/repos/r/pull-requests/7", "bitbucket-server", "https://bb.lab", "~me/r"),
    ],
)
def test_the_page_of_a_pull_request(page: str, forge: str, url: str, repo: str) -> None:
    assert of_page(page) == Surroundings(forge, url, repo, "7", page=page)
    checked(Surroundings(forge, url, repo, "7"))


@pytest.mark.parametrize(
    "page", ["", "7", "https://h/a/b", "ftp://h/a/b/pull/7", "https://[/a/b/pull/7", "http:///a/pull/7"]
)
def test_no_page(page: str) -> None:
    assert of_page(page) is None


GOOD = Surroundings("github", "https://h", "a/b", "7", SHA, "main")


@pytest.mark.parametrize(
    "repo", ["", "a", "../b", "a/..", "a/b?x=1", "a/b#", "a b/c", "a/\n", "/a/b", "a//b", "a/%2e%2e/b"]
)
def test_a_repository_that_can_not_be(repo: str) -> None:
    with pytest.raises(UserError):
        checked(replace(GOOD, repo=repo))


@pytest.mark.parametrize("value", ["", "0", "-1", "7/../8", "７", "7 ", "1" * 30])
def test_a_number_that_can_not_be(value: str) -> None:
    with pytest.raises(UserError):
        need_number(replace(GOOD, number=value))


@pytest.mark.parametrize("value", ["", "main", "A" * 40, f"{SHA}/x"])
def test_a_commit_that_can_not_be(value: str) -> None:
    with pytest.raises(UserError):
        need_commit(replace(GOOD, commit=value))


@pytest.mark.parametrize("value", ["", "--output=x", "0" * 40])
def test_a_base_that_can_not_be(value: str) -> None:
    with pytest.raises(UserError):
        need_base(replace(GOOD, base=value))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "ci.bad-address"),
        ("https://h/api\nX: y", "ci.bad-address"),
        ("file:///etc/passwd", "ci.bad-address"),
        ("https://h:99999", "ci.bad-address"),
        ("https://me:secret@h", "ci.bad-address"),
        ("http://forge.lab/api/v1", "ci.plain-http"),
    ],
)
def test_an_address_that_gets_no_token(url: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        open_forge(replace(GOOD, url=url), TOKEN)
    (problem,) = caught.value.problems
    assert problem.code == code and "secret" not in str(problem)


def test_plain_http_where_it_is_allowed() -> None:
    assert check_address("http://forge.lab/api/v1/", plain=True) == "http://forge.lab/api/v1"
    assert check_address("http://127.0.0.1:3000") == "http://127.0.0.1:3000"


def test_the_token(tmp_path: Path) -> None:
    assert token_of("github", {"GITHUB_TOKEN": "a", "MINIPACH_CI_TOKEN": "b\n"}, None) == "b"
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(UserError, match="others can read"):
        token_of("github", {}, file)
    file.chmod(0o600)
    assert token_of("gitlab", {}, file) == TOKEN


@pytest.mark.parametrize("value", ["", "two words", "a\nb", "ä"])
def test_no_token(value: str) -> None:
    with pytest.raises(UserError):
        token_of("gitlab", {"GITLAB_TOKEN": value}, None)
