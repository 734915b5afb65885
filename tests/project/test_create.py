"""A new project, made or adopted."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fixtures.projects import MINIPACH, Study, run


def init(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = run(*MINIPACH, "init", *arguments, cwd=folder)
    return done.code, done.out, done.err


def test_init_makes_a_project_and_says_what_it_did(tmp_path: Path) -> None:
    code, out, _ = init(tmp_path, "study")
    assert code == 0
    assert f"made the superdataset {tmp_path / 'study'}\n" in out
    assert "next: datalad create -d . images" in out
    study = Study(tmp_path / "study")
    assert study.git(".", "status", "--porcelain") == ""
    assert study.git(".", "config", "--file", ".datalad/config", "minipach.project.version") == "1"
    assert "annex.backend=SHA256E" in study.git(".", "show", "HEAD:.gitattributes")
    head = study.git(".", "rev-parse", "HEAD")
    code, out, _ = init(tmp_path, "study")
    assert (code, out) == (0, f"{tmp_path / 'study'} is a minipach project already\n")
    assert study.git(".", "rev-parse", "HEAD") == head


def test_init_adopts_a_superdataset(tmp_path: Path) -> None:
    study = Study(tmp_path / "old")
    study.root.mkdir()
    study.ok("datalad", "create", "--force", ".")
    (study.root / "notes.txt").write_text("mine\n")
    before = study.git(".", "rev-parse", "HEAD")
    code, out, err = init(study.root)
    assert code == 0, err
    assert out.startswith("marked it as a minipach project in .datalad/config\n")
    assert study.git(".", "rev-parse", "HEAD^") == before
    assert study.git(".", "diff", "--name-only", "HEAD^") == ".datalad/config"
    assert study.git(".", "status", "--porcelain") == "?? notes.txt"


def test_init_touches_nothing_that_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    code, _, err = init(tmp_path, "full")
    assert (code, err.count("\n")) == (2, 1)
    assert "not empty. Fix: datalad create --force" in err
    assert os.listdir(tmp_path / "full") == ["file"]
    (tmp_path / "repo").mkdir()
    run("git", "init", "-q", cwd=tmp_path / "repo")
    code, _, err = init(tmp_path, "repo")
    assert (code, err.count("\n")) == (2, 1)
    assert "a git repository, but no dataset. Fix: datalad create --force" in err
    code, _, err = init(tmp_path, "full/file")
    assert code == 2
    assert "a file, not a folder" in err
