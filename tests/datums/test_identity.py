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

from minipach.datums.combine_inputs import make_datums
from minipach.datums.identity import VERSION, IdentityRecipe, code_id, datum_id, input_files, recipe, variables
from minipach.model.neutral_names import hide, neutral
from minipach.model.pipeline import Combination, Input, PfsInput, Pipeline, Transform
from minipach.model.snapshot import FileEntry, Snapshot

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
    found = {}
    for d in make_datums(node, snapshots):
        words = () if by_path else neutral(d, snapshots).words
        found[d.name] = datum_id(shared, input_files(d, snapshots, words), variables(d, words), by_path=by_path)
    return found


def pfs(repo: str, glob: str = "/*", **more: Any) -> PfsInput:
    return PfsInput(more.pop("name", repo), repo, glob, **more)


# Version 2. Who changes one of these ids makes every result of every project be computed again: raise
# identity.VERSION with them, and say so in the changelog.

_ROWS = {"images": [("a.png", "SHA256--aa", False)], "t1": [("a/b.nii.gz", "git:bb", True), ("é", "", False)]}
_SEEN = {"MINIPACH_DATUM": "a.png", "images": "/pfs/images/a.png", "é": ""}


def test_version_2_is_these_ids() -> None:
    assert VERSION == 2
    plain = recipe(PLAIN, "SHA256--11", "22")
    full = recipe(FULL, "SHA256--11", "22")
    assert datum_id(plain, {}, {}, by_path=False) == "70a8c87e397a09d03aaded939f66abcbb34a4f7c0777917dc062fb081bc7f01c"
    assert (
        datum_id(plain, _ROWS, _SEEN, by_path=False)
        == "0a8a7a78840999f28698e77e0c786f33540715486faa19eef2d311529e55d810"
    )
    assert (
        datum_id(plain, _ROWS, _SEEN, by_path=True)
        == "f9219ccbca510698d8c85d170312216de25ed9b3a614c540fee0412b1b64f171"
    )
    assert (
        datum_id(full, _ROWS, _SEEN, by_path=False)
        == "9cabe14c115f413e5866eed810f7b165fe5219b96f0de88f49ff5cb99a895e0b"
    )


def test_version_2_names_code_and_inputs_so() -> None:
    assert (
        code_id({"edges.py": file("git:aa"), "lib/x": file("git:bb", executable=True)})
        == "d21ba2d6a7ad2e882bf6ab072e06d79a58748784319cc053395a0ec4875394ce"
    )
    images: dict[str, str | FileEntry] = {"a.png": "SHA256--aa", "d/b.png": "SHA256--bb", "d/c": file("git:c")}
    assert ids(pfs("images"), images=images) == {
        "a.png": "102bebe34dd868afb0c44392ee94abe2c6649e885f5e884a665951c096fbcc48",
        "d": "d6e98c801313596896ac23ebe4b80ce00c4ee6d885f543eef907eaf17d7d04e3",
    }
    assert ids(pfs("images"), by_path=True, images=images) == {
        "a.png": "0e4e47d64df7fedd1a84c2b0e85e64f8849e9ed1406ee9929fb1e184eec2d48f",
        "d": "fd0d9715a8d4f5730f51b90c95e17ee27d829d113313ef7c401bdb7444aae24e",
    }
    rows = pfs("t1", "/(*)-*", group_by="$1")
    group = Combination("group", (rows,))
    assert ids(group, t1={"s1-a.nii": "SHA256--aa", "s1-b.nii": "SHA256--bb"}) == {
        "s1": "f172222b1e49cbb1d7634ac648e07e056c29d1f6a04801c4c118e71c344be1a6"
    }


def test_an_id_is_the_hash_of_canonical_json() -> None:
    """The documented form, written the plain way."""
    for by_path, mode in ((False, "content"), (True, "path")):
        shared = recipe(FULL, "SHA256--11", "22")
        data = {"version": 2, **shared.as_json(), "identity": mode, "inputs": _ROWS, "variables": _SEEN}
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        assert datum_id(shared, _ROWS, _SEEN, by_path=by_path) == hashlib.sha256(text.encode()).hexdigest()


