"""Texts that programs read again: subjects and lines of commits, and lines of minipach in a log.

No other module spells them. What only people read is not here.
"""

from __future__ import annotations

import re

# --- commits on a pipeline's branch ---
SUBJECT = "minipach: "  # begins the subject of each commit of minipach that has no run record
JOB = "job: "  # begins the line of a publish that names the job
RECORD = "[DATALAD RUNCMD]"  # begins the subject of a commit with a run record
_JOB = re.compile(rf"^{JOB}([0-9a-f]+)$", re.MULTILINE)

BY_MINIPACH = f"--grep=^{SUBJECT}"
BY_PUBLISH = f"--grep=^{JOB}"
WITH_RECORD = r"--grep=^\[DATALAD RUNCMD\]"
BY_JOB = f"--grep=^{JOB}[0-9a-f]+$"

# --- a log ---
NEXT_TRY = re.compile(rb"^minipach: (?:try \d+ of \d+|once more, \d+ of \d+; .*)\n", re.MULTILINE)
"""The lines that separate tries in a log."""


def job_of(message: str) -> str | None:
    """Return the job that a commit's message names, if it names one."""
    found = _JOB.search(message)
    return found[1] if found else None


def next_try(number: int, of: int) -> str:
    """Return the line before the next try of a command."""
    return f"{SUBJECT}try {number} of {of}"


def once_more(number: int, of: int) -> str:
    """Return the note (less `minipach: `) before a set is tried again through no fault of its command."""
    return f"once more, {number} of {of}; this does not count as a try of the datum"
