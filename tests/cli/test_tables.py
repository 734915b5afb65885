"""Tables: one style in every command; plain and a row per line where a program reads them."""

from __future__ import annotations

import re
import sys
from typing import get_args

import pytest

from minipach.cli.tables import STATES, table_lines
from minipach.planning.plan import Action
from minipach.planning.status import State
from minipach.rerun.repeated_run import Outcome
from tests.fixtures.projects import Study

_ROWS = [["a", "current", "3"], ["a long name", "failed", "10"], ["größe 漢字", "unheard of", ""]]
_TITLES = ["PIPELINE", "STATE", "DATUMS"]


def lines(**options: str) -> list[str]:
    return list(table_lines(_TITLES, _ROWS, **options))


def test_a_table_has_titles_and_a_line_per_row_whatever_its_width() -> None:
    assert lines(right="DATUMS") == [
        "PIPELINE     STATE       DATUMS",
        "a            current          3",
        "a long name  failed          10",
        "größe 漢字   unheard of",
    ]
    (_, row) = table_lines(["A", "B"], [["x" * 300, "y"]])
    assert row == "x" * 300 + "  y"


def test_a_table_without_rows_is_nothing() -> None:
    assert list(table_lines(_TITLES, [])) == []


def test_cells_control_no_terminal() -> None:
    assert list(table_lines(["A", "B"], [["x\x1b[2J\n", "y"]]))[1] == "x\\x1b[2J\\n  y"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return monkeypatch


def test_on_a_terminal_titles_are_bold_and_states_have_their_colours(terminal: pytest.MonkeyPatch) -> None:
    title, first, second, third = lines()
    assert title.startswith("\x1b[1mPIPELINE\x1b[0m")
    assert "\x1b[32mcurrent\x1b[0m" in first and "\x1b[31mfailed\x1b[0m" in second and "\x1b" not in third


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_none_are_wanted(terminal: pytest.MonkeyPatch, name: str, value: str) -> None:
    terminal.setenv(name, value)
    assert "\x1b" not in "".join(lines())


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_on_a_narrow_terminal_long_cells_are_folded(terminal: pytest.MonkeyPatch, no_colour: str) -> None:
    terminal.setenv("COLUMNS", "40")
    terminal.setenv("NO_COLOR", no_colour)
    rows = [["edges", "failed", "word " * 30]]
    shown = list(table_lines(["PIPELINE", "STATE", "WHY"], rows))
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in shown]
    assert len(plain) > 3 and max(map(len, plain)) <= 40
    assert plain[0].split() == ["PIPELINE", "STATE", "WHY"] and plain[1].startswith("edges     failed  word")
    assert ("\x1b" in "".join(shown)) is not bool(no_colour)


def test_every_state_has_a_colour() -> None:
    kinds = {"ok", "failed", "lost", "recovered"}
    assert {*get_args(State), *get_args(Action), *get_args(Outcome), *kinds} <= STATES.keys()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("tables") / "study")
    study.put("images/a.txt", "a")
    study.copier()
    study.schedule()
    return study


@pytest.mark.parametrize("view", ["status", "jobs", "job edges", "usage edges", "results list", "results list --all"])
def test_every_view_has_titles_in_capitals_and_no_colours_in_a_pipe(published: Study, view: str) -> None:
    out = published.minipach(*view.split()).out
    assert re.search(r"^[A-Z][A-Z0-9%-]+(  +[A-Z0-9%][A-Z0-9 %-]+)+$", out, re.MULTILINE), out
    assert "\x1b" not in out
