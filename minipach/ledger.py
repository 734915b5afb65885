"""The ledger: jobs, attempts, durations. SQLite, local and disposable: what is true is in git."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from minipach.entries import Attempt, DatumEnd, Duration, Failure, JobRow, Used
from minipach.moved import note_place
from minipach.tries import Try

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    key INTEGER PRIMARY KEY, id TEXT, pipeline TEXT, started REAL, ended REAL, state TEXT,
    ran INTEGER, reused INTEGER, current INTEGER, removed INTEGER, failed INTEGER, commit_id TEXT, recovered INTEGER,
    asked INTEGER);
CREATE TABLE IF NOT EXISTS attempt (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, datum_id TEXT, ended REAL, seconds REAL,
    kind TEXT, exit INTEGER, message TEXT, tries INTEGER, host TEXT, log TEXT, cpu REAL DEFAULT 0,
    memory INTEGER, bytes_in INTEGER, bytes_out INTEGER, forced INTEGER DEFAULT 0, started REAL, began REAL,
    finished REAL);
CREATE TABLE IF NOT EXISTS try (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, kind TEXT, exit INTEGER, message TEXT,
    started REAL, ended REAL, seconds REAL, cpu REAL, memory INTEGER, host TEXT, log TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS try_once ON try (job, datum, log, ifnull(started, 0), message);
CREATE INDEX IF NOT EXISTS attempt_by_datum ON attempt (pipeline, datum, key);
CREATE INDEX IF NOT EXISTS attempt_by_job ON attempt (job);
CREATE INDEX IF NOT EXISTS job_by_pipeline ON job (pipeline, key);
CREATE INDEX IF NOT EXISTS attempt_that_failed ON attempt (pipeline, datum) WHERE kind != 'ok';
"""
# columns that earlier versions did not have
_ADDED = {
    "job": {"recovered": "INTEGER", "asked": "INTEGER"},
    "attempt": {
        "cpu": "REAL DEFAULT 0",
        "memory": "INTEGER",
        "bytes_in": "INTEGER",
        "bytes_out": "INTEGER",
        "forced": "INTEGER DEFAULT 0",
        "started": "REAL",
        "began": "REAL",
        "finished": "REAL",
    },
}


_USED = (
    "datum, datum_id, kind, exit, message, tries, seconds, cpu, memory, bytes_in, bytes_out, host, log, ended, started,"
    " began, finished, forced"
)
_TRY = "kind, exit, message, started, ended, seconds, cpu, memory, host, log"


def _used(row: tuple[Any, ...]) -> Used:
    return Used(*(*row[:-1], bool(row[-1])))


_COUNTS = ("ran", "reused", "current", "removed", "recovered", "failed")
_JOB = f"key, id, pipeline, state, started, ended, ifnull(commit_id, ''), ifnull(asked, 0), {', '.join(_COUNTS)}"


def _job_row(row: tuple[Any, ...]) -> JobRow:
    counts = {name: n or 0 for name, n in zip(_COUNTS, row[8:], strict=True)}
    key, job, pipeline, state, started, ended, commit, asked = row[:8]
    return JobRow(key, job, pipeline, state, started, ended, commit, counts, asked)


