"""The file of the job database: of an older version, cut off, and moved with its project."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.records.job_tables import bring_up, is_cut_off, is_damaged, note_place

OLDEST = """
CREATE TABLE job (
    key INTEGER PRIMARY KEY, id TEXT, pipeline TEXT, started REAL, ended REAL, state TEXT,
    ran INTEGER, reused INTEGER, current INTEGER, removed INTEGER, failed INTEGER, commit_id TEXT);
CREATE TABLE attempt (
    key INTEGER PRIMARY KEY, job INTEGER, pipeline TEXT, datum TEXT, datum_id TEXT, ended REAL, seconds REAL,
    kind TEXT, exit INTEGER, message TEXT, tries INTEGER, host TEXT, log TEXT);
INSERT INTO attempt (job, pipeline, datum, kind, log) VALUES (1, 'edges', 'a', 'ok', '/old/a.log');
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    yield made
    made.close()


def columns(db: sqlite3.Connection) -> dict[str, list[tuple[str, str]]]:
    """Name and type of each column, by table; the order of columns does not count."""
    tables = ("job", "attempt", "try")
    return {t: sorted((row[1], row[2]) for row in db.execute(f"PRAGMA table_info({t})")) for t in tables}


def test_an_older_file_gets_the_columns_of_a_new_one_and_keeps_its_rows(database: sqlite3.Connection) -> None:
    new = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(new, "/p/")
    database.executescript(OLDEST)
    bring_up(database, "/p/")
    bring_up(database, "/p/")
    assert columns(database) == columns(new)
    assert database.execute("SELECT datum, cpu, forced, disk FROM attempt").fetchall() == [("a", 0, 0, None)]
    new.close()


@pytest.mark.parametrize("old", ["/a/p/", "/a/ä_%/", "/a/[x]*/"])
def test_logs_move_with_the_project(database: sqlite3.Connection, old: str) -> None:
    bring_up(database, old)
    logs = (f"{old}logs/{old}x.log", "/elsewhere/x.log", old.upper() + "x.log", "")
    for number, log in enumerate(logs):
        database.execute("INSERT INTO attempt (datum, log) VALUES (?, ?)", (str(number), log))
        database.execute("INSERT INTO try (datum, log) VALUES (?, ?)", (str(number), log))
    note_place(database, "/new place/")
    note_place(database, "/new place/")
    for table in ("attempt", "try"):
        found = [log for (log,) in database.execute(f"SELECT log FROM {table} ORDER BY datum")]
        assert found == [f"/new place/logs/{old}x.log", *logs[1:]]
    assert database.execute("SELECT folder FROM place").fetchall() == [("/new place/",)]


@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_a_file_is_cut_off_at_any_length(tmp_path: Path, page: int) -> None:
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size = {page}")
    bring_up(db, "/p/")
    db.close()
    data = path.read_bytes()
    assert not is_cut_off(path)
    for length in (1, 99, 100, page // 2, page, len(data) - page, len(data) - 1):
        path.write_bytes(data[:length])
        assert is_cut_off(path), length
    path.write_bytes(b"")
    assert not is_cut_off(path), "as SQLite makes one"
    assert not is_cut_off(tmp_path / "none") and not is_cut_off(tmp_path)


def test_damage_is_told_from_what_passes(tmp_path: Path, database: sqlite3.Connection) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(sqlite3.Error) as damaged:
        bring_up(sqlite3.connect(tmp_path / "text", isolation_level=None), "/p/")
    assert is_damaged(damaged.value)
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.Error) as busy:
        bring_up(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None, timeout=0), "/p/")
    assert not is_damaged(busy.value)
    assert not is_damaged(sqlite3.Error("of another kind"))
