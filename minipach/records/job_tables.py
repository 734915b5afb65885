"""The tables of the job database, in its file; and the damage that such a file may have."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    key INTEGER PRIMARY KEY, id TEXT, pipeline TEXT, started REAL, ended REAL, state TEXT,
    ran INTEGER, reused INTEGER, current INTEGER, removed INTEGER, failed INTEGER, commit_id TEXT, recovered INTEGER,
    asked INTEGER, cause TEXT);
CREATE TABLE IF NOT EXISTS attempt (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, datum_id TEXT, ended REAL, seconds REAL,
    kind TEXT, exit INTEGER, message TEXT, tries INTEGER, host TEXT, log TEXT, cpu REAL DEFAULT 0,
    memory INTEGER, bytes_in INTEGER, bytes_out INTEGER, forced INTEGER DEFAULT 0, started REAL, began REAL,
    finished REAL, disk INTEGER, outside TEXT);
CREATE TABLE IF NOT EXISTS try (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, kind TEXT, exit INTEGER, message TEXT,
    started REAL, ended REAL, seconds REAL, cpu REAL, memory INTEGER, host TEXT, log TEXT,
    wants_memory INTEGER DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS try_once ON try (job, datum, log, ifnull(started, 0), message);
CREATE INDEX IF NOT EXISTS attempt_by_datum ON attempt (pipeline, datum, key);
CREATE INDEX IF NOT EXISTS attempt_by_job ON attempt (job);
CREATE INDEX IF NOT EXISTS job_by_pipeline ON job (pipeline, key);
CREATE INDEX IF NOT EXISTS attempt_that_failed ON attempt (pipeline, datum) WHERE kind != 'ok';
"""
# columns that earlier versions did not have
_ADDED = {
    "try": {"wants_memory": "INTEGER DEFAULT 0"},
    "job": {"recovered": "INTEGER", "asked": "INTEGER", "cause": "TEXT"},
    "attempt": {
        "cpu": "REAL DEFAULT 0",
        "memory": "INTEGER",
        "bytes_in": "INTEGER",
        "bytes_out": "INTEGER",
        "forced": "INTEGER DEFAULT 0",
        "started": "REAL",
        "began": "REAL",
        "finished": "REAL",
        "disk": "INTEGER",
        "outside": "TEXT",
    },
}


def is_cut_off(path: Path) -> bool:
    """Return whether a file has fewer bytes than its first page says: it was cut off, by a full disk or a bad copy."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
            size = file.seek(0, 2)
    except OSError:
        return False
    if not size:
        return False
    page = int.from_bytes(head[16:18], "big")
    is_counted = head[24:28] == head[92:96]  # else SQLite itself does not go by the number of pages
    return size < 100 or (is_counted and size < int.from_bytes(head[28:32], "big") * (65536 if page == 1 else page))


def is_damaged(error: sqlite3.Error) -> bool:
    """Return whether the file is no job database any more: not SQLite's, spoilt, or with other tables."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA)


def bring_up(db: sqlite3.Connection, folder: str) -> None:
    """Add the tables and columns that aren't there yet. folder: where the job database is."""
    db.executescript(_SCHEMA)
    for table, columns in _ADDED.items():
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for name in columns.keys() - there:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {columns[name]}")
    note_place(db, folder)


def note_place(db: sqlite3.Connection, folder: str) -> None:
    """Note where the job database is; where the project was moved, the logs are where it is now."""
    db.execute("CREATE TABLE IF NOT EXISTS place (folder TEXT)")
    row = db.execute("SELECT folder FROM place").fetchone()
    if row == (folder,):
        return
    db.execute("BEGIN IMMEDIATE")
    for (old,) in db.execute("SELECT folder FROM place").fetchall():
        for table in ("attempt", "try"):
            db.execute(
                f"UPDATE {table} SET log = ?2 || substr(log, length(?1) + 1) WHERE substr(log, 1, length(?1)) = ?1",
                (old, folder),
            )
    db.execute("DELETE FROM place")
    db.execute("INSERT INTO place VALUES (?)", (folder,))
    db.execute("COMMIT")
