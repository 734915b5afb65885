"""Neutral names: which words of a datum's name the command does not see, and where they are put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.datums.combine_inputs import make_datums
from minipach.model.neutral_names import Neutral, hide, neutral, part_shown, restore, suffix, tokens
from minipach.model.pipeline import Combination, Input, PfsInput
from minipach.model.snapshot import FileEntry, Snapshot
from tests.fixtures.launchers import script_module


def pfs(repo: str, glob: str = "/*", **more: Any) -> PfsInput:
    return PfsInput(more.pop("name", repo), repo, glob, **more)


def found(node: Input, **repos: list[str]) -> dict[str, Neutral]:
    """By the datum's name."""
    snapshots = {
        (name, None): Snapshot("commit", {p: FileEntry("git:1", "git", False, "1", None, "") for p in paths})
        for name, paths in repos.items()
    }
    return {d.name: neutral(d, snapshots) for d in make_datums(node, snapshots)}


def words(node: Input, **repos: list[str]) -> Mapping[str, tuple[str, ...]]:
    return {name: one.words for name, one in found(node, **repos).items()}


# Words


def test_a_files_stem_is_its_word_and_its_suffix_stays() -> None:
    assert words(pfs("images"), images=["liberty.png", "a.nii.gz", "plain"]) == {
        "liberty.png": ("liberty",),
        "a.nii.gz": ("a",),
        "plain": ("plain",),
    }
    assert hide("liberty.png", ("liberty",)) == "datum.png"


def test_a_matched_folders_path_is_its_words_and_what_is_below_stays() -> None:
    assert words(pfs("t1"), t1=["sub-02/anat/T1w.nii.gz"]) == {"sub-02": ("sub-02",)}
    assert hide("sub-02/anat/T1w.nii.gz", ("sub-02",)) == "datum/anat/T1w.nii.gz"
    assert words(pfs("t1", "/*/*"), t1=["s1/ses-1/a", "s1/b~c.png"]) == {
        "s1/ses-1": ("s1", "ses-1"),
        "s1/b~c.png": ("s1", "b", "c"),
    }
    assert hide("s1/ses-1/a", ("s1", "ses-1")) == "datum1/datum2/a"


def test_the_words_of_a_join_or_group_are_those_of_its_key() -> None:
    t1, t2 = (pfs(r, "/(*)/*", join_on="$1", group_by="$1") for r in ("t1", "t2"))
    files = {"t1": ["sub-01/sub-01_T1w.nii"], "t2": ["sub-01/T2w.nii"]}
    assert words(Combination("join", (t1, t2)), **files) == {"sub-01": ("sub-01",)}
    assert words(Combination("group", (t1,)), t1=files["t1"]) == {"sub-01": ("sub-01",)}


def test_a_key_that_is_a_files_whole_name_keeps_the_suffix_visible() -> None:
    node = Combination("join", (pfs("t1", "/(*)", join_on="$1"),))
    assert words(node, t1=["a.png", "v1.2/x"]) == {"a.png": ("a",), "v1.2": ("v1.2",)}


def test_a_cross_has_the_words_of_each_part() -> None:
    node = Combination("cross", (pfs("images"), pfs("models")))
    assert words(node, images=["cat.png"], models=["v1/weights.bin"]) == {"cat.png~v1": ("cat", "v1")}


def test_the_root_in_a_cross_has_no_word() -> None:
    node = Combination("cross", (pfs("t1"), pfs("template", "/")))
    assert words(node, t1=["s1/a"], template=["brain.nii"]) == {"s1~/": ("s1",)}


# Where names stay visible


@pytest.mark.parametrize(
    ("node", "repos", "reason"),
    [
        (pfs("t1", "/"), {"t1": ["a"]}, "it has no name to hide"),
        (Combination("group", (pfs("t1", "/*", group_by="/"),)), {"t1": ["a"]}, "it has no name to hide"),
        (pfs("t1"), {"t1": ["-.txt"]}, '"-" in its name has no letter or digit'),
        (pfs("t1", "/*/*"), {"t1": ["a/a"]}, '"a" is in its name twice'),
        (
            Combination("cross", (pfs("t1"), pfs("t2"))),
            {"t1": ["a.nii"], "t2": ["a.txt"]},
            '"a" is in its name twice',
        ),
        (pfs("t1"), {"t1": ["1/page-1.png"]}, '"1" is in 1/page-1.png, and elsewhere, in more than one position'),
        (pfs("t1"), {"t1": ["s1/datum.csv"]}, '"datum" is in s1/datum.csv already'),
        (pfs("t1"), {"t1": ["datum.csv"]}, '"datum" is in datum.csv already'),
        (pfs("t1", name="datum"), {"t1": ["a.csv"]}, '"datum" is in datum already'),
        (pfs("t1", "/*/*"), {"t1": ["a/b/datum2"]}, '"datum2" is in a/b/datum2 already'),
    ],
)
def test_where_it_is_not_certain_names_stay_visible(node: Input, repos: dict[str, list[str]], reason: str) -> None:
    assert list(found(node, **repos).values()) == [Neutral((), reason)]


