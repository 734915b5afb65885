"""git's maintenance after plumbing, under the user's settings."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from minipach.git.maintenance import maintain
from minipach.git.repo import Repo
from minipach.support.git_objects import blob_id
from tests.fixtures.projects import Study


def fill(repo: Repo, count: int = 3, start: int = 0) -> None:
    """Add loose objects where git counts them, in a commit's tree."""
    found: dict[str, int] = {}
    for number in itertools.count(start):
        data = f"content {number}\n".encode()
        folder = blob_id(data)[:2]
        if folder[1] == "7" and found.get(folder, 0) < count:
            found[folder] = found.get(folder, 0) + 1
            (repo.path / f"{folder}{found[folder]}.txt").write_bytes(data)
        if len(found) == 16 and set(found.values()) == {count}:
            break
    repo.git("add", "--", ".")
    repo.git("commit", "-qm", "more")


def few(repo: Repo) -> None:
    """Add a file in a commit."""
    (repo.path / "few.txt").write_text("few")
    repo.git("add", "--", ".")
    repo.git("commit", "-qm", "few")


def loose(repo: Repo) -> int:
    return int(repo.line("count-objects").split()[0])


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.path.mkdir()
    made.git("init", "-q")
    return made


def test_objects_are_packed_as_soon_as_git_finds_them_too_many(repo: Repo) -> None:
    few(repo)
    count = loose(repo)
    maintain(repo)
    assert loose(repo) == count, "they are too few"
    fill(repo)
    repo.git("config", "gc.auto", "1")
    maintain(repo)
    assert loose(repo) == 0
    assert not list(repo.common_dir.glob("gc.pid*"))


def test_many_loose_objects_are_packed_though_git_allows_more_of_them(repo: Repo) -> None:
    fill(repo)
    lost = [repo.hash_blob(f"no ref names it: {number}".encode()) for number in range(40)]
    maintain(repo)
    assert loose(repo) == 0
    assert all(repo.objects.read(sha) for sha in lost), "a reader may still want what has no ref"
    repo.close()
    for number in range(6):
        fill(repo, start=10_000 * (number + 1))
        maintain(repo)
    repo.git("fsck", "--strict")
    assert loose(repo) == 0
    packs = list((repo.common_dir / "objects/pack").glob("*.pack"))
    assert len(packs) <= 4, "small ones are joined"


@pytest.mark.parametrize(("key", "value"), [("gc.auto", "0"), ("maintenance.auto", "no")])
def test_the_user_can_turn_it_off(repo: Repo, key: str, value: str) -> None:
    fill(repo)
    repo.git("config", "gc.auto", "1")
    repo.git("config", key, value)
    count = loose(repo)
    maintain(repo)
    assert loose(repo) == count


def test_it_waits_for_nobody_who_holds_it_off(repo: Repo) -> None:
    from minipach.git.gc_lock import gc_held_off

    fill(repo)
    repo.git("config", "gc.auto", "1")
    count = loose(repo)
    with gc_held_off(repo):
        maintain(repo)
        assert loose(repo) == count
    maintain(repo)
    assert loose(repo) == 0


@pytest.mark.slow
def test_a_schedule_leaves_a_pipeline_in_order(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.schedule()
    repo = Repo(study.root / "edges")
    fill(repo)
    study.git("edges", "config", "gc.auto", "1")
    study.put("images/b.txt", "beta\n")
    study.schedule()
    packed = [line for line in repo.line("count-objects", "-v").splitlines() if line.startswith("packs:")]
    assert packed == ["packs: 1"]
    study.git("edges", "fsck", "--strict")
    assert study.minipach("schedule").out == "nothing to do\n"
