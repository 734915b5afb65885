"""States of pipelines, jobs and datums, and which of them count as what."""

from __future__ import annotations

# --- of a pipeline, after a pass ---
GOING = frozenset({"submitted", "waiting"})
STOPPED = frozenset({"failed", "blocked", "error", "partial"}) | GOING
FINE = frozenset({"current", "published", "partial"}) | GOING

# --- of a job ---
OPEN = ("running", "submitted")  # it isn't over
WELL = frozenset({"current", "published", "superseded"})  # it did what it was to

# --- of a datum in a job ---
FAILED = ("failed", "lost")
SUCCEEDED = ("ok", "recovered")
ENDS = {"failed": "failed", "lost": "could not be run", "recovered": "recovered, without output,"}
