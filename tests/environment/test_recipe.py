"""The files of a recipe, and when they are another recipe."""

from __future__ import annotations

import pytest

from minipach.environment.recipe import ImageRecipe, digest_in, read_recipe
from minipach.project.project import Project
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


def recipe(study: Study, name: str) -> ImageRecipe:
    """Read a recipe of the pipeline `edges`."""
    return read_recipe(Project(study.root), "edges", name, "edges/spec.yml:1:1")


def paths(found: ImageRecipe) -> list[str]:
    """The files that count."""
    return [file.path for file in found.files]


def test_beside_a_spec_only_what_is_included_counts(study: Study) -> None:
    study.copier()
    folder = study.root / "edges"
    (folder / "requirements.txt").write_text("-r base.txt\n--constraint=pins.txt\nsix\n")
    (folder / "base.txt").write_text("numpy\n")
    (folder / "pins.txt").write_text("numpy<3\n")
    assert paths(recipe(study, "requirements.txt")) == ["base.txt", "pins.txt", "requirements.txt"]
    before = recipe(study, "requirements.txt").digest
    (folder / "spec.yml").write_text((folder / "spec.yml").read_text() + "# more\n")
    assert recipe(study, "requirements.txt").digest == before
    (folder / "base.txt").write_text("numpy==2\n")
    assert recipe(study, "requirements.txt").digest != before


def test_in_a_folder_of_its_own_all_files_count(study: Study) -> None:
    study.copier()
    folder = study.root / "edges/env"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "tool").write_text("x")
    found = recipe(study, "env/Dockerfile")
    assert paths(found) == ["Dockerfile", "tool"]
    assert digest_in(found.describe()) == found.digest


def test_a_recipe_at_the_projects_root_serves_several_pipelines(study: Study) -> None:
    study.copier()
    study.put("requirements.txt", "six\n", save=False)
    study.save(".")
    assert paths(recipe(study, "requirements.txt")) == ["requirements.txt"]
    assert recipe(study, "../requirements.txt").digest == recipe(study, "requirements.txt").digest


def test_the_same_files_are_the_same_recipe_once_committed(study: Study) -> None:
    study.copier()
    (study.root / "edges/requirements.txt").write_text("six\n")
    before = recipe(study, "requirements.txt")
    study.ok("datalad", "create", "-d", ".", "--force", "-c", "text2git", "edges")
    study.save("edges")
    after = recipe(study, "requirements.txt")
    assert (before.is_committed, after.is_committed) == (False, True)
    assert before.digest == after.digest


def test_a_recipe_that_the_superdataset_has_annexed(study: Study) -> None:
    study.copier()
    study.put("edges/environment.lab.yml", "dependencies: []\n", save=False)
    study.ok("git", "annex", "add", "--force-large", "edges/environment.lab.yml")
    there = study.root / "edges/environment.lab.yml"
    assert there.is_symlink()
    found = recipe(study, "environment.lab.yml")
    assert paths(found) == ["environment.lab.yml"]
    assert found.stage(study.root.parent / "staged").read_text() == "dependencies: []\n"
    study.ok("git", "annex", "drop", "--force", "edges/environment.lab.yml")
    with refused("image.content-missing", there):
        recipe(study, "environment.lab.yml")


@pytest.mark.parametrize("line", ["-r ../../secret.txt", "-r /etc/passwd", "--requirement missing.txt", "-r $(id)"])
def test_what_is_included_must_lie_beside_it(study: Study, line: str) -> None:
    study.copier()
    (study.root / "edges/requirements.txt").write_text(line + "\n")
    with refused("environment.no-such-file", None, "requirements.txt"):
        recipe(study, "requirements.txt")


@pytest.mark.parametrize("name", ["requirements.txt", "../../requirements.txt", "env/uv.lock"])
def test_a_recipe_that_is_not_there(study: Study, name: str) -> None:
    study.copier()
    with refused("environment.no-such-file", None, name):
        recipe(study, name)
