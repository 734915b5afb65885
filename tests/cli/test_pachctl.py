"""Commands of pachctl are answered with the command here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from minipach.cli.pachctl import VERBS, instead, table
from tests.fixtures.command_lines import complaint
from tests.fixtures.projects import MINIPACH, run

PAGE = Path(__file__).parents[2] / "docs" / "howto-from-pachyderm.md"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("list pipeline", "list pipeline: a command of pachctl, not of minipach; here: minipach status"),
        ("list jobs", "list job: a command of pachctl, not of minipach; here: minipach jobs"),
        ("create-pipeline -f x.json", "create pipeline: a command of pachctl, not of minipach; here: "),
        ("run cron tick", "run cron: a command of pachctl, not of minipach; here: minipach cron run PIPELINE"),
        ("inspect something", "inspect: a command of pachctl, not of minipach; here: minipach status"),
        ("wait commit edges@main", "wait commit: a command of pachctl, not of minipach; here: minipach wait"),
        ("diff file a b", "diff file: a command of pachctl, not of minipach; here: git -C REPO diff OLD NEW"),
    ],
)  # fmt: skip
def test_a_command_of_pachctl(typed: str, expected: str) -> None:
    line = instead(typed.split())
    assert line is not None and line.startswith(expected)


@pytest.mark.parametrize(
    "typed", ["status", "plan edges", "wait job", "diff file", "logs x", "run-one edges:a", "lst", ""]
)
def test_a_command_of_minipach(typed: str) -> None:
    assert instead(typed.split()) is None


def test_the_answer_is_an_error(tmp_path: Path) -> None:
    for before in ((), ("-C", str(tmp_path))):
        done = run(*MINIPACH, *before, "list", "pipeline", cwd=tmp_path)
        assert (done.code, done.out) == (2, "")
        assert done.err == "list pipeline: a command of pachctl, not of minipach; here: minipach status\n"


@pytest.mark.parametrize(("words", "text"), VERBS.items())
def test_what_is_named_exists(words: tuple[str, str], text: str) -> None:
    for named in re.findall(r"minipach ((?:--)?[a-z][^,;()]*)", text):
        typed = re.split(r" (?:for|frees|in|from|to|at) ", named)[0].strip()
        if not typed.startswith(("works", "--version")):
            assert complaint(shlex.split(typed)) is None, typed


def test_the_page_has_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")
