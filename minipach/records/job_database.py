"""The job database: jobs, attempts, durations. SQLite, local and disposable: git is the only source of truth."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from minipach.git import shared_modes
from minipach.model.job_entries import (
    Attempt,
    Duration,
    FailedJob,
    Failure,
    JobRow,
    Raised,
    Repeated,
    Try,
)
from minipach.model.states import JobState
from minipach.records.job_rows import (
    ATTEMPT,
    COUNTS,
    EARLIER,
    EARLIER_KINDS,
    JOB,
    RUN,
    RUN_KINDS,
    TRY,
    AttemptRow,
    EarlierTry,
    Run,
    as_attempts,
    as_jobs,
    as_tries,
    plain_rows,
)
from minipach.records.job_tables import bring_up, is_cut_off, is_damaged
from minipach.support.validation import conforms, is_text, rows

_LOG = logging.getLogger(__name__)
WROTE_NOTHING = "wrote nothing"
_CUT_SHORT = ("interrupted", "running", "error")  # states of a job whose datums were not all tried to the end
_News = tuple[int, str, str, float | None]


def _asked(text: str | None) -> str | None:
    """Return a word of the user as SQLite takes it. What is no UTF-8 is in no row, in this form neither."""
    return text and text.encode("utf-8", "replace").decode("utf-8")


class _Guarded:
    """Executes SQL. A file that turns out to be damaged is put aside once, and the statement executed in a new one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def execute(self, sql: str, values: Sequence[Any] = ()) -> _Found:
        """Execute a statement, and read all its rows: damage shows while they are read."""
        try:
            return self._execute(sql, values)
        except sqlite3.Error as error:
            if not is_damaged(error) or self.in_transaction:
                raise
            self._ledger._reopen(error)
            return self._execute(sql, values)

    def _execute(self, sql: str, values: Sequence[Any]) -> _Found:
        cursor = self._ledger._database.execute(sql, values)
        return _Found(cursor.fetchall(), cursor.lastrowid)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._ledger._database.in_transaction


