"""The environment variables of a CI: the forge, the repository, the pull request, its commits.

GitHub Actions, Forgejo and Gitea Actions, GitLab CI, Bitbucket Pipelines and Jenkins. All of it is input from outside,
so each value is checked before it becomes a part of an address.
"""

from __future__ import annotations

import json
import os
import re
import stat
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.forges.dialects import FORGES, Forge, headers
from minipach.forges.requests import Api, check_address
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

TOKEN = "MINIPACH_CI_TOKEN"
# The variables with a token, by forge. The first one that is set counts.
TOKENS: Mapping[str, tuple[str, ...]] = {
    "github": (TOKEN, "GITHUB_TOKEN", "GH_TOKEN"),
    "gitlab": (TOKEN, "GITLAB_TOKEN"),
    "forgejo": (TOKEN, "FORGEJO_TOKEN", "GITEA_TOKEN", "GITHUB_TOKEN"),
    "gitea": (TOKEN, "GITEA_TOKEN", "GITHUB_TOKEN"),
    "bitbucket": (TOKEN, "BITBUCKET_TOKEN"),
    "bitbucket-server": (TOKEN, "BITBUCKET_TOKEN"),
}
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_REPO = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*")
_REQUEST = re.compile(r"/(?P<repo>.+?)(?P<kind>/-/merge_requests|/pull|/pulls|/pull-requests)/(?P<number>[0-9]+)(/.*)?")
_SERVER = re.compile(r"(?P<before>.*)/(?P<kind>projects|users)/(?P<project>[^/]+)/repos/(?P<name>[^/]+)")
_REMOTE = re.compile(
    r"(?:(?:https?|ssh)://(?:[^@/\s]*@)?|[\w.-]+@)(?P<host>[A-Za-z0-9.-]+)(?::\d+/|[:/])(?P<repo>[^:\s]+?)(\.git)?/?"
)
_HOSTS = {"github": "github", "gitlab": "gitlab", "codeberg": "forgejo", "forgejo": "forgejo", "gitea": "gitea"}
_EVENT_SIZE = 30_000_000  # bytes of the file with an event
_TOKEN_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The destination of a comment and of statuses. "" is not known.

    Args:
        forge: A key of FORGES.
        url: The address of the API.
        repo: The repository, as the forge names it.
        number: The pull request.
        commit: Its last commit, which gets the statuses.
        base: The commit or branch that it is compared with.
        page: A page for people: of the run, or of the pull request.
    """

    forge: str = ""
    url: str = ""
    repo: str = ""
    number: str = ""
    commit: str = ""
    base: str = ""
    page: str = ""


def detect(env: Mapping[str, str]) -> Surroundings:
    """Return what the variables of a CI say; a `Surroundings` without a forge where they are those of none."""
    if env.get("GITLAB_CI"):
        return _gitlab(env)
    if env.get("BITBUCKET_BUILD_NUMBER"):
        return _bitbucket(env)
    if env.get("GITHUB_ACTIONS") or env.get("GITEA_ACTIONS") or env.get("FORGEJO_ACTIONS"):
        return _actions(env)
    if env.get("JENKINS_URL"):
        return _jenkins(env)
    return Surroundings()


def _actions(env: Mapping[str, str]) -> Surroundings:
    """Return GitHub's variables, which Gitea and Forgejo set, too."""
    server = env.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/")
    url = env.get("GITHUB_API_URL", "")
    marks = [name for name in ("forgejo", "gitea") if any(env.get(f"{name.upper()}_{n}") for n in ("ACTIONS", "TOKEN"))]
    forge = marks[0] if marks else "forgejo" if url.rstrip("/").endswith("/api/v1") else "github"
    if not url:
        url = f"{server}/api/v1" if forge != "github" else _api_of_github(server)
    event = _event(env.get("GITHUB_EVENT_PATH", ""))
    request = event.get("pull_request") if isinstance(event.get("pull_request"), dict) else {}
    assert isinstance(request, dict)
    found = re.fullmatch(r"refs/pull/([0-9]+)/(merge|head)", env.get("GITHUB_REF", ""))
    number = str(request.get("number") or (found[1] if found else ""))
    repo = env.get("GITHUB_REPOSITORY", "")
    run = env.get("GITHUB_RUN_ID", "")
    head, base = (_text(request, name, "sha") for name in ("head", "base"))
    return Surroundings(
        forge,
        url,
        repo,
        number,
        head or ("" if number else env.get("GITHUB_SHA", "")),
        base or (f"origin/{env['GITHUB_BASE_REF']}" if env.get("GITHUB_BASE_REF") else _text(event, "before")),
        f"{server}/{repo}/actions/runs/{run}" if run and forge == "github" else _text(request, "html_url"),
    )


