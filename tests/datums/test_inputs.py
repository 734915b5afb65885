"""What inputs name: the commits of repos and branches, told at their place in the spec where they aren't there."""

from __future__ import annotations

import pytest

from minipach.datums.inputs import SnapshotStore, unmatched
from minipach.model.snapshot import Snapshot
from minipach.project.project import Project
from minipach.spec.load import load_spec
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import plain, repo, root, spec
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def missing(root: Files) -> tuple[str, str, str]:
    """Code, location and fix of the problem with the only input of `edges`."""
    project = Project(root.path)
    [need] = project.pipeline("edges").needs()
    with pytest.raises(UserError) as caught:
        SnapshotStore(project).commit(need)
    problem = caught.value.problems[0]
    return problem.code, problem.location, problem.fix


def test_the_commit_is_that_of_the_branch(root: Files) -> None:
    images = repo(root, "images")
    first = images.line("rev-parse", "HEAD")
    images.git("branch", "old")
    images.put("a", "a")
    images.commit()
    plain(root, "edges", spec("images"))
    plain(root, "other", spec("images, branch: old"))
    project = Project(root.path)
    found = [SnapshotStore(project).commit(project.pipeline(p).needs()[0]) for p in ("edges", "other")]
    assert found == [images.line("rev-parse", "HEAD"), first]


def test_a_branch_that_is_not_there_is_named_at_its_place(root: Files) -> None:
    images = repo(root, "images")
    plain(root, "edges", spec("images, branch: dve"))
    for branch in ("git-annex", "minipach", "synced/dev"):
        images.git("branch", branch)
    at = ("input.no-such-branch", "edges/spec.yml:1:46")
    assert missing(root) == (*at, "use one of: main")
    images.git("branch", "dev")
    assert missing(root) == (*at, 'use "dev"')
    images.git("update-ref", "refs/remotes/origin/dve", "HEAD")
    assert missing(root) == (*at, f"git -C {images.path} branch dve origin/dve")


def test_a_repo_that_gives_nothing_says_why(root: Files) -> None:
    images = repo(root, "images")
    plain(root, "edges", spec("images"))
    images.git("update-ref", "-d", "HEAD")
    at = "edges/spec.yml:1:30"
    assert missing(root) == ("input.no-commit", at, f"datalad save -d {images.path}")
    images.path.rename(root.path.parent / "away")
    images.path.mkdir()
    assert missing(root) == ("repo.not-installed", f"{at}: images", f"datalad get -n {images.path}")
    (root.path / "edges/spec.yml").write_text(spec("first"))
    plain(root, "first", spec("images"))
    assert missing(root) == ("input.no-output-yet", at, "minipach schedule first")


def test_why_there_is_no_datum() -> None:
    def why(text: str, waits: str = "", **repos: tuple[str, ...]) -> str:
        pipeline = load_spec(f"input: {text}\ntransform: {{cmd: [x]}}\n", source="spec.yml", folder="edges")
        entry = Snapshot("0", {}).files.get  # no file's entry is looked at
        snapshots = {(name, None): Snapshot("0", dict.fromkeys(files, entry)) for name, files in repos.items()}  # type: ignore[arg-type]
        return unmatched(pipeline, snapshots, {("images", None): waits} if waits else {})

    one = '{pfs: {repo: images, glob: "/*.tif"}}'
    assert why(one, images=("a.png", "raw/b.tif")) == "nothing in images matches /*.tif"
    assert why(one, images=()) == "images is empty"
    assert why(one, "1 of 2 commits", images=()) == "images is deferred by its trigger: 1 of 2 commits"
    two = '[{pfs: {repo: a, glob: "/(*)", join_on: $1}}, {pfs: {repo: b, glob: "/(*)", join_on: $1}}]'
    assert why(f"{{cross: {two}}}", a=("x",), b=()) == "b is empty"
    assert why(f"{{join: {two}}}", a=("x",), b=("y",)).startswith("each input matches something")
