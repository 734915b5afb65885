"""git-annex keys: which links and pointers name one, and what it says of the content."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.git.annex_keys import MAX_POINTER, content_id, key_of_link, key_of_pointer, names_content, size_of
from tests.fixtures.repos import Files

HASH = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
    "key",
    [
        f"SHA256E-s5--{HASH}.txt",
        f"SHA256E-s5--{HASH}.nii.gz",
        f"SHA256E-s5--{HASH}",
        f"SHA256-s5--{HASH}",
        f"SHA256E--{HASH}.txt",  # size unknown
        f"SHA256E-s5-m1700000000--{HASH}.txt",
    ],
)
def test_the_same_bytes_are_one_content_whatever_the_extension(key: str) -> None:
    assert content_id(key) == f"SHA256--{HASH}"
    assert names_content(key)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("MD5E-s5--5d41402abc4b2a76b9719d911017c592.png", "MD5--5d41402abc4b2a76b9719d911017c592"),
        ("MD5-s5--5d41402abc4b2a76b9719d911017c592", "MD5--5d41402abc4b2a76b9719d911017c592"),
        ("SHA1E-s5--aaf4c6.txt", "SHA1--aaf4c6"),
        ("SHA512E-s5--abcd.x", "SHA512--abcd"),
        ("SHA3_256E-s5--abcd.x", "SHA3_256--abcd"),
        ("SKEIN256E-s5--abcd.x", "SKEIN256--abcd"),
        ("BLAKE2B256E-s5--abcd.x", "BLAKE2B256--abcd"),
        ("BLAKE3E-s5--abcd.x", "BLAKE3--abcd"),
        ("BLAKE2BP512-s5--abcd", "BLAKE2BP512--abcd"),
    ],
)
def test_each_hash_is_a_kind_of_content_of_its_own(key: str, content: str) -> None:
    assert content_id(key) == content
    assert names_content(key)


@pytest.mark.parametrize(
    "key",
    [
        "WORM-s5-m1700000000--a.txt",
        "URL--http://example.org/a.txt",
        "URL-s5--http://example.org/a.txt",
        "VURL--http://example.org/a.txt",
        "XFOO-s5--whatever.E",
        f"SHA256E-s5-S2-C1--{HASH}.txt",  # a chunk is named by the whole file's hash
        f"SHA256-s5-S2-C1--{HASH}",
        "no key at all",
    ],
)
def test_what_is_no_hash_of_the_content_stands_for_itself(key: str) -> None:
    assert content_id(key) == key
    assert not names_content(key)


@pytest.mark.parametrize(
    ("key", "size"),
    [
        (f"SHA256E-s5--{HASH}.txt", 5),
        (f"SHA256E-m12-s1234567890123--{HASH}", 1234567890123),
        (f"SHA256E-s50-S20-C2--{HASH}", 50),
        (f"SHA256E-S20-C2-s50--{HASH}", 50),
        ("WORM-m1-s0--x", 0),
        (f"SHA256E--{HASH}-s7.txt", None),
        ("URL--http://example.org/x-s5", None),
        ("WORM--a-s5", None),
        ("nothing", None),
    ],
)
def test_the_size_is_read_from_the_fields_alone(key: str, size: int | None) -> None:
    assert size_of(key) == size


def test_a_link_into_the_annex_names_its_key() -> None:
    key = f"SHA256E-s5--{HASH}.txt"
    assert key_of_link(f"../.git/annex/objects/1a/2b/{key}/{key}".encode()) == key
    assert key_of_link(f"/elsewhere/.git/annex/objects/{key}/{key}".encode()) == key


@pytest.mark.parametrize("target", ["a.txt", "../annex/objects", "my/annex/objects/notes.txt", "x/annex/objects/", ""])
def test_other_links_name_none(target: str) -> None:
    assert key_of_link(target.encode()) is None


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n/annex/objects/more\n"])
def test_a_pointer_names_its_key(end: str) -> None:
    key = f"SHA256E-s5--{HASH}.txt"
    assert key_of_pointer(f"/annex/objects/{key}{end}".encode()) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "/annex/objects/",
        "/annex/objects/\n",
        "/annex/objects/is where annexed files are\n",
        f"see /annex/objects/SHA256E-s5--{HASH}\n",
        f"/annex/objects/SHA256E-s5--{HASH}\nand a line that somebody appended\n",
        f"/annex/objects/SHA256E-s5--{'a' * MAX_POINTER}\n",
    ],
)
def test_ordinary_text_is_no_pointer(text: str) -> None:
    assert key_of_pointer(text.encode()) is None


@given(st.binary(max_size=80))
def test_no_bytes_make_it_stumble(data: bytes) -> None:
    for key in (key_of_link(data), key_of_pointer(data), key_of_pointer(b"/annex/objects/" + data)):
        assert key is None or content_id(key)


def test_a_key_is_what_git_annex_calls_it_not_its_file_name(tmp_path: Path) -> None:
    """Slashes, colons, per cent and ampersands are written differently in the names of objects."""
    repo = Files.create(tmp_path / "data", annex=True)
    repo.git("config", "annex.security.allowed-url-schemes", "file")
    repo.git("annex", "addurl", "--quiet", "--relaxed", "--file", "a.txt", "file:///nowhere/a%20b?c=1&d=2")
    key = repo.line("annex", "lookupkey", "a.txt")
    assert "://" in key
    assert key_of_link((repo.path / "a.txt").readlink().as_posix().encode()) == key
    repo.git("annex", "unlock", "a.txt")
    assert key_of_pointer(repo.git("cat-file", "blob", ":a.txt")) == key


def test_git_annex_agrees_on_what_is_a_pointer(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "data", annex=True)
    texts = {
        "pointer": f"/annex/objects/SHA256E-s5--{HASH}.txt\n",
        "prose": "/annex/objects/is where annexed files are\n",
        "appended": f"/annex/objects/SHA256E-s5--{HASH}\nand more\n",
    }
    for name, text in texts.items():
        blob = repo.hash_blob(text.encode())
        repo.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    repo.commit()
    for name, text in texts.items():
        known = repo.git("annex", "lookupkey", "--ref", f"HEAD:{name}", ok=(0, 1)).decode().strip()
        assert (key_of_pointer(text.encode()) or "") == known, name
