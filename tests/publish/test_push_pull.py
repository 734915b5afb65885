"""`minipach.publish.push_pull`: no visible ref names content that isn't there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.git.repo import Repo, annex
from minipach.project.project import Project, find_project
from minipach.publish.push_pull import RepoExchange, pull, push
from minipach.publish.sync import merge_project
from minipach.storage.setup import add
from minipach.storage.store import Store
from minipach.support.errors import UserError
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

pytestmark = pytest.mark.slow

__all__ = ["root"]


def quiet(_: str) -> None:
    """Tell nobody."""


def bare(files: Files, place: Path) -> None:
    files.git("init", "--quiet", "--bare", str(place))
    files.git("remote", "add", "origin", str(place))
    files.git("config", "remote.origin.annex-ignore", "true")  # as that of a forge


@pytest.fixture
def project(root: Files, tmp_path: Path) -> Project:
    """A project with a dataset, remotes without contents, and one content."""
    config = root.path / ".datalad/config"
    config.write_text(config.read_text() + '[datalad "dataset"]\n\tid = top\n')
    images = repo(root, "images")
    for files, name in ((images, "images"), (root, "top")):
        bare(files, tmp_path / f"{name}.git")
        files.git("annex", "init", "--quiet")
        files.commit()
    save(images, "a.dat")
    root.git("add", "images")
    root.commit()
    return find_project(root.path)


def save(files: Files, name: str) -> None:
    (files.path / name).write_bytes(os.urandom(3000))
    files.git("annex", "add", "--quiet", name)
    files.commit()


def another_pushes(place: Path) -> None:
    """Clone the remote of `images`, add `theirs.txt`, and push it."""
    other = place / "other"
    Repo(place).git("clone", "--quiet", "--branch=main", str(place / "images.git"), str(other))
    theirs = Files(other)
    theirs.put("theirs.txt", "x")
    theirs.commit()
    theirs.git("push", "--quiet", "origin", "HEAD")


def save_below(project: Project, name: str) -> None:
    """Save a file in `images`, and the superdataset."""
    save(Files(project.root / "images"), name)
    Files(project.root).git("add", "images")
    Files(project.root).commit()


def with_store(project: Project, tmp_path: Path) -> Path:
    add(project, Store("disk", "dir", str(tmp_path / "disk")), quiet)
    return tmp_path / "disk"


def branches_of(place: Path) -> list[str]:
    return Repo(place).line("for-each-ref", "--format=%(refname:short)").split()


def codes(moved: list[RepoExchange]) -> dict[str, list[str]]:
    return {one.repo: [problem.code for problem in one.problems] for one in moved}


def test_contents_then_refs_then_the_superdataset(project: Project, tmp_path: Path) -> None:
    disk = with_store(project, tmp_path)
    planned = push(project, None, quiet, plan=True)
    assert [(one.repo, one.contents, one.size) for one in planned] == [("images", 1, 3000), (".", 0, 0)]
    assert branches_of(tmp_path / "images.git") == [] and list(disk.rglob("*.dat")) == []
    moved = push(project, None, quiet, verify=5)
    assert [(one.repo, one.contents, one.size, one.verified) for one in moved] == [
        ("images", 1, 3000, 1),
        (".", 0, 0, 0),
    ]
    assert codes(moved) == {"images": [], ".": []}
    assert branches_of(tmp_path / "images.git") == ["git-annex", "main"]
    again = push(project, None, quiet)
    assert [(one.contents, one.commits) for one in again] == [(0, 0), (0, 0)]


def test_without_a_place_for_contents_no_ref_goes(project: Project, tmp_path: Path) -> None:
    assert codes(push(project, None, quiet, plan=True)) == {"images": ["push.no-store"], ".": []}
    assert codes(push(project, None, quiet)) == {"images": ["push.no-store"], ".": ["push.held"]}
    assert branches_of(tmp_path / "images.git") == []
    assert "main" not in branches_of(tmp_path / "top.git")


def test_a_store_that_fails_in_the_middle(project: Project, tmp_path: Path) -> None:
    disk = with_store(project, tmp_path)
    push(project, None, quiet)
    old = Repo(tmp_path / "images.git").resolve("main")
    save_below(project, "b.dat")
    place = next(path for path in disk.iterdir() if path.name == "x")  # the dataset id of the fixture
    place.rename(tmp_path / "away")
    place.write_text("no folder")
    moved = push(project, None, quiet)
    assert codes(moved) == {"images": ["push.content-not-sent"], ".": ["push.held"]}
    assert Repo(tmp_path / "images.git").resolve("main") == old
    place.unlink()
    (tmp_path / "away").rename(place)
    assert codes(push(project, None, quiet)) == {"images": [], ".": []}
    assert Repo(tmp_path / "images.git").resolve("main") != old


def test_a_damaged_content_is_found(project: Project, tmp_path: Path) -> None:
    disk = with_store(project, tmp_path)
    push(project, "disk", quiet)
    (stored,) = disk.rglob("*.dat/*.dat")
    stored.parent.chmod(0o755)
    stored.chmod(0o644)
    stored.write_bytes(bytes(3000))
    assert codes(push(project, "disk", quiet, verify=1))["images"] == ["push.content-damaged"]


def test_a_store_gets_contents_alone(project: Project, tmp_path: Path) -> None:
    disk = with_store(project, tmp_path)
    moved = push(project, "disk", quiet)
    assert [(one.repo, one.remote, one.contents) for one in moved] == [("images", "", 1), (".", "", 0)]
    assert len(list(disk.rglob("*.dat/*.dat"))) == 1
    assert branches_of(tmp_path / "images.git") == []
    said: list[str] = []
    again = push(project, "disk", said.append, verify=1)
    assert [(one.contents, one.size) for one in again] == [(0, 0), (0, 0)], "what is there already is not sent"
    assert [line for line in said if "copied" in line] == []
    assert any("1 content read back from disk" in line for line in said)


def test_nobody_is_overwritten(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    push(project, None, quiet)
    another_pushes(tmp_path)
    save_below(project, "b.dat")
    refused = codes(push(project, None, quiet))
    assert refused in ({"images": [code], ".": ["push.held"]} for code in ("push.diverged", "push.late"))
    assert codes(pull(project, None, quiet))["images"] == ["pull.diverged"]
    Repo(project.root / "images").git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    assert codes(push(project, None, quiet)) == {"images": [], ".": []}


def test_a_remote_that_has_the_branch_checked_out_refuses(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    push(project, None, quiet)
    there = Repo(tmp_path / "images.git")
    there.git("symbolic-ref", "HEAD", "refs/heads/main")  # what a new repository begins with is a setting
    there.git("config", "core.bare", "false")
    save_below(project, "b.dat")
    assert codes(push(project, None, quiet)) == {"images": ["push.checked-out"], ".": ["push.held"]}


def test_a_pull_brings_what_another_pushed(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    push(project, None, quiet)
    another_pushes(tmp_path)
    moved = pull(project, "origin", quiet)
    assert [(one.repo, one.commits, one.problems) for one in moved] == [(".", 0, ()), ("images", 1, ())]
    assert (project.root / "images/theirs.txt").read_text() == "x"


@pytest.mark.parametrize("again", [pull, merge_project])
def test_a_killed_pull_is_made_again(
    project: Project, tmp_path: Path, again: Callable[[Project, str | None, Callable[[str], None]], object]
) -> None:
    """git is killed while it writes the first of the files, and minipach with it."""
    with_store(project, tmp_path)
    push(project, None, quiet)
    another_pushes(tmp_path)
    images = Files(project.root / "images")
    before = images.head()
    (images.common_dir / "info/attributes").write_text("theirs.txt filter=fatal\n")
    images.git("config", "filter.fatal.smudge", "kill -9 $PPID")
    (moved, *_) = [one for one in pull(project, "origin", quiet) if one.repo == "images"]
    assert [problem.code for problem in moved.problems] == ["pull.failed"]
    images.git("config", "--unset", "filter.fatal.smudge")
    again(project, "origin", quiet)
    assert images.head() != before and (project.root / "images/theirs.txt").read_text() == "x"
    assert images.line("status", "--porcelain") == ""


@pytest.mark.parametrize("again", [pull, merge_project])
def test_the_files_follow_after_a_sync_that_was_killed(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    again: Callable[[Project, str | None, Callable[[str], None]], object],
) -> None:
    """Else what others have pushed looks as if somebody had removed it here, and the next save would do that."""
    with_store(project, tmp_path)
    push(project, None, quiet)
    another_pushes(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("minipach.git.checkout._apply", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_project(project, "origin", quiet)
    assert not (project.root / "images/theirs.txt").exists()
    again(project, "origin", quiet)
    assert (project.root / "images/theirs.txt").read_text() == "x"
    assert Repo(project.root / "images").line("status", "--porcelain") == ""


def test_a_pull_leaves_what_is_not_committed(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    push(project, None, quiet)
    another_pushes(tmp_path)
    (project.root / "images/theirs.txt").write_text("mine")
    assert codes(pull(project, "origin", quiet))["images"] == ["pull.uncommitted"]
    assert (project.root / "images/theirs.txt").read_text() == "mine"


def test_a_repo_that_comes_later_gets_the_store(root: Files, project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    late = repo(root, "late")
    late.put(".datalad/config", '[datalad "dataset"]\n\tid = late\n')
    late.git("annex", "init", "--quiet")
    late.commit()
    save(late, "c.dat")
    planned = push(find_project(root.path), "disk", quiet, plan=True)
    assert {one.repo: (one.contents, one.size, one.stores) for one in planned} == {
        "images": (1, 3000, ("disk",)),
        "late": (1, 3000, ("disk",)),
        ".": (0, 0, ("disk",)),
    }
    assert "disk" not in late.line("remote"), "a plan sets nothing up"
    moved = push(find_project(root.path), "disk", quiet)
    assert {one.repo: one.contents for one in moved} == {"images": 1, "late": 1, ".": 0}
    assert b"disk" in annex(Repo(late.path), "whereis", "c.dat")


def test_a_remote_that_comes_after_the_store(project: Project, tmp_path: Path) -> None:
    for path in (".", "images"):
        Files(project.root / path).git("remote", "remove", "origin")
    with_store(project, tmp_path)
    for path, name in ((".", "top"), ("images", "images")):
        Files(project.root / path).git("remote", "add", "origin", str(tmp_path / f"{name}.git"))
        Files(project.root / path).git("config", "remote.origin.annex-ignore", "true")
    planned = push(project, None, quiet, plan=True)
    assert [(one.repo, one.stores, one.contents) for one in planned] == [("images", ("disk",), 1), (".", ("disk",), 0)]
    assert codes(push(project, None, quiet)) == {"images": [], ".": []}
    images = Repo(project.root / "images")
    assert images.config("remote.origin.datalad-publish-depends") == "disk", "datalad push fills the store, too"
    images.git("config", "remote.origin.datalad-publish-depends", "mine")
    push(project, None, quiet)
    assert images.config("remote.origin.datalad-publish-depends") == "mine", "what the user has set stays"


def test_the_superdataset_stays_while_a_clone_could_not_get_what_it_names(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    images = Repo(project.root / "images")
    images.git("remote", "rename", "origin", "mine")
    images.git("push", "--quiet", "mine", "HEAD")
    (only,) = push(project, "origin", quiet)
    assert only.repo == "." and [problem.code for problem in only.problems] == ["push.not-reachable"]
    assert "main" not in branches_of(tmp_path / "top.git")
    Files(project.root).put(".gitmodules", f'[submodule "images"]\n\tpath = images\n\turl = {tmp_path}/images.git\n')
    Files(project.root).commit()
    assert codes(push(project, "origin", quiet)) == {".": []}


@pytest.mark.parametrize("target", ["nowhere", None])
def test_no_such_remote(root: Files, target: str | None) -> None:
    for act in (push, pull):
        with pytest.raises(UserError) as caught:
            act(find_project(root.path), target, quiet)
        assert caught.value.problems[0].code == "push.no-remote"


def test_a_remote_that_is_not_there_is_answered_with_those_that_are(project: Project, tmp_path: Path) -> None:
    with_store(project, tmp_path)
    for act in (push, pull, merge_project):
        with pytest.raises(UserError) as caught:
            act(project, "orign", quiet)
        assert (caught.value.problems[0].location, caught.value.problems[0].fix) == ("orign", 'use "origin"')
    for act in (pull, merge_project):
        with pytest.raises(UserError, match="it is a store") as caught:
            act(project, "disk", quiet)
        assert "origin" in caught.value.problems[0].fix
