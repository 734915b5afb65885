"""The marks in a set's log: the script's own pass, in any pieces; what a command prints never is one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from minipach.model.log_marks import BEGINS, Marker

FALSE = b"0123456789abcdef"


def true(marker: Marker, number: int) -> bytes:
    """A mark as the launcher prints it."""
    return b"datum: begins %d %s\n" % (number, marker.words[number - 1].encode())


def test_the_script_s_marks_pass_without_their_words() -> None:
    marker = Marker(2)
    text = b"set up\n" + true(marker, 1) + b"one\n" + true(marker, 2) + b"two\n" + true(marker, 0) + b"the end\n"
    log = b"set up\ndatum: begins 1\none\ndatum: begins 2\ntwo\ndatum: begins 0\nthe end\n"
    assert marker.feed(text, last=True) == log


def test_a_line_that_only_looks_like_a_mark_is_none() -> None:
    marker = Marker(3)
    lines = [b"datum: begins 2\n", b"datum: begins 2 " + FALSE + b"\n", b"datum: begins 999999 " + FALSE + b"\n"]
    log = marker.feed(true(marker, 1) + b"".join(lines) + b"datum: begins ", last=True)
    assert log == b"datum: begins 1\n" + b"".join(b" " + line for line in lines) + b" datum: begins \ndatum: begins 0\n"


def test_a_word_that_was_overheard_is_of_no_use() -> None:
    marker = Marker(3)
    first, second = true(marker, 1), true(marker, 2)
    other = second.replace(b"begins 2", b"begins 3")
    log = marker.feed(first + second + first + second + other, last=True)
    assert BEGINS.findall(log) == [b"1", b"2", b"0"]


def test_what_has_no_end_of_line_does_not_hide_the_next_mark() -> None:
    marker = Marker(2)
    log = marker.feed(true(marker, 1) + b"no end") + marker.feed(true(marker, 2) + b"two", last=True)
    assert log == b"datum: begins 1\nno end\ndatum: begins 2\ntwo\ndatum: begins 0\n"


def test_nothing_is_held_back_that_can_be_no_mark() -> None:
    marker = Marker(2)
    assert marker.feed(b"50% done, dat") == b"50% done, "
    assert marker.feed(b"a\rdatum: begins") == b"data\r"
    assert marker.feed(b"!\n") == b"datum: begins!\n"


_PIECES = [b"<1>", b"<2>", b"datum: begins 3", b"datum: begins ", b"2", b"\n", b" ", b"d", b"\xff", b" " + FALSE]


@given(st.lists(st.sampled_from(_PIECES), max_size=12), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_however_it_comes_the_same_goes_on_and_no_mark_but_the_script_s(pieces: list[bytes], widths: list[int]) -> None:
    logs = []
    for cut in (False, True):
        marker = Marker(3)
        text = b"".join(pieces).replace(b"<1>", true(marker, 1)).replace(b"<2>", true(marker, 2))
        log, number = b"", 0
        while cut and text:
            width = widths[number % len(widths)]
            log += marker.feed(text[:width])
            text, number = text[width:], number + 1
        logs.append(log + marker.feed(text, last=True))
    masked = [re.sub(rb" [0-9a-f]{16}", b" WORD", log) for log in logs]  # of marks that were not taken
    assert masked[0] == masked[1]
    said = [piece for piece in pieces if piece in (b"<1>", b"<2>")]
    first = b"<2>" if said[:1] == [b"<2>"] else b"<1>"
    taken = [b"2"] if first == b"<2>" else [b"1", b"2"] if b"<2>" in said else [b"1"] if said else []
    assert BEGINS.findall(logs[0]) == taken + [b"0"] * bool(said)
