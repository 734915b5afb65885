"""The page of workers, queues and triggers."""

from __future__ import annotations

from typing import Any

from minipach.console.pages.page import Asked, Page
from minipach.support.errors import UserError
from minipach.support.text import quoted
from minipach.triggers.overview import overview

_FIXES = {
    "missing": "minipach hooks install",
    "outdated": "minipach hooks install",
    "off": "minipach hooks install --repo {}",
}


def workers(asked: Asked) -> Page:
    """Return the page of workers, queues and triggers."""
    project = asked.reading.project()
    data: dict[str, Any]
    try:
        data = {"now": asked.reading.look().as_json(), "problem": ""}
    except UserError as error:
        data = {"now": None, "problem": str(error)}
    triggers = overview(project).as_json()
    triggers["hooks"] = [
        {
            "repo": hook["repo"],
            "state": hook["state"],
            "fix": _FIXES.get(hook["state"], "").format(quoted(hook["repo"])),
        }
        for hook in triggers["hooks"]
    ]
    return Page("Workers and triggers", "workers.html", {**data, "triggers": triggers})
