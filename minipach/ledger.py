"""The ledger: jobs, attempts, durations. SQLite, local and disposable: what is true is in git."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minipach.rounds import DatumEnd

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    key INTEGER PRIMARY KEY, id TEXT, pipeline TEXT, started REAL, ended REAL, state TEXT,
    ran INTEGER, reused INTEGER, current INTEGER, removed INTEGER, failed INTEGER, commit_id TEXT);
CREATE TABLE IF NOT EXISTS attempt (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, datum_id TEXT, ended REAL, seconds REAL,
    kind TEXT, exit INTEGER, message TEXT, tries INTEGER, host TEXT, log TEXT, cpu REAL DEFAULT 0);
CREATE INDEX IF NOT EXISTS attempt_by_datum ON attempt (pipeline, datum, key);
CREATE INDEX IF NOT EXISTS job_by_pipeline ON job (pipeline, key);
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last thing that happened to a datum. seconds: wall time of the last try."""

    datum: str
    datum_id: str
    kind: str
    exit: int
    message: str
    seconds: float
    ended: float
    log: str
    job: str


@dataclass(frozen=True, slots=True)
class Duration:
    """What one run took: wall seconds, and seconds of processor time."""

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Job:
    """The last job of a pipeline. state: running, ok, failed, blocked."""

    id: str
    state: str
    started: float
    ended: float | None
    commit: str


class Ledger:
    """One SQLite file. A file that can't be read is put aside and begun anew."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open(path)
        except sqlite3.OperationalError:
            raise  # busy or out of reach, not broken
        except sqlite3.DatabaseError:
            path.rename(path.with_suffix(f".broken-{int(time.time())}"))
            self._db = self._open(path)

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        db.executescript(_SCHEMA)
        if "cpu" not in {row[1] for row in db.execute("PRAGMA table_info(attempt)")}:
            db.execute("ALTER TABLE attempt ADD COLUMN cpu REAL DEFAULT 0")
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def start_job(self, job: str, pipeline: str) -> int:
        """Note that a job began; its key."""
        cursor = self._db.execute(
            "INSERT INTO job (id, pipeline, started, state) VALUES (?, ?, ?, 'running')",
            (job, pipeline, time.time()),
        )
        return int(cursor.lastrowid or 0)

    def end_job(self, key: int, state: str, counts: Mapping[str, int], commit: str) -> None:
        """Note how a job ended."""
        self._db.execute(
            "UPDATE job SET ended=?, state=?, ran=?, reused=?, current=?, removed=?, failed=?, commit_id=? WHERE key=?",
            (
                time.time(),
                state,
                counts["ran"],
                counts["reused"],
                counts["current"],
                counts["removed"],
                counts["failed"],
                commit,
                key,
            ),
        )

    def add_attempt(self, job: int, pipeline: str, end: DatumEnd) -> None:
        """Note what became of a datum."""
        self._db.execute(
            "INSERT INTO attempt (job, pipeline, datum, datum_id, ended,"
            " seconds, kind, exit, message, tries, host, log, cpu) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                pipeline,
                end.task.datum.name,
                end.task.id,
                time.time(),
                end.seconds,
                end.kind,
                end.exit,
                end.message,
                end.tries,
                end.host,
                end.log,
                end.cpu,
            ),
        )

    def last_attempts(self, pipeline: str) -> dict[str, Attempt]:
        """The last attempt of each datum, by name."""
        rows = self._db.execute(
            "SELECT a.datum, a.datum_id, a.kind, a.exit, a.message, a.seconds, a.ended, a.log, ifnull(j.id, '')"
            " FROM attempt a LEFT JOIN job j ON j.key = a.job WHERE a.pipeline = ? ORDER BY a.key",
            (pipeline,),
        )
        return {row[0]: Attempt(*row) for row in rows}

    def ids_since(self, pipeline: str, when: float) -> set[str]:
        """The datum ids that ran for a pipeline after a moment (seconds since 1970)."""
        rows = self._db.execute(
            "SELECT DISTINCT datum_id FROM attempt WHERE pipeline = ? AND ended >= ?", (pipeline, when)
        )
        return {row[0] for row in rows}

    def durations(self, pipeline: str, most: int = 200) -> list[Duration]:
        """What the last successful runs of a pipeline took."""
        rows = self._db.execute(
            "SELECT seconds, cpu FROM attempt WHERE pipeline = ? AND kind = 'ok' ORDER BY key DESC LIMIT ?",
            (pipeline, most),
        )
        return [Duration(*row) for row in rows]

    def last_job(self, pipeline: str) -> Job | None:
        """The last job of a pipeline."""
        row = self._db.execute(
            "SELECT id, state, started, ended, commit_id FROM job WHERE pipeline = ? ORDER BY key DESC LIMIT 1",
            (pipeline,),
        ).fetchone()
        return Job(row[0], row[1], row[2], row[3], row[4] or "") if row else None
