"""Addresses of commits on the web pages of known forges. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_PART = r"[A-Za-z0-9_.~-]+"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_REMOTES = (
    re.compile(rf"(?:https?|ssh|git)://(?:[^@/\s]*@)?(?P<host>{_HOST})(?::\d+)?/(?P<path>{_PART}(?:/{_PART})+?)/?"),
    re.compile(rf"(?:[A-Za-z0-9_.-]+@)?(?P<host>{_HOST}):(?P<path>{_PART}(?:/{_PART})+?)/?"),
)
_Links = tuple[str, Callable[[str, str], str]]
_GITLAB: _Links = ("/-/commit/", lambda old, new: f"/-/compare/{old}...{new}")
_GITHUB: _Links = ("/commit/", lambda old, new: f"/compare/{old}...{new}")
_BITBUCKET: _Links = ("/commits/", lambda old, new: f"/branches/compare/{new}..{old}")
# by the host, or by its first word
_FORGES = {
    "github.com": _GITHUB,
    "codeberg.org": _GITHUB,
    "gin.g-node.org": _GITHUB,
    "bitbucket.org": _BITBUCKET,
    "gitlab": _GITLAB,
    "github": _GITHUB,
    "gitea": _GITHUB,
    "forgejo": _GITHUB,
}


def commit_page(remote: str, commit: str) -> str:
    """Return the page of a commit in the repository at a remote's address; "" if that is at no known forge."""
    found = _page(remote)
    return f"{found[0]}{found[1][0]}{commit}" if found else ""


def compare_page(remote: str, old: str, new: str) -> str:
    """Return the page of the difference of two commits; "" if there is none."""
    found = _page(remote)
    return f"{found[0]}{found[1][1](old, new)}" if found else ""


def _page(remote: str) -> tuple[str, _Links] | None:
    """Return the page of a repository, without name and password, and how the forge names its pages."""
    for form in _REMOTES:
        if match := form.fullmatch(remote):
            host = match["host"].lower()
            forge = _FORGES.get(host) or _FORGES.get(host.partition(".")[0])
            parts = match["path"].removesuffix(".git").split("/")
            if forge and not {".", "..", ""} & set(parts):
                return f"https://{host}/{'/'.join(parts)}", forge
    return None
