"""The page of workers, queues and triggers."""

from __future__ import annotations

from typing import Any

from minipach.console.pages.page import Asked, Page
from minipach.support.errors import UserError
from minipach.triggers.overview import overview


def workers(asked: Asked) -> Page:
    """Return the page of workers, queues and triggers."""
    project = asked.reading.project()
    data: dict[str, Any]
    try:
        data = {"now": asked.reading.look().as_json(), "problem": ""}
    except UserError as error:
        data = {"now": None, "problem": str(error)}
    triggers = overview(project).as_json()
    triggers["hooks"] = [{"repo": hook["repo"], "state": hook["state"]} for hook in triggers["hooks"]]
    return Page("Workers and triggers", "workers.html", {**data, "triggers": triggers})
