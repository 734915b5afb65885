"""Tables: one style in every command; plain and a row per line where a program reads them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.cli.app import app
from minipach.cli.tables import STATES, GrowingTable, table_lines
from minipach.planning.plan import Action
from minipach.planning.status import State
from minipach.rerun.repeated_run import Outcome
from tests.fixtures.projects import Study

_ROWS = [["a", "current", "3"], ["a long name", "failed", "10"], ["größe 漢字", "unheard of", ""]]
_TITLES = ["PIPELINE", "STATE", "DATUMS"]


def lines(right: str = "") -> list[str]:
    return list(table_lines(_TITLES, _ROWS, right=right))


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


def plain(shown: Iterable[str]) -> list[str]:
    return [re.sub(r"\x1b\[\d+m", "", line) for line in shown]


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_on_a_narrow_terminal_long_cells_are_folded_between_words(terminal: pytest.MonkeyPatch, no_colour: str) -> None:
    terminal.setenv("COLUMNS", "40")
    terminal.setenv("NO_COLOR", no_colour)
    rows = [["edges", "failed", "word " * 30]]
    shown = list(table_lines(["PIPELINE", "STATE", "WHY"], rows))
    lines = plain(shown)
    assert len(lines) > 3 and max(map(len, lines)) <= 40
    assert lines[0].split() == ["PIPELINE", "STATE", "WHY"] and lines[1].startswith("edges     failed  word")
    assert all(set(line.split()) == {"word"} for line in lines[2:])
    assert ("\x1b" in "".join(shown)) is not bool(no_colour)


_LONG = "second_level_with_a_really_long_pipeline_name_of_60_chars_01"
_COUNTS = ["DATUMS", "CURRENT", "STORED", "MISSING", "FAILED"]


def test_a_long_first_cell_has_a_line_of_its_own_and_the_columns_stay(terminal: pytest.MonkeyPatch) -> None:
    rows = [["edges", "current", *"12345"], [_LONG, "blocked", *"67890"]]
    assert plain(table_lines(["PIPELINE", "STATE", *_COUNTS], rows, right=" ".join(_COUNTS))) == [
        "PIPELINE  STATE    DATUMS  CURRENT  STORED  MISSING  FAILED",
        "edges     current       1        2       3        4       5",
        _LONG,
        "          blocked       6        7       8        9       0",
    ]


def test_where_columns_do_not_fit_each_row_is_a_list_of_its_fields(terminal: pytest.MonkeyPatch) -> None:
    terminal.setenv("COLUMNS", "40")
    rows = [["edges", "current", *"12345", "the next pass adds what is due here"], [_LONG, "blocked", *"67890", ""]]
    shown = plain(table_lines(["PIPELINE", "STATE", *_COUNTS, "WHY"], rows, right=" ".join(_COUNTS)))
    assert shown[:2] == ["PIPELINE  edges", "STATE     current"]
    assert shown[6:9] == ["FAILED    5", "WHY       the next pass adds what is due", "          here"]
    assert shown[9:12] == ["", f"PIPELINE  {_LONG}", "STATE     blocked"] and shown[-1] == "FAILED    0"


_CELLS = st.text(st.sampled_from("abc ü漢-9"), max_size=30)


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(_CELLS, min_size=n, max_size=n), min_size=1)), st.data())
def test_no_width_loses_a_word_or_cuts_one(rows: list[list[str]], data: st.DataObject) -> None:
    titles = [f"TITLE{n}" for n in range(len(rows[0]))]
    right = " ".join(data.draw(st.sets(st.sampled_from(titles))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        patch.setenv("COLUMNS", str(data.draw(st.integers(1, 120))))
        patch.setenv("TERM", "xterm")
        patch.setenv("NO_COLOR", "1")
        words = Counter(word for line in table_lines(titles, rows, right=right) for word in line.split())
    expected = Counter(word for row in rows for cell in row for word in cell.split())
    assert expected <= words and not (words - expected).keys() - set(titles)


def test_a_tree_stays_one_on_a_narrow_terminal(terminal: pytest.MonkeyPatch) -> None:
    terminal.setenv("COLUMNS", "40")
    rows = [["images", "data", "-", "-"], ["├── edges", "current", "202 datums", "/*"]]
    rows += [[f"│   └── {_LONG}", "blocked", "0 datums", "up: /*"]]
    assert plain(table_lines(["REPO", "STATE", "DATUMS", "INPUT"], rows, tree=True)) == [
        "images  data",
        "├── edges  current",
        "│     DATUMS  202 datums",
        "│     INPUT  /*",
        f"│   └── {_LONG}  blocked",
        "│         DATUMS  0 datums",
        "│         INPUT  up: /*",
    ]


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_table_that_grows_holds_on_a_narrow_terminal(
    terminal: pytest.MonkeyPatch, columns: str, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("COLUMNS", columns)
    terminal.setattr(sys.stdout, "isatty", lambda: True)  # capsys has another stdout
    table = GrowingTable(["STATE", "PIPELINE", "MESSAGE"], [["different", "a_pipeline"], ["reproducible", "b"]])
    for row in (["different", "a_pipeline", "one word after another " * 3], ["reproducible", "b", "-"]):
        table.add(row)
    lines = plain(capsys.readouterr().out.splitlines())
    assert max(map(len, lines)) <= int(columns)
    assert (lines[0].split() == ["STATE", "PIPELINE", "MESSAGE"]) is (columns == "80")
    assert (lines[:2] == ["STATE     different", "PIPELINE  a_pipeline"]) is (columns == "40")


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


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("view", ["status", "jobs", "job edges", "results list", "diff edges", "datums edges", "dag"])
def test_no_view_loses_a_word_on_a_narrow_terminal(
    published: Study, view: str, columns: int, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each word of a wide pipe is in the narrow table, too, and no line of it is wider than the terminal."""
    wide = published.minipach(*view.split()).out
    terminal.setenv("COLUMNS", str(columns))
    terminal.chdir(published.root)
    terminal.setattr(sys.stdout, "isatty", lambda: True)
    app(view.split(), standalone_mode=False)
    shown = plain(capsys.readouterr().out.splitlines())
    said = Counter(" ".join(shown).split())
    words = set(wide.split()) - {"-"}
    assert not {word for word in words if word not in said}, shown
    assert max(map(len, shown)) <= columns, shown
