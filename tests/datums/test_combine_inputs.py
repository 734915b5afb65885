"""Datums: what an input and the files of its repos make, their names, and where their output goes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.datums.combine_inputs import make_datums
from minipach.model.datum import Datum, Match
from minipach.model.pipeline import Combination, Input, PfsInput
from minipach.spec.output_template import check_out_template, out_path
from minipach.support.errors import UserError
from tests.fixtures.refusals import refused

CASES = json.loads((Path(__file__).parents[1] / "cases" / "datums.json").read_text())


class Files:
    """A snapshot in memory."""

    def __init__(self, files: Sequence[str]) -> None:
        found = set(files)
        for file in files:
            while file:
                file = file.rpartition("/")[0]  # noqa: PLW2901
                found.add(file or "/")
        self.all = sorted(found)

    def paths(self, depth: int | None = None) -> Sequence[str]:
        if depth is None:
            return self.all
        return [path for path in self.all if (path.count("/") if path != "/" else 0) == depth]


def pfs(repo: str, glob: str, **more: Any) -> PfsInput:
    values: dict[str, Any] = {
        "name": repo,
        "branch": None,
        "join_on": "",
        "outer_join": False,
        "group_by": "",
        "lazy": False,
        "empty_files": False,
    }
    return PfsInput(repo=repo, glob=glob, **{**values, **more})


def both(kind: Any, *members: Input) -> Combination:
    return Combination(kind=kind, members=members)


def datums(node: Input, **repos: Sequence[str]) -> list[Datum]:
    return make_datums(node, {(repo, None): Files(files) for repo, files in repos.items()})


def names(node: Input, **repos: Sequence[str]) -> list[str]:
    return [datum.name for datum in datums(node, **repos)]


def shape(found: Sequence[Datum]) -> list[list[list[str]]]:
    return [[[m.input, m.path] for m in datum.matches] for datum in found]


def from_json(node: Mapping[str, Any]) -> Input:
    [(kind, value)] = node.items()
    if kind == "pfs":
        return pfs(**value)
    return both(kind, *map(from_json, value))


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_shared_cases(case: dict[str, Any]) -> None:
    found = datums(from_json(case["input"]), **case["repos"])
    assert len(found) == case["count"]
    assert len({datum.name for datum in found}) == len(found)
    if "datums" in case:
        assert shape(found) == case["datums"]


# --- pfs


def test_a_match_knows_all_about_itself() -> None:
    node = pfs("t1", "/(*)/(*).nii", name="scan", join_on="s-${1}0:$2:$0:$$", group_by="$2", lazy=True)
    [datum] = datums(node, t1=["/sub-1/a.nii", "/sub-1/b.txt"])
    assert datum == Datum(
        "sub-1/a.nii",
        (
            Match(
                input="scan",
                repo="t1",
                branch=None,
                path="/sub-1/a.nii",
                captures=("sub-1", "a"),
                join_on="s-sub-10:a:/sub-1/a.nii:$",
                group_by="a",
                lazy=True,
                empty_files=False,
            ),
        ),
    )


def test_files_and_folders_are_datums_of_their_own() -> None:
    assert names(pfs("a", "/**"), a=["/d/x", "/y"]) == ["d", "d/x", "y"]


def test_the_root_is_there_if_anything_is() -> None:
    assert names(pfs("a", "/"), a=["/x"]) == ["/"]
    assert names(pfs("a", "/"), a=[]) == []


def test_a_key_of_a_capture_that_the_glob_lacks() -> None:
    with refused("spec.no-such-capture", 'input "a"', "$2", "/(*)"):
        datums(pfs("a", "/(*)", join_on="$2"), a=["/x"])


# --- cross, union


def test_cross_sorts_its_members_by_name() -> None:
    node = both("cross", pfs("b", "/*"), pfs("a", "/*"))
    assert names(node, a=["/1", "/2"], b=["/x", "/y"]) == ["1~x", "1~y", "2~x", "2~y"]


def test_union_keeps_one_of_two_that_are_the_same() -> None:
    node = both("union", pfs("a", "/x*"), pfs("a", "/*y"))
    assert names(node, a=["/xy", "/x", "/y"]) == ["xy", "y", "x"]


def test_union_of_two_repos_tells_them_apart() -> None:
    node = both("union", pfs("t1", "/*"), pfs("t2", "/*"))
    assert names(node, t1=["/s1", "/s2"], t2=["/s2"]) == ["s1", "s2~t1", "s2~t2"]
    same_name = both("union", pfs("t1", "/*", name="t"), pfs("t2", "/*", name="t"))
    assert names(same_name, t1=["/s2"], t2=["/s2"]) == ["s2~t1", "s2~t2"]


# --- join


def test_join_is_called_by_its_key() -> None:
    node = both("join", pfs("t1", "/(*).t1", join_on="$1"), pfs("t2", "/(*).t2", join_on="$1"))
    found = datums(node, t1=["/s1.t1", "/s2.t1"], t2=["/s2.t2", "/s3.t2"])
    assert [(datum.name, datum.key) for datum in found] == [("s2", "s2")]
    assert shape(found) == [[["t1", "/s2.t1"], ["t2", "/s2.t2"]]]


def test_several_datums_of_one_key_say_what_differs() -> None:
    node = both("join", pfs("t1", "/(*)", join_on="$1"), pfs("t2", "/(*)-*", join_on="$1"))
    found = datums(node, t1=["/s1", "/s2"], t2=["/s1-a", "/s1-b", "/s2-a"])
    assert [(datum.name, datum.key) for datum in found] == [
        ("s1~s1-a", "s1"),
        ("s1~s1-b", "s1"),
        ("s2", "s2"),
    ]


def test_a_join_without_join_on_is_a_cross_named_by_its_parts() -> None:
    node = both("join", pfs("a", "/*"), pfs("b", "/*"))
    assert names(node, a=["/1", "/2"], b=["/1", "/x"]) == ["1", "1~x", "2~1", "2~x"]


def outer(*flags: bool) -> Combination:
    return both(
        "join",
        *(pfs(r, "/(*)-*", join_on="$1", outer_join=flag) for r, flag in zip("abc", flags, strict=True)),
    )


def test_outer_join_keeps_what_has_no_partner_of_the_members_that_say_so() -> None:
    files = {"a": ["/k-1", "/l-1"], "b": ["/k-2", "/k-3"], "c": ["/k-4", "/m-1"]}
    whole = [[["a", "/k-1"], ["b", "/k-2"], ["c", "/k-4"]], [["a", "/k-1"], ["b", "/k-3"], ["c", "/k-4"]]]
    assert shape(datums(outer(False, False, False), **files)) == whole
    assert shape(datums(outer(True, False, False), **files)) == [*whole, [["a", "/l-1"]]]
    assert shape(datums(outer(True, True, True), **files)) == [*whole, [["a", "/l-1"]], [["c", "/m-1"]]]


def test_outer_join_drops_the_others_of_an_incomplete_key_once() -> None:
    files = {"a": ["/k-1", "/k-2", "/k-3"], "b": ["/k-4", "/k-5"], "c": []}
    assert shape(datums(outer(False, True, False), **files)) == [[["b", "/k-4"]], [["b", "/k-5"]]]
    assert shape(datums(outer(False, False, True), **files)) == []
    assert len(datums(outer(True, True, False), **files)) == 6


def test_an_outer_join_within_a_join_counts_file_by_file() -> None:
    inner = both("union", pfs("a", "/(?)*", join_on="$1", outer_join=True), pfs("b", "/(?)*", join_on="$1"))
    node = both("join", inner, pfs("c", "/(*)", join_on="$1"))
    assert shape(datums(node, a=["/k1"], b=["/k2"], c=["/z"])) == [[["a", "/k1"]]]


# --- group


def test_group_holds_every_file_of_a_key() -> None:
    node = both("group", pfs("b", "/(?)*", group_by="$1"), pfs("a", "/*(?)", group_by="x"))
    found = datums(node, a=["/1", "/2"], b=["/x1", "/x2", "/y1"])
    assert [datum.name for datum in found] == ["x", "y"]
    assert shape(found) == [
        [["a", "/1"], ["a", "/2"], ["b", "/x1"], ["b", "/x2"]],
        [["b", "/y1"]],
    ]


def test_one_file_may_be_in_a_group_twice() -> None:
    node = both("group", pfs("d", "/*", name="l"), pfs("d", "/*", name="r"))
    [datum] = datums(node, d=["/x", "/y"])
    assert shape([datum]) == [[["l", "/x"], ["l", "/y"], ["r", "/x"], ["r", "/y"]]]
    assert (datum.name, datum.key) == ("x~y", "")


def test_the_name_of_many_is_short() -> None:
    assert names(both("group", pfs("d", "/*")), d=[f"/f{i}" for i in range(9)]) == ["f0~f1~f2~+6"]


# --- nested


def test_group_of_a_join_keys_each_file_anew() -> None:
    left = pfs("d", "/(?)(?)", name="l", join_on="$1$2", group_by="$1")
    right = pfs("d", "/(?)(?)", name="r", join_on="$2$1", group_by="$2")
    found = datums(both("group", both("join", left, right)), d=[f"/{i}{j}" for i in "12" for j in "12"])
    assert [[path for _, path in datum] for datum in shape(found)] == [
        ["/11", "/11", "/12", "/21"],
        ["/21", "/12", "/22", "/22"],
    ]
    assert [datum.name for datum in found] == ["1", "2"]


def test_a_flattened_cross_gives_each_file_once() -> None:
    node = both("group", both("cross", pfs("a", "/*"), pfs("b", "/*")))
    assert shape(datums(node, a=["/1", "/2"], b=["/x", "/y"])) == [[["a", "/1"], ["b", "/x"], ["b", "/y"], ["a", "/2"]]]


def test_join_of_a_group() -> None:
    left = both("group", pfs("a", "/(?)*", group_by="$1", join_on="$1"))
    node = both("join", left, pfs("b", "/(*)", join_on="$1"))
    assert shape(datums(node, a=["/k1", "/k2"], b=["/k"])) == [
        [["a", "/k1"], ["b", "/k"]],
        [["a", "/k2"], ["b", "/k"]],
    ]
    assert names(node, a=["/k1", "/k2"], b=["/k"]) == ["k~k1", "k~k2"]


def test_cross_of_a_join_joins_the_names() -> None:
    join = both("join", pfs("a", "/(*).a", join_on="$1"), pfs("b", "/(*).b", join_on="$1"))
    node = both("cross", join, pfs("m", "/"))
    assert names(node, a=["/s.a"], b=["/s.b"], m=["/model"]) == ["s~/"]


def test_nesting_goes_deep() -> None:
    node: Input = pfs("a", "/*")
    for _ in range(100):
        node = both("union", both("cross", node))
    assert names(node, a=["/x"]) == ["x"]


def test_the_last_resort_is_a_number() -> None:
    files = {"a": ["/1"], "b": [f"/x{i}" for i in range(7)]}
    group = both("group", pfs("b", "/*"))
    node = both("union", both("cross", pfs("a", "/*", name="z"), group), both("cross", pfs("a", "/(*)"), group))
    found = names(node, **files)
    assert len(set(found)) == len(found) == 2


def test_a_made_up_name_never_takes_a_real_one() -> None:
    node = both("union", pfs("t1", "/*"), pfs("t2", "/*"))
    found = names(node, t1=["/s", "/s~t2"], t2=["/s"])
    assert found == ["s~t1", "s~t2", "s~t2#2"]


# --- properties

FILES = st.lists(st.text("ab1", min_size=1, max_size=3), max_size=5, unique=True).map(
    lambda found: [f"/{name}" for name in found]
)
REPOS = st.fixed_dictionaries({"a": FILES, "b": FILES, "c": FILES})
KEYS = st.sampled_from(["", "$1", "$2", "$2$1", "$0", "k"])
GLOBS = st.sampled_from(["/(?)(*)", "/(*)(?)", "/(a*)(b|1)", "/*(a)*(b)"])


@st.composite
def leaves(draw: st.DrawFn) -> PfsInput:
    repo = draw(st.sampled_from("abc"))
    return pfs(
        repo,
        draw(GLOBS),
        name=repo + draw(st.sampled_from(["", "x", "y"])),
        join_on=draw(KEYS),
        group_by=draw(KEYS),
        outer_join=draw(st.booleans()),
    )


KINDS = st.sampled_from(["cross", "union", "join", "group"])
TREES: st.SearchStrategy[Input] = st.recursive(
    leaves(),
    lambda inner: st.builds(lambda kind, members: both(kind, *members), KINDS, st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)


def turned(node: Input) -> Input:
    if isinstance(node, PfsInput):
        return node
    return both(node.kind, *map(turned, reversed(node.members)))


@given(TREES, REPOS)
def test_the_order_of_members_changes_nothing(node: Input, repos: dict[str, list[str]]) -> None:
    assert datums(node, **repos) == datums(turned(node), **repos)


@given(TREES, REPOS)
def test_names_are_unique_and_no_datum_is_empty(node: Input, repos: dict[str, list[str]]) -> None:
    found = datums(node, **repos)
    assert len({datum.name for datum in found}) == len(found)
    assert all(datum.matches for datum in found)


@given(st.lists(TREES, min_size=1, max_size=3), REPOS)
def test_cross_multiplies(members: list[Input], repos: dict[str, list[str]]) -> None:
    expected = 1
    for member in members:
        expected *= len(datums(member, **repos))
    assert len(datums(both("cross", *members), **repos)) == expected


@given(REPOS, KEYS, KEYS, GLOBS, GLOBS)
def test_join_is_a_filtered_cross(repos: dict[str, list[str]], on: str, at: str, glob: str, other: str) -> None:
    members = pfs("a", glob, join_on=on), pfs("b", other, join_on=at)
    joined = datums(both("join", *members), **repos)
    crossed = [d for d in datums(both("cross", *members), **repos) if d.matches[0].join_on == d.matches[1].join_on]
    assert {d.matches for d in joined} == {d.matches for d in crossed}
    assert len(joined) == len(crossed)


@given(TREES, REPOS)
def test_group_partitions(node: Input, repos: dict[str, list[str]]) -> None:
    grouped = datums(both("group", node), **repos)
    assert len({datum.key for datum in grouped}) == len(grouped)
    assert all(match.group_by == datum.key for datum in grouped for match in datum.matches)
    files = {(m.input, m.path, m.group_by) for d in datums(node, **repos) for m in d.matches}
    spread = Counter((m.input, m.path, m.group_by) for d in grouped for m in d.matches)
    assert spread == Counter(files)


def test_a_file_under_two_keys_of_a_join_is_once_in_its_group() -> None:
    member = both("join", both("cross", pfs("a", "/*", join_on="$0", group_by="g"), pfs("a", "/*", group_by="g")))
    (datum,) = datums(both("group", member), a=["/x"])
    assert [m.path for m in datum.matches] == ["/x"]


@given(TREES, TREES, REPOS)
def test_union_holds_each_once(one: Input, two: Input, repos: dict[str, list[str]]) -> None:
    def files(found: list[Datum]) -> list[tuple[tuple[str, str], ...]]:
        return [tuple((m.input, m.path) for m in datum.matches) for datum in found]

    found = files(datums(both("union", one, two), **repos))
    assert set(found) == {*files(datums(one, **repos)), *files(datums(two, **repos))}
    assert len(set(found)) == len(found)


# --- cost


@pytest.mark.slow
@pytest.mark.timeout(300)  # it takes two seconds; a quadratic step would never come to its end
def test_a_hundred_thousand_files() -> None:
    files = Files([f"/{i % 1000:03d}-{i}" for i in range(100_000)])
    repos: dict[tuple[str, str | None], Files] = {("a", None): files, ("b", None): files}
    one = pfs("a", "/(*)-(*)", join_on="$2", group_by="$1")
    assert len(make_datums(pfs("a", "/*"), repos)) == 100_000
    assert len(make_datums(both("group", one), repos)) == 1000
    assert len(make_datums(both("join", one, pfs("b", "/*-(*)", join_on="$1")), repos)) == 100_000


# --- where the output goes


def only(node: Input, **repos: Sequence[str]) -> Datum:
    [datum] = datums(node, **repos)
    return datum


def scan(glob: str = "/(*)/(*).nii.gz", path: str = "/sub-1/t1.nii.gz") -> Datum:
    return only(pfs("scans", glob), scans=[path])


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/", ""),
        ("", ""),
        ("{name}/", "sub-1/t1.nii.gz"),
        ("/{1}/{scans.stem}/", "sub-1/t1"),
        ("x-{2}.y", "x-t1.y"),
        ("{scans}", "sub-1/t1.nii.gz"),
        ("{scans.dir}/{scans.name}", "sub-1/t1.nii.gz"),
        ("{scans.2}{scans.ext}", "t1.nii.gz"),
        ("./{1}/./o", "sub-1/o"),
        ("{{{1}}}", "{sub-1}"),
    ],
)
def test_out_is_filled_in(template: str, path: str) -> None:
    assert out_path(template, scan()) == path
    assert check_out_template(template, pfs("scans", "/(*)/(*).nii.gz")) is None


@pytest.mark.parametrize(
    ("name", "stem", "ext"),
    [("a", "a", ""), (".x", ".x", ""), (".a.txt", ".a", ".txt"), ("a.", "a", "."), ("..", "..", "")],
)
def test_stem_and_ext_make_the_name(name: str, stem: str, ext: str) -> None:
    datum = scan("/*", "/" + name)
    assert out_path("x{scans.stem}", datum) == "x" + stem
    assert out_path("x{scans.ext}", datum) == "x" + ext


def test_a_file_at_the_root_has_no_folder() -> None:
    assert out_path("{scans.dir}/{scans.stem}", scan("/*", "/t1.nii")) == "t1"


def test_the_root_is_called_root_in_a_path() -> None:
    assert out_path("{name}/{d}", only(pfs("d", "/"), d=["/x"])) == "root/root"
    cross = both("cross", pfs("d", "/"), pfs("e", "/*"))
    assert out_path("{name}", only(cross, d=["/x"], e=["/y"])) == "root~y"


def test_captures_are_those_of_the_first_input_that_has_so_many() -> None:
    node = both("cross", pfs("b", "/(*)-(*)"), pfs("a", "/(*)"))
    datum = only(node, a=["/x"], b=["/y-z"])
    assert out_path("{1}/{2}/{b.1}", datum) == "x/z/y"


def test_the_key_of_a_join_or_group() -> None:
    group = both("group", pfs("a", "/(?)*", group_by="$1"))
    datum = only(group, a=["/k1.txt", "/k2.txt"])
    assert out_path("{key}/{1}{a.ext}", datum) == "k/k.txt"
    with refused("datum.bad-output-template", 'datum "k"', "{a}", "{key} or {name}"):
        out_path("{a}", datum)


@pytest.mark.parametrize(
    ("template", "glob", "path", "word"),
    [
        ("{1}/x", "/*(a)b", "/b", "no path"),
        ("x/{1}/y", "/*(a)b", "/b", "empty part"),
        ("{1}", "/(*)", "/..a", None),
        ("{1}", "/(..)a", "/..a", '".."'),
        ("{1}", "/(.)*", "/.a", '"."'),
        ("{1}", "/(*)", "/spec.yml", "reserved"),
        ("{1}/x", "/(*)", "/README.txt", "reserved"),
        ("{1}", "/(.git)x", "/.gitx", "reserved"),
        ("{1}/code", "/(*)", "/a", None),
        ("{key}", "/*", "/a", "no join or group key"),
        ("{2}", "/(*)", "/a", "captures"),
        ("{d.3}", "/(*)", "/a", "no such part"),
        ("{e}", "/(*)", "/a", "nothing of the input"),
    ],
)
def test_values_that_make_no_path(template: str, glob: str, path: str, word: str | None) -> None:
    datum = only(pfs("d", glob), d=[path])
    if word is None:
        out_path(template, datum)
        return
    with pytest.raises(UserError) as caught:
        out_path(template, datum)
    [problem] = map(str, caught.value.problems)
    assert problem.startswith(f'datum "{datum.name}": out "{template}": ')
    assert word in problem
    assert ". Fix: " in problem


def test_a_key_that_is_an_absolute_path() -> None:
    datum = only(both("join", pfs("d", "/*", join_on="$0")), d=["/a"])
    with refused("datum.bad-output-template", 'datum "/a"', '"/a/x"'):
        out_path("{key}/x", datum)


def test_an_input_that_an_outer_join_left_out() -> None:
    node = both("join", pfs("a", "/(*)", join_on="$1", outer_join=True), pfs("b", "/(*)", join_on="$1"))
    with refused("datum.bad-output-template", 'datum "x"', '"b"', "{name}"):
        out_path("{b}", only(node, a=["/x"], b=[]))


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("{", "single {"),
        ("a}", "single }"),
        ("{a", "single {"),
        ("{}", "unknown"),
        ("{nope}", "{d.stem}"),
        ("{d.size}", "stem, name, dir, ext"),
        ("{2}", "captures"),
        ("{d.2}", "captures"),
        ("{key}", "join or a group"),
        ("a//b", "two slashes"),
        ("../x", "leads out"),
        ("a/../b", "leads out"),
        ("code/{name}", "reserved"),
        (".gitx", "reserved"),
    ],
)
def test_a_template_is_checked_before_there_are_datums(template: str, word: str) -> None:
    problem = check_out_template(template, pfs("d", "/(*)"))
    assert problem is not None
    assert any(word in text for text in problem)


def test_a_template_with_the_key_of_a_union_of_groups() -> None:
    group = both("group", pfs("d", "/(*)", group_by="$1"))
    assert check_out_template("{key}", both("union", group, group)) is None
    assert check_out_template("{key}", both("union", group, pfs("d", "/*"))) is not None


def test_an_input_whose_name_has_a_dot() -> None:
    node = pfs("d", "/*", name="my.data")
    assert check_out_template("{my.data}/{my.data.stem}", node) is None
    assert out_path("{my.data}/{my.data.stem}", only(node, d=["/a.b"])) == "a.b/a"


def test_the_root_has_an_empty_path_in_a_key() -> None:
    (datum,) = datums(both("join", pfs("a", "/", join_on="x$0")), a=["/f"])
    assert datum.key == "x"