def _bring_up(db: sqlite3.Connection, folder: str) -> None:
    """Add the tables and columns that aren't there yet. folder: where the ledger is."""
    db.executescript(_SCHEMA)
    for table, columns in _ADDED.items():
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for name in columns.keys() - there:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
    note_place(db, folder)


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
        # a line per datum would wait for the disk three times; and what a power failure spoils here is begun anew
        db.execute("PRAGMA synchronous = OFF")
        try:
            _bring_up(db, f"{path.parent}/")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            # made by an earlier version or elsewhere, where we may only read: a copy can be looked at
            copy = sqlite3.connect(":memory:", isolation_level=None)
            db.backup(copy)
            db.close()
            _bring_up(copy, f"{path.parent}/")
            copy.execute("PRAGMA query_only = ON")
            return copy
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what is noted meanwhile at once, or none of it: by itself, each line waits for the file's lock."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise

    def start_job(self, job: str, pipeline: str) -> int:
        """Note that a job began; its key."""
        cursor = self._db.execute(
            "INSERT INTO job (id, pipeline, started, state) VALUES (?, ?, ?, 'running')",
            (job, pipeline, time.time()),
        )
        return int(cursor.lastrowid or 0)

    def open_job(self, job: str, pipeline: str) -> JobRow | None:
        """The pass of this job that was left with sets on their way, if there is one."""
        row = self._db.execute(
            f"SELECT {_JOB} FROM job WHERE id = ? AND pipeline = ? AND state = 'submitted' ORDER BY key DESC LIMIT 1",
            (job, pipeline),
        ).fetchone()
        return _job_row(row) if row else None

    def open_jobs(self, pipeline: str | None = None) -> list[JobRow]:
        """The jobs that were left with sets on their way."""
        rows = self._db.execute(
            f"SELECT {_JOB} FROM job WHERE state = 'submitted' AND (?1 IS NULL OR pipeline = ?1) ORDER BY key",
            (pipeline,),
        )
        return [_job_row(row) for row in rows]

    def leave_job(self, key: int) -> None:
        """Note that sets of a job go on without us."""
        self._db.execute("UPDATE job SET state = 'submitted', ended = NULL WHERE key = ?", (key,))

    def close_jobs(self, pipeline: str, state: str, but: int = -1) -> None:
        """End the jobs of a pipeline that were left with sets on their way, as there is nothing to do for them now."""
        self._db.execute(
            "UPDATE job SET state = ?, ended = ? WHERE pipeline = ? AND state = 'submitted' AND key != ?",
            (state, time.time(), pipeline, but),
        )

    def end_job(self, key: int, state: str, counts: Mapping[str, int], commit: str) -> None:
        """Note how a job ended."""
        self._db.execute(
            f"UPDATE job SET ended=?, state=?, commit_id=?, {'=?, '.join(_COUNTS)}=? WHERE key=?",
            (time.time(), state, commit, *(counts[name] for name in _COUNTS), key),
        )

    def note_asked(self, key: int, count: int) -> None:
        """Note how many datums a job is to run, those that have run included."""
        self._db.execute("UPDATE job SET asked = ? WHERE key = ?", (count, key))

    def add_attempt(self, job: int, pipeline: str, end: DatumEnd, *, forced: bool = False) -> None:
        """Note what became of a datum. forced: it ran on purpose, whatever was known of it."""
        self._db.execute(
            "INSERT INTO attempt (job, pipeline, datum, datum_id, started, ended, seconds,"
            " kind, exit, message, tries, host, log, cpu, memory, bytes_in, bytes_out, forced, began, finished)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                pipeline,
                end.task.datum.name,
                end.task.id,
                end.started,
                end.ended or time.time(),
                end.seconds,
                end.kind,
                end.exit,
                end.message,
                end.tries,
                end.host,
                end.log,
                end.cpu,
                end.memory,
                end.bytes_in,
                end.bytes_out,
                forced,
                end.took.began if end.took else None,
                end.took.ended if end.took else None,
            ),
        )
        for one in end.before:
            self.add_try(job, pipeline, end.task.datum.name, one)

    def news(self, job: int, after: int) -> list[tuple[int, str, str, float | None]]:
        """What was noted of a job's datums after the attempt with this key: key, datum, kind, when its set began."""
        rows = self._db.execute("SELECT key, datum, kind, started FROM attempt WHERE job = ? AND key > ?", (job, after))
        return rows.fetchall()

    def add_try(self, job: int, pipeline: str, datum: str, one: Try) -> None:
        """Note a try of a datum that was not the last one; told twice, it is noted once."""
        self._db.execute(
            f"INSERT OR IGNORE INTO try (job, pipeline, datum, {_TRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (job, pipeline, datum, *astuple(one)),
        )

    def tries(self, job: int) -> dict[str, list[Try]]:
        """The tries that were not the last ones, in order, of each datum of a job that has any."""
        found: dict[str, list[Try]] = {}
        for row in self._db.execute(f"SELECT datum, {_TRY} FROM try WHERE job = ? ORDER BY key", (job,)):
            found.setdefault(row[0], []).append(Try(*row[1:]))
        return found

    def last_used(self, pipeline: str) -> dict[str, tuple[int, Used]]:
        """The last attempt of each datum in full, with the key of its job, by name."""
        rows = self._db.execute(f"SELECT job, {_USED} FROM attempt WHERE pipeline = ? ORDER BY key", (pipeline,))
        return {row[1]: (row[0], _used(row[1:])) for row in rows}

    def tries_of(self, job: int, datum: str) -> list[Try]:
        """The same of one datum."""
        rows = self._db.execute(f"SELECT {_TRY} FROM try WHERE job = ? AND datum = ? ORDER BY key", (job, datum))
        return [Try(*row) for row in rows]

    def last_attempts(self, pipeline: str) -> dict[str, Attempt]:
        """The last attempt of each datum, by name."""
        rows = self._db.execute(
            "SELECT a.datum, a.datum_id, a.kind, a.exit, a.message, a.seconds, a.ended, a.log, ifnull(j.id, ''),"
            " ifnull(a.job, 0)"
            " FROM attempt a LEFT JOIN job j ON j.key = a.job WHERE a.pipeline = ? ORDER BY a.key",
            (pipeline,),
        )
        return {row[0]: Attempt(*row) for row in rows}

    def failures(self, pipeline: str) -> dict[str, Failure]:
        """The datums whose last attempt did not succeed, by name. Reads the rows of what failed, and no others."""
        rows = self._db.execute(
            "SELECT a.datum, a.datum_id, a.kind, a.message, (SELECT count(*) FROM attempt c WHERE c.pipeline ="
            " a.pipeline AND c.datum = a.datum AND c.datum_id = a.datum_id AND c.kind != 'ok') FROM attempt a"
            " WHERE a.pipeline = ? AND a.kind != 'ok' AND NOT EXISTS (SELECT 1 FROM attempt b"
            " WHERE b.pipeline = a.pipeline AND b.datum = a.datum AND b.key > a.key)",
            (pipeline,),
        )
        return {row[0]: Failure(*row[1:]) for row in rows}

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

    def job_of(self, pipeline: str, commit: str) -> str | None:
        """The id of the job that published this commit of a pipeline, if it did so here."""
        row = self._db.execute(
            "SELECT id FROM job WHERE pipeline = ? AND commit_id = ? AND state = 'published' ORDER BY key DESC LIMIT 1",
            (pipeline, commit),
        ).fetchone()
        return str(row[0]) if row else None

    def jobs(self, pipeline: str | None = None, most: int = -1) -> list[JobRow]:
        """The last jobs of a pipeline, or of all; the newest first."""
        rows = self._db.execute(
            f"SELECT {_JOB} FROM job WHERE ?1 IS NULL OR pipeline = ?1 ORDER BY key DESC LIMIT ?2", (pipeline, most)
        )
        return [_job_row(row) for row in rows]

    def jobs_called(self, start: str, pipeline: str | None = None) -> list[JobRow]:
        """All jobs whose id begins so; the newest first."""
        rows = self._db.execute(
            f"SELECT {_JOB} FROM job WHERE substr(id, 1, length(?1)) = ?1 AND (?2 IS NULL OR pipeline = ?2)"
            " ORDER BY key DESC",
            (start, pipeline),
        )
        return [_job_row(row) for row in rows]

    def attempts(self, key: int) -> list[Used]:
        """What happened to each datum of a job, in order."""
        rows = self._db.execute(f"SELECT {_USED} FROM attempt WHERE job = ? ORDER BY key", (key,))
        return [_used(row) for row in rows]

    def forced_runs(self, pipeline: str) -> list[Used]:
        """The forced runs that succeeded in jobs since the last one that came to an end: they aren't published yet.

        To be asked by the holder of the project's lock: a job that is `running` was killed then.
        """
        rows = self._db.execute(
            f"SELECT {_USED} FROM attempt WHERE forced AND kind = 'ok' AND job IN ("
            " SELECT key FROM job WHERE pipeline = ?1 AND key > ifnull((SELECT key FROM job WHERE pipeline = ?1"
            " AND state NOT IN ('submitted', 'superseded', 'running') ORDER BY key DESC LIMIT 1), 0)) ORDER BY key",
            (pipeline,),
        )
        return [_used(row) for row in rows]

    def successes(self, pipeline: str, most: int) -> list[Used]:
        """The last runs of a pipeline that succeeded, the newest first."""
        rows = self._db.execute(
            f"SELECT {_USED} FROM attempt WHERE pipeline = ? AND kind = 'ok' ORDER BY key DESC LIMIT ?",
            (pipeline, most),
        )
        return [_used(row) for row in rows]
