"""Paths that follow from a key are those of git-annex itself."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from minipach.git import annex_layout
from tests.fixtures.repos import Files

_ODD = "abzAZ019-_~ +=,@'\"\\()[]{}#%&:;!?*$^|<>`"
_KNOWN = [
    "a",
    "a.dat",
    "b.tar.gz",
    "c.jsonl",
    "d.jsonl.gz",
    "e.",
    "f..gz",
    "g.a.b.c",
    "h.v1.2",
    "i.parquet",
    "j.J2.x_y",
]


def _names() -> list[str]:
    chosen = random.Random(17)
    found = list(_KNOWN)
    for _ in range(500):
        parts = ("".join(chosen.choices(_ODD, k=chosen.randint(0, 6))) for _ in range(chosen.randint(0, 4)))
        found.append("x" + ".".join(["", *parts]).rstrip() + chosen.choice(["", ".gz", ".jpeg"]))
    return found


def test_keys_and_their_places_are_as_git_annex_has_them(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo", annex=True)
    names = _names()
    keys = [f"SHA256-s{n}--{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(len(names))]
    wanted = "--format=${key} ${objectpath} ${hashdirlower}\\n"
    asked = "".join(f"{key} {name}\n" for key, name in zip(keys, names, strict=True))
    said = repo.git("annex", "examinekey", "--batch", "--migrate-to-backend=SHA256E", wanted, stdin=asked.encode())
    rows = [line.split(" ") for line in said.decode().splitlines()]
    assert len(rows) == len(names)
    for key, name, (whole, place, folder) in zip(keys, names, rows, strict=True):
        assert whole == f"SHA256E{key[6:]}{annex_layout.extensions(name)}", name
        assert annex_layout.is_plain(whole)
        assert place == f"{annex_layout.OBJECTS}/{annex_layout.object_path(whole)}"
        assert f"{folder}{whole}.log" == annex_layout.log_path(whole)


@pytest.mark.parametrize("name", [".hidden", "a.ä", "größe.dat"])
def test_git_annex_is_asked_for_unusual_names(name: str) -> None:
    assert annex_layout.extensions(name) is None


@pytest.mark.parametrize("key", ["WORM-s1-m2--a", "SHA256E-s1--00.a%b", "URL--http&c%%x", "SHA256E--00", "../x"])
def test_keys_that_are_not_the_names_of_their_files(key: str) -> None:
    assert not annex_layout.is_plain(key)


def test_a_link_leads_up_to_the_top() -> None:
    key = f"SHA256E-s1--{'0' * 64}.dat"
    assert annex_layout.link_target(key, "a/b/c.dat").startswith(b"../../.git/annex/objects/")
    assert annex_layout.link_target(key, "c.dat").endswith(f"/{key}/{key}".encode())


def test_the_journal_has_no_folders() -> None:
    assert annex_layout.journal_name("a0f/1_2/K_.log") == "a0f_1__2_K__.log"
