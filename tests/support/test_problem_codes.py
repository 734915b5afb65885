"""Every kind of problem: its code, and its sentence. Other tests compare codes; a sentence changes here alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import minipach

PACKAGE = Path(minipach.__file__).parent
TESTS = Path(__file__).parents[1]
PAGE = PACKAGE.parent / "docs" / "problems.md"
CODE = re.compile(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*")
_HEAD = """\
# Problems

The code, the message and the fix of each problem that a command reports (exit code 2). `...` stands for a value. With
`--json`, a problem is an object with these three and its location (see [commands](commands.md)). Codes are stable.

Written by `python -m tests.support.test_problem_codes`.

| code | message | fix |
|---|---|---|
"""


def found() -> Iterator[tuple[str, str, str]]:
    """Code, message and fix of each problem in the sources."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(text := file.read_text())
        lines = text.splitlines()
        for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]:
            values: dict[str, list[ast.Assign]] = {}
            for node in _inside(scope):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    values.setdefault(node.targets[0].id, []).append(node)
            for node in _inside(scope):
                if isinstance(node, ast.Call):
                    line = lines[node.lineno - 1]
                    row = _row(node, values, len(line) - len(line.lstrip()))
                    if row is not None:
                        yield row


def _inside(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module or function, in order, without those of the functions in it."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _inside(node)


def _row(call: ast.Call, values: dict[str, list[ast.Assign]], indent: int) -> tuple[str, str, str] | None:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name == "Problem" and len(call.args) > 2 and isinstance(call.args[0], ast.Constant):
        code, _, *texts = call.args
    elif name == "add" and len(call.args) > 2 and isinstance(call.args[1], ast.Constant):  # of `spec.Document`
        _, code, *texts = call.args
    else:
        return None
    message, fix = (*(_text(_value(node, values, call.lineno, indent)) for node in texts), "")[:2]
    return (str(code.value), message, fix) if isinstance(code, ast.Constant) else None


def _value(node: ast.expr, values: dict[str, list[ast.Assign]], line: int, indent: int) -> ast.expr:
    """The text that a local variable has, if it has only one, or got its last one just before in the same block."""
    found = values.get(node.id, []) if isinstance(node, ast.Name) else []
    before = [one for one in found if one.lineno < line]
    if not before:
        return node
    near = line - before[-1].lineno < 5 and indent == before[-1].col_offset > 4
    return before[-1].value if len(found) == 1 or near else node


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "..." for v in node.values)
    return "..."


def page() -> str:
    rows = sorted(set(found()))
    cells = [[f"`{code}`", *(text.replace("|", "\\|").replace("<", "&lt;") for text in texts)] for code, *texts in rows]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in cells)


def test_codes_are_well_formed() -> None:
    codes = {code for code, _, _ in found()}
    assert len(codes) > 150
    assert [code for code in codes if not CODE.fullmatch(code)] == []


def test_messages_and_fixes_are_phrases_without_a_stop_and_apart_from_each_other() -> None:
    for code, message, fix in found():
        assert message and not re.search(r"[^.][.;:]$", message), (code, message)
        assert not fix.startswith((";", "Fix:")) and "Fix:" not in message, (code, fix)


@pytest.mark.slow
def test_the_page_lists_every_problem() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.test_problem_codes writes it"


def test_no_user_error_is_raised_with_a_bare_sentence() -> None:
    bare = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "UserError"
        and isinstance(node.args[0], ast.Constant | ast.JoinedStr | ast.BinOp)
    ]
    assert bare == []


_COMMANDS = {"git", "datalad", "minipach", "annex", "pip", "apt", "remote"}
_OTHERS = ("support/", "execution/")  # the one place of sentences, and messages of the launcher, which are no problems
_RUN = 4  # words in a row that are taken for a part of a sentence


def runs(text: str) -> set[str]:
    """Each run of words of a text, as far as they are words of a sentence and not of a command."""
    found = set()
    for part in re.findall(r"[A-Za-z']+(?: [A-Za-z']+)+", text):
        words = part.split()
        for at in range(len(words) - _RUN + 1):
            run = words[at : at + _RUN]
            if not _COMMANDS & set(run) and all(word.islower() or at == 0 for word in run):
                found.add(" ".join(run))
    return found


def asserted(module: str) -> Iterator[tuple[int, str]]:
    """The texts that a test compares with: those in its assertions, and those of `match=`."""
    for node in ast.walk(ast.parse(module)):
        inside = node.test if isinstance(node, ast.Assert) else None
        if isinstance(node, ast.keyword) and node.arg == "match":
            inside = node.value
        for text in ast.walk(inside) if inside is not None else ():
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.lineno, text.value


def test_tests_compare_codes_and_values_not_sentences() -> None:
    """`tests/fixtures/refusals.py` and `Done.reports` do so. A sentence changes in the source and on the page alone."""
    known = {
        run for row in PAGE.read_text().splitlines() if row.startswith("| `") for run in runs(row.split("` |", 1)[1])
    }
    found = [
        f"{file.relative_to(TESTS)}:{line}: {text!r}"
        for file in sorted(TESTS.rglob("test_*.py"))
        if not str(file.relative_to(TESTS)).startswith(_OTHERS)
        for line, text in asserted(file.read_text())
        if runs(text) & known
    ]
    assert found == []


def test_a_sentence_is_found() -> None:
    assert runs('edges: no branch "x" in the project; wait until it ends, git -C x commit') == {"wait until it ends"}
    module = 'assert "it waits until it ends" in err\nraises(E, match="no such thing here")\nx = "not this one here"\n'
    assert [line for line, _ in asserted(module)] == [1, 2]


if __name__ == "__main__":
    PAGE.write_text(page())
