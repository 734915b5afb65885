"""Logs: what a datum's command printed. The log of a set is cut into one file for each of its datums."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from minipach.model.log_marks import BEGINS
from minipach.support.text import printable
from minipach.support.validation import conforms, is_text, objects_in

MOST_SENT = 256 * 1024  # bytes of a log that come from a worker without a shared filesystem
_CUT = re.compile(rb"minipach: (\d+) bytes before this were not sent\n")
_CHUNK = 1024 * 1024  # bytes of a log that are in memory at a time


def part_of(log: str, index: int) -> str:
    """Return the log of the datum with this index (from 0) in a set whose log is `log`."""
    return f"{log.removesuffix('.log')}.{index + 1}.log"


def lost_log(log: str, number: int) -> str:
    """Return the log of the try (from 1) of a set whose worker was lost.

    The next worker puts it aside under this name.
    """
    return f"{log.removesuffix('.log')}.lost{number}.log"


def rename_log(log: Path, number: int, count: int) -> None:
    """Keep what the lost try of a set of `count` datums has left, and cut it. Nothing of it is there twice."""
    there = Path(lost_log(str(log), number))
    if log.is_file() and not there.exists():  # else it is of one that gave the set back, which is no try
        os.replace(log, there)
        if count > 1:
            split_log(there, count)


_OWN_LOG = re.compile(r"(?:\.\./\d+/)?(?!\.\.?$)[^/\0]+")  # beside the notes, or beside those of an earlier job
SETS = "sets.jsonl"  # in a job's folder of logs: which datums each of them is of


def note_set(
    folder: Path, log: str, names: Sequence[str], *, ident: str = "", holds: Sequence[str] = (), tries: int = 0
) -> None:
    """Say in a job's folder of logs which datums a log will be of, for those who follow it.

    ident, holds, tries: for those who count, the set's id, its datums, and how often each may be tried.
    """
    row: dict[str, Any] = {"log": log, "datums": list(names)}
    if ident:
        row |= {"set": ident, "tries": tries, **({"holds": list(holds)} if list(holds) != row["datums"] else {})}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SETS).open("a") as file:
        file.write(json.dumps(row) + "\n")


def noted_sets(folder: Path) -> set[str]:
    """Return the ids of the sets that are noted in a job's folder."""
    if not (folder / SETS).is_file():
        return set()
    return {row["set"] for row in noted_lines((folder / SETS).read_bytes()) if "set" in row}


def noted_lines(lines: bytes) -> Iterator[dict[str, Any]]:
    """Yield the notes of sets (see `note_set`); what is none is skipped.

    A log is a file of the folder itself, or of that of an earlier job: what is elsewhere is no log of a datum.
    """
    for row in objects_in(lines):
        log, datums, holds = row.get("log"), row.get("datums"), row.get("holds", [])
        if not isinstance(log, str) or not is_text(log) or not _OWN_LOG.fullmatch(log):
            continue
        if not isinstance(datums, list) or not isinstance(holds, list) or not all(map(is_text, (*datums, *holds))):
            continue
        is_set = is_text(row.get("set")) and conforms(row.get("tries"), int)
        if (datums and "set" not in row) or (is_set and (holds or datums)):
            yield row


def count_sets(folder: Path) -> int:
    """Return how many logs a job's folder has already, so that a later pass of the job takes other names."""
    return (folder / SETS).read_bytes().count(b"\n") if (folder / SETS).is_file() else 0


def end_of_log(path: Path) -> bytes:
    """Return the last part of a log, in the form in which a worker sends it.

    With a line before it that says how much is missing. Raises OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MOST_SENT))
        data = file.read()
    missing = size - MOST_SENT
    return (
        b"minipach: %d bytes before this were not sent\n" % missing + data.partition(b"\n")[2] if missing > 0 else data
    )


def place_in_sent(data: bytes, place: int) -> int:
    """Return where in a log as it was sent is what was at this place in the whole one.

    0, the line before it, if cut off.
    """
    cut = _CUT.match(data)
    if cut is None:
        return place
    begins = int(cut[1]) + MOST_SENT - (len(data) - cut.end())  # in the whole log
    return cut.end() + place - begins if place >= begins else 0


def split_log(log: Path, count: int) -> None:
    """Cut the log of a set of `count` datums. What is no datum's own, as what came before the first, is in each."""
    with log.open("rb") as file:
        spans = list(_spans(file))
        for index in range(count):
            with open(part_of(str(log), index), "wb") as part:
                for number, start, end in spans:
                    if number in (0, index + 1):
                        _copy(file, part, start, end)


def _spans(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield (number of the datum, start, end) of each stretch of a set's log; number 0: it is no datum's own."""
    size = file.seek(0, os.SEEK_END)
    number = start = 0
    if size:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:  # a log can be larger than the memory
            for begins in BEGINS.finditer(data):
                yield number, start, begins.start()
                number, start = int(begins[1]), begins.end()
    yield number, start, size


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    while start < end:
        start += target.write(source.read(min(_CHUNK, end - start)))


def log_tail(log: str, lines: int = 5) -> list[str]:
    """Return the last lines of a log, for people; control characters are shown, not sent."""
    path = Path(log)
    text = path.read_bytes()[-8192:].decode("utf-8", "replace") if path.is_file() else ""
    return [printable(line) for line in text.splitlines()[-lines:]]
