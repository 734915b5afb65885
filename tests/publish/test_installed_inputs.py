"""Inputs that are installed in a pipeline's checkout go along with its branch, unless somebody works in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.projects import Study


def installed(study: Study) -> str:
    """What `datalad rerun` and `datalad get -n -r` do to a checkout."""
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    study.ok("datalad", "get", "-n", "-r", "edges")
    assert (study.root / "edges/inputs/images/a.txt").is_symlink()
    return study.git("edges/inputs/images", "branch", "--show-current")


@pytest.mark.slow
def test_an_installed_input_follows_and_its_record_reruns(study: Study) -> None:
    branch = installed(study)
    study.put("images/b.txt", "beta")
    done = study.minipach("schedule")
    assert "uncommitted" not in done.err
    assert study.git("edges", "status", "--porcelain") == ""
    assert study.git("edges/inputs/images", "rev-parse", "HEAD") == study.git("images", "rev-parse", "HEAD")
    assert study.git("edges/inputs/images", "branch", "--show-current") == branch
    study.ok("datalad", "rerun", cwd=study.root / "edges")
    assert study.read("edges/inputs/images/b.txt") == b"beta"
    assert study.git("edges", "status", "--porcelain") == ""

    study.git("images", "reset", "-q", "--hard", "HEAD~1")  # the history behind the link is another one now
    study.put("images/c.txt", "gamma")
    study.schedule()
    assert study.git("edges", "status", "--porcelain") == ""
    assert study.read("edges/c.txt") == b"gamma"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pull", "sync"])
def test_an_installed_input_follows_what_comes_from_others(study: Study, tmp_path: Path, command: str) -> None:
    installed(study)
    other = study.duplicate(tmp_path / "other")
    for path in (".", "images", "edges"):
        other.git(path, "remote", "add", "theirs", str(study.root / path))
    study.put("images/b.txt", "beta")
    study.schedule()
    done = other.minipach(command, "theirs", *(["--no-schedule"] if command == "sync" else []))
    assert other.git("edges", "rev-parse", "HEAD") == study.git("edges", "rev-parse", "HEAD"), done.err
    assert other.git("edges", "status", "--porcelain") == "", "a save would take the link back"
    assert other.git("edges/inputs/images", "rev-parse", "HEAD") == study.git("images", "rev-parse", "HEAD")


@pytest.mark.soak
def test_an_installed_input_with_somebodys_work_in_it_stays_and_is_no_change_of_the_pipeline(study: Study) -> None:
    installed(study)
    there = study.root / "edges/inputs/images"
    (there / "note.txt").write_text("mine\n")
    before = study.git("edges/inputs/images", "rev-parse", "HEAD")
    study.put("images/b.txt", "beta")
    study.schedule()
    assert study.git("edges/inputs/images", "rev-parse", "HEAD") == before
    assert (there / "note.txt").read_text() == "mine\n"
    done = study.minipach("plan")
    assert done.out == "edges: nothing to do\n"
    assert "uncommitted" not in done.err, "to save the old link would undo what was published"
