"""`output_branch`: results go to a branch of their own, and are released when somebody says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minipach.environment.image import resolve_image
from minipach.project.project import find_project
from tests.fixtures.projects import Study

COPIER = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\n'


@pytest.fixture
def deferred(tmp_path: Path) -> Study:
    """`edges` on the branch main, with results on dev; `after` takes what is on master."""
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha")
    study.ok("datalad", "create", "-d", ".", "edges")
    study.git("edges", "branch", "-M", "main")
    study.copier(more="output_branch: dev\n")
    study.save("edges")
    study.copier("after", repo="edges")
    spec = study.root / "after" / "spec.yml"
    spec.write_text(spec.read_text().replace("glob:", "branch: master, glob:"))
    return study


def files(study: Study, branch: str) -> dict[str, bytes]:
    """The outputs of edges on a branch, with their content."""
    names = study.git("edges", "ls-tree", "--name-only", branch).split("\n")
    found = {}
    for name in names:
        if name.endswith(".txt"):
            key = study.git("edges", "cat-file", "blob", f"{branch}:{name}").rpartition("/")[2]
            where = study.git("edges", "annex", "contentlocation", key)
            found[name] = (study.root / "edges" / where).read_bytes()
    return found


@pytest.mark.slow
def test_results_are_deferred_until_they_are_released(deferred: Study) -> None:
    study = deferred
    main = study.git("edges", "rev-parse", "main")
    here = f"git -C {study.root}/edges"

    done = study.minipach("schedule")
    assert (done.code, files(study, "dev")) == (2, {"a.txt": b"alpha"})
    assert done.reports("input.no-such-branch", None, '"master"', f"{here} branch master dev")
    assert study.git("edges", "symbolic-ref", "--short", "HEAD") == "main"
    assert study.git("edges", "rev-parse", "HEAD") == main, "the branch that is checked out is left alone"
    assert study.git("edges", "status", "--porcelain") == "" and not (study.root / "edges/a.txt").exists()
    assert study.git("edges", "merge-base", "main", "dev") == main

    study.copier("wrong", repo="edges")
    done = study.minipach("datums", "wrong")
    assert " dev" in done.err and "`branch`" in done.err
    shutil.rmtree(study.root / "wrong")
    note = (
        "note: edges/spec.yml:3:16: results go to the branch dev, and edges has main checked out, which stays as it is"
    )
    assert note in study.minipach("check", "edges").err.splitlines()

    study.git("edges", "branch", "-f", "master", "dev")
    assert study.schedule()["after"]["state"] == "published"
    assert study.read("after/a.txt") == b"alpha"
    assert study.minipach("schedule").out == "nothing to do\n"
    assert study.git(".", "status", "--porcelain") == "", "the superdataset has what is checked out"

    study.put("images/b.txt", "beta")
    assert study.schedule()["edges"]["state"] == "published"
    assert files(study, "dev") == {"a.txt": b"alpha", "b.txt": b"beta"}
    assert files(study, "master") == {"a.txt": b"alpha"}
    assert not (study.root / "after/b.txt").exists(), "not released yet"
    assert study.plan()["after"]["counts"]["current"] == 1 and "waits" not in study.plan()["after"]

    # an edit of the code is committed to main, and counts
    study.put("edges/code/copy.sh", 'tr a-z A-Z <"$images" >"$PFS/out/${images##*/}"\n')
    assert study.schedule()["edges"]["state"] == "published"
    assert files(study, "dev") == {"a.txt": b"ALPHA", "b.txt": b"BETA"}
    assert study.git("edges", "diff", "main", "dev", "--", "code") == ""
    study.git("edges", "branch", "-f", "master", "dev")
    study.schedule()
    assert (study.read("after/a.txt"), study.read("after/b.txt")) == (b"ALPHA", b"BETA")

    # the branch checked out can be brought along by a fast-forward, and a record repeated there
    study.git("edges", "merge", "-q", "--ff-only", "dev")
    assert study.read("edges/b.txt") == b"BETA"
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_the_branch_that_is_checked_out_is_no_other(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.ok("datalad", "create", "-d", ".", "edges")
    current = study.git("edges", "branch", "--show-current")
    study.copier(more=f"output_branch: {current}\n")
    study.save("edges")
    study.schedule()
    assert study.read("edges/a.txt") == b"alpha"


@pytest.mark.slow
def test_a_branch_that_comes_later_has_what_is_current(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    study.copier(more="output_branch: dev\n")
    study.save("edges")
    assert study.schedule()["edges"]["counts"]["ran"] == 0
    assert files(study, "dev") == {"a.txt": b"alpha"}


@pytest.mark.slow
def test_another_worktree_has_the_branch(study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    study.copier(more="output_branch: dev\n")
    study.schedule()
    study.git("edges", "worktree", "add", "-q", str(tmp_path / "tree"), "dev")
    study.put("images/b.txt", "beta")
    done = study.minipach("schedule")
    assert done.code == 2 and done.reports("branch.in-another-worktree", "edges")
    study.ok("git", "switch", "-q", "--detach", cwd=tmp_path / "tree")
    assert study.schedule()["edges"]["counts"]["ran"] == 0, "nothing is computed twice"
    assert files(study, "dev").keys() == {"a.txt", "b.txt"}


@pytest.mark.slow
def test_a_project_of_pachyderm_is_a_folder_of_datasets(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "images", "other/images")
    study.put("images/own.txt", "alpha")
    study.put("other/images/theirs.txt", "beta", save=False)
    study.ok("datalad", "save", "-d", "other/images")
    for project, seen in (("other", "theirs.txt"), ("default", "own.txt"), ("''", "own.txt")):
        study.copier()
        spec = study.root / "edges" / "spec.yml"
        spec.write_text(spec.read_text().replace("glob:", f"project: {project}, glob:"))
        assert study.minipach("datums", "edges").out == f"{seen}\n"
    spec.write_text(spec.read_text().replace("project: ''", "project: nobody"))
    done = study.minipach("check")
    assert done.code == 2
    assert done.refusals == [("input.no-such-repo", "edges/spec.yml:1:21")] and '"images"' in done.problems[0].fix


@pytest.mark.slow
def test_a_clone_goes_on_with_the_branch_and_its_image(study: Study, tmp_path: Path) -> None:
    study.put("images/a.txt", "alpha")
    study.copier(more="output_branch: dev\n")
    study.schedule()
    clone = tmp_path / "clone"
    study.ok("datalad", "clone", str(study.root), str(clone))
    there = Study(clone)
    there.ok("datalad", "get", "-n", "edges", "images")
    assert there.minipach("schedule").out == "nothing to do\n"
    assert there.git("edges", "rev-parse", "dev") == study.git("edges", "rev-parse", "dev")

    # the environment on record is that of the branch, also where nothing has run yet
    tree = tmp_path / "tree"
    there.git("edges", "worktree", "add", "-q", str(tree), "dev")
    (tree / ".datalad/environments/host/image").write_text("minipach host environment\nanother\n")
    there.ok("git", "commit", "-qam", "another environment", cwd=tree)
    there.ok("git", "update-ref", "-d", "refs/minipach/base", cwd=clone / "edges")
    assert resolve_image(find_project(clone), "edges").text == "minipach host environment\nanother\n"
