"""History: which commit of a branch holds the run record of which datum."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.model.run_record import compose
from minipach.records.branch_history import added_paths, commits_of_records, record_commits
from tests.fixtures.repos import Files


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    """A pipeline's repository without commits."""
    return Files.create(tmp_path / "edges")


def record(name: str, datum_id: str = "77", **more: object) -> str:
    ours = {"datums": [{"name": name, "id": datum_id}], **more}
    return compose(f"edges: {name}", {"cmd": "x", "minipach": ours})


def test_a_copys_record_is_not_its_originals(repo: Files) -> None:
    """Equal content has one id: the record that belongs to a datum has its name, too."""
    commits = {
        name: repo.commit(record(name, reused_from={"name": "a", "id": "77"})) for name in ("a", "b", 'ü \\ "q"')
    }
    repo.commit('mentions "id": "77" and "minipach" in passing')
    head = repo.commit(compose("somebody's own", {"cmd": 'echo "id": "77" "minipach"', "x": {"id": "77"}}))
    found = record_commits(repo, head, [(name, "77") for name in commits])
    assert {name: commit for (name, _), (commit, _) in found.items()} == commits
    assert record_commits(repo, head, [("a", "78"), ("c", "77")]) == {}
    assert record_commits(repo, commits["a"], [("b", "77")]) == {}


def test_many_datums_are_found_as_a_few_are(repo: Files) -> None:
    """git looks for a few ids; of more than a few, all records are read, some at a time."""
    commits = {f"d{n}": repo.commit(record(f"d{n}", f"id-{n}")) for n in range(7)}
    wanted = {(f"d{n}", f"id-{n}") for n in range(7)}
    assert {name: commit for (name, _), commit in commits_of_records(repo, "HEAD", wanted).items()} == commits
    for which in wanted:
        assert commits_of_records(repo, "HEAD", {which}) == {which: commits[which[0]]}


def test_the_newest_record_counts(repo: Files) -> None:
    repo.commit(record("a"))
    newest = repo.commit(record("a", again=True))
    repo.commit(record("b"))
    [(commit, found)] = record_commits(repo, "HEAD", [("a", "77")]).values()
    assert commit == newest
    assert found["minipach"]["again"] is True


def test_the_paths_of_a_commit_are_what_it_added_or_changed(repo: Files) -> None:
    repo.put("a", "1")
    repo.put('d/"b"\n', "1")
    first = repo.commit()
    repo.put("a", "2")
    repo.git("rm", "--quiet", "--", 'd/"b"\n')
    second = repo.commit()
    assert added_paths(repo, [second, first]) == {first: ["a", 'd/"b"\n'], second: ["a"]}
    assert added_paths(repo, []) == {}