def test_a_placeholder_may_show_a_part_of_a_word() -> None:
    assert part_shown({"1": "01"}, ("sub-01",)) == '{1} is "01", a part of its name'
    hidden = {"name": "datum.png", "images.stem": "datum", "images.ext": ".png", "2": "", "3": "-"}
    assert part_shown(hidden, ("a-datumlike.b",)) == ""


def test_a_token_that_is_not_used_is_a_word_as_any_other() -> None:
    assert words(pfs("t1"), t1=["s1/datum2.csv", "s2/datums"]) == {"s1": ("s1",), "s2": ("s2",)}


def test_a_word_may_stand_in_several_places_after_the_same_text() -> None:
    assert words(pfs("t1"), t1=["sub-01/func/sub-01_bold.nii", "sub-01/sub-01.json"]) == {"sub-01": ("sub-01",)}
    key = pfs("t1", "/sub-(*)/*", join_on="$1")
    assert words(Combination("join", (key,)), t1=["sub-01/sub-01_T1w.nii"]) == {"01": ("01",)}
    assert hide("sub-01/sub-01_T1w.nii", ("01",)) == "sub-datum/sub-datum_T1w.nii"


def test_a_part_of_a_longer_word_is_none() -> None:
    assert hide("sub-1/sub-10.nii", ("sub-1",)) == "datum/sub-10.nii"
    assert hide("ana/banana_ana.é-aé", ("ana",)) == "datum/banana_datum.é-aé"


def test_of_words_that_overlap_the_longer_one_is_hidden() -> None:
    names = ("sub-1", "sub-1_t1")
    assert hide("sub-1/sub-1_t1.png", names) == "datum1/datum2.png"
    assert restore("datum1/datum2_edges.png", names) == "sub-1/sub-1_t1_edges.png"


# Outputs


def test_tokens_in_output_paths_become_the_words_again() -> None:
    assert restore("datum_edges.png", ("liberty",)) == "liberty_edges.png"
    assert restore("a/datum/datum.txt", ("liberty",)) == "a/liberty/liberty.txt"
    assert restore("datums/xdatum/datum2", ("liberty",)) == "datums/xdatum/datum2"
    assert restore("datum1/datum2/datum3/datum01", ("a", "b")) == "a/b/datum3/datum01"
    assert restore("datum.txt", ()) == "datum.txt"


def test_a_word_is_put_back_as_it_is() -> None:
    assert restore("datum.txt", (r"\1(b",)) == r"\1(b.txt"


_word = st.text(st.sampled_from("ab1-._ü("), min_size=1, max_size=4)
_part = st.lists(st.one_of(_word, st.sampled_from(["_", "-", "x", "datum", "datum1"])), min_size=1, max_size=4)
_path = st.lists(_part.map("".join), min_size=1, max_size=3).map("/".join)


LAUNCH = script_module()


@given(st.lists(_word, min_size=1, max_size=3, unique=True).map(tuple), _path)
def test_the_launcher_has_the_same_rule(names: tuple[str, ...], path: str) -> None:
    datum = LAUNCH.Datum("name", "out")
    datum.words = list(zip(tokens(len(names)), names, strict=True))
    assert datum.neutral(path) == hide(path, names)
    assert datum.restored(path) == restore(path, names)


_files = st.lists(_path, min_size=1, max_size=4, unique=True).filter(
    lambda paths: not any(a.startswith(b + "/") for a in paths for b in paths)
)
_nodes = st.sampled_from(
    [
        pfs("t1", "/*"),
        pfs("t1", "/**"),
        Combination("group", (pfs("t1", "/(*)/**", group_by="$1"),)),
        Combination("join", (pfs("t1", "/(*)-*", join_on="$1"), pfs("t2", "/(*)-*", join_on="$1"))),
        Combination("cross", (pfs("t1", "/*"), pfs("t2", "/*"))),
    ]
)


@given(_nodes, _files, _files)
def test_neutral_paths_are_one_to_one_and_lead_back(node: Input, one: list[str], other: list[str]) -> None:
    snapshots = {
        (name, None): Snapshot("commit", {p: FileEntry("git:1", "git", False, "1", None, "") for p in paths})
        for name, paths in (("t1", one), ("t2", other))
    }
    for datum in make_datums(node, snapshots):
        names = neutral(datum, snapshots).words
        for match in datum.matches:
            paths = [path for path, _ in snapshots[match.repo, match.branch].below(match.path)]
            hidden = [hide(path, names) for path in paths]
            assert len(set(hidden)) == len(paths)
            assert [restore(path, names) for path in hidden] == paths


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
    end = suffix(path)
    assert name.endswith(end)
    assert end == "" or end.startswith(".")
    assert end == "" or name.removesuffix(end).strip(".")