def _gitlab(env: Mapping[str, str]) -> Surroundings:
    return Surroundings(
        "gitlab",
        env.get("CI_API_V4_URL", "https://gitlab.com/api/v4"),
        env.get("CI_MERGE_REQUEST_PROJECT_ID") or env.get("CI_PROJECT_ID", ""),
        env.get("CI_MERGE_REQUEST_IID", ""),
        env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or env.get("CI_COMMIT_SHA", ""),
        env.get("CI_MERGE_REQUEST_DIFF_BASE_SHA") or env.get("CI_COMMIT_BEFORE_SHA", ""),
        env.get("CI_PIPELINE_URL", ""),
    )


def _bitbucket(env: Mapping[str, str]) -> Surroundings:
    repo = env.get("BITBUCKET_REPO_FULL_NAME", "")
    branch = env.get("BITBUCKET_PR_DESTINATION_BRANCH", "")
    base = env.get("BITBUCKET_PR_DESTINATION_COMMIT") or (f"origin/{branch}" if branch else "")
    build = env.get("BITBUCKET_BUILD_NUMBER", "")
    page = f"https://bitbucket.org/{repo}/pipelines/results/{build}"
    commit, number = env.get("BITBUCKET_COMMIT", ""), env.get("BITBUCKET_PR_ID", "")
    return Surroundings("bitbucket", "https://api.bitbucket.org/2.0", repo, number, commit, base, page)


def _jenkins(env: Mapping[str, str]) -> Surroundings:
    found = of_page(env.get("CHANGE_URL", "")) or _of_remote(env.get("GIT_URL", ""))
    target = env.get("CHANGE_TARGET", "")
    base = f"origin/{target}" if target else env.get("GIT_PREVIOUS_SUCCESSFUL_COMMIT", "")
    return replace(found, commit=env.get("GIT_COMMIT", ""), base=base, page=env.get("BUILD_URL", ""))


def _of_remote(url: str) -> Surroundings:
    """Return what the address of a git remote says, by the name of its host."""
    match = _REMOTE.fullmatch(url)
    forge = _HOSTS.get(match["host"].partition(".")[0].lower(), "") if match else ""
    if match is None or not forge:
        return Surroundings()
    host = match["host"]
    api = default_api(forge) if host in ("github.com", "gitlab.com", "bitbucket.org") else ""
    ends = {"github": "api/v3", "gitlab": "api/v4"}
    return Surroundings(forge, api or f"https://{host}/{ends.get(forge, 'api/v1')}", match["repo"])


def of_page(page: str) -> Surroundings | None:
    """Return what the address of a pull request's page says; None: it is none of a forge that is known."""
    try:
        parts = urllib.parse.urlsplit(page)
        host = parts.hostname or ""
        origin = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return None
    match = _REQUEST.fullmatch(parts.path)
    if parts.scheme not in ("http", "https") or not host or match is None:
        return None
    repo, number = match["repo"], match["number"]
    if match["kind"] == "/-/merge_requests":
        return Surroundings("gitlab", f"{origin}/api/v4", repo, number, page=page)
    if match["kind"] == "/pull":
        return Surroundings("github", _api_of_github(origin), repo, number, page=page)
    if match["kind"] == "/pulls":
        before, name = f"/{repo}".rsplit("/", 1)
        before, owner = before.rsplit("/", 1) if "/" in before else ("", "")
        return Surroundings("forgejo", f"{origin}{before}/api/v1", f"{owner}/{name}", number, page=page)
    if found := _SERVER.fullmatch(f"/{repo}"):
        project = found["project"] if found["kind"] == "projects" else f"~{found['project']}"
        return Surroundings(
            "bitbucket-server", origin + found["before"], f"{project}/{found['name']}", number, page=page
        )
    return Surroundings("bitbucket", "https://api.bitbucket.org/2.0", repo, number, page=page)


