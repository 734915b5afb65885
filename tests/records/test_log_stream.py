"""Logs that come from elsewhere before their file is here: every byte once, and what is left out is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from minipach.records.job_logs import MOST_SENT, end_of_log, note_set
from minipach.records.log_stream import Following

Pieces = Sequence[tuple[int, bytes]]


class Pieced:
    """Elsewhere, as a list of what comes at each look."""

    def __init__(self, *looks: Pieces) -> None:
        self.looks = list(looks)

    def new(self, sets: Iterable[str]) -> Mapping[str, Pieces]:
        return {"s1": self.looks.pop(0)} if self.looks and "s1" in sets else {}


def followed(folder: Path, *looks: Pieces, monkeypatch: pytest.MonkeyPatch) -> Following:
    monkeypatch.setattr("minipach.records.log_stream._ASK", -1.0)
    note_set(folder, "0.log", ["a", "b"], ident="s1")
    return Following(folder, Pieced(*looks))


def test_pieces_and_then_the_file_are_one_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "datum: begins 1\nöne\ndatum: begins 2\ntwo\nthree\n".encode()
    logs = followed(tmp_path, [(0, whole[:17]), (17, whole[17:25])], [(25, whole[25:40])], monkeypatch=monkeypatch)
    assert list(logs.look(last=False)) == [("a", "öne")]  # a letter that was cut in two is whole
    assert list(logs.look(last=False)) == []
    (tmp_path / "0.log").write_bytes(whole)
    assert list(logs.look(last=True)) == [("b", "two"), ("b", "three")]


def test_what_was_trimmed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = b"datum: begins 1\nsome\nha"
    logs = followed(tmp_path, [(0, first)], [(100, b"lf\nmore\n")], monkeypatch=monkeypatch)
    assert list(logs.look(last=False)) == [("a", "some")]
    assert list(logs.look(last=False)) == [
        ("a", "ha"),
        ("a", f"minipach: {100 - len(first)} bytes are left out"),
        ("a", "lf"),
        ("a", "more"),
    ]


def test_a_set_that_another_worker_has_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = followed(tmp_path, [(0, b"first try\n")], [(0, b"second\n"), (7, b"try\n")], monkeypatch=monkeypatch)
    assert [line for _, line in logs.look(last=False)] == ["first try"]
    assert [line for _, line in logs.look(last=False)] == ["second", "try"]


@pytest.mark.parametrize("seen", [0, 100, 300_000])
def test_of_a_long_log_the_end_alone_comes_and_nothing_twice(
    tmp_path: Path, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"line {n:07}" for n in range(30_000)]
    whole = "".join(f"{line}\n" for line in lines).encode()
    (tmp_path / "whole").write_bytes(whole)
    logs = followed(tmp_path, [(0, whole[:seen])] if seen else [], monkeypatch=monkeypatch)
    before = [line for _, line in logs.look(last=False)]
    (tmp_path / "0.log").write_bytes(end_of_log(tmp_path / "whole"))
    after = [line for _, line in logs.look(last=True)]
    assert before == lines[: len(before)] and lines[-len(after) + 5 :] == after[5:]
    if seen > len(whole) - MOST_SENT:
        assert before + after == lines
    else:
        missing = len(whole) - MOST_SENT
        assert any(f"minipach: {missing} bytes before this were not sent" in line for line in after[:2])
