"""A launcher is one file of the standard library, made of whole parts."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from minipach.execution import launcher
from minipach.execution.compose_launcher import compose, part_names, read_part

FOLDER = Path(launcher.__path__[0])
ALL = compose(*part_names())


def top_level(tree: ast.Module) -> list[str]:
    """Return the names that a module defines itself."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            found += [
                item.id
                for item in ast.walk(target)
                if isinstance(item, ast.Name) and not isinstance(item.ctx, ast.Load)
            ]
    return found


def test_each_part_is_in_the_file_as_it_is() -> None:
    whole = {ast.dump(node) for node in ast.parse(ALL).body}
    for name in part_names():
        tree = ast.parse((FOLDER / f"{name}.py").read_text())
        own = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert {ast.dump(node) for node in own} <= whole, name


def test_no_two_parts_define_one_name() -> None:
    names = [name for part in part_names() for name in top_level(ast.parse((FOLDER / f"{part}.py").read_text()))]
    assert sorted(set(names)) == sorted(names)


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse(ALL, feature_version=(3, 9))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in imported if isinstance(node, ast.ImportFrom)}
    assert froms == {"__future__"}
    assert modules <= sys.stdlib_module_names


@pytest.mark.parametrize("gone", ["", "_signal"])
def test_signals_need_no_undocumented_module(gone: str) -> None:
    code = "import signal, sys; sys.modules.update(dict.fromkeys(sys.argv[1].split()))\n"
    code += "names = {'__name__': 'launch'}; exec(sys.stdin.read(), names); print(names['signal'].__name__)"
    words = [sys.executable, "-I", "-S", "-c", code, gone]
    done = subprocess.run(words, input=ALL.decode(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("signal\n" if gone else "_signal\n", "")


def test_the_same_parts_give_the_same_bytes() -> None:
    assert compose("podman", "batches") == compose("batches", "podman", "podman")


def test_what_is_no_part_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minipach.execution.compose_launcher._text", lambda name: "import os\n")
    with pytest.raises(ValueError, match=r"other.py: a part begins with a docstring"):
        read_part("other")
