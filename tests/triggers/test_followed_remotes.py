"""Remotes that a project follows: what was pushed comes here, results go there, and nothing is forced."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.support.errors import UserError
from minipach.triggers import followed_remotes
from minipach.triggers.passes import answer_requests
from minipach.triggers.push_back import push_back
from tests.fixtures.passes import Kept
from tests.fixtures.projects import Study
from tests.fixtures.receivers import heard


@pytest.fixture
def forge(study: Study, tmp_path: Path) -> Path:
    """A folder with bare repositories of the project and of `images`, as the remote `origin`, which is followed."""
    folder = tmp_path / "forge"
    for repo in (".", "images"):
        bare = folder / ("study.git" if repo == "." else f"{repo}.git")
        study.ok("git", "clone", "-q", "--bare", repo, str(bare))
        study.git(repo, "remote", "add", "origin", str(bare))
        study.git(repo, "fetch", "-q", "origin")
    study.git(".", "config", "minipach.follow", "origin")
    return folder


def pushed(study: Study, bare: Path, **files: str) -> str:
    """Somebody commits files in a clone of their own and pushes; return the commit."""
    other = bare.with_suffix(".clone")
    if not other.exists():
        study.ok("git", "clone", "-q", str(bare), str(other))
    study.ok("git", "pull", "-q", cwd=other)
    for name, text in files.items():
        (other / name).write_text(text)
    study.ok("git", "add", ".", cwd=other)
    study.ok("git", "commit", "-qm", "theirs", cwd=other)
    study.ok("git", "push", "-q", "origin", "HEAD", cwd=other)
    return study.ok("git", "rev-parse", "HEAD", cwd=other).strip()


def head_of(study: Study, bare: Path) -> str:
    return study.ok("git", "rev-parse", "HEAD", cwd=bare).strip()


def test_without_the_setting_nothing_is_fetched(study: Study, forge: Path) -> None:
    study.git(".", "config", "--unset", "minipach.follow")
    before = study.git("images", "rev-parse", "HEAD")
    pushed(study, forge / "images.git", a="a")
    assert followed_remotes.fetch(Project(study.root), Kept()) == () == push_back(Project(study.root), Kept())
    assert study.git("images", "rev-parse", "HEAD") == before


def test_pushes_come_here_and_our_commits_go_there(study: Study, forge: Path) -> None:
    project = Project(study.root)
    commit = pushed(study, forge / "images.git", a="a")
    assert followed_remotes.fetch(project, Kept()) == ()
    assert study.git("images", "rev-parse", "HEAD") == commit
    study.put("images/b", "b")
    assert push_back(project, Kept()) == ()
    assert head_of(study, forge / "images.git") == study.git("images", "rev-parse", "HEAD")
    study.git("images", "remote", "set-url", "--push", "origin", "/nowhere")
    annex = study.git("images", "rev-parse", "git-annex")
    tree = study.git("images", "rev-parse", f"{annex}^{{tree}}")
    later = study.git("images", "commit-tree", "-p", annex, "-m", "a place", tree)
    study.git("images", "update-ref", "refs/heads/git-annex", later)  # as `git annex get` does
    again = Kept()
    assert push_back(project, again) == () and again.events == []


def test_own_commits_are_merged_and_those_of_people_are_not(study: Study, forge: Path) -> None:
    project = Project(study.root)
    for subject, code in (("minipach: edges", None), ("mine", "pull.diverged")):
        study.git(".", "commit", "-q", "--allow-empty", "-m", subject)
        commit = pushed(study, forge / "study.git", **{f"file-{code}": "x"})
        found = [problem.code for problem in followed_remotes.fetch(project, Kept())]
        assert found == [code] * (code is not None)
        contained = study.minipach is not None and commit in study.git(".", "log", "--format=%H").split()
        assert contained == (code is None)
    assert push_back(project, Kept()) == ()
    assert head_of(study, forge / "study.git") == commit  # nothing was forced


def test_conflict_is_undone_and_said(study: Study, forge: Path) -> None:
    (study.root / "f").write_text("ours")
    study.git(".", "add", "f")
    study.git(".", "commit", "-q", "--no-verify", "-m", "minipach: f")
    before = study.git(".", "rev-parse", "HEAD")
    pushed(study, forge / "study.git", f="theirs")
    (problem,) = followed_remotes.fetch(Project(study.root), Kept())
    assert problem.code == "pull.diverged" and problem.location == "."
    assert study.git(".", "rev-parse", "HEAD") == before and study.git(".", "status", "--porcelain", "-uno") == ""


def test_push_that_came_late_asks_for_another_pass(study: Study, forge: Path) -> None:
    study.put("images/b", "b")
    pushed(study, forge / "images.git", a="a")  # between our fetch and our push
    assert push_back(Project(study.root), Kept()) == ()
    assert heard(study) == ["images: somebody else pushed to origin meanwhile"]


def test_contents_of_inputs_go_before_their_branch(study: Study, forge: Path) -> None:
    bare = forge / "images.git"
    study.ok("git", "annex", "init", "-q", cwd=bare)
    (study.root / "images/big").write_text("b" * 5000)
    study.ok("git", "-c", "annex.largefiles=anything", "annex", "add", "-q", "big", cwd=study.root / "images")
    study.git("images", "commit", "-qm", "big")
    assert push_back(Project(study.root), Kept()) == ()
    assert head_of(study, bare) == study.git("images", "rev-parse", "HEAD")
    study.ok("git", "clone", "-q", str(bare), str(forge / "reader"))
    study.ok("git", "annex", "get", "-q", "big", cwd=forge / "reader")


def test_places_of_contents_come_with_the_branches(study: Study, forge: Path) -> None:
    """Workers with clones ask this repo's own git-annex branch where an input is."""
    other = forge / "person"
    study.ok("git", "clone", "-q", str(forge / "images.git"), str(other))
    study.ok("git", "annex", "init", "-q", "person", cwd=other)
    study.ok("git", "push", "-q", "origin", "git-annex:git-annex", cwd=other)
    theirs = study.ok("git", "rev-parse", "git-annex", cwd=other).strip()
    assert followed_remotes.fetch(Project(study.root), Kept()) == ()
    study.git("images", "merge-base", "--is-ancestor", theirs, "git-annex")


