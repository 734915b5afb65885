"""The APIs of forges: how each lists, writes and deletes comments of a pull request, and sets a status of a commit."""

from __future__ import annotations

import hashlib
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from minipach.forges.requests import AnswerError, Api

State = Literal["success", "failure", "pending"]
_PAGES = 200  # of comments that are read


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment. key: its id, as a part of an address · author: an id; "": not known · version: of Bitbucket Server."""

    key: str
    text: str
    author: str
    is_bot: bool = False
    version: int = 0


class Forge(ABC):
    """One repository on a forge.

    Args:
        api: The API.
        repo: The repository, as the forge names it.
        number: The pull request; "" if there is none.
    """

    limit = 65_536  # characters of a comment
    description = 140  # characters of a status
    needs_url = False  # of a status
    tells_bots = False  # whether a comment says that a program wrote it
    _account_id = "id"  # the field of an account

    def __init__(self, api: Api, repo: str, number: str) -> None:
        self.api = api
        self.repo = repo
        self.number = number

    def author(self) -> str | None:
        """Return the id of the account that the token belongs to; None: the forge does not say."""
        try:
            found = self.api.ask("GET", "/user")
        except AnswerError as error:
            if error.status in (403, 404):
                return None
            raise
        return str(_pick(found, self._account_id) or "") or None

    def comments(self) -> Iterator[Comment]:
        """Yield the comments of the pull request, page by page."""
        seen: set[str] = set()
        for page in range(1, _PAGES + 1):
            rows = self._rows(self.api.ask("GET", self._page(page)))
            found = [comment for comment in map(self._comment, rows) if comment and comment.key not in seen]
            yield from found
            seen.update(comment.key for comment in found)
            if not rows or not self._more(rows, found):
                return

    def create(self, text: str) -> Comment | None:
        """Write a comment and return it."""
        return self._comment(self.api.ask("POST", self._comments(), self._body(text)))

    def edit(self, comment: Comment, text: str) -> None:
        """Replace the text of a comment."""
        self.api.ask(self._edit_verb, self._one(comment), self._body(text))

    def delete(self, comment: Comment) -> None:
        """Delete a comment."""
        self.api.ask("DELETE", self._one(comment))

    @abstractmethod
    def set_status(self, commit: str, name: str, state: State, text: str, url: str) -> None:
        """Set a status of a commit. url: a page for people; "" if there is none."""

    _edit_verb = "PATCH"

    @abstractmethod
    def _comments(self) -> str: ...

    def _page(self, page: int) -> str:
        return f"{self._comments()}?per_page=100&page={page}"

    def _more(self, _rows: list[Any], found: list[Comment]) -> bool:
        return bool(found)  # a server that knows no pages answers with the same ones

    def _one(self, comment: Comment) -> str:
        return f"{self._comments()}/{comment.key}"

    def _rows(self, answer: Any) -> list[Any]:
        if not isinstance(answer, list):
            raise AnswerError(0, "the answer is no list of comments; is this the address of the API?")
        return answer

    def _body(self, text: str) -> Any:
        return {"body": text}

    def _comment(self, row: Any) -> Comment | None:
        key, author = _pick(row, "id"), _pick(row, "user", "id")
        if not isinstance(key, int):
            return None
        is_bot = _pick(row, "user", "type") == "Bot"
        return Comment(str(key), str(_pick(row, "body") or ""), str(author or ""), is_bot)


class GitHub(Forge):
    """GitHub, also an Enterprise Server."""

    tells_bots = True

    def _comments(self) -> str:
        return f"/repos/{self.repo}/issues/{self.number}/comments"

    def _one(self, comment: Comment) -> str:
        return f"/repos/{self.repo}/issues/comments/{comment.key}"

    def set_status(self, commit: str, name: str, state: State, text: str, url: str) -> None:
        """Set a status of a commit."""
        data = {"state": state, "context": name, "description": text, **({"target_url": url} if url else {})}
        self.api.ask("POST", f"/repos/{self.repo}/statuses/{commit}", data, again=True)


class Gitea(GitHub):
    """Gitea and Forgejo."""

    tells_bots = False

    def _page(self, page: int) -> str:
        return f"{self._comments()}?limit=50&page={page}"


class GitLab(Forge):
    """GitLab. repo: its number, or its path."""

    limit = 1_000_000
    description = 255
    _edit_verb = "PUT"
    _states: Mapping[State, str] = {"success": "success", "failure": "failed", "pending": "pending"}

    def _project(self) -> str:
        return f"/projects/{urllib.parse.quote(self.repo, safe='')}"

    def _comments(self) -> str:
        return f"{self._project()}/merge_requests/{self.number}/notes"

    def _comment(self, row: Any) -> Comment | None:
        key = _pick(row, "id")
        if not isinstance(key, int) or _pick(row, "system") is True:
            return None
        return Comment(str(key), str(_pick(row, "body") or ""), str(_pick(row, "author", "id") or ""))

    def _more(self, rows: list[Any], _found: list[Comment]) -> bool:
        return len(rows) >= 100  # a page of the system's own notes is no end

    def set_status(self, commit: str, name: str, state: State, text: str, url: str) -> None:
        """Set a status of a commit."""
        data = {"state": self._states[state], "name": name, "description": text, **({"target_url": url} if url else {})}
        try:
            self.api.ask("POST", f"{self._project()}/statuses/{commit}", data, again=True)
        except AnswerError as error:
            if error.status != 400 or "Cannot transition status" not in error.why:  # it has this state already
                raise


class _Bitbucket(Forge):
    """Pages of answers, as both kinds of Bitbucket have them."""

    def _rows(self, answer: Any) -> list[Any]:
        return super()._rows(_pick(answer, "values"))

    def _more(self, rows: list[Any], _found: list[Comment]) -> bool:
        return len(rows) >= 100


class Bitbucket(_Bitbucket):
    """Bitbucket Cloud."""

    limit = 32_768
    needs_url = True
    _account_id = "uuid"
    _edit_verb = "PUT"
    _states: Mapping[State, str] = {"success": "SUCCESSFUL", "failure": "FAILED", "pending": "INPROGRESS"}

    def _comments(self) -> str:
        return f"/repositories/{self.repo}/pullrequests/{self.number}/comments"

    def _page(self, page: int) -> str:
        return f"{self._comments()}?pagelen=100&page={page}"

    def _body(self, text: str) -> Any:
        return {"content": {"raw": text}}

    def _comment(self, row: Any) -> Comment | None:
        key = _pick(row, "id")
        if not isinstance(key, int) or _pick(row, "deleted") is True:
            return None
        return Comment(str(key), str(_pick(row, "content", "raw") or ""), str(_pick(row, "user", "uuid") or ""))

    def set_status(self, commit: str, name: str, state: State, text: str, url: str) -> None:
        """Set a status of a commit."""
        data = {"state": self._states[state], **_build(name, text, url)}
        self.api.ask("POST", f"/repositories/{self.repo}/commit/{commit}/statuses/build", data, again=True)


class BitbucketServer(_Bitbucket):
    """Bitbucket Server and Data Center. repo: PROJECT/NAME."""

    limit = 32_768
    needs_url = True
    _edit_verb = "PUT"

    def author(self) -> str | None:
        """Return nothing: the API has no request for this."""
        return None

    def _request(self) -> str:
        project, _, name = self.repo.partition("/")
        return f"/rest/api/1.0/projects/{project}/repos/{name}/pull-requests/{self.number}"

    def _comments(self) -> str:
        return f"{self._request()}/comments"

    def _page(self, page: int) -> str:
        return f"{self._request()}/activities?limit=100&start={100 * (page - 1)}"

    def _body(self, text: str) -> Any:
        return {"text": text}

    def _comment(self, row: Any) -> Comment | None:
        row = row if _pick(row, "action") is None else _pick(row, "comment")
        key = _pick(row, "id")
        if not isinstance(key, int):
            return None
        version, author = _pick(row, "version"), str(_pick(row, "author", "id") or "")
        return Comment(str(key), str(_pick(row, "text") or ""), author, version=version if version else 0)

    def edit(self, comment: Comment, text: str) -> None:
        """Replace the text of a comment."""
        self.api.ask("PUT", self._one(comment), {"text": text, "version": comment.version})

    def delete(self, comment: Comment) -> None:
        """Delete a comment."""
        self.api.ask("DELETE", f"{self._one(comment)}?version={comment.version}")

    def set_status(self, commit: str, name: str, state: State, text: str, url: str) -> None:
        """Set a status of a commit."""
        data = {"state": Bitbucket._states[state], **_build(name, text, url)}
        self.api.ask("POST", f"/rest/build-status/1.0/commits/{commit}", data, again=True)


FORGES: Mapping[str, type[Forge]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "forgejo": Gitea,
    "gitea": Gitea,
    "bitbucket": Bitbucket,
    "bitbucket-server": BitbucketServer,
}


def headers(forge: str, token: str) -> dict[str, str]:
    """Return the headers by which a forge knows who asks."""
    if forge == "gitlab":
        return {"PRIVATE-TOKEN": token}
    if forge in ("forgejo", "gitea"):
        return {"Authorization": f"token {token}"}
    if forge == "github":
        version = {"X-GitHub-Api-Version": "2022-11-28", "Accept": "application/vnd.github+json"}
        return {"Authorization": f"Bearer {token}", **version}
    return {"Authorization": f"Bearer {token}"}


def _build(name: str, text: str, url: str) -> dict[str, str]:
    """Return what both Bitbuckets call a build. Its key has at most 40 characters."""
    key = name if len(name) <= 40 else hashlib.sha256(name.encode()).hexdigest()[:40]
    return {"key": key, "name": name, "description": text, "url": url}


def _pick(data: Any, *keys: str) -> Any:
    """Return a part of an answer; None where it is absent, whatever the answer is."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data
