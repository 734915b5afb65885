"""`minipach.templates.inputs`: the input of a new pipeline."""

from __future__ import annotations

import pytest

from minipach.project.project import find_project
from minipach.spec.glob import compile_glob
from minipach.templates.inputs import guess_glob, inputs_of, repo_around, stage_inputs
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]


@pytest.mark.parametrize(
    ("files", "glob"),
    [
        ([], "/*"),
        (["a.png", "b.png"], "/*.png"),
        (["a.png", "b.jpg", "README.md"], "/*.{jpg,png}"),
        (["a", "b.txt"], "/*"),
        (["sub-1/anat.nii", "sub-2/anat.nii", "dataset_description.json", "participants.tsv"], "/sub-*"),
        (["2024/a.csv", "2025/a.csv", "index.csv"], "/*"),
    ],
)
def test_a_guessed_glob(root: Files, files: list[str], glob: str) -> None:
    data = repo(root, "data")
    for file in files:
        data.put(file, "x")
    data.commit()
    assert guess_glob(find_project(root.path), "data")[0] == glob


def test_two_inputs_are_joined_where_all_have_parentheses(root: Files) -> None:
    for name in ("t1", "raw/t1"):
        repo(root, name)
    project = find_project(root.path)
    joined, _ = inputs_of(project, ["t1:/(*).nii", "raw/t1:/(*).nii"], but="n")
    assert [member["pfs"].get("name", "") for member in joined["join"]] == ["", "t12"]
    assert {member["pfs"]["join_on"] for member in joined["join"]} == {"$1"}
    crossed, guesses = inputs_of(project, ["t1:/(*).nii", "raw/t1:/*"], but="n")
    assert list(crossed) == ["cross"] and len(guesses) == 1


def test_a_path_is_matched_as_it_is_written() -> None:
    found, names = stage_inputs({"data": {"a [1]*.txt", "b{,}.txt"}, "other": {""}})
    globs = [member["pfs"]["glob"] for member in found["cross"]]
    paths = ["/a [1]*.txt", "/b{,}.txt"]
    assert [[compile_glob(glob).match(path) is not None for path in paths] for glob in globs[:2]] == [
        [True, False],
        [False, True],
    ]
    assert globs[2] == "/"
    assert names == {"data/a [1]*.txt": "data", "data/b{,}.txt": "data2", "other": "other"}


def test_the_repo_around_a_path() -> None:
    assert repo_around(["a", "a/b"], "a/b/c") == "a/b"
    assert repo_around(["a"], "ab/c") == ""
