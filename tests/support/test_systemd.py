"""Units of systemd: what it reads back is what was meant."""

from __future__ import annotations

import os
import re
from pathlib import Path

import hypothesis
from hypothesis import strategies as st

from minipach.support.systemd import user_unit
from tests.fixtures.projects import need, run

_WORDS = st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF) | st.sampled_from("%$\\\"';\n\udcff"), max_size=12)
_ESCAPE = re.compile(rb"\\\\x([0-9a-f]{2})")


def words_of(line: str, *, command: bool) -> list[str]:
    """Read quoted words as systemd does: no quote or backslash inside but escapes, and no specifier is left."""
    found = []
    assert re.fullmatch(r'"[^"]*"(?: "[^"]*")*', line), line
    for word in re.findall(r'"([^"]*)"', line):
        assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*", word), word
        assert not re.search(r"(?<!%)(?:%%)*%(?!%)", word), word
        assert not command or not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", word), word
        plain = word.replace("%%", "%")
        plain = plain.replace("$$", "$") if command else plain
        found.append(os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), plain.encode())))
    return found


def value_of(text: str, key: str) -> str:
    """Return the value of a key that is there once."""
    lines = [line for line in text.splitlines() if line.startswith(f"{key}=")]
    assert len(lines) == 1
    return lines[0].partition("=")[2]


@hypothesis.given(words=st.lists(_WORDS, min_size=1, max_size=4), path=_WORDS)
def test_words_are_read_back(words: list[str], path: str) -> None:
    text = user_unit("x", words, {"PATH": path}, kill_children=False, header="one\ntwo")
    assert words_of(value_of(text, "ExecStart"), command=True) == words
    assert words_of(value_of(text, "Environment"), command=False) == [f"PATH={path}"]
    assert {line for line in text.splitlines() if line.startswith("[")} == {"[Unit]", "[Service]", "[Install]"}


@hypothesis.given(description=_WORDS)
def test_description_is_one_line(description: str) -> None:
    text, plain = (user_unit(one, ["/bin/true"], {}, kill_children=True) for one in (description, "x"))
    assert text.splitlines()[2:] == plain.splitlines()[2:] and value_of(text, "KillMode") == "mixed"


def test_systemd_takes_it(tmp_path: Path) -> None:
    words = ["/bin/sh", "a b", "%h", "$HOME", '"', "é\n", "\udcff"]
    text = user_unit("50% of\nit", words, {"A": '%h $X "'}, kill_children=True)
    assert words_of(value_of(text, "ExecStart"), command=True) == words
    need("systemd-analyze")
    unit = tmp_path / "x.service"
    unit.write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", str(unit), cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    unit.write_text(text.replace("\\x22", "\\xzz"))
    assert "Invalid syntax" in run("systemd-analyze", "verify", "--man=no", str(unit), cwd=tmp_path).err
