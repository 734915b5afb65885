"""Files of a project that have the names of Python's modules: no process of minipach on the host may import them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import minipach
from tests.fixtures.launchers import wait_until
from tests.fixtures.projects import Study, run

# all that Python itself, minipach and datalad import
NAMES = sorted({*sys.stdlib_module_names, "minipach", "datalad", "datalad_container", "git_annex", "redis", "typer"})
STARTS = re.compile(r'(?:executable|python3"|python"),? "?-m\b')


def plant(study: Study, mark: Path) -> None:
    """Each of the files leaves a mark if a Python on the host imports it."""
    for folder in (".", "images", "edges", "edges/code"):
        for name in NAMES:
            text = f"open({str(mark)!r}, 'a').write({name!r} + '\\n')\nraise SystemExit(7)\n"
            (study.root / folder / f"{name}.py").write_text(text)


def prepared(root: Path) -> Study:
    study = Study.create(root / "study")
    study.put("images/a.txt", "1\n")
    study.copier()
    return study


def test_no_file_of_a_project_is_imported(tmp_path: Path) -> None:
    study, mark = prepared(tmp_path), tmp_path / "imported"
    plant(study, mark)
    for place in (".", "edges"):
        run("minipach", "schedule", cwd=study.root / place)
    assert not mark.exists(), mark.read_text()
    assert "a.txt" in study.outputs("edges")


def test_no_file_of_a_project_is_imported_by_its_hooks(tmp_path: Path) -> None:
    study, mark = prepared(tmp_path), tmp_path / "imported"
    study.ok("minipach", "hooks", "install")
    plant(study, mark)
    study.ok("git", "commit", "--quiet", "--allow-empty", "-m", "more", cwd=study.root / "images")
    wait_until(lambda: mark.exists() or "a.txt" in study.outputs("edges"))
    assert not mark.exists(), mark.read_text()


def test_each_python_that_is_started_ignores_the_folder_it_works_in() -> None:
    """`python -m` looks there first, before its own library. `-P` leaves it out."""
    root = Path(minipach.__file__).parent
    sources = [path for path in root.rglob("*") if path.is_file() and path.suffix in ("", ".py", ".sh")]
    lines = [(path, line) for path in sources for line in path.read_text().splitlines()]
    assert sum('"-P", "-m"' in line for _, line in lines) > 5
    assert not [f"{path.relative_to(root)}: {line.strip()}" for path, line in lines if STARTS.search(line)]
