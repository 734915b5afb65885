"""A project that was moved: what the ledger knows by a whole path is where the project is now."""

from __future__ import annotations

import sqlite3


def note_place(db: sqlite3.Connection, folder: str) -> None:
    """Note where the ledger is; where the project was moved, the logs are where it is now."""
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
