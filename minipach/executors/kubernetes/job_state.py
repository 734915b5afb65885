"""The state of a Job and of its indices, as `kubectl get jobs --output=json` has it."""

from __future__ import annotations

import re
from typing import Any

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def number(row: dict[str, Any], name: str) -> int:
    """Return a number in the status of a Job; 0 if it is none."""
    value = row.get("status", {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def index_state(row: dict[str, Any] | None, index: int | None) -> tuple[str, str]:
    """Return whether an index of a Job may still run ("alive" or "over"), and what the cluster says."""
    if row is None:
        return "over", "the Job is gone"
    status = row.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return "over", f"the Job is {condition['type'].lower()}: {condition.get('reason') or 'no reason'}"
    for name, what in (("completedIndexes", "completed"), ("failedIndexes", "failed")):
        if index is not None and index in parse_indexes(status.get(name)):
            return "over", f"its index {what}"
    return "alive", ""


def parse_indexes(text: object) -> frozenset[int]:
    """Return the numbers of a list of indices as a Job's status has it: `1,3-5,7`."""
    found: set[int] = set()
    for part in str(text or "").split(","):
        match = _RANGE.fullmatch(part)
        if match and int(match[2] or match[1]) - int(match[1]) < 100_000:
            found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)