class _Found:
    """The rows that a statement has found."""

    def __init__(self, rows: list[tuple[Any, ...]], lastrowid: int | None) -> None:
        self._rows = rows
        self.lastrowid = lastrowid

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row."""
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return self._rows


class Ledger:
    """One SQLite file. A damaged file is renamed, and a new one created."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            if is_cut_off(path):
                self._rename_damaged("cut off")
            self._database = self._open(path)
        except (sqlite3.Error, UnicodeError) as error:
            if isinstance(error, sqlite3.Error) and not is_damaged(error):
                raise  # busy or out of reach, not broken
            self._rename_damaged(str(error))
            self._database = self._open(path)
        self._db = _Guarded(self)

    def _rename_damaged(self, why: str) -> None:
        """Begin again beside the damaged file: all that counts is in git."""
        number = time.time_ns()
        for end in ("", "-journal", "-wal", "-shm"):
            old = Path(f"{self._path}{end}")
            with contextlib.suppress(FileNotFoundError):
                old.rename(self._path.with_suffix(f".broken-{number}{end}"))
        _LOG.warning(
            f"{self._path}: damaged ({why}); a new one was made, "
            f"the old one is {self._path.stem}.broken-{number} beside it"
        )

    def _reopen(self, error: sqlite3.Error) -> None:
        self._database.close()
        self._rename_damaged(str(error))
        self._database = self._open(self._path)

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        shared_modes.touch(path)
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        # a text that is no UTF-8 is a value like any other that can't be used
        db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        # a line per datum would wait for the disk three times; and what a power failure spoils here is begun again
        db.execute("PRAGMA synchronous = OFF")
        try:
            bring_up(db, f"{path.parent}/")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            # made by an earlier version or elsewhere, where we may only read: a copy can be looked at
            copy = sqlite3.connect(":memory:", isolation_level=None)
            db.backup(copy)
            db.close()
            bring_up(copy, f"{path.parent}/")
            copy.execute("PRAGMA query_only = ON")
            return copy
        return db

    def close(self) -> None:
        """Close the file."""
        self._database.close()

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

    def start_job(self, job: str, pipeline: str, cause: str = "") -> int:
        """Note that a job began, and return its key. cause: see `JobRow`."""
        cursor = self._db.execute(
            "INSERT INTO job (id, pipeline, started, state, cause) VALUES (?, ?, ?, 'running', ?)",
            (job, pipeline, time.time(), cause),
        )
        return int(cursor.lastrowid or 0)

    def open_job(self, job: str, pipeline: str) -> JobRow | None:
        """Return the pass of this job that was left with sets submitted, if there is one."""
        row = self._db.execute(
            f"SELECT {JOB} FROM job WHERE id = ? AND pipeline = ? AND state = 'submitted' ORDER BY key DESC LIMIT 1",
            (job, pipeline),
        ).fetchone()
        return next(iter(as_jobs([row] if row else [])), None)

    def open_jobs(self, pipeline: str | None = None) -> list[JobRow]:
        """Return the jobs that were left with sets submitted."""
        found = self._db.execute(
            f"SELECT {JOB} FROM job WHERE state = 'submitted' AND (?1 IS NULL OR pipeline = ?1) ORDER BY key",
            (pipeline,),
        )
        return as_jobs(found)

    def leave_job(self, key: int) -> None:
        """Note that sets of a job continue without us."""
        self._db.execute("UPDATE job SET state = 'submitted', ended = NULL WHERE key = ?", (key,))

    def close_jobs(self, pipeline: str, state: JobState, but: int = -1) -> None:
        """End the jobs of a pipeline that were left with sets submitted, as there is nothing to do for them now."""
        self._db.execute(
            "UPDATE job SET state = ?, ended = ? WHERE pipeline = ? AND state = 'submitted' AND key != ?",
            (state, time.time(), pipeline, but),
        )

    def end_job(self, key: int, state: str, counts: Mapping[str, int], commit: str) -> None:
        """Note how a job ended."""
        self._db.execute(
            f"UPDATE job SET ended=?, state=?, commit_id=?, {'=?, '.join(COUNTS)}=? WHERE key=?",
            (time.time(), state, commit, *(counts[name] for name in COUNTS), key),
        )

    def note_asked(self, key: int, count: int) -> None:
        """Note how many datums a job is to run, those that have run included."""
        self._db.execute("UPDATE job SET asked = ? WHERE key = ?", (count, key))

    def add_attempt(self, job: int, pipeline: str, end: Attempt, *, forced: bool = False) -> None:
        """Note what became of a datum. forced: it ran on purpose, whatever was known of it."""
        took = end.took
        row = AttemptRow(
            job,
            end.datum,
            end.datum_id,
            end.kind,
            end.result.exit,
            end.message,
            end.tries,
            took.seconds,
            took.cpu,
            took.memory,
            end.result.bytes_in,
            end.result.bytes_out,
            end.host,
            end.log,
            end.ended or time.time(),
            end.started,
            took.began or None,
            took.ended or None,
            took.disk,
            forced,
            end.outside,
        )
        values = (pipeline, *astuple(row))
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO attempt (pipeline, {ATTEMPT}) VALUES ({marks})", values)
        for one in end.before:
            self.add_try(job, pipeline, end.datum, one)

    def note_empty(self, job: int, datums: Iterable[str]) -> None:
        """Note of datums of a job that succeeded that they wrote nothing."""
        for datum in datums:
            self._db.execute(
                "UPDATE attempt SET message = ? WHERE job = ? AND datum = ? AND kind = 'ok'",
                (WROTE_NOTHING, job, datum),
            )

    def news(self, job: int, after: int) -> list[tuple[int, str, str, float | None]]:
        """Return what was noted of a job's datums after the attempt with this key.

        Key, datum, kind, when its set began.
        """
        found = self._db.execute(
            "SELECT key, datum, kind, started FROM attempt WHERE job = ? AND key > ?", (job, after)
        )
        return [row for row in found if conforms(row, _News)]

    def add_try(self, job: int, pipeline: str, datum: str, one: Try, *, wants_memory: bool = False) -> None:
        """Add a try of a datum that was not the last one. A try that is there already is not added again.

        wants_memory: it was out of memory, and the next one is to have more.
        """
        self._db.execute(
            f"INSERT OR IGNORE INTO try (job, pipeline, datum, wants_memory, {TRY})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (job, pipeline, datum, int(wants_memory), *astuple(one)),
        )

    def raised(self, job: int, ident: str, pipeline: str) -> dict[str, Raised]:
        """Return the datums whose memory was raised in a job, earlier passes of which may have been cut short.

        job: of the pass that runs now · ident: the job's id, which says that the content is the same.
        """
        keys = [job]
        before = self._db.execute(
            "SELECT key, id, state FROM job WHERE pipeline = ? AND key < ? ORDER BY key DESC LIMIT 1", (pipeline, job)
        ).fetchone()
        if before is not None and before[1] == ident and before[2] in _CUT_SHORT:
            keys.append(before[0])
        found = self._db.execute(
            "SELECT datum, sum(kind = 'failed'), sum(wants_memory) FROM try WHERE job IN (?, ?)"
            " GROUP BY datum HAVING sum(wants_memory) > 0",
            (keys[0], keys[-1]),
        )
        return {str(name): Raised(int(failed), int(raised)) for name, failed, raised in found}

    def tries(self, job: int) -> dict[str, list[Try]]:
        """Return the tries that were not the last ones, in order, of each datum of a job that has any."""
        found: dict[str, list[Try]] = {}
        for row in self._db.execute(f"SELECT datum, {TRY} FROM try WHERE job = ? ORDER BY key", (job,)):
            if is_text(row[0]) and (made := as_tries([row[1:]])):
                found.setdefault(row[0], []).extend(made)
        return found

    def tries_of(self, job: int, datum: str) -> list[Try]:
        """Return the tries of one datum in a job that were not the last ones, in order."""
        return as_tries(
            self._db.execute(f"SELECT {TRY} FROM try WHERE job = ? AND datum = ? ORDER BY key", (job, datum))
        )

    def last_attempts(self, pipeline: str) -> dict[str, Attempt]:
        """Return the last attempt of each datum, by name."""
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE key IN"
            " (SELECT max(key) FROM attempt WHERE pipeline = ? GROUP BY datum) ORDER BY key",
            (pipeline,),
        )
        return {one.datum: one for one in as_attempts(found)}

    def last_attempt(self, pipeline: str, datum: str) -> Attempt | None:
        """Return the last attempt of one datum."""
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE pipeline = ? AND datum = ? ORDER BY key DESC LIMIT 1",
            (pipeline, datum),
        )
        return next(iter(as_attempts(found)), None)

    def failures(self, pipeline: str) -> dict[str, Failure]:
        """Return the datums whose last attempt did not succeed, by name.

        Each counts the attempts with the same content that ended in the same way: a lost worker is no failure of the
        command. Reads the rows of what failed, and no others.
        """
        found = self._db.execute(
            "SELECT a.datum, a.datum_id, a.kind, a.message, (SELECT count(*) FROM attempt c WHERE c.pipeline ="
            " a.pipeline AND c.datum = a.datum AND c.datum_id = a.datum_id AND c.kind = a.kind) FROM attempt a"
            " WHERE a.pipeline = ? AND a.kind != 'ok' AND NOT EXISTS (SELECT 1 FROM attempt b"
            " WHERE b.pipeline = a.pipeline AND b.datum = a.datum AND b.key > a.key)",
            (pipeline,),
        )
        return {row[0]: one for row in found if is_text(row[0]) for one in rows(Failure, [row[1:]])}

    def repeated_failures(self, pipeline: str, times: int, but: int = -1) -> dict[str, Repeated]:
        """Return the datum ids whose command failed in at least so many jobs, and did not succeed since.

        Args:
            pipeline: The pipeline's name.
            times: The number of jobs.
            but: The key of a job that does not count.
        """
        found = self._db.execute(
            "SELECT a.datum_id, a.job, a.datum, a.message, ifnull(a.outside, '') FROM attempt a"
            " WHERE a.pipeline = ?1 AND a.kind != 'ok' AND a.kind = 'failed' AND a.tries > 0 AND a.job != ?2"
            " AND NOT EXISTS (SELECT 1 FROM attempt b WHERE b.pipeline = a.pipeline AND b.datum = a.datum"
            " AND b.key > a.key AND b.datum_id = a.datum_id AND b.kind = 'ok')"
            " AND a.datum_id IN (SELECT datum_id FROM attempt WHERE pipeline = ?1 AND kind != 'ok'"
            " GROUP BY datum_id HAVING count(DISTINCT job) >= ?3) ORDER BY a.key",
            (pipeline, but, times),
        )
        ends: dict[str, dict[int, FailedJob]] = {}
        for datum_id, job, *row in found:
            if is_text(datum_id):
                for one in rows(FailedJob, [row]):
                    of_jobs = ends.setdefault(datum_id, {})
                    of_jobs.pop(job, None)
                    of_jobs[job] = one
        return {key: Repeated(tuple(of.values())) for key, of in ends.items() if len(of) >= times}

    def ids_since(self, pipeline: str, when: float) -> set[str]:
        """Return the datum ids that ran for a pipeline after a moment (seconds since 1970)."""
        found = self._db.execute(
            "SELECT DISTINCT datum_id FROM attempt WHERE pipeline = ? AND ended >= ?", (pipeline, when)
        )
        return {row[0] for row in found if is_text(row[0])}

    def durations(self, pipeline: str, most: int = 200) -> list[Duration]:
        """Return what the last successful runs of a pipeline took."""
        found = self._db.execute(
            "SELECT seconds, cpu FROM attempt WHERE pipeline = ? AND kind = 'ok' ORDER BY key DESC LIMIT ?",
            (pipeline, most),
        )
        return [one for one in rows(Duration, found.fetchall()) if one.seconds >= 0 and one.cpu >= 0]

    def job_of(self, pipeline: str, commit: str) -> str | None:
        """Return the id of the job that published this commit of a pipeline, if it did so here."""
        row = self._db.execute(
            "SELECT id FROM job WHERE pipeline = ? AND commit_id = ? AND state = 'published' ORDER BY key DESC LIMIT 1",
            (pipeline, commit),
        ).fetchone()
        return str(row[0]) if row else None

    def jobs(self, pipeline: str | None = None, most: int = -1) -> list[JobRow]:
        """Return the last jobs of a pipeline, or of all; the newest first."""
        found = self._db.execute(
            f"SELECT {JOB} FROM job WHERE ?1 IS NULL OR pipeline = ?1 ORDER BY key DESC LIMIT ?2",
            (_asked(pipeline), most),
        )
        return as_jobs(found)

    def jobs_called(self, start: str, pipeline: str | None = None) -> list[JobRow]:
        """Return all jobs whose id begins so; the newest first."""
        found = self._db.execute(
            f"SELECT {JOB} FROM job WHERE substr(id, 1, length(?1)) = ?1 AND (?2 IS NULL OR pipeline = ?2)"
            " ORDER BY key DESC",
            (_asked(start), _asked(pipeline)),
        )
        return as_jobs(found)

    def attempts(self, key: int) -> list[Attempt]:
        """Return what happened to each datum of a job, in order."""
        return as_attempts(self._db.execute(f"SELECT {ATTEMPT} FROM attempt WHERE job = ? ORDER BY key", (key,)))

    def last_failed(self, key: int) -> list[Attempt]:
        """Return the attempts of a job that did not succeed, of datums that were not tried in it again."""
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE job = ?1 AND kind != 'ok'"
            " AND key IN (SELECT max(key) FROM attempt WHERE job = ?1 GROUP BY datum) ORDER BY key",
            (key,),
        )
        return as_attempts(found)

    def datums_of(self, key: int) -> set[str]:
        """Return the datums of which a job has an attempt."""
        return {str(name) for (name,) in self._db.execute("SELECT datum FROM attempt WHERE job = ?", (key,))}

    def runs(self, key: int) -> list[Run]:
        """Return what a chart needs of each attempt of a job, in order."""
        found = self._db.execute(f"SELECT {RUN} FROM attempt WHERE job = ? ORDER BY key", (key,)).fetchall()
        return plain_rows(found, RUN_KINDS)

    def earlier_tries(self, key: int) -> list[EarlierTry]:
        """Return what a chart needs of each try of a job that was not the last one of its datum, in order."""
        found = self._db.execute(f"SELECT {EARLIER} FROM try WHERE job = ? ORDER BY key", (key,)).fetchall()
        return plain_rows(found, EARLIER_KINDS)

    def noted(self, key: int) -> tuple[int, int, int]:
        """Return what differs when a job has more attempts or tries: the number of attempts, and the last keys."""
        row = self._db.execute(
            "SELECT count(*), ifnull(max(key), 0), (SELECT count(*) FROM try WHERE job = ?1)"
            " FROM attempt WHERE job = ?1",
            (key,),
        ).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)

    def some_attempts(self, key: int, first: int, most: int) -> list[Attempt]:
        """Return what happened to some datums of a job, failures first. first: how many before them are left out."""
        sql = f"SELECT {ATTEMPT} FROM attempt WHERE job = ? ORDER BY kind = 'ok', key LIMIT ? OFFSET ?"
        return as_attempts(self._db.execute(sql, (key, most, first)))

    def attempts_of(self, key: int, pipeline: str, datum: str) -> list[Attempt]:
        """Return what happened to one datum in a job, in order."""
        sql = f"SELECT {ATTEMPT} FROM attempt WHERE job = ? AND pipeline = ? AND datum = ? ORDER BY key"
        return as_attempts(self._db.execute(sql, (key, pipeline, datum)))

    def forced_runs(self, pipeline: str) -> list[Attempt]:
        """Return the forced runs that succeeded in jobs since the last one that ended: they are not published yet.

        To be asked by the holder of the project's lock: a job that is `running` was killed then.
        """
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE forced AND kind = 'ok' AND job IN ("
            " SELECT key FROM job WHERE pipeline = ?1 AND key > ifnull((SELECT key FROM job WHERE pipeline = ?1"
            " AND state NOT IN ('submitted', 'superseded', 'running') ORDER BY key DESC LIMIT 1), 0)) ORDER BY key",
            (pipeline,),
        )
        return as_attempts(found)

    def last_key(self) -> int:
        """Return what differs when there is another attempt, of any pipeline."""
        row = self._db.execute("SELECT ifnull(max(key), 0) FROM attempt").fetchone()
        return int(row[0]) if row else 0

    def successes(self, pipeline: str, most: int) -> list[Attempt]:
        """Return the last runs of a pipeline that succeeded, the newest first."""
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE pipeline = ? AND kind = 'ok' ORDER BY key DESC LIMIT ?",
            (pipeline, most),
        )
        return as_attempts(found)

    def good_runs(self, pipeline: str, datum: str, most: int) -> list[Attempt]:
        """Return the last runs of a datum that succeeded, the newest first."""
        found = self._db.execute(
            f"SELECT {ATTEMPT} FROM attempt WHERE pipeline = ? AND datum = ? AND kind = 'ok' ORDER BY key DESC LIMIT ?",
            (pipeline, datum, most),
        )
        return as_attempts(found)
