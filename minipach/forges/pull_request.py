"""The one comment of a pull request, and the statuses of its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minipach.forges.dialects import Comment, Forge, State
from minipach.forges.requests import AnswerError
from minipach.support.errors import Problem, UserError

MARKER = "[//]: # (minipach:report)"  # Markdown of a link that nobody refers to: no forge shows it
_ROUNDS = 4  # in which others may delete what is to be edited
_GONE = (403, 404, 409)  # the comment was deleted, changed meanwhile, or belongs to somebody else
_HINTS = {
    401: "check that the token is valid and has not expired",
    403: "give the token the right to write comments and statuses",
    404: "check the names of the repository and the pull request, and that the token may read them",
    413: "report a smaller change",
    429: "run the same again later",
}


@dataclass(frozen=True, slots=True)
class WrittenComment:
    """The change of the comment. removed: second comments that two runs at once had left."""

    action: Literal["created", "edited"]
    removed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach ci comment --json`."""
        return {"action": self.action, "removed": self.removed}


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """One status of a commit. name: its context · text: one line."""

    name: str
    state: State
    text: str

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach ci status --json`."""
        return {"name": self.name, "state": self.state, "text": self.text}


def text_limit(forge: type[Forge]) -> int:
    """Return how many characters of a comment are left beside the marker."""
    return forge.limit - len(MARKER) - 4


def marked(text: str) -> str:
    """Return the text of the comment with the marker that finds it again."""
    return f"{text.rstrip()}\n\n{MARKER}\n"


def keep_comment(forge: Forge, text: str) -> WrittenComment:
    """Bring the one comment of the pull request up to date, or write it.

    Where two runs write the first comment at once, both keep the older one and delete the other.

    Args:
        forge: The repository and its pull request.
        text: The comment, without the marker.

    Raises:
        UserError: The forge refuses.
    """
    body = marked(text)
    try:
        return _keep(forge, body)
    except AnswerError as error:
        raise _refused(forge, "comment", error) from None


def _keep(forge: Forge, body: str) -> WrittenComment:
    me = forge.author()
    hopeless: set[str] = set()
    for left in reversed(range(_ROUNDS)):
        found = [one for one in _ours(forge, me) if one.key not in hopeless]
        if found:
            try:
                forge.edit(found[0], body)
            except AnswerError as error:
                if error.status not in _GONE:
                    raise
                if error.status == 403:
                    hopeless.add(found[0].key)
                if left:
                    continue
                raise
            return WrittenComment("edited", _remove(forge, [one for one in found[1:] if one.author == found[0].author]))
        try:
            made = forge.create(body)
        except AnswerError as error:
            if left and (error.status == 0 or error.status >= 500):
                continue  # it may be there now, or not
            raise
        if made is None:
            return WrittenComment("created")
        mine = [one for one in _ours(forge, me) if one.key not in hopeless and one.author == made.author]
        if not mine or mine[0].key == made.key:
            return WrittenComment("created", _remove(forge, mine[1:]))
        try:
            forge.edit(mine[0], body)
        except AnswerError as error:
            if error.status not in _GONE:
                raise
            return WrittenComment("created")
        return WrittenComment("edited", _remove(forge, mine[1:]))
    raise AssertionError


def _ours(forge: Forge, me: str | None) -> list[Comment]:
    """Return the comments with the marker that this account wrote, the oldest first.

    Where the forge does not say which account that is (a workflow of GitHub), those of programs count. So nobody gets
    the report into a comment of his own by writing the marker.
    """
    found = [one for one in forge.comments() if one.text.rstrip().endswith(MARKER)]
    if me is not None:
        found = [one for one in found if one.author == me]
    elif forge.tells_bots:
        found = [one for one in found if one.is_bot]
    return sorted(found, key=lambda one: int(one.key))


def _remove(forge: Forge, comments: list[Comment]) -> int:
    """Delete second comments; return how many went. One that is gone or can't be deleted is left."""
    removed = 0
    for comment in comments:
        try:
            forge.delete(comment)
        except AnswerError as error:
            if error.status not in _GONE:
                raise
        else:
            removed += 1
    return removed


def set_status(forge: Forge, commit: str, status: CommitStatus, url: str) -> None:
    """Set a status of a commit.

    Args:
        forge: The repository.
        commit: The commit, in 40 hex digits.
        status: The status.
        url: A page for people; "" if there is none.

    Raises:
        UserError: The forge refuses, or needs a page.
    """
    if forge.needs_url and not url:
        raise UserError(Problem("ci.no-page", "--url", "this forge needs a page for a status", "add --url URL"))
    text = status.text if len(status.text) <= forge.description else status.text[: forge.description - 1] + "…"
    try:
        forge.set_status(commit, status.name, status.state, text, url)
    except AnswerError as error:
        raise _refused(forge, "status", error) from None


def _refused(forge: Forge, what: str, error: AnswerError) -> UserError:
    fix = _HINTS.get(error.status, "check the address of the API, and run the same again")
    return UserError(Problem("ci.refused", forge.api.url, f"{what} of {forge.repo}: {error.why}", fix))
