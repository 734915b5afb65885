"""The page of storage."""

from __future__ import annotations

import shutil
import time
from typing import Any

from minipach.console.pages.page import Asked, Page
from minipach.publish.cleanup import Cleanup
from minipach.storage.store import stores
from minipach.support.errors import Problem, problems_json
from minipach.views.disk_usage import by_kind, disk_usage, shown_place

_USES = 200  # rows of what takes space
_KEEP_DAYS = 30.0  # as `minipach gc`
MEANINGS = {  # of the kinds of `views/disk_usage.py`
    "data": "contents of inputs",
    "results": "contents of outputs, also of earlier ones",
    "images": "images of pipelines",
    "git": "git objects: history, small files, results branches",
    "worktrees": "worktrees in which datum sets run",
    "logs": "logs of datums",
    "cache": "caches of this project; can be deleted",
    "state": "job database and other local state",
    "image cache": "images that all projects of this user share; can be deleted",
    "user cache": "caches that all projects of this user share; can be deleted",
}


def storage(asked: Asked) -> Page:
    """Return the page of storage: the stores, what takes space here, and on request what gc would free."""
    project = asked.reading.project()
    uses = disk_usage(project)
    found: list[dict[str, Any]] | None = None
    problems: list[Problem] = []
    if asked.value("gc"):
        cleanup = Cleanup(project, keep_days=_KEEP_DAYS, now=time.time())
        found = [waste.as_json() for waste in cleanup.found()]
        problems = cleanup.problems
    disk = shutil.disk_usage(project.root)
    data = {
        "stores": [{"name": s.name, "kind": s.kind, "place": s.place} for s in stores(project).values()],
        "disk": {"free": disk.free, "total": disk.total},
        "kinds": [{"kind": use.kind, "bytes": use.bytes} for use in by_kind(uses)],
        "uses": [{"kind": u.kind, "place": shown_place(project, u), "bytes": u.bytes} for u in uses[:_USES]],
        "uses_in_all": len(uses),
        "gc": found,
        "gc_bytes": sum(waste["bytes"] for waste in found) if found else 0,
        "keep_days": _KEEP_DAYS,
        "problems": problems_json(problems),
        "commands": {"see it in a terminal": "minipach du", "free what nobody needs": "minipach gc --yes"},
    }
    return Page("Storage", "storage.html", data, {"meanings": MEANINGS})
