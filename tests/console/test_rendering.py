"""Output of programs as HTML: colours stay, and nothing else than text comes out."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from minipach.console.rendering import lines, moment, seconds


def test_colours_and_lines_stay() -> None:
    assert lines("a\r\n\x1b[1;31mb\x1b[0mc") == 'a\n<span class="sgr-bold sgr-red">b</span>c'
    assert lines("\x1b[38;5;9mx") == "x"


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[0;31m<>&\"'")))
def test_any_output_is_text(text: str) -> None:
    found = re.sub(r'<span class="sgr-[a-z]+( sgr-[a-z]+)?">|</span>', "", lines(text))
    assert "<" not in found and ">" not in found and "\x1b" not in found


def test_numbers_for_people() -> None:
    assert [seconds(n) for n in (None, 0.44, 65, 3661)] == ["", "0.4 s", "1 min 05 s", "1 h 01 min"]
    assert [seconds(n) for n in (59.94, 59.96, 3599.6)] == ["59.9 s", "1 min 00 s", "1 h 00 min"]
    assert moment(0) == "1970-01-01 00:00:00 UTC"