def test_remote_that_hangs_is_given_up(study: Study, forge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.git("images", "remote", "set-url", "origin", "ssh://host.invalid/images.git")
    monkeypatch.setenv("GIT_SSH_COMMAND", "sleep 600;")
    study.git(".", "config", "minipach.network-limit", "1")
    (problem,) = followed_remotes.fetch(Project(study.root), Kept())
    assert (problem.code, problem.location) == ("follow.failed", "images") and "no answer for 1 s" in problem.message
    study.git(".", "config", "minipach.network-limit", "soon")
    with pytest.raises(UserError) as caught:
        followed_remotes.fetch(Project(study.root), Kept())
    assert caught.value.problems[0].code == "setting.bad-value"


def test_remote_that_does_not_answer_is_a_problem_without_credentials(study: Study, forge: Path) -> None:
    study.git("images", "remote", "set-url", "origin", "http://me:hunter22@127.0.0.1:9/images.git")
    (problem,) = followed_remotes.fetch(Project(study.root), Kept())
    assert problem.location == "images" and "hunter22" not in str(problem) and "127.0.0.1" in str(problem)


@pytest.mark.slow
def test_results_are_pushed_and_the_pass_after_that_does_nothing(study: Study, forge: Path) -> None:
    study.copier()
    study.schedule()
    study.ok("git", "clone", "-q", "--bare", "edges", str(forge / "edges.git"))
    study.git("edges", "remote", "add", "origin", str(forge / "edges.git"))
    state = Project(study.root).local
    pushed(study, forge / "images.git", a="a")
    state.heard.write_text("gitea: push\n")
    assert answer_requests(study.root, Kept()) is not None
    shown = study.ok("git", "ls-tree", "--name-only", "HEAD", cwd=forge / "edges.git").split()
    assert "a" in shown
    heads = [head_of(study, forge / name) for name in ("study.git", "edges.git", "images.git")]
    assert heads[0] == study.git(".", "rev-parse", "HEAD")
    assert study.ok("git", "rev-parse", "minipach", cwd=forge / "edges.git").strip() == study.git(
        "edges", "rev-parse", "minipach"
    )
    state.heard.write_text("gitea: push\n")  # the event of our own push
    assert answer_requests(study.root, Kept()) is not None
    assert [head_of(study, forge / name) for name in ("study.git", "edges.git", "images.git")] == heads
    assert not state.heard.exists()
