"""States of pipelines, jobs, sets and datums, and which of them count as what.

They are text, since they are stored and printed as such. Their types let mypy find a state that there is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# --- of a pipeline, after a pass ---
PipelineState = Literal[
    "current",
    "published",
    "partial",
    "failed",
    "blocked",
    "error",
    "submitted",
    "waiting",
    "deferred",
    "interrupted",
    "service",
]
GOING: frozenset[PipelineState] = frozenset({"submitted", "waiting"})
STOPPED: frozenset[PipelineState] = frozenset({"failed", "blocked", "error", "partial", "deferred", *GOING})
FINE: frozenset[PipelineState] = frozenset({"current", "published", "partial", "deferred", "service", *GOING})

# --- of a job ---
JobState = Literal[PipelineState, "running", "superseded", "cancelled"]
OPEN: tuple[JobState, ...] = ("running", "submitted")  # it isn't over
WELL: frozenset[JobState] = frozenset({"current", "published", "superseded"})  # it did what it was to

# --- of a set ---
SetKind = Literal["ok", "failed", "lost"]

# --- of a datum in a job ---
DatumKind = Literal[SetKind, "recovered"]
# `stopped`: its set was ended by another datum whose time was over
ResultState = Literal[DatumKind, "stopped"]
FAILED: tuple[DatumKind, ...] = ("failed", "lost")
SUCCEEDED: tuple[DatumKind, ...] = ("ok", "recovered")
ENDS = {"failed": "failed", "lost": "could not be run", "recovered": "recovered, without output,"}


# --- counts of datums in the report of a job ---
_COUNTED = {"ran": "computed"}  # of the datums that ran, only those that succeeded


def counted(counts: Mapping[str, int]) -> str:
    """Return counts of datums for people, less zeros: `2 computed, 1 failed`."""
    return ", ".join(f"{number} {_COUNTED.get(what, what)}" for what, number in counts.items() if number)
