"""One commit with the new gitlinks, in the dataset that holds each repo. Plain git repos."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.publish.superdataset import commit_gitlinks, holder_heads


def dataset(path: Path) -> Repo:
    """A repo with one commit."""
    path.mkdir(parents=True)
    repo = Repo(path)
    repo.git("init", "--quiet", "--initial-branch=main")
    advance(repo)
    return repo


def advance(repo: Repo) -> str:
    """One more commit; its id."""
    repo.git("commit", "--quiet", "--allow-empty", "-m", "more")
    return repo.line("rev-parse", "HEAD")


def register(holder: Repo, path: str) -> None:
    """Commit a repo as a subdataset of another."""
    holder.git("config", "--file", ".gitmodules", f"submodule.{path}.path", path)
    holder.git("config", "--file", ".gitmodules", f"submodule.{path}.url", f"./{path}")
    holder.git("-c", "advice.addEmbeddedRepo=false", "add", ".gitmodules", path)
    holder.git("commit", "--quiet", "-m", f"register {path}")


def link(repo: Repo, path: str, rev: str = "HEAD") -> str:
    """The commit that a dataset has on record for a repo in it."""
    return repo.line("rev-parse", f"{rev}:{path}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`a`, `b`, and `group`, which holds `group/c`."""
    top = dataset(tmp_path / "project")
    for name in ("a", "b", "group"):
        dataset(top.path / name)
    dataset(top.path / "group/c")
    register(Repo(top.path / "group"), "c")
    for name in ("a", "b", "group"):
        register(top, name)
    return Project(top.path)


def test_all_new_gitlinks_come_in_one_commit(project: Project) -> None:
    before = project.repo.head()
    new = {name: advance(Repo(project.root / name)) for name in ("a", "b")}
    commit = commit_gitlinks(project, new, "minipach: a, b\n")
    assert commit == project.repo.head()
    assert project.repo.line("rev-parse", "HEAD~1") == before
    assert (link(project.repo, "a"), link(project.repo, "b")) == (new["a"], new["b"])
    assert project.repo.line("log", "-1", "--format=%s") == "minipach: a, b"


def test_a_message_can_name_what_is_recorded(project: Project) -> None:
    new = {"a": advance(Repo(project.root / "a")), "group/c": link(Repo(project.root / "group"), "c")}
    commit_gitlinks(project, new, lambda paths: f"minipach: {', '.join(paths)}\n")
    assert project.repo.line("log", "-1", "--format=%s") == "minipach: a"
    assert project.repo.line("status", "--porcelain") == ""


def test_gitlinks_that_are_right_make_no_commit(project: Project) -> None:
    before = project.repo.head()
    assert commit_gitlinks(project, {"a": link(project.repo, "a")}, "x\n") is None
    assert project.repo.head() == before


def test_only_the_repos_that_are_named_are_recorded(project: Project) -> None:
    old = link(project.repo, "b")
    advance(Repo(project.root / "b"))
    commit_gitlinks(project, {"a": advance(Repo(project.root / "a"))}, "x\n")
    assert link(project.repo, "b") == old


def test_a_repo_in_a_repo_is_recorded_in_both(project: Project) -> None:
    group = Repo(project.root / "group")
    new = advance(Repo(project.root / "group/c"))
    commit_gitlinks(project, {"group/c": new}, "x\n")
    assert link(group, "c") == new
    assert link(project.repo, "group") == group.head()
    assert (group.line("status", "--porcelain"), project.repo.line("status", "--porcelain")) == ("", "")


def test_a_repo_in_a_repo_that_has_moved_itself(project: Project) -> None:
    """The holder's commit that was asked for gives way to the one that records what is in it."""
    group = Repo(project.root / "group")
    both = {"group": advance(group), "group/c": advance(Repo(project.root / "group/c")), "a": link(project.repo, "a")}
    before = project.repo.line("rev-list", "--count", "HEAD")
    commit_gitlinks(project, both, "x\n")
    assert link(group, "c") == both["group/c"]
    assert group.line("rev-parse", "HEAD~1") == both["group"]
    assert link(project.repo, "group") == group.head()
    assert int(project.repo.line("rev-list", "--count", "HEAD")) == int(before) + 1


def test_what_is_not_registered_is_left_out(project: Project) -> None:
    other = dataset(project.root / "other")
    assert commit_gitlinks(project, {"other": other.line("rev-parse", "HEAD")}, "x\n") is None


def test_changes_of_the_superdataset_itself_stay_as_they_are(project: Project) -> None:
    (project.root / "notes").write_text("committed")
    (project.root / "more").write_text("committed")
    project.repo.git("add", "notes", "more")
    project.repo.git("commit", "--quiet", "-m", "notes")
    (project.root / "notes").write_text("staged")
    (project.root / "added").write_text("staged, too")
    project.repo.git("add", "notes", "added")
    (project.root / "more").write_text("not staged")
    (project.root / "untracked").write_text("untracked")
    before = project.repo.git("status", "--porcelain")
    commit_gitlinks(project, {"a": advance(Repo(project.root / "a"))}, "x\n")
    assert project.repo.git("status", "--porcelain") == before
    assert project.repo.git("show", ":notes") == b"staged"
    assert (project.root / "more").read_text() == "not staged"
    assert project.repo.line("diff", "--name-only", "HEAD~1", "HEAD") == "a"


def test_a_gitlink_that_somebody_staged_stays_staged(project: Project) -> None:
    a = Repo(project.root / "a")
    staged = advance(a)
    project.repo.git("add", "a")
    new = advance(a)
    commit_gitlinks(project, {"a": new}, "x\n")
    assert link(project.repo, "a") == new
    assert project.repo.line("rev-parse", ":a") == staged


def test_a_detached_superdataset_moves_on_from_where_it_is(project: Project) -> None:
    project.repo.git("checkout", "--quiet", "--detach")
    branch = project.repo.resolve("refs/heads/main")
    commit = commit_gitlinks(project, {"a": advance(Repo(project.root / "a"))}, "x\n")
    assert project.repo.head() == commit
    assert project.repo.resolve("refs/heads/main") == branch


def test_what_another_schedule_has_recorded_meanwhile_is_not_taken_back(project: Project) -> None:
    began = holder_heads(project)
    repo = Repo(project.root / "a")
    older, newer = advance(repo), advance(repo)
    other = advance(Repo(project.root / "b"))
    commit_gitlinks(project, {"a": newer}, "the other\n", began)
    assert commit_gitlinks(project, {"a": older, "b": other}, "ours\n", began)
    assert (link(project.repo, "a"), link(project.repo, "b")) == (newer, other)
    # one who has seen that goes back on purpose: the user has
    assert commit_gitlinks(project, {"a": older}, "later\n", holder_heads(project))
    assert link(project.repo, "a") == older
