"""Which contents are on this machine already, and one processor for what fetches them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minipach.execution.staging import locate
from minipach.git import near_contents
from minipach.git.near_contents import are_near, on_one_processor
from minipach.git.repo import Repo
from tests.fixtures.repos import Files

ASK = "import os; print(sorted(os.sched_getaffinity(0)))"
NOWHERE = "SHA256E-s3--" + "a" * 64


@pytest.fixture
def source(tmp_path: Path) -> Files:
    source = Files.create(tmp_path / "the source", annex=True)
    for name in ("a", "b"):
        source.put(name, name)
    source.commit()
    return source


def keys_of(source: Files) -> list[str]:
    return [source.line("annex", "lookupkey", name) for name in ("a", "b")]


def clone(source: Files, address: str) -> Files:
    there = Files(source.path.parent / "clone")
    source.git("clone", "--quiet", address, str(there.path))
    there.git("annex", "init", "--quiet")
    return there


@pytest.mark.parametrize("begin", ["", "file://"])
def test_small_contents_of_a_folder_are_fetched_without_jobs(
    source: Files, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    address = str(source.path).replace(" ", "%20") if begin else str(source.path)
    there, keys = clone(source, begin + address), keys_of(source)
    assert are_near(there, keys) and not are_near(there, [*keys, NOWHERE])
    seen: list[tuple[str, ...]] = []
    git = Repo.git

    def noting(self: Repo, *args: str, **options: object) -> bytes:
        seen.append(args)
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", noting)
    assert sorted(path.read_text() for path in locate(there, set(keys)).values()) == ["a", "b"]
    (fetched,) = [args for args in seen if args[:2] == ("annex", "get")]
    assert not any(word.startswith("-J") for word in fetched)


def test_large_and_distant_contents_are_not_near(source: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    there, keys = clone(source, str(source.path)), keys_of(source)
    assert not are_near(there, ["WORM-s3-m1--a_b"])
    with monkeypatch.context() as patch:
        patch.setattr(near_contents, "_SMALL", 0)
        assert not are_near(there, keys)
    for address in (f"ssh://lab{source.path}", f"lab:{source.path}", "../the source"):
        there.git("config", "remote.origin.url", address)
        assert not are_near(Repo(there.path), keys)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing changes")
def test_what_is_started_meanwhile_has_one_processor_and_then_all_again() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), on_one_processor():
        told = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout
        raise KeyError
    assert told.strip() in {str([one]) for one in before}
    assert os.sched_getaffinity(0) == before


def test_where_the_kernel_does_not_say_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_contents, "_processor", lambda: None)
    before = os.sched_getaffinity(0)
    with on_one_processor():
        assert os.sched_getaffinity(0) == before
