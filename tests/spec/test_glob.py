"""Globs: what matches, what is captured, and where a bad one is wrong."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.spec.glob import GlobError, compile_glob


def matches(pattern: str, path: str) -> bool:
    return compile_glob(pattern).match(path) is not None


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        # slashes: one is supplied, one is dropped
        ("", ["/"], ["/a"]),
        ("/", ["/"], ["/a"]),
        ("a", ["/a"], ["/", "/A", "/ab", "/b/a"]),
        ("/a/", ["/a"], ["/a/b"]),
        # the rest is cleaned as a path
        ("./a", ["/a"], ["/./a"]),
        ("/a//b/./c", ["/a/b/c"], ["/a//b/./c"]),
        ("/a/../b*", ["/b", "/bc"], ["/a/b", "/a"]),
        ("/../../a", ["/a"], []),
        ("/a/..", ["/"], ["/a"]),
        (".", ["/"], ["/."]),
        ("/*/..//*", ["/a"], ["/a/b"]),
        ("/.a/..b/c..", ["/.a/..b/c.."], []),
        # stars
        ("*", ["/a", "/.dot", "/a\nb"], ["/", "/a/b"]),
        ("/a*", ["/a", "/ab"], ["/b", "/a/b"]),
        ("**", ["/a", "/a/b", "/a\n/b"], ["/"]),
        ("/**.nii", ["/a.nii", "/s/a.nii", "/.nii"], ["/a.nii.gz"]),
        ("/**/a", ["/x/a", "/x/y/a"], ["/a"]),
        ("/a***b", ["/ab", "/ax/yb"], ["/a"]),
        # one character
        ("/a?c", ["/abc", "/a.c"], ["/a/c", "/ac", "/abbc"]),
        # classes
        ("/[abc]", ["/a", "/c"], ["/d", "/ab"]),
        ("/[a-c]x", ["/bx"], ["/dx"]),
        ("/[!a]x", ["/bx", "//x"], ["/ax"]),
        ("/[^a]x", ["/bx", "//x"], ["/ax"]),
        ("/[a-c0-9_]", ["/b", "/7", "/_"], ["/d", "/-"]),
        ("/[a-]", ["/a", "/-"], ["/b"]),
        ("/[-a]", ["/a", "/-"], ["/b"]),
        (r"/[\]\-\\]", ["/]", "/-", "/\\"], ["/a"]),
        ("/[*?(]", ["/*", "/?", "/("], ["/a"]),
        ("/[a^]", ["/a", "/^"], ["/b"]),
        ("/[[:alpha:]]", ["/a", "/Z"], ["/1", "/ä", "/:"]),
        ("/[![:alpha:]]", ["/1", "/ä"], ["/a"]),
        ("/[[:^alpha:]x]", ["/1", "/ä", "/x"], ["/y"]),
        ("/[[:digit:]a-f]", ["/3", "/e"], ["/g"]),
        ("/[[]", ["/["], ["/]"]),
        ("/[&&a||b]", ["/a", "/&", "/|"], ["/c"]),
        # braces
        ("/{a,b}.txt", ["/a.txt", "/b.txt"], ["/c.txt", "/ab.txt"]),
        ("/x{,.gz}", ["/x", "/x.gz"], ["/x."]),
        ("/{a,b{1,2}}", ["/a", "/b1", "/b2"], ["/b"]),
        ("/{a,(b,c)}", ["/a", "/b,c"], ["/b"]),
        # parentheses
        ("/(a|b)", ["/a", "/b"], ["/ab", "/"]),
        ("/@(a|b)c", ["/ac", "/bc"], ["/c"]),
        ("/x*(ab)", ["/x", "/xab", "/xabab"], ["/xa"]),
        ("/x+(ab)", ["/xab", "/xabab"], ["/x"]),
        ("/x?(ab)", ["/x", "/xab"], ["/xabab"]),
        ("/x()", ["/x"], ["/xa"]),
        ("/x(|y)", ["/x", "/xy"], ["/xz"]),
        ("/({a|b})", ["/a|b"], ["/a"]),
        # a quantifier is the character right before the parenthesis
        ("/ab**(e|f)", ["/ab", "/abef", "/abcdef", "/abcf"], ["/a", "/ab/e"]),
        ("/**(.js.js)", ["/foo.js.js"], ["/d/foo.js.js"]),
        ("/***(.js)", ["/foo.js", "/d/foo.js"], []),
        ("/a?*(e|f)", ["/ab", "/abef"], ["/a", "/abc"]),
        ("/+x", ["/+x"], ["/x"]),
        ("/a@b!c", ["/a@b!c"], []),
        # characters themselves
        (r"/a\*\(b\)", ["/a*(b)"], ["/axxb"]),
        (r"/a\b\d", ["/abd"], ["/a1"]),
        ("/a]b", ["/a]b"], []),
        ("/a|b,c", ["/a|b,c"], ["/a"]),
        ("/a.b$^+#-~&", ["/a.b$^+#-~&"], ["/axb$^+#-~&"]),
        ("/日*ä", ["/日本ä"], ["/本ä"]),
    ],
)
def test_what_matches(pattern: str, hits: list[str], misses: list[str]) -> None:
    assert [path for path in hits if not matches(pattern, path)] == []
    assert [path for path in misses if matches(pattern, path)] == []


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("!(foo)", "/foobar", True),
        ("!(foo)", "/foo", False),
        ("!(foo)", "/a/b", False),
        ("!(foo)*", "/foobar", False),
        ("!(foo)*", "/bar", True),
        ("!(!(foo))", "/foo", True),
        ("!(!(foo))", "/foobar", False),
        ("!(!(!(foo)))", "/foo", False),
        ("!(**)", "/foo", False),
        ("a!(x)", "/a", True),
        ("a!(x)", "/ax", False),
        ("a!(x)", "/axy", True),
        ("*.!(js)", "/a.js", False),
        ("*.!(js)", "/a.js.map", True),
        ("*.!(js)*", "/a.js", False),
        ("!(a)?", "/ab", True),
        ("!(*.a|*.b)", "/x.c", True),
        ("!(*.a|*.b)", "/x.b", False),
        ("!(*.a|*.b)", "/x.ac", True),
        ("!(*.a|*.b)", "/x.bc", True),
        ("!(*.a|*.b)*", "/x.ac", False),
        ("@(!(z*)|*x)", "/foot", True),
        ("@(!(z*)|*x)", "/zoot", False),
        ("@(!(z*)|*x)", "/zoox", True),
        ("!(a)!(b)", "/b", True),
        ("!(a)!(b)", "/ab", False),
        ("/d/!(x)/", "/d/xy", True),  # a trailing slash is no text
        ("/!(x)/y", "/xx/y", False),
    ],
)
def test_anything_but(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    ("pattern", "path", "captures"),
    [
        ("/(*)", "/sub-1", ("sub-1",)),
        ("/(*)/", "/sub-1", ("sub-1",)),
        ("/(*)-(?)", "/a-b-c", ("a-b", "c")),
        ("/t/a*(a|b)/*(*).go", "/t/aba/x.go", ("ba", "x")),
        ("/t*(/?(+(a|b)/*.go))", "/t/a/x.go", ("/a/x.go", "a/x.go", "a")),
        ("/(a|(b))c", "/ac", ("a", "")),
        ("/(a|(b))c", "/bc", ("b", "b")),
        ("/x?(y)", "/x", ("",)),
        ("/!(y)", "/x", ("x",)),
        ("/!(y(z))", "/x", ("x", "")),
        ("/{(a),(b)}", "/b", ("", "b")),
        ("/(**).nii", "/s/a.nii", ("s/a",)),
    ],
)
def test_captures_are_numbered_by_their_opening_parenthesis(pattern: str, path: str, captures: tuple[str, ...]) -> None:
    glob = compile_glob(pattern)
    assert glob.match(path) == captures
    assert glob.groups == len(captures)


@pytest.mark.parametrize(
    ("pattern", "column", "word"),
    [
        ("/a(b", 2, "never closed"),
        ("a(b", 1, "never closed"),
        ("/*(b|", 2, "never closed"),
        ("/{a,b", 1, "never closed"),
        ("/a)", 2, "closes nothing"),
        ("/a}", 2, "closes nothing"),
        ("/(a}b)", 3, "closes nothing"),
        ("/{}", 1, "nothing between"),
        ("/[]", 1, "nothing between"),
        ("/[!]", 1, "nothing between"),
        ("/[abc", 1, "never closed"),
        ("/x[c-a]", 3, "write a-c"),
        ("/[[:alfa:]]", 2, "alpha"),
        ("/a\\", 2, "follows"),
        ("/[\\", 2, "follows"),
        ("(" * 60 + ")" * 60, 50, "deep"),
    ],
)
def test_a_bad_glob_tells_its_column(pattern: str, column: int, word: str) -> None:
    with pytest.raises(GlobError) as caught:
        compile_glob(pattern)
    assert caught.value.column == column
    assert word in f"{caught.value.message} {caught.value.fix}"


@pytest.mark.parametrize(
    ("pattern", "depth", "prefix"),
    [
        ("/", 0, ""),
        ("/*", 1, ""),
        ("*.txt", 1, ""),
        ("/a/b", 2, "/a/b"),
        ("/a/b*/c", 3, "/a"),
        ("/a/(*)/?", 3, "/a"),
        ("/a/**", None, "/a"),
        ("/{a,b}/x", 2, ""),
        ("/{a,b/c}", None, ""),
        ("/(a/b|c/d)", 2, ""),
        ("/a*(/b)", None, ""),
        ("/!(a/b)", 1, ""),
        ("/[ab]/x", 2, ""),
        ("/[!a]x", None, ""),
        ("/[+-9]", None, ""),
        ("/[[:punct:]]", None, ""),
        ("/[![:punct:]]", 1, ""),
        (r"/\*/x*", 2, "/*"),
    ],
)
def test_depth_and_prefix(pattern: str, depth: int | None, prefix: str) -> None:
    glob = compile_glob(pattern)
    assert (glob.depth, glob.prefix) == (depth, prefix)


def test_names_that_are_no_utf8() -> None:
    path = "/" + os.fsdecode(b"\xff\xfe.txt")
    assert compile_glob("/(*).txt").match(path) == (path[1:-4],)
    assert matches("/??.txt", path)
    assert matches("/[![:alpha:]]*", path)
    assert matches(path, path)


PLAIN = ["a", "b", "/", "?", "[ab]", "{a,b}", "(a|b)"]
PIECES = [*PLAIN, ".", "*", "**", "[!a]", "{,ab}", "*(a|b/)", "+(b)", "?(a)", "!(a/|b)"]
PATHS = st.lists(st.text("ab.*", min_size=1, max_size=4), max_size=3).map(lambda parts: "/" + "/".join(parts))
PATTERNS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@given(st.lists(st.sampled_from([*PLAIN, "*", "**"]), max_size=6), PATHS)
def test_a_capture_changes_nothing_about_what_matches(pieces: list[str], path: str) -> None:
    captured = "".join(pieces).replace("?(", "?@(").replace("*(", "*@(")  # no quantifier by accident
    braced = "".join(pieces).replace("(a|b)", "{a,b}")
    assert matches(captured, path) == matches(braced, path)


@given(PATTERNS, PATHS)
def test_depth_and_prefix_are_true_of_every_match(pattern: str, path: str) -> None:
    glob = compile_glob(pattern)
    if glob.match(path) is None:
        return
    assert glob.depth in (None, 0 if path == "/" else path.count("/"))
    assert path == glob.prefix or path.startswith(glob.prefix + "/")


def naive(pattern: str, path: str) -> bool:
    """The definition, word for word, for patterns of text, `?`, `*` and `**`."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        return any(naive(pattern[2:], path[i:]) for i in range(len(path) + 1))
    if pattern.startswith("*"):
        run = path.partition("/")[0]
        return any(naive(pattern[1:], path[i:]) for i in range(len(run) + 1))
    if not path:
        return False
    return (path[0] != "/" if pattern[0] == "?" else path[0] == pattern[0]) and naive(pattern[1:], path[1:])