_texts = st.text(max_size=8)
_inputs = st.dictionaries(_texts, st.lists(st.tuples(_texts, _texts, st.booleans()), max_size=3), max_size=3)


_seen = st.dictionaries(_texts, _texts, max_size=3)


@given(_inputs, _inputs, _seen, _seen)
def test_ids_are_equal_for_equal_inputs_only(
    one: dict[str, Any], other: dict[str, Any], seen: dict[str, str], else_seen: dict[str, str]
) -> None:
    shared = IdentityRecipe({"cmd": ["x"]}, "i", "c")
    first = datum_id(shared, one, seen, by_path=False)
    assert (first == datum_id(shared, other, else_seen, by_path=False)) is ((one, seen) == (other, else_seen))
    again = datum_id(shared, dict(reversed(one.items())), dict(reversed(seen.items())), by_path=False)
    assert again == first


# What is shared by all datums

_CHANGES: dict[str, Any] = {
    "cmd": ("python3", "code/edges.py", "--fast"),
    "stdin": ("other",),
    "env": (("A", "2"),),
    "accept_return_code": (3,),
    "working_dir": "/elsewhere",
    "batching": True,
}


@pytest.mark.parametrize("field", sorted(_CHANGES))
def test_every_part_of_the_transform_counts(field: str) -> None:
    changed = replace(FULL, transform=replace(FULL.transform, **{field: _CHANGES[field]}))
    assert recipe(changed, "i", "c") != recipe(FULL, "i", "c")


@pytest.mark.parametrize("change", [{"out": "/"}, {"salt": "pepper"}, {"writable_inputs": True}])
def test_place_salt_and_what_a_command_may_do_count(change: dict[str, Any]) -> None:
    assert recipe(replace(FULL, **change), "i", "c") != recipe(FULL, "i", "c")


def test_image_and_code_count() -> None:
    found = {datum_id(recipe(PLAIN, i, c), {}, {}, by_path=False) for i in ("i1", "i2") for c in ("c1", "c2")}
    assert len(found) == 4


