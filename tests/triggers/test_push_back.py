"""Results go back to bare repositories: contents first, no ref that names what is not there, no loop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.triggers import hooks
from minipach.triggers.passes import answer_requests
from minipach.triggers.push_back import push_back
from tests.fixtures.passes import Kept
from tests.fixtures.projects import Study, run


def bare_of(study: Study, repo: str, folder: Path) -> Path:
    """Make a bare repository with an annex and the branch of a repo, and name it."""
    there = folder / f"{repo.replace('/', '-').replace('.', 'super')}.git"
    study.ok("git", "init", "-q", "--bare", str(there))
    study.git(repo, "remote", "add", "store", str(there))
    branch = study.git(repo, "symbolic-ref", "--short", "HEAD")
    study.git(repo, "push", "-q", "store", branch, "git-annex")
    study.ok("git", "annex", "init", "-q", cwd=there)
    hooks.install(Project(study.root), str(there))
    return there


def one_pass(study: Study) -> Kept:
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    with state.heard.open("a") as file:
        file.write("x\n")
    kept = Kept()
    answer_requests(study.root, kept)
    return kept


def head(folder: Path) -> str:
    return run("git", "rev-parse", "--verify", "-q", "HEAD", cwd=folder).out.strip()


@pytest.mark.slow
def test_results_go_back_with_their_contents(study: Study, tmp_path: Path) -> None:
    study.copier()
    study.put("images/a", "a" * 100)
    study.schedule()
    bare = bare_of(study, "edges", tmp_path)
    top = bare_of(study, ".", tmp_path)
    study.put("images/b", "b" * 100)
    before = head(top)
    one_pass(study)
    assert head(bare) == study.git("edges", "rev-parse", "HEAD")
    study.ok("git", "clone", "-q", str(bare), str(tmp_path / "clone"))
    study.ok("git", "annex", "get", "-q", "a", "b", cwd=tmp_path / "clone")
    assert (tmp_path / "clone/b").read_text() == "b" * 100
    assert not (Project(study.root).local.heard).exists()  # the push started no pass
    assert head(top) == before  # images, which it names, is in no bare repository
    assert f"git -C {study.root}/images push store HEAD" in str(one_pass(study).events)
    elsewhere = tmp_path / "elsewhere.git"  # a remote that nobody finds who clones the superdataset
    study.ok("git", "clone", "-q", "--bare", str(study.root / "images"), str(elsewhere))
    study.git("images", "remote", "add", "elsewhere", str(elsewhere))
    study.git("images", "fetch", "-q", "elsewhere")
    one_pass(study)
    assert head(top) == before
    bare_of(study, "images", tmp_path)
    one_pass(study)
    assert head(top) == study.git(".", "rev-parse", "HEAD")


@pytest.mark.slow
def test_refused_pushes_change_nothing_and_are_reported(study: Study, tmp_path: Path) -> None:
    study.copier()
    study.put("images/a", "a" * 100)
    study.schedule()
    bare = bare_of(study, "edges", tmp_path)
    objects = bare / "annex/objects"
    objects.write_text("no folder")
    study.put("images/b", "b" * 100)
    before = head(bare)
    one_pass(study)
    (problem,) = json.loads(Project(study.root).local.looked.read_text())["problems"]
    assert problem["code"] == "push.content-not-sent" and "pull" not in problem["fix"] and head(bare) == before
    objects.unlink()
    hook = bare / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    problems = push_back(Project(study.root), Kept())
    assert problems and all("\n" not in str(problem) for problem in problems) and head(bare) == before
    hook.unlink()
    assert push_back(Project(study.root), Kept()) == ()
    assert head(bare) == study.git("edges", "rev-parse", "HEAD")
    (bare / "hooks/post-receive").unlink(missing_ok=True)  # no pass may take theirs in before ours moves
    study.ok("git", "clone", "-q", str(bare), str(tmp_path / "clone"))
    study.ok("git", "commit", "-q", "--allow-empty", "-m", "theirs", cwd=tmp_path / "clone")
    study.ok("git", "push", "-q", cwd=tmp_path / "clone")
    study.put("images/c", "c" * 100)
    study.schedule()  # ours moves meanwhile
    study.git("edges", "fetch", "-q", "store")
    (problem,) = push_back(Project(study.root), Kept())
    assert (problem.code, problem.fix) == ("push.diverged", "minipach sync")
    study.git("edges", "remote", "remove", "store")
    assert push_back(Project(study.root), Kept()) == ()
