"""Bare repositories that people push to."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.scheduling.events import Event, Message
from minipach.triggers import bare_repos, hooks
from tests.fixtures.passes import wait_until_quiet
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


class Lines:
    """A reporter that keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def report(self, event: Event) -> None:
        """Keep a message."""
        if isinstance(event, Message):
            self.lines.append(event.text)


@pytest.fixture
def bare(study: Study, tmp_path: Path) -> Path:
    """A bare repository that `images` has as a remote; its hook starts a program that does nothing."""
    path = tmp_path / "images.git"
    study.ok("git", "clone", "-q", "--bare", "images", str(path))
    study.git("images", "remote", "add", "store", str(path))
    return path


def push(study: Study, bare: Path, name: str) -> None:
    """Somebody else commits a file and pushes it."""
    other = bare.with_name("other")
    if not other.exists():
        study.ok("git", "clone", "-q", str(bare), str(other))
    (other / name).write_text(name)
    study.ok("git", "add", name, cwd=other)
    study.ok("git", "commit", "-qm", name, cwd=other)
    study.ok("git", "push", "-q", "origin", "HEAD", cwd=other)


def test_push_is_heard_and_the_hook_is_removed_without_a_trace(
    study: Study, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    before = sorted(bare.rglob("*"))
    project = Project(study.root)
    assert [hook.repo for hook in hooks.install(project, str(bare))] == [str(bare)]
    assert [hook.repo for hook in hooks.status(project)] == [".", "images", str(bare)]
    assert sorted(p.name for p in (bare / "hooks").iterdir() if not p.name.endswith(".sample")) == ["post-receive"]
    hooks.remove(project, str(bare))
    assert sorted(bare.rglob("*")) == before and bare_repos.receiving(project) == []
    hooks.install(project, str(bare))
    push(study, bare, "a")
    heard = project.local.heard
    assert heard.read_text().startswith("refs/heads/") and heard.read_text().endswith(f"{bare}\n")


def test_pass_forwards_the_branch_whatever_was_heard(study: Study, bare: Path) -> None:
    bare_repos.add(Project(study.root), str(bare))
    push(study, bare, "a")
    told = Lines()
    assert bare_repos.update(Project(study.root), told) == ()
    assert (study.root / "images" / "a").read_text() == "a"
    assert len(told.lines) == 1 and told.lines[0].startswith("images: ")
    again = Lines()
    assert bare_repos.update(Project(study.root), again) == () and again.lines == []


def test_a_push_that_no_hook_told_of_is_seen_until_it_is_fetched(study: Study, bare: Path) -> None:
    project = Project(study.root)
    bare_repos.add(project, str(bare))
    bare_repos.update(project, Lines())
    assert list(bare_repos.ahead(project)) == []
    push(study, bare, "a")
    study.put("images/b", "b")
    (line,) = bare_repos.ahead(project)
    assert line.startswith("images refs/heads/") and line.endswith(str(bare))
    assert bare_repos.update(project, Lines()) != (), "the branches went apart"
    assert list(bare_repos.ahead(project)) == [], "said once"


def test_branches_that_went_apart_are_left_alone_and_said(study: Study, bare: Path) -> None:
    bare_repos.add(Project(study.root), str(bare))
    push(study, bare, "a")
    study.put("images/b", "b")
    head = study.git("images", "rev-parse", "HEAD")
    (problem,) = bare_repos.update(Project(study.root), Lines())
    assert problem.code == "hooks.not-updated" and problem.location == "images"
    assert study.git("images", "rev-parse", "HEAD") == head


def test_what_is_not_ours_is_refused(study: Study, bare: Path, tmp_path: Path) -> None:
    project = Project(study.root)
    study.git("images", "remote", "remove", "store")
    with refused("hooks.no-remote", bare, "git remote add"):
        hooks.install(project, str(bare))
    (tmp_path / "folder").mkdir()
    with refused("hooks.no-repository", tmp_path / "folder"):
        hooks.install(project, str(tmp_path / "folder"))
    assert bare_repos.receiving(project) == [] and not (bare / "hooks" / "post-receive").exists()


@pytest.mark.slow
def test_results_follow_from_a_push_alone(study: Study, bare: Path) -> None:
    study.copier()
    study.put("images/begin", "begin")
    study.git("images", "push", "-q", "store", "HEAD")
    assert study.minipach("hooks", "install", "--repo", str(bare)).code == 0
    push(study, bare, "pushed")
    state = Project(study.root).local

    wait_until_quiet(study)
    assert set(study.outputs("edges")) >= {"pushed", "begin"}, state.passes_log.read_text()