@given(st.text("ab*?/", max_size=7), PATHS)
def test_stars_do_what_their_definition_says(pattern: str, path: str) -> None:
    full = "/" + "/".join(part for part in pattern.split("/") if part)
    expected = naive(full, path) if path != "/" else full == "/"
    assert matches(pattern, path) == expected


@given(st.text(max_size=12))
def test_any_text_compiles_or_is_a_glob_error_inside_it(pattern: str) -> None:
    try:
        glob = compile_glob(pattern)
    except GlobError as error:
        assert 0 <= error.column < len(pattern)
    else:
        assert glob.regex.groups == glob.groups


@given(st.lists(st.sampled_from(list("ab/*?+@!()[]{}|,\\-^:")), max_size=10).map("".join))
def test_any_mix_of_signs_compiles_or_is_a_glob_error(pattern: str) -> None:
    try:
        glob = compile_glob(pattern)
    except GlobError as error:
        assert 0 <= error.column < len(pattern)
    else:
        assert glob.regex.groups == glob.groups


@given(st.text(st.characters(exclude_characters="/"), min_size=1, max_size=8))
def test_escaped_text_matches_itself_alone(name: str) -> None:
    pattern = "/" + re.sub(r"(.)", r"\\\1", name, flags=re.DOTALL)
    assert matches(pattern, "/" + name)
    assert not matches(pattern, f"/{name}x")


@pytest.mark.parametrize(("pattern", "column"), [("./a//b)", 6), ("a/../[", 5), ("/./{", 3)])
def test_a_column_is_that_of_the_glob_as_written(pattern: str, column: int) -> None:
    with pytest.raises(GlobError) as caught:
        compile_glob(pattern)
    assert caught.value.column == column
