"""The structure of the sources: what import-linter does not check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = sorted(
    path for path in (ROOT / "minipach").rglob("__init__.py") if path.parent.name not in ("minipach", "cli")
)


def imports(file: Path) -> set[str]:
    """Return the modules that a file imports, as far as they are named in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_test_imports_from_another_test(file: Path) -> None:
    others = [name for name in imports(file) if name.startswith("tests.") and ".test_" in name]
    assert others == [], "what several tests need is in tests/fixtures"


@pytest.mark.parametrize("file", PACKAGES, ids=lambda file: str(file.parent.relative_to(ROOT)))
def test_a_package_begins_with_a_docstring_and_nothing_else(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree) and len(tree.body) == 1


def test_each_folder_of_tests_is_a_package() -> None:
    folders = {file.parent for file in TESTS}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
