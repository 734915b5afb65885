"""What a pipeline's branch holds: written by shard, read back whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.records import compose
from minipach.state import FOLDER, Published, read_state, record_commit, shard_of, write_shards
from tests.repos import Files, tree_of


def state(*names: str, id: str = "1") -> dict[str, Published]:
    return {name: Published(name, id, "") for name in names}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A repository to store trees in."""
    return Files.create(tmp_path_factory.mktemp("state") / "repo")


def stored(repo: Files, files: Mapping[str, bytes]) -> str:
    return repo.commit_tree(tree_of(repo, files), "state")


def two_shards() -> tuple[str, str]:
    """Two names whose lines are in different files."""
    first = "a"
    return first, next(n for n in "bcdefgh" if shard_of(n) != shard_of(first))


def test_before_the_first_publish_there_is_nothing(repo: Files) -> None:
    assert read_state(repo, None) == {}
    assert read_state(repo, stored(repo, {"spec.yml": b"x"})) == {}


def test_what_is_written_is_read(repo: Files) -> None:
    wanted = {
        name: Published(name, f"id of {i}", dest)
        for i, (name, dest) in enumerate(
            [("a", ""), ("d/e f", "out/x"), ('quo"te', "é"), ("new\nline", "x"), ("\udcff", "y"), ("/", "root")]
        )
    }
    files = write_shards(wanted, wanted)
    assert read_state(repo, stored(repo, {**files, "out.txt": b"x", "d/.minipach/state/00": b"no"})) == wanted


def test_only_touched_shards_are_written() -> None:
    one, other = two_shards()
    now = state(one, other)
    assert set(write_shards(now, [one])) == {f"{FOLDER}/{shard_of(one)}"}
    assert write_shards(now, []) == {}


def test_a_touched_shard_keeps_its_other_lines(repo: Files) -> None:
    name = "a"
    mate = next(f"m{i}" for i in range(10_000) if shard_of(f"m{i}") == shard_of(name))
    files = write_shards(state(name, mate), [name])
    assert read_state(repo, stored(repo, files)) == state(name, mate)


def test_a_shard_without_lines_is_empty() -> None:
    assert write_shards({}, ["a"]) == {f"{FOLDER}/{shard_of('a')}": b""}


def test_a_shard_depends_on_the_name_alone() -> None:
    # fixed: another rule would leave stale lines behind in the shards of existing branches
    assert [shard_of(n) for n in ("a", "sub-1", "é", "\udcff")] == ["ca", "0a", "4a", "a8"]


@given(st.dictionaries(st.text(max_size=5), st.text(st.sampled_from("abc0"), max_size=4)), st.data())
def test_shard_by_shard_is_the_same_as_all_at_once(rows: dict[str, str], data: st.DataObject) -> None:
    """Publishing in two steps leaves the same files as in one."""
    everything = {name: Published(name, i, "") for name, i in rows.items()}
    first = data.draw(st.sets(st.sampled_from(sorted(rows)))) if rows else set()
    files = write_shards({n: p for n, p in everything.items() if n in first}, first)
    files |= write_shards(everything, rows.keys() - first)
    assert files == write_shards(everything, everything)


def test_a_copys_record_is_not_its_originals(tmp_path: Path) -> None:
    """Equal content has one id: the record that belongs to a datum has its name, too."""
    repo = Files.create(tmp_path / "repo")
    found = {}
    for name in ("a", "b", "ü"):
        ours = {"datums": [{"name": name, "id": "77"}], "reused_from": {"name": "a", "id": "77"}}
        found[name] = repo.commit(compose(f"edges: {name}", {"cmd": "x", "minipach": ours}))
    repo.commit('mentions "id": "77" in passing')
    head = repo.commit(compose("somebody's own", {"cmd": 'echo "id": "77"', "x": {"id": "77"}}))
    for name, commit in found.items():
        assert record_commit(repo, head, Published(name, "77", "")) == commit
    assert record_commit(repo, head, Published("a", "78", "")) is None
    assert record_commit(repo, head, Published("c", "77", "")) is None
    assert record_commit(repo, found["a"], Published("b", "77", "")) is None


def test_the_newest_record_counts(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    record = {"cmd": "x", "minipach": {"datums": [{"name": "a", "id": "77"}]}}
    repo.commit(compose("first", record))
    newest = repo.commit(compose("again", record))
    assert record_commit(repo, newest, Published("a", "77", "")) == newest
