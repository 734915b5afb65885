"""`push` and `pull` beside schedules: only the pipelines that a schedule works on wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from minipach.project.lock import register
from minipach.project.project import Project
from tests.fixtures.projects import Study


@pytest.fixture
def shared(study: Study, tmp_path: Path) -> Study:
    """A project whose repos have bare repositories with annexes, and commits that are not there yet."""
    study.copier()
    study.put("images/a", "a")
    study.schedule()
    for repo in ("images", "edges", "."):
        bare = tmp_path / f"{Path(repo).name or 'top'}.git"
        study.ok("git", "init", "-q", "--bare", str(bare))
        study.ok("git", "annex", "init", "-q", cwd=bare)
        study.git(repo, "remote", "add", "origin", str(bare))
    return study


def states(study: Study, *command: str) -> dict[str, list[str]]:
    """Return the codes of problems by repo."""
    done = study.minipach(*command, "--json")
    return {row["repo"]: [problem["code"] for problem in row["problems"]] for row in done.json["repos"]}


@pytest.mark.slow
def test_repos_that_no_schedule_works_on_go_at_once(shared: Study) -> None:
    lock = Project(shared.root).local.lock
    with register(lock, ["edges"], wait=True, notify=lambda line: None) as claims:
        assert claims.take("edges")
        found = states(shared, "push", "origin", "--no-wait")
        assert (found["images"], found["edges"]) == ([], ["push.busy"])
        assert found["."] == ["push.not-reachable"]  # nobody could fetch what it names of `edges`
        assert states(shared, "pull", "origin", "--no-wait") == {"images": [], "edges": ["push.busy"], ".": []}
        waits = threading.Thread(target=lambda: done.append(shared.minipach("push", "origin", "--json")))
        done: list[object] = []
        waits.start()
        waits.join(3)
        assert waits.is_alive()
        claims.release("edges")
        waits.join(300)
        assert [one.code for one in done] == [0]  # type: ignore[attr-defined]
    assert set(map(tuple, states(shared, "push", "origin").values())) == {()}


def test_repos_without_a_remote_are_named(shared: Study, tmp_path: Path) -> None:
    copy = shared.duplicate(tmp_path / "copy")
    copy.git("edges", "remote", "remove", "origin")
    done = copy.minipach("push", "--plan")
    assert done.code == 0 and done.reports("push.left-here", "edges", f"git -C {copy.root / 'edges'} remote add origin")
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["images", "."]
    assert not shared.minipach("push", "--plan").reports("push.left-here")