def test_what_says_nothing_about_the_result_does_not_count() -> None:
    other = replace(
        FULL,
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


def test_the_pipelines_place_counts_since_the_command_sees_it() -> None:
    assert recipe(replace(FULL, name="other"), "i", "c") != recipe(FULL, "i", "c")


# Variables of the run

_COMMITS: dict[tuple[str, str | None], str] = {("images", None): "c1"}
_NEXT: dict[tuple[str, str | None], str] = {("images", None): "c2"}


def with_env(**env: str) -> Pipeline:
    transform = replace(PLAIN.transform, env=tuple(env.items()))
    return replace(PLAIN, identity="content", transform=transform, blob="b1")


@pytest.mark.parametrize("name", ["images_COMMIT", "PACH_JOB_ID", "PACH_OUTPUT_COMMIT_ID"])
def test_a_commit_counts_where_the_spec_names_a_variable_that_tells_it(name: str) -> None:
    named = with_env(**{name: ""})
    assert recipe(named, "i", "c", _COMMITS) != recipe(named, "i", "c", _NEXT)
    assert recipe(with_env(A="1"), "i", "c", _COMMITS) == recipe(with_env(A="1"), "i", "c", _NEXT)
    by_path = replace(named, identity="path")
    assert recipe(by_path, "i", "c", _COMMITS) == recipe(by_path, "i", "c", _NEXT)


def test_the_specs_text_counts_where_the_spec_names_its_variable() -> None:
    named = with_env(PPS_SPEC_COMMIT="")
    assert recipe(named, "i", "c") != recipe(replace(named, blob="b2"), "i", "c")
    assert recipe(with_env(), "i", "c") == recipe(replace(with_env(), blob="b2"), "i", "c")


# Inputs


def test_a_renamed_file_is_the_same_datum() -> None:
    assert ids(pfs("images"), images={"a.png": "1"})["a.png"] == ids(pfs("images"), images={"b.png": "1"})["b.png"]


def test_a_moved_file_is_the_same_datum() -> None:
    found = ids(pfs("images", "/**.png"), images={"d/a.png": "1", "e/b.png": "1", "c.png": "1"})
    assert found["d/a.png"] == found["e/b.png"]
    assert found["c.png"] != found["e/b.png"], "how deep it lies is visible"


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


def test_a_key_that_the_command_gets_counts() -> None:
    """It follows from templates in the spec, which are not in the recipe."""
    plain = ids(Combination("join", (pfs("t1", "/*-(*)", join_on="$1"),)), t1={"a-1": "1"}, by_path=True)
    other = ids(Combination("join", (pfs("t1", "/*-(*)", join_on="${1}x"),)), t1={"a-1": "1"}, by_path=True)
    assert plain["1"] != other["1x"]


def test_by_path_the_whole_path_counts() -> None:
    files = {"a.png": "1", "b.png": "1", "d/a.png": "1", "e/a.png": "1"}
    found = ids(pfs("images"), by_path=True, images=files)
    assert len(set(found.values())) == 4
    assert set(found.values()).isdisjoint(ids(pfs("images"), images=files).values())


def test_with_empty_files_content_counts_as_a_link_to_one_publishes_it() -> None:
    node = pfs("images", empty_files=True)
    assert ids(node, images={"a": "1"}) != ids(node, images={"a": "2"})
    assert ids(node, images={"a": "1"}) != ids(pfs("images"), images={"a": "1"}), "the command sees no content"


# Joins and groups: the key's words are hidden, the rest of the paths counts


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


def test_a_key_in_a_longer_word_is_not_a_word_of_its_own() -> None:
    assert grouped({"1/run-1.nii": "1"}, "/(*)/*", "$1")["1"] != grouped({"2/run-1.nii": "1"}, "/(*)/*", "$1")["2"]


def test_a_group_over_folders_tells_them_apart() -> None:
    node = Combination("group", (pfs("t1", "/*", group_by="all"),))
    one = {"sub-1/a": "1", "sub-2/a": "2"}
    other = {"sub-1/a": "2", "sub-2/a": "1"}
    assert ids(node, t1=one) != ids(node, t1=other)


# Equal ids, equal worlds

_part = st.sampled_from(["a", "b", "1", "2", "sub-1", "sub-2", "datum", "x_a", "run-1", "a.b"])
_paths = st.dictionaries(
    st.lists(_part, min_size=1, max_size=3).map("/".join), st.sampled_from("12"), min_size=1, max_size=5
).filter(lambda files: not any(a.startswith(b + "/") for a in files for b in files))
_nodes: list[Input] = [
    pfs("t1"),
    pfs("t1", "/**"),
    Combination("group", (pfs("t1", "/(*)/**", group_by="$1"),)),
    Combination("join", (pfs("t1", "/(*)/**", join_on="$1"), pfs("t2", "/(*)/**", join_on="$1"))),
    Combination("cross", (pfs("t1"), pfs("t2"))),
]


def worlds(node: Input, files: Mapping[str, str], more: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Each datum's id, and all that its command sees: paths with contents, and variables."""
    snapshots = {("t1", None): snapshot(files), ("t2", None): snapshot(more)}
    shared = recipe(PLAIN, "image", "code")
    found = []
    for d in make_datums(node, snapshots):
        words = neutral(d, snapshots).words
        rows, seen = input_files(d, snapshots, words), variables(d, words)
        tree = {
            (m.input, hide(path, words)): (entry.content, entry.executable)
            for m in d.matches
            for path, entry in snapshots[m.repo, m.branch].below(m.path)
        }
        found.append((datum_id(shared, rows, seen, by_path=False), (tree, seen)))
    return found


@given(st.sampled_from(_nodes), _paths, _paths, _paths, _paths)
def test_datums_of_one_id_see_one_world(
    node: Input, one: dict[str, str], two: dict[str, str], other: dict[str, str], more: dict[str, str]
) -> None:
    seen: dict[str, Any] = {}
    for datum, world in worlds(node, one, two) + worlds(node, other, more):
        assert seen.setdefault(datum, world) == world
