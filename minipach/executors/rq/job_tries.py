"""The lost tries of RQ jobs, read from and written to the metadata of the jobs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from rq.job import Job

from minipach.model.job_entries import Try
from minipach.model.work_set import LOST_TRIES
from minipach.support.validation import clean, is_moment

UNABLE = "unable: "  # begins what RQ keeps of a try whose worker is there, and could not do it
_META = "lost"
_BEGUN = "begun"
_LONGEST = 255  # characters of a machine's name


def times_lost(job: Job) -> int:
    """Return how often it was given to another worker because its own was gone."""
    left = job.retries_left if type(job.retries_left) is int else LOST_TRIES - 1
    return min(max(0, LOST_TRIES - 1 - left), LOST_TRIES)


def note_lost(job: Job) -> int:
    """Note what a job's last worker left of it, if it is gone, and return how often one was. Call before it begins."""
    count = times_lost(job)
    if not isinstance(job.meta, dict) or not isinstance(job.meta.get(_META, []), list):
        job.meta = {}  # not what a worker of ours has noted
    rows = job.meta.setdefault(_META, []) if count else []
    if len(rows) < count:
        rows += [{}] * (count - 1 - len(rows)) + [_last_run(job)]
        job.save_meta()
    return count


def note_begun(job: Job) -> None:
    """Note that a worker began a job and gave it back."""
    job.meta = {**(job.meta if isinstance(job.meta, dict) else {}), _BEGUN: True}
    job.save_meta()


def was_begun(job: Job) -> bool:
    """Return whether a worker began a job and gave it back."""
    return isinstance(job.meta, dict) and job.meta.get(_BEGUN) is True


def lost_tries(job: Job) -> tuple[Try, ...]:
    """Return the tries before the last one, without their logs."""
    rows = job.meta.get(_META, []) if isinstance(job.meta, dict) else []
    rows = rows if isinstance(rows, list) else []
    return tuple(_as_try(rows[n] if n < len(rows) else {}, n + 1) for n in range(times_lost(job)))


def last_try(job: Job) -> Try:
    """Return the last one, which was lost, too."""
    return _as_try(_last_run(job), times_lost(job) + 1)


def _as_try(row: object, number: int) -> Try:
    row = row if isinstance(row, dict) else {}
    started, ended = (at if is_moment(at := row.get(name)) else None for name in ("started", "ended"))
    seconds = ended - started if started and ended else 0.0
    message = f"its worker was lost ({number} of {LOST_TRIES})"
    return Try("lost", 1, message, started, ended, seconds, host=clean(str(row.get("host", ""))[:_LONGEST]))


def _last_run(job: Job) -> dict[str, Any]:
    """Return when a job began, its last heartbeat, and its host (see Supervisor for the names of workers)."""
    if job.started_at is None:
        return {}
    ends = [_unix(t) for t in (job.ended_at, job.last_heartbeat) if t is not None and t >= job.started_at]
    host = (job.worker_name or "").removeprefix("minipach.").rsplit(".", 3)[0]
    started = _unix(job.started_at)
    return {"started": started, "ended": min(max(started, *ends), time.time()) if ends else started, "host": host}


def _unix(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()