def _api_of_github(server: str) -> str:
    return "https://api.github.com" if server == "https://github.com" else f"{server}/api/v3"


def checked(found: Surroundings) -> Surroundings:
    """Return the same, if each part may stand in an address.

    Raises:
        UserError: A part can't be used.
    """
    if found.forge not in FORGES:
        names = ", ".join(FORGES)
        raise UserError(Problem("ci.no-forge", "--forge", "not known here", f"use one of: {names}"))
    parts = found.repo.split("/")
    if not _REPO.fullmatch(found.repo) or {".", ".."} & set(parts) or (len(parts) < 2 and found.forge != "gitlab"):
        raise UserError(Problem("ci.no-repository", "--repo", "not a repository of a forge", "add --repo OWNER/NAME"))
    return found


def need_number(found: Surroundings) -> str:
    """Return the number of the pull request. Raises UserError."""
    if not _NUMBER.fullmatch(found.number):
        problem = "no pull request is named here" if not found.number else "not the number of a pull request"
        raise UserError(Problem("ci.no-pull-request", "--pr", problem, "add --pr NUMBER, or the address of its page"))
    return found.number


def need_commit(found: Surroundings) -> str:
    """Return the commit that gets the statuses. Raises UserError."""
    if not found.commit:
        problem = "no variable of a CI names a commit (GITHUB_SHA, CI_COMMIT_SHA, BITBUCKET_COMMIT, GIT_COMMIT)"
        raise UserError(Problem("ci.no-commit", "--commit", problem, "add --commit SHA"))
    if not _COMMIT.fullmatch(found.commit):
        raise UserError(Problem("ci.no-commit", "--commit", "not a commit in 40 hex digits", "add --commit SHA"))
    return found.commit


def need_base(found: Surroundings) -> str:
    """Return the commit to compare with. Raises UserError."""
    if not found.base or found.base.startswith("-") or set(found.base) == {"0"}:
        raise UserError(Problem("ci.no-base", "--base", "no commit to compare with", "add --base REV"))
    return found.base


def token_of(forge: str, env: Mapping[str, str], file: Path | None) -> str:
    """Return the token of a forge: from a file that is named, else from a variable.

    Raises:
        UserError: There is none, or others can read the file.
    """
    if file is not None:
        value, where = _read_token(file), str(file)
    else:
        names = TOKENS[forge]
        where = next((name for name in names if env.get(name)), "")
        value = env.get(where, "").strip()
        if not value:
            fix = f"set {names[-1] if forge != 'gitlab' else names[1]} or {TOKEN} from the forge's secrets"
            raise UserError(Problem("ci.no-token", forge, "no token is set", f"{fix}, or use --dry-run"))
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise UserError(Problem("ci.bad-token", where, "not a token", "set it to the token alone"))
    return value


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UserError(
                    Problem("ci.open-token", str(path), "others can read this file", f"chmod 600 {quoted(path)}")
                )
            return os.fsdecode(file.read(_TOKEN_SIZE)).strip()
    except OSError as error:
        problem = Problem("ci.no-token", str(path), error.strerror or "can't be read", "name a file with the token")
        raise UserError(problem) from None


def open_forge(found: Surroundings, token: str, *, plain: bool = False) -> Forge:
    """Return the repository on its forge. Raises UserError for an address that can't be used."""
    url = check_address(found.url, plain=plain)
    return FORGES[found.forge](Api(url, headers(found.forge, token), token), found.repo, found.number)


def _event(path: str) -> dict[str, Any]:
    """Return the event of a run of Actions; an empty one where it can't be read."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read(_EVENT_SIZE))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _text(data: Any, *keys: str) -> str:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else ""


def default_api(forge: str) -> str:
    """Return the address of a forge's public API; "" where each has its own."""
    return {
        "github": "https://api.github.com",
        "gitlab": "https://gitlab.com/api/v4",
        "bitbucket": "https://api.bitbucket.org/2.0",
    }.get(forge, "")
