"""The structure of the sources: what import-linter does not check."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.executors.registry import BACKENDS

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
_POINT = re.compile(r'"(minipach(?:\.\w+)+):([A-Za-z_][\w.]*)"')
MODULES = [
    file for file in sorted((ROOT / "minipach").rglob("*.py")) if "templates/specs/" not in file.as_posix()
]  # those are files of users
PACKAGES = sorted(
    path for path in (ROOT / "minipach").rglob("__init__.py") if path.parent.name not in ("minipach", "cli")
)


# The executors and their programs, and files that may name them: paths on disk, and words of helps.
_ENGINES = "|".join(("redis", "kubectl", "sbatch", "squeue", "argo", *(name for name in BACKENDS if name != "local")))
_NAMED = re.compile(rf"(?<![a-z])({_ENGINES})(?![a-z])", re.IGNORECASE)
_MAY_NAME_ENGINES = {
    *("cli/export.py", "cli/plan.py", "cli/project.py", "cli/reference.py", "cli/schedule.py"),  # helps, `export argo`
    "cli/worker.py",  # the command of RQ
    "model/local_state.py",  # one home for each path
    "spec/schema.py",  # fields that Pachyderm has for Kubernetes
}
# Tests of several modules of their package; all others are named after a module or a package.
_SUBJECTS = {
    *("cli/test_terminal", "console/test_browser", "console/test_watching", "experiments/test_optuna_example"),
    *("datums/test_cases", "executors/test_contract"),
    *("executors/test_engines_failures", "executors/test_grace_periods", "executors/kubernetes/test_any_cluster"),
    "execution/launcher/test_sandbox",
    *("planning/test_exclude", "provenance/test_explain", "provenance/test_exports", "spec/test_pachyderm_specs"),
    *("storage/test_store_failures", "support/test_problem_codes", "triggers/test_drop_example"),
    *("triggers/test_example", "triggers/test_lost_events"),
}
_NO_PACKAGES = ("chaos", "docs", "e2e", "fixtures", "packaging")


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


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the names and texts of a module, without its docstrings and comments."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0] if node.body else None, ast.Expr)
    }
    for node in ast.walk(tree):
        text = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, ast.Constant) and id(node) not in docs:
            text = node.value
        if isinstance(text, str):
            yield getattr(node, "lineno", 0), text


def test_no_module_outside_executors_names_an_engine() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in MODULES
        if (name := file.relative_to(ROOT / "minipach").as_posix()) not in _MAY_NAME_ENGINES
        and not name.startswith("executors/")
        for line, text in names(parsed(file))
        if _NAMED.search(text.replace("_", " ").replace("rm -rq", ""))
    ]
    assert found == [], "executors/registry.py answers what differs"


def test_only_the_command_line_prints() -> None:
    # `templates/ask_*` are programs of their own, which answer on stdout
    may = {"support/messages.py", "execution/run_set.py", "environment/host_python.py", "spec/reference.py"}
    found = [
        f"{name}:{node.lineno}"
        for file in MODULES
        if (name := file.relative_to(ROOT / "minipach").as_posix()) not in may
        and not name.startswith(("cli/", "templates/ask_"))
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == [], "modules log or report events"


def test_a_module_and_its_tests_have_one_name() -> None:
    found = []
    for file in TESTS:
        package, name = file.relative_to(ROOT / "tests").parent, file.stem
        if not name.startswith("test_") or package == Path() or package.parts[0] in _NO_PACKAGES:
            continue
        subject = f"{package.as_posix()}/{name}"
        there = ROOT / "minipach" / package
        modules = {path.stem for path in there.iterdir() if path.suffix == ".py" or not path.suffix} | {package.name}
        begins = [module for module in modules if f"{name}_".startswith(f"test_{module}_")]
        if not begins and subject not in _SUBJECTS:
            found.append(subject)
    assert found == []


@pytest.mark.parametrize(
    ("module", "name"),
    sorted({named for file in TESTS for named in _POINT.findall(file.read_text(encoding="utf-8"))}),
    ids=":".join,
)
def test_what_tests_name_by_text_is_there(module: str, name: str) -> None:
    """A test that kills a process at `module:function` may be slow, and would be the last to say so."""
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)


def test_no_two_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for file in MODULES:
        if "execution/launcher/" in file.as_posix():
            continue  # a program of its own, which imports nothing of minipach
        for node in parsed(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(file.relative_to(ROOT / "minipach").as_posix())
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_each_folder_of_tests_is_a_package() -> None:
    folders = {file.parent for file in TESTS}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
