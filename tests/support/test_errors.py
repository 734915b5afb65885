"""Trouble: what a user must mend is one line each on stderr, and a documented exit code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer

from minipach.cli.common import INTERRUPTED, USER, colours, guarded, paint, say, show, show_json
from minipach.git.git_error import GitError
from minipach.support.errors import Problem, UserError, each_once


def test_one_problem_or_many() -> None:
    one, two = Problem("spec.bad-value", "a", "b", "c"), Problem("spec.bad-value", "", "d")
    assert UserError(one).problems == (one,)
    assert UserError([one, two]).problems == (one, two)
    assert str(UserError([one, two])) == "a: b. Fix: c\nd"
    assert str(Problem("x.y", "a", "Stop.", "c")) == "a: Stop. Fix: c"
    assert str(Problem("x.y", "a", "Is it?", "c")) == "a: Is it? Fix: c"
    assert (one.what, str(one.within("x")), str(two.within("x"))) == ("a: b", "x: a: b. Fix: c", "x: d")


def test_problems_are_in_the_order_of_their_files_and_lines_and_none_is_there_twice() -> None:
    at = [f"{file}:{line}:{column}" for file in "ab" for line in (2, 10) for column in (3, 20)]
    problems = [Problem("x.y", location, "m") for location in at]
    assert each_once([*reversed(problems), problems[0]]) == tuple(problems)


def code_of(error: BaseException) -> int:
    """The exit code that a command ends with if this happens in it."""

    @guarded
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as caught:
        command()
    return caught.value.exit_code


def test_every_problem_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(UserError(["edges/spec.yml:1:1: one", "edges/spec.yml:2:1: two"])) == USER == 2
    assert capsys.readouterr() == ("", "edges/spec.yml:1:1: one\nedges/spec.yml:2:1: two\n")


def test_with_json_problems_are_data(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("option.conflict", "--a", "excludes --b", "leave one of them out")

    @guarded
    def command(*, as_json: bool) -> None:
        raise UserError(problem)

    for as_json in (True, False):
        with pytest.raises(typer.Exit):
            command(as_json=as_json)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"schema": 1, "problems": [problem.as_json()]}
    assert err == "--a: excludes --b. Fix: leave one of them out\n" * 2


def test_an_interrupt_has_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(KeyboardInterrupt()) == INTERRUPTED == 130
    assert "interrupted" in capsys.readouterr().err


def test_trouble_with_git_or_the_disk_is_said_without_a_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert code_of(GitError(tmp_path, ["show", "x"], 128, "fatal: bad object x\n")) == USER
    assert code_of(PermissionError(13, "Permission denied", "spec.yml")) == USER
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"minipach: {tmp_path}: git show x failed (128): fatal: bad object x"
    assert "spec.yml" in lines[1]
    assert len(lines) == 2


def test_a_mistake_of_ours_is_not_hidden() -> None:
    @guarded
    def command() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command()


def test_a_command_that_ends_well_returns_what_it_returns() -> None:
    @guarded
    def command(x: int) -> int:
        return x + 1

    assert command(1) == 2


def test_text_from_data_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mred\x07\rb\udcffü")
    assert capsys.readouterr().err == "a\\x1b[31mred\\x07\\rb\\udcffü\n"


def test_odd_bytes_do_not_stop_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    show("name \udcff")
    show_json({"name": "\udcff ü"})
    text, data = capsys.readouterr().out.splitlines()
    assert text == "name \\udcff"
    assert json.loads(data) == {"name": "\udcff ü"}


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert colours(Terminal())
    assert not colours(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not colours(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(Terminal())
    assert paint("text", "31") == "text"
