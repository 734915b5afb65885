"""The log of a set, cut into those of its datums."""

from __future__ import annotations

from pathlib import Path

from minipach.records.job_logs import lost_log, part_of, rename_log, split_log


def cut(log: Path, text: bytes, count: int) -> list[bytes]:
    log.write_bytes(text)
    split_log(log, count)
    return [Path(part_of(str(log), index)).read_bytes() for index in range(count)]


def test_what_was_printed_before_the_first_belongs_to_each(tmp_path: Path) -> None:
    text = (
        b"minipach: try 1\ndatum: begins 1\none\n\xff\0datum: begins 2 no\ndatum: begins 2\ntwo\ndatum: begins 1\nagain"
    )
    assert cut(tmp_path / "a.log", text, 3) == [
        b"minipach: try 1\none\n\xff\0datum: begins 2 no\nagain",
        b"minipach: try 1\ntwo\n",
        b"minipach: try 1\n",
    ]


def test_nothing_was_printed(tmp_path: Path) -> None:
    assert cut(tmp_path / "a.log", b"", 2) == [b"", b""]


def test_a_number_that_no_datum_has_ends_nobody(tmp_path: Path) -> None:
    text = b"datum: begins 1\ndatum: begins %s\none\n" % (b"9" * 5000)  # more digits than Python reads
    assert cut(tmp_path / "a.log", text, 1) == [text.removeprefix(b"datum: begins 1\n")]


def test_what_a_lost_try_left_is_put_aside_and_cut_and_that_once(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"datum: begins 1\none\ndatum: begins 2\n")
    rename_log(log, 1, 2)
    lost = lost_log(str(log), 1)
    assert not log.exists()
    assert [Path(part_of(lost, index)).read_bytes() for index in range(2)] == [b"one\n", b""]
    log.write_bytes(b"of one that gave the set back\n")
    rename_log(log, 1, 2)
    assert Path(lost).read_bytes() == b"datum: begins 1\none\ndatum: begins 2\n"
