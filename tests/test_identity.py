"""Identity: what decides a datum's id, and what does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.datums import make_datums
from minipach.identity import (
    VERSION,
    Recipe,
    code_id,
    datum_id,
    input_files,
    masked,
    recipe,
    split_name,
    suffix,
    unmasked,
)
from minipach.snapshot import FileEntry, Snapshot
from minipach.spec import Combination, Input, PfsInput, Pipeline, Transform

PLAIN = Pipeline("edges", PfsInput("images", "images", "/*"), Transform(None, ("sh", "code/edges.sh")))
FULL = Pipeline(
    "edges",
    PfsInput("images", "images", "/*"),
    Transform(
        "opencv",
        ("python3", "code/edges.py"),
        stdin=("line",),
        env=(("A", "1"), ("B", "é")),
        accept_return_code=(2, 7),
        working_dir="/work",
    ),
    out="{name}/",
    salt="salt",
)


def file(content: str, *, executable: bool = False) -> FileEntry:
    return FileEntry(content, "git", executable, "blob", None, "")


def snapshot(files: Mapping[str, str | FileEntry]) -> Snapshot:
    return Snapshot("commit", {p: f if isinstance(f, FileEntry) else file(f) for p, f in files.items()})


def ids(node: Input, *, by_path: bool = False, **repos: Mapping[str, str | FileEntry]) -> dict[str, str]:
    """Datum names and ids of an input over repos that are written as {path: content}."""
    snapshots = {(name, None): snapshot(files) for name, files in repos.items()}
    shared = recipe(PLAIN, "image", "code")
    return {
        d.name: datum_id(shared, input_files(d, snapshots, by_path=by_path), by_path=by_path)
        for d in make_datums(node, snapshots)
    }


def pfs(repo: str, glob: str = "/*", **more: Any) -> PfsInput:
    return PfsInput(more.pop("name", repo), repo, glob, **more)


# Version 1. Who changes one of these ids makes every result of every project be computed again: raise
# identity.VERSION with them, and say so in the changelog.

_ROWS = {"images": [(".png", "SHA256--aa", False)], "t1": [("a/b.nii.gz", "git:bb", True), ("é", "", False)]}


def test_version_1_is_these_ids() -> None:
    assert VERSION == 1
    plain = recipe(PLAIN, "SHA256--11", "22")
    full = recipe(FULL, "SHA256--11", "22")
    assert datum_id(plain, {}, by_path=False) == "7c16a621c1c2253d2c74a1e114f2dff558173ce070273d96ccb97fe66090631d"
    assert datum_id(plain, _ROWS, by_path=False) == "e112ad379cc57594865f3d1375d42032c0a2266727acd053874ebd191ac578fc"
    assert datum_id(plain, _ROWS, by_path=True) == "4dec02d79a2a4b0aebf54b633adb318b0bbec3042beb5d90940b3a52eebe1664"
    assert datum_id(full, _ROWS, by_path=False) == "ffa35706375bf881a7c51c15c081dfcbd839cdef164ba03727134d88d4400543"


def test_version_1_names_code_and_inputs_so() -> None:
    assert (
        code_id({"edges.py": file("git:aa"), "lib/x": file("git:bb", executable=True)})
        == "d21ba2d6a7ad2e882bf6ab072e06d79a58748784319cc053395a0ec4875394ce"
    )
    found = ids(pfs("images"), images={"a.png": "SHA256--aa", "d/b.png": "SHA256--bb", "d/c": file("git:c")})
    assert found == {
        "a.png": "0eb0a2ed2afb042750b3e45dc92d3c0e40083dcff4e99532b18d40d8bbb0eff2",
        "d": "dd4c11e2a75cfe2c55789d101d848a171e1fbef4dbdbbb4232eef7cdf3284995",
    }
    rows = pfs("t1", "/(*)-*", group_by="$1")
    group = Combination("group", (rows,))
    assert ids(group, t1={"s1-a.nii": "SHA256--aa", "s1-b.nii": "SHA256--bb"}) == {
        "s1": "873825fe291a72a1c31ad47512deb232a0ef2e5bdf458a841ae4339a79b9df99"
    }


def test_an_id_is_the_hash_of_canonical_json() -> None:
    """The documented form, written the plain way."""
    for by_path, mode in ((False, "content"), (True, "path")):
        shared = recipe(FULL, "SHA256--11", "22")
        data = {"version": 1, **shared.as_json(), "identity": mode, "inputs": _ROWS}
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        assert datum_id(shared, _ROWS, by_path=by_path) == hashlib.sha256(text.encode()).hexdigest()


_texts = st.text(max_size=8)
_inputs = st.dictionaries(_texts, st.lists(st.tuples(_texts, _texts, st.booleans()), max_size=3), max_size=3)


@given(_inputs, _inputs)
def test_ids_are_equal_for_equal_inputs_only(one: dict[str, Any], other: dict[str, Any]) -> None:
    shared = Recipe({"cmd": ["x"]}, "i", "c")
    assert (datum_id(shared, one, by_path=False) == datum_id(shared, other, by_path=False)) is (one == other)
    again = dict(reversed(one.items()))
    assert datum_id(shared, again, by_path=False) == datum_id(shared, one, by_path=False)


# What is shared by all datums

_CHANGES: dict[str, Any] = {
    "cmd": ("python3", "code/edges.py", "--fast"),
    "stdin": ("other",),
    "env": (("A", "2"),),
    "accept_return_code": (3,),
    "working_dir": "/elsewhere",
}


@pytest.mark.parametrize("field", sorted(_CHANGES))
def test_every_part_of_the_transform_counts(field: str) -> None:
    changed = replace(FULL, transform=replace(FULL.transform, **{field: _CHANGES[field]}))
    assert recipe(changed, "i", "c") != recipe(FULL, "i", "c")


@pytest.mark.parametrize("change", [{"out": "/"}, {"salt": "pepper"}])
def test_place_and_salt_count(change: dict[str, Any]) -> None:
    assert recipe(replace(FULL, **change), "i", "c") != recipe(FULL, "i", "c")


def test_image_and_code_count() -> None:
    found = {datum_id(recipe(PLAIN, i, c), {}, by_path=False) for i in ("i1", "i2") for c in ("c1", "c2")}
    assert len(found) == 4


def test_what_says_nothing_about_the_result_does_not_count() -> None:
    other = replace(
        FULL,
        name="other",
        description="words",
        datum_tries=1,
        parallelism=7,
        publish="available",
        transform=replace(FULL.transform, image="another name for the same image"),
    )
    assert recipe(other, "i", "c") == recipe(FULL, "i", "c")


def test_code_is_its_paths_contents_and_modes() -> None:
    code = {"a.py": file("1"), "b.py": file("2")}
    assert code_id(code) == code_id(dict(reversed(code.items())))
    others: list[dict[str, FileEntry]] = [
        {},
        {"a.py": file("1")},
        {"a.py": file("1"), "c.py": file("2")},
        {"a.py": file("1"), "b.py": file("3")},
        {"a.py": file("1"), "b.py": file("2", executable=True)},
        {"a.py": file("2"), "b.py": file("1")},
    ]
    assert len({code_id(c) for c in [code, *others]}) == len(others) + 1


# Inputs


def test_a_renamed_file_is_the_same_datum() -> None:
    assert ids(pfs("images"), images={"a.png": "1"})["a.png"] == ids(pfs("images"), images={"b.png": "1"})["b.png"]


def test_a_moved_file_is_the_same_datum() -> None:
    found = ids(pfs("images", "/**.png"), images={"a.png": "1", "d/e/b.png": "1"})
    assert len(set(found.values())) == 1


def test_a_files_suffix_counts() -> None:
    found = ids(pfs("images"), images={"a.png": "1", "a.jpg": "1", "a": "1", "a.nii.gz": "1", "a.gz": "1"})
    assert len(set(found.values())) == 5


def test_content_and_executable_bit_count() -> None:
    found = ids(pfs("images"), images={"a": "1", "b": "2", "c": file("1", executable=True)})
    assert len(set(found.values())) == 3


def test_a_renamed_folder_is_the_same_datum() -> None:
    found = ids(pfs("t1"), t1={"sub-1/x/a.nii": "1", "sub-1/b.nii": "2", "sub-2/b.nii": "2", "sub-2/x/a.nii": "1"})
    assert found["sub-1"] == found["sub-2"]


def test_a_file_renamed_inside_a_folder_is_another_datum() -> None:
    found = ids(pfs("t1"), t1={"sub-1/a.nii": "1", "sub-2/b.nii": "1", "sub-3/d/a.nii": "1"})
    assert len(set(found.values())) == 3


def test_the_order_of_files_does_not_count() -> None:
    files = {"d/a": "1", "d/b": "2", "d/c": "3"}
    assert ids(pfs("t1"), t1=files) == ids(pfs("t1"), t1=dict(reversed(files.items())))


def test_which_input_has_which_content_counts() -> None:
    node = Combination("cross", (pfs("t1"), pfs("t2")))
    one = ids(node, t1={"a": "1"}, t2={"a": "2"})
    other = ids(node, t1={"a": "2"}, t2={"a": "1"})
    assert one["a~a"] != other["a~a"]


def test_an_inputs_name_counts_since_the_code_sees_it() -> None:
    assert ids(pfs("t1"), t1={"a": "1"}) != ids(pfs("t1", name="scan"), t1={"a": "1"})


def test_by_path_the_whole_path_counts() -> None:
    files = {"a.png": "1", "b.png": "1", "d/a.png": "1", "e/a.png": "1"}
    found = ids(pfs("images"), by_path=True, images=files)
    assert len(set(found.values())) == 4
    assert set(found.values()).isdisjoint(ids(pfs("images"), images=files).values())


def test_with_empty_files_names_count_and_content_does_not() -> None:
    node = pfs("images", empty_files=True)
    assert ids(node, images={"a": "1"}) == ids(node, images={"a": "2"})
    # its name is all that the code gets to know of such a file, so that it decides the result
    assert len(set(ids(node, images={"a": "1", "b": "1", "d/x": "1", "e/x": "1"}).values())) == 4


# Joins and groups: the name tells a key, not the paths


def grouped(files: Mapping[str, str], glob: str = "/**/run-(?).nii", group_by: str = "all") -> dict[str, str]:
    return ids(Combination("group", (pfs("t1", glob, group_by=group_by),)), t1=files)


def by_subject(path: str, subject: str = "") -> str:
    """The id of the datum that a join by subject makes of a file."""
    subject = subject or path[path.index("sub-") :][:5]
    found = ids(Combination("join", (pfs("t1", "/**.*", join_on=subject),)), t1={path: "1"})
    return found[subject]


def test_in_a_group_it_counts_which_file_has_which_content() -> None:
    assert grouped({"d/run-1.nii": "1", "d/run-2.nii": "2"}) != grouped({"d/run-1.nii": "2", "d/run-2.nii": "1"})


def test_so_it_does_where_a_group_without_a_key_has_its_files_for_a_name() -> None:
    one = grouped({"d/run-1.nii": "1", "d/run-2.nii": "2"}, group_by="")
    other = grouped({"d/run-1.nii": "2", "d/run-2.nii": "1"}, group_by="")
    assert one.keys() == other.keys()
    assert one != other


def test_a_key_whose_files_were_moved_is_another_datum_as_its_name_does_not_tell() -> None:
    assert grouped({"d/run-1.nii": "1", "d/run-2.nii": "2"}) != grouped({"e/f/run-1.nii": "1", "e/f/run-2.nii": "2"})
    assert grouped({"d/run-1.nii": "1"}) != grouped({"e/run-1.nii": "1"})
    assert by_subject("sub-1/ses-1/t1.nii") != by_subject("sub-1/ses-2/t1.nii")


def test_a_key_that_is_renamed_wherever_its_paths_have_it_is_the_same_datum() -> None:
    assert by_subject("sub-1/t1.nii") == by_subject("sub-2/t1.nii")
    assert by_subject("raw/sub-1/sub-1_t1.nii.gz") == by_subject("raw/sub-2/sub-2_t1.nii.gz")
    assert by_subject("raw/sub-1/sub-1_t1.nii") != by_subject("raw/sub-2/sub-1_t1.nii")
    assert by_subject("sub-1.nii") != by_subject("sub-2.jpg")
    two = [grouped({f"{s}/run-1.nii": "1", f"{s}/run-2.nii": "2"}, "/(*)/*", "$1")[s] for s in ("sub-1", "x y")]
    assert two[0] == two[1]


def test_a_key_in_a_longer_word_is_not_a_word_of_its_own() -> None:
    assert grouped({"1/run-1.nii": "1"}, "/(*)/*", "$1")["1"] != grouped({"2/run-1.nii": "1"}, "/(*)/*", "$1")["2"]
    assert masked("sub-1/sub-10.nii", ("sub-1",)) == "/\x000\x00/sub-10.nii"


_names = st.text(st.sampled_from("ab1-_/.~"), max_size=12)


@given(_names, _names, _names)
def test_paths_are_masked_so_that_they_can_be_told_apart_and_read_again(name: str, one: str, other: str) -> None:
    words = split_name(name)
    assert unmasked(masked(one, words), words) == f"/{one}"
    assert (masked(one, words) == masked(other, words)) is (one == other)


def test_a_group_over_folders_tells_them_apart() -> None:
    node = Combination("group", (pfs("t1", "/*", group_by="all"),))
    one = {"sub-1/a": "1", "sub-2/a": "2"}
    other = {"sub-1/a": "2", "sub-2/a": "1"}
    assert ids(node, t1=one) != ids(node, t1=other)


# Suffixes


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.png", ".png"),
        ("d.d/a", ""),
        ("a.nii.gz", ".nii.gz"),
        ("a.gz", ".gz"),
        ("a.b.c.tar.xz", ".tar.xz"),
        ("a.b.txt", ".txt"),
        (".profile", ""),
        ("d/.profile.gz", ".gz"),
        ("..a.txt", ".txt"),
        ("...", ""),
        ("a.", "."),
        ("", ""),
    ],
)
def test_a_suffix(path: str, wanted: str) -> None:
    assert suffix(path) == wanted


@given(st.text(st.sampled_from("ab./gz"), max_size=12))
def test_a_suffix_ends_the_name_and_leaves_a_stem(path: str) -> None:
    name = path.rpartition("/")[2]
    found = suffix(path)
    assert name.endswith(found)
    assert found == "" or found.startswith(".")
    assert found == "" or name.removesuffix(found).strip(".")
