"""Reuse with proof: when a result may stand, renamed, for another datum of the same content."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minipach.reuse import NO_RENAMING, SEARCH_LIMIT, Renaming, find_leaks, renaming, tokens

# Words of a name


@pytest.mark.parametrize(
    ("name", "is_file", "words"),
    [
        ("sub-1", False, ("sub-1",)),
        ("chelsea.png", True, ("chelsea",)),
        ("chelsea.png", False, ("chelsea.png",)),
        ("sub-1/a.nii.gz", True, ("sub-1", "a")),
        (".profile", True, (".profile",)),
        ("a~b/c", False, ("a", "b", "c")),
        ("/", False, ()),
        ("/~a", False, ("a",)),
    ],
)
def test_the_words_of_a_name(name: str, is_file: bool, words: tuple[str, ...]) -> None:
    assert tokens(name, is_file=is_file) == words


# Words in bytes


def file(path: str, data: bytes | None, size: int | None = None) -> tuple[str, int, Callable[[], bytes | None]]:
    return path, len(data or b"") if size is None else size, lambda: data


def test_a_word_in_an_outputs_bytes_is_found_with_its_place() -> None:
    files = [file("a.txt", b"nothing"), file("b.txt", b"from sub-1!"), file("c.txt", b"sub-1")]
    assert find_leaks(["sub-1", "other"], files) == {"sub-1": "b.txt"}


def test_a_word_is_found_inside_others_and_among_any_bytes() -> None:
    assert find_leaks(["an"], [file("f", b"banana")]) == {"an": "f"}
    assert find_leaks(["ü"], [file("f", b"\x00\xff" + "über".encode())]) == {"ü": "f"}
    assert find_leaks(["\udcff"], [file("f", b"a\xffb")]) == {"\udcff": "f"}


def test_a_path_is_no_leak() -> None:
    assert find_leaks(["sub-1"], [file("sub-1/a.txt", b"data")]) == {}


def test_what_cannot_be_searched_is_taken_to_hold_every_word() -> None:
    def never() -> bytes:
        raise AssertionError("too large to be read")

    assert find_leaks(["a", "b"], [("big", SEARCH_LIMIT + 1, never)]) == {"a": "big", "b": "big"}
    assert find_leaks(["a", "b"], [file("gone", None)]) == {"a": "gone", "b": "gone"}
    assert find_leaks(["a"], [("at the limit", SEARCH_LIMIT, lambda: b"b")]) == {}


def test_each_output_is_read_once() -> None:
    reads: list[str] = []

    def read() -> bytes:
        reads.append("f")
        return b""

    find_leaks(["a", "b", "c"], [("f", 0, read)])
    assert reads == ["f"]


@given(st.lists(st.text(min_size=1, max_size=3), max_size=3), st.lists(st.binary(max_size=12), max_size=3))
def test_leaks_are_just_the_words_that_occur(words: list[str], contents: list[bytes]) -> None:
    found = find_leaks(words, [file(str(i), data) for i, data in enumerate(contents)])
    for word in words:
        holders = [str(i) for i, data in enumerate(contents) if word.encode() in data]
        assert found.get(word) == (holders[0] if holders else None)


# Renaming


def renamed(old: tuple[str, ...], new: tuple[str, ...], *paths: str) -> list[str]:
    """The new paths of outputs that are clean."""
    found = renaming(old, new, {}, paths)
    assert not found.refusal
    return [found.apply(p) for p in paths]


def refusal(old: tuple[str, ...], new: tuple[str, ...], *paths: str, **leaks: str) -> str:
    return renaming(old, new, {k.replace("_", "-"): v for k, v in leaks.items()}, paths).refusal


def test_whole_words_change_wherever_they_are() -> None:
    paths = ("sub-1/sub-1_bold.nii", "qc/sub-1.html", "sub-1")
    assert renamed(("sub-1",), ("sub-2",), *paths) == ["sub-2/sub-2_bold.nii", "qc/sub-2.html", "sub-2"]


def test_parts_of_longer_words_stay() -> None:
    assert renamed(("sub-1",), ("sub-2",), "sub-1/sub-10.txt") == ["sub-2/sub-10.txt"]
    assert renamed(("ana",), ("bob",), "ana/banana_ana.ana") == ["bob/banana_bob.bob"]
    assert renamed(("a",), ("b",), "a/é-aé.txt") == ["b/é-aé.txt"]


def test_only_what_differs_changes() -> None:
    assert renamed(("s1", "run"), ("s2", "run"), "s1/run.txt") == ["s2/run.txt"]


def test_two_words_can_change_places() -> None:
    assert renamed(("a", "b"), ("b", "a"), "a-b.txt", "x/b/a") == ["b-a.txt", "x/a/b"]


def test_a_word_within_another_one_changes_there_as_by_itself_or_not_at_all() -> None:
    old, new = ("sub-1", "sub-1_t1"), ("sub-2", "sub-2_t1")
    assert renamed(old, new, "sub-1/sub-1_t1.png", "sub-1_t1.txt") == ["sub-2/sub-2_t1.png", "sub-2_t1.txt"]
    # of `one.txt.up`, nobody knows whether it is the second word, or the first with a suffix
    why = refusal(("one.txt", "one.txt.up"), ("two.txt", "one.txt.up"), "one.txt+one.txt.up")
    assert why == '"one.txt" is in "one.txt.up" in the name, too, and does not change there alike'
    assert '"a" is in "a-b" in the name, too' in refusal(("a", "a-b"), ("c", "d"), "a-b/a")


def test_a_number_that_is_in_a_path_twice_may_be_there_for_another_reason() -> None:
    assert refusal(("1",), ("2",), "1/page-1.png") == '"1" is in 1/page-1.png more than once, maybe not for the name'
    assert "more than once" in refusal(("t1",), ("t2",), "t1/t1.nii")
    assert "more than once" in refusal(("001",), ("002",), "001/001.nii")
    assert renamed(("1",), ("2",), "1/page-3.png", "page-4/1.png") == ["2/page-3.png", "page-4/2.png"]


def test_a_path_that_has_the_new_name_already_is_not_told_from_a_copy() -> None:
    assert refusal(("left",), ("right",), "left-to-right.txt") == '"right" is in left-to-right.txt already'
    assert refusal(("1",), ("2",), "1/page-2.png") == '"2" is in 1/page-2.png already'


def test_words_with_special_characters_are_themselves() -> None:
    assert renamed(("a.b(c",), ("x\\1",), "a.b(c/t", "d/a.b(c") == ["x\\1/t", "d/x\\1"]


def test_a_result_without_outputs_is_clean() -> None:
    assert renaming(("a",), ("b",), {}, []).refusal == ""


def test_a_word_in_the_bytes_is_refused_and_said_where() -> None:
    why = refusal(("sub-1",), ("sub-2",), "sub-1/report.html", sub_1="sub-1/report.html")
    assert why == '"sub-1" occurs in sub-1/report.html'


def test_a_word_in_the_bytes_that_stays_the_same_does_no_harm() -> None:
    assert refusal(("s1", "run"), ("s2", "run"), "s1/run", run="s1/run") == ""


def test_a_path_without_the_name_is_refused_and_named() -> None:
    assert refusal(("sub-1",), ("sub-2",), "sub-1/a", "summary.txt") == "summary.txt does not carry the datum's name"
    assert refusal(("sub-1",), ("sub-2",), "sub-10/a") == "sub-10/a does not carry the datum's name"
    # carries a part of the name, but none that differs
    assert refusal(("s1", "run"), ("s2", "run"), "run.txt") == "run.txt does not carry the datum's name"


def test_names_of_another_build_are_refused() -> None:
    assert "built differently" in refusal(("a", "b"), ("c",), "a-b")
    assert "built differently" in refusal((), ("c",), "x")
    # `a/b` and `a~b`: other names of the same words, which no path can tell apart
    assert "built differently" in refusal(("a", "b"), ("a", "b"), "a-b")


def test_one_word_cannot_become_two() -> None:
    assert "two different" in refusal(("a", "a"), ("b", "c"), "a")
    assert "two different" in refusal(("a", "a"), ("a", "c"), "a")
    assert renamed(("ann", "ann"), ("bob", "bob"), "ann/ann") == ["bob/bob"]


def test_two_outputs_never_get_one_name() -> None:
    old, new = ("ann", "eve"), ("bob-x", "bob")
    assert refusal(old, new, "ann", "eve-x") == "eve-x would get the name of another output"
    # nor may a file get the name of a folder
    assert "would get the name" in refusal(old, new, "ann", "eve-x/y")
    assert "would get the name" in refusal(old, new, "eve-x/y", "ann")


def test_no_renaming_changes_nothing() -> None:
    assert NO_RENAMING.apply("any/path") == "any/path"
    assert Renaming() == NO_RENAMING


_word = st.text(st.sampled_from("ab1-.ü"), min_size=1, max_size=3)
_words = st.lists(_word, min_size=1, max_size=3).map(tuple)
_names = st.lists(st.one_of(_word, st.sampled_from(["", "_", "x"])), min_size=1, max_size=4)
_paths = st.lists(st.lists(_names.map("".join).filter(bool), min_size=1, max_size=3).map("/".join), max_size=4)


def is_in(word: str, path: str) -> bool:
    """Whether a path carries a word as a whole one, looked up the slow way."""
    found = (m.start() for m in re.finditer(f"(?={re.escape(word)})", path))
    return any(not path[max(0, at - 1) : at].isalnum() and not path[at + len(word) :][:1].isalnum() for at in found)


@given(_words, st.data(), _paths)
def test_a_proven_renaming_leaves_no_old_word_and_merges_no_paths(
    old: tuple[str, ...], data: st.DataObject, paths: list[str]
) -> None:
    new = tuple(data.draw(st.lists(_word, min_size=len(old), max_size=len(old))))
    found = renaming(old, new, {}, paths)
    assume(not found.refusal)
    renamed_paths = [found.apply(p) for p in paths]
    assert len(set(renamed_paths)) == len(set(paths))
    assert all(before.count("/") == after.count("/") for before, after in zip(paths, renamed_paths, strict=True))
    assert all(before != after for before, after in zip(paths, renamed_paths, strict=True))
    folders = {p.rpartition("/")[0] for p in renamed_paths}
    assert not folders & set(renamed_paths) or {p.rpartition("/")[0] for p in paths} & set(paths)


@given(st.lists(st.sampled_from(["ann", "bob", "cyd", "dan"]), min_size=1, max_size=3, unique=True), _paths)
def test_no_old_word_is_left_in_a_path(old: list[str], paths: list[str]) -> None:
    """With names of which none is made of another, "left" has one meaning only."""
    marked = ["/".join(f"{part}_{old[0]}" for part in p.split("/")) for p in paths]
    new = tuple(f"n{i}" for i in range(len(old)))
    found = renaming(tuple(old), new, {}, marked)
    assert not found.refusal
    for before in marked:
        after = found.apply(before)
        assert not any(is_in(word, after) for word in old)
        assert is_in(new[0], after)


@given(_paths)
def test_renaming_there_and_back_is_no_change(paths: list[str]) -> None:
    marked = [f"{p}/old" for p in paths]
    there = renaming(("old",), ("new",), {}, marked)
    assert not there.refusal
    moved = [there.apply(p) for p in marked]
    back = renaming(("new",), ("old",), {}, moved)
    assert [back.apply(p) for p in moved] == marked
