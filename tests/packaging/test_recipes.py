"""The recipe of conda-forge and the formula of Homebrew: version and dependencies are those of the package."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from minipach import __version__

ROOT = Path(__file__).parents[2]
DIGEST = "0" * 64


def module(path: str) -> ModuleType:
    """A script of the project as a module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def recipes() -> ModuleType:
    """packaging/recipes.py."""
    return module("packaging/recipes.py")


@pytest.fixture(autouse=True)
def _addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASE_ADDRESS", "https://files.example.org/minipach-@VERSION@.tar.gz")
    monkeypatch.setenv("RELEASE_HOMEPAGE", "https://minipach.example.org")


def test_an_address_that_is_not_known_keeps_its_place(recipes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'url "https://files.example.org/minipach-' in recipes.formula(__version__, DIGEST)
    monkeypatch.delenv("RELEASE_ADDRESS")
    assert 'url "@ADDRESS@"' in recipes.formula(__version__, DIGEST)
    assert '"https://minipach.example.org"' in recipes.recipe(__version__, DIGEST)


def test_the_recipe_has_the_version_and_the_dependencies(recipes: ModuleType) -> None:
    data = yaml.safe_load(recipes.recipe(__version__, DIGEST))
    assert data["context"] == {"version": __version__, "python_min": "3.11"}
    assert data["source"]["sha256"] == DIGEST
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    rows = {row.split()[0]: row.partition(" ")[2] for row in data["requirements"]["run"]}
    assert rows.keys() - {"python", "git"} == {recipes.for_conda(one.name) for one in wanted}
    for one in wanted:
        assert rows[recipes.for_conda(one.name)] == str(one.specifier)
    points = [f"{name} = {where}" for name, where in project["scripts"].items()]
    assert data["build"]["python"]["entry_points"] == points
    assert "@" not in recipes.recipe(__version__, DIGEST)


def test_the_formula_has_the_version(recipes: ModuleType) -> None:
    text = recipes.formula(__version__, DIGEST)
    assert f"minipach-{__version__}.tar.gz" in text
    assert f'sha256 "{DIGEST}"' in text
    assert not re.search(r"@[A-Z]+@", text)
    opened = len(re.findall(r"^\s*(?:class|def|test do)\b", text, re.MULTILINE))
    assert opened == len(re.findall(r"^\s*end$", text, re.MULTILINE)), "every block has its end"


def test_both_are_written_with_the_hash_of_the_sdist(recipes: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "minipach-9.9.tar.gz").write_bytes(b"sdist")
    for path in recipes.write("9.9", tmp_path / "minipach-9.9.tar.gz", tmp_path):
        assert hashlib.sha256(b"sdist").hexdigest() in path.read_text()
        assert "9.9" in path.read_text()


def test_sign_off_turns_unreleased_changes_into_a_section() -> None:
    release = module("docs/release.py")
    text = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.0.1] - 2026-01-01\n\n- old\n"
    after = release.signed_off(text, "0.1.0", "2026-11-30")
    assert release.changes(after, "0.1.0") == "- new"
    assert release.changes(after, "0.0.1") == "- old"
    assert "## [Unreleased]\n\n## [0.1.0] - 2026-11-30\n" in after
    with pytest.raises(SystemExit, match="has a section"):
        release.signed_off(after, "0.1.0", "2026-12-01")
    with pytest.raises(SystemExit, match="no changes"):
        release.signed_off(after, "0.2.0", "2026-12-01")
