"""Which modules of commands are imported, and how values of parameters are read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from minipach.cli.app import MODULES, registered
from minipach.cli.options import EXCHANGE, PIPELINE, SLOTS, TARGETS
from minipach.cli.sections import OTHERS, add
from tests.fixtures.projects import run


@pytest.mark.parametrize("module", MODULES)
def test_a_module_registers_the_commands_of_its_row(module: str) -> None:
    assert tuple(registered(module)) == MODULES[module]


def test_every_module_with_commands_has_a_row() -> None:
    folder = Path(sys.modules["minipach.cli.app"].__file__ or "").parent
    found = {file.stem for file in folder.glob("*.py") if "\ndef register(app: typer.Typer)" in file.read_text()}
    assert found == set(MODULES)


@pytest.mark.parametrize("words", [("plan", "edges"), ("schedule", "-j", "2")])
def test_a_command_imports_its_own_module_and_not_what_checks_specs(tmp_path: Path, words: tuple[str, ...]) -> None:
    code = "import sys; from minipach.cli.app import main\ntry: main()\nfinally: print(*sys.modules)"
    done = run(sys.executable, "-c", code, *words, cwd=tmp_path)
    modules = set(done.out.split())
    assert "project" in done.err
    assert modules & {f"minipach.cli.{module}" for module in MODULES} == {f"minipach.cli.{words[0]}"}
    assert not modules & {"pydantic", "yaml", "rich", "redis", "datalad"}


def parsed(*words: str) -> Any:
    """The values that a command gets from its words; the error line where they can't be read."""
    found: list[Any] = []
    program = typer.Typer()
    program.callback()(lambda: None)

    def one(one: PIPELINE, others: TARGETS = None, number: int = 3, name: str = "x", place: Path = Path("p")) -> None:
        found.append((one, others, number, name, place))

    def several(slots: SLOTS = None) -> None:
        found.append((slots,))

    def none(words: EXCHANGE = None, name: str | None = None) -> None:
        found.append((words, name))

    add(program, OTHERS, one, several, none)
    done = CliRunner().invoke(program, words)
    return found[0] if found else (done.exit_code, done.output)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("none", (None, None)),
        ("none --name=", (None, "")),
        ("none a b --name c", (["a", "b"], "c")),
        ("one a", ("a", None, 3, "x", Path("p"))),
        ("none \udcff", (["\udcff"], None)),
        ("several -j 0", (0,)),
        ("several -j +7", (7,)),
        ("one a ü --number 4 --name 5 --place q", ("a", ["ü"], 4, "5", Path("q"))),
    ],
    ids=ascii,
)
def test_values_are_read_by_their_types(words: str, values: Any) -> None:
    assert parsed(*words.split()) == values


@pytest.mark.parametrize(
    "words", [["one"], ["one", "a", "--number", "x"], ["one", "a", "--number", ""], ["several", "-j", "-1"]]
)
def test_values_that_cannot_be_read_are_errors(words: list[str]) -> None:
    code, text = parsed(*words)
    assert code == 2 and "--help" in text
