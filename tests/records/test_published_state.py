"""What a pipeline's branch holds: written by shard, read back whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.model.repo_layout import STATE
from minipach.records.published_state import (
    Published,
    output_paths,
    read_state,
    reserved_entries,
    shard_of,
    write_shards,
)
from minipach.support.errors import UserError
from tests.fixtures.repos import Files, tree_of


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


@pytest.mark.parametrize("line", [b"<<<<<<< HEAD\n", b"{}\n", b'["a", "1"]\n', b"7\n"])
def test_what_a_commit_has_spoilt_is_said(repo: Files, line: bytes) -> None:
    with pytest.raises(UserError) as caught:
        read_state(repo, stored(repo, {f"{STATE}/00": b'["a", "1", ""]\n' + line}))
    assert str(caught.value).startswith(f"{repo.path}/{STATE}/00: not as minipach wrote it, and committed so. Fix: ")


def test_only_touched_shards_are_written() -> None:
    one, other = two_shards()
    now = state(one, other)
    assert set(write_shards(now, [one])) == {f"{STATE}/{shard_of(one)}"}
    assert write_shards(now, []) == {}


def test_a_touched_shard_keeps_its_other_lines(repo: Files) -> None:
    name = "a"
    mate = next(f"m{i}" for i in range(10_000) if shard_of(f"m{i}") == shard_of(name))
    files = write_shards(state(name, mate), [name])
    assert read_state(repo, stored(repo, files)) == state(name, mate)


def test_a_shard_without_lines_is_empty() -> None:
    assert write_shards({}, ["a"]) == {f"{STATE}/{shard_of('a')}": b""}


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


HOUSE = ["spec.yml", "code/a.py", "code/sub/b.py", "README.md", ".gitattributes", ".datalad/config", ".minipach/launch"]


OUTPUTS = ["a.txt", "d/code/c.txt", "spec.yml.txt", " b\n\tc", 'q"x', "-n", ":(top)x"]


def test_every_file_is_in_the_house_or_an_output_and_the_state_is_neither(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "edges")
    for path in [*HOUSE, *OUTPUTS, ".minipach/state/0a"]:
        there = repo.path / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(path)
    repo.git("add", "--all")
    commit = repo.commit()
    assert sorted(e.path for e in reserved_entries(repo, commit)) == sorted(HOUSE)
    assert sorted(output_paths(repo, commit)) == sorted(OUTPUTS)


def test_of_an_empty_commit_there_is_nothing(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "edges")
    commit = repo.commit()
    assert reserved_entries(repo, commit) == output_paths(repo, commit) == []
