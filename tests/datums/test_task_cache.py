"""Ids and places are remembered, and are always those that would be computed anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipach.datums.combine_inputs import make_datums
from minipach.datums.identity import Identifier, IdentityRecipe, input_files, variables
from minipach.datums.snapshot import read_snapshot
from minipach.datums.task_cache import make_tasks
from minipach.model.datum import Datum, Task
from minipach.model.neutral_names import neutral
from minipach.model.pipeline import Combination, Input, PfsInput
from minipach.model.snapshot import Snapshot
from minipach.project.project import Project
from minipach.spec.output_template import out_path
from tests.fixtures.repos import Files, tree_of

RECIPE = IdentityRecipe({"cmd": ["sh"], "out": "{name}"}, "image", "code")
ONE = PfsInput("images", "images", "/*")
OTHER = PfsInput("masks", "masks", "/(*)", join_on="$1", group_by="$1")
KEYED = replace(ONE, glob="/(*)", join_on="$1", group_by="$1")


class Place:
    """A project of two repos whose commits are made without work trees; what was computed is counted."""

    def __init__(self, root: Path) -> None:
        Files.create(root)
        self.project = Project(root)
        self.repos = {name: Files.create(root / name) for name in ("images", "masks")}
        self.computed: list[str] = []

    def commit(self, name: str, files: Mapping[str, str]) -> str:
        repo = self.repos[name]
        return repo.commit_tree(tree_of(repo, {path: text.encode() for path, text in files.items()}), "test\n")

    def tasks(self, input: Input, commits: Mapping[str, str], key: str = "") -> list[Task]:
        return self.both(input, commits, key)[0]

    def both(self, input: Input, commits: Mapping[str, str], key: str = "") -> tuple[list[Task], list[Task]]:
        """The tasks as they are remembered, and computed anew."""
        snapshots: dict[tuple[str, str | None], Snapshot] = {
            (name, None): read_snapshot(self.repos[name], commit) for name, commit in commits.items()
        }
        datums = make_datums(input, snapshots)
        ids = Identifier(RECIPE, by_path=False)

        def anew(datum: Datum) -> Task:
            names = neutral(datum, snapshots)
            datum_id = ids.id_of(input_files(datum, snapshots, names.words), variables(datum, names.words))
            return Task(datum, datum_id, out_path("o/{name}", datum), *names)

        def compute(datum: Datum) -> Task:
            self.computed.append(datum.name)
            return anew(datum)

        self.computed.clear()
        key = json.dumps([key, repr(input)])
        found = make_tasks(self.project, "edges", datums, compute, key=key, input=input, snapshots=snapshots)
        return found, [anew(datum) for datum in datums]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "project")


MANY = {f"f{n:03d}.txt": f"{n}" for n in range(200)}


def test_only_what_changed_is_computed(place: Place) -> None:
    first = place.commit("images", MANY)
    before = place.tasks(ONE, {"images": first})
    assert len(place.computed) == 200
    assert place.tasks(ONE, {"images": first}) == before
    assert place.computed == []
    files = {**MANY, "f003.txt": "other", "new.txt": "new"}
    del files["f007.txt"]
    after = {t.datum.name: t for t in place.tasks(ONE, {"images": place.commit("images", files)})}
    assert sorted(place.computed) == ["f003.txt", "new.txt"]
    assert [t for t in before if after.get(t.datum.name) != t] == [before[3], before[7]]


@pytest.mark.parametrize(
    ("glob", "changed"), [("/", ["/"]), ("/*", ["a"]), ("/*/*", ["a/b"]), ("/**", ["a", "a/b", "a/b/c"])]
)
def test_a_file_changes_the_folders_above_it(place: Place, glob: str, changed: list[str]) -> None:
    files = {**MANY, "a/b/c": "1", "a/d/e": "1", "f/g": "1"}
    input = replace(ONE, glob=glob)
    place.tasks(input, {"images": place.commit("images", files)})
    found, anew = place.both(input, {"images": place.commit("images", {**files, "a/b/c": "2"})})
    assert found == anew
    assert sorted(place.computed) == changed


def test_another_recipe_or_input_is_all_computed(place: Place) -> None:
    commits = {"images": place.commit("images", MANY)}
    place.tasks(ONE, commits)
    place.tasks(ONE, commits, key="another recipe")
    assert len(place.computed) == 200
    place.tasks(replace(ONE, name="pictures"), commits)
    assert len(place.computed) == 200


def test_a_commit_that_was_pruned_is_no_base(place: Place) -> None:
    first = place.commit("images", MANY)
    place.tasks(ONE, {"images": first})
    (place.repos["images"].path / ".git" / "objects" / first[:2] / first[2:]).unlink()
    assert len(place.tasks(ONE, {"images": place.commit("images", {**MANY, "a": "a"})})) == 201
    assert len(place.computed) == 201


def test_a_subdataset_that_comes_later_is_seen(place: Place) -> None:
    images = place.repos["images"]
    inner = Files.create(images.path / "sub")
    inner.put("in.txt", "x")
    images.put("a.txt", "a")
    images.git("update-index", "--add", "--cacheinfo", f"160000,{inner.commit()},sub")
    commits = {"images": images.commit()}
    (inner.path / ".git").rename(images.path / "aside")
    root = replace(ONE, glob="/")
    without = place.tasks(root, commits)
    (images.path / "aside").rename(inner.path / ".git")
    found, anew = place.both(root, commits)
    assert found == anew != without


def test_a_repo_that_becomes_a_pipelines_hides_what_is_reserved_there(place: Place) -> None:
    place.tasks(ONE, {"images": place.commit("images", {**MANY, "code/x": "x"})})
    found, anew = place.both(ONE, {"images": place.commit("images", {**MANY, "code/x": "x", "spec.yml": "{}"})})
    assert found == anew and len(found) == 200


INPUTS: Sequence[Input] = (
    ONE,
    replace(ONE, glob="/"),
    replace(ONE, glob="/*/*"),
    replace(ONE, glob="/**"),
    Combination("cross", (ONE, OTHER)),
    Combination("union", (replace(ONE, glob="/(a)*"), replace(ONE, glob="/*(b)"), OTHER)),
    Combination("join", (KEYED, replace(OTHER, outer_join=True))),
    Combination("group", (replace(KEYED, glob="/(*)/*"), OTHER)),
)
NAMES = st.sampled_from(["a", "b", "ab", "a/a", "a/b", "b/a", "c/a/b", "spec.yml", "a~b"])
TREES = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=6).filter(
    lambda files: not any(other.startswith(name + "/") for name in files for other in files)
)


def with_examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


changes = given(st.sampled_from(INPUTS), st.lists(st.tuples(TREES, TREES), min_size=2, max_size=4))


@with_examples(3)
@changes
def test_after_some_change_the_tasks_are_those_computed_anew(
    input: Input, states: list[tuple[dict[str, str], dict[str, str]]]
) -> None:
    are_those_computed_anew(input, states)


@pytest.mark.slow
@with_examples(30)
@changes
def test_whatever_changes_the_tasks_are_those_computed_anew(
    input: Input, states: list[tuple[dict[str, str], dict[str, str]]]
) -> None:
    are_those_computed_anew(input, states)


def are_those_computed_anew(input: Input, states: list[tuple[dict[str, str], dict[str, str]]]) -> None:
    steady = {f"steady/{n}": "1" for n in range(60)}  # so that a change is a small one
    with TemporaryDirectory() as folder:
        place = Place(Path(folder) / "project")
        names = ("images",) if isinstance(input, PfsInput) else ("images", "masks")
        for state in states:
            commits = {n: place.commit(n, {**steady, **files}) for n, files in zip(names, state, strict=False)}
            found, anew = place.both(input, commits)
            assert found == anew
            for repo in place.repos.values():
                repo.close()
