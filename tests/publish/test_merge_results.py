"""Results branches merge without conflicts, and a fresh clone begins with its remote's. On results made by hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minipach.model.repo_layout import RESULT_REFS, RESULTS_BRANCH
from minipach.publish.fold_results import fold_results
from minipach.publish.merge_results import merge_results
from minipach.records.results_branch import StoredResults, own_branch
from tests.fixtures.clones import add_pending, add_result, datum_id, drop_result, names
from tests.fixtures.repos import Files


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Files, Files]:
    """Two plain repos whose results branches have one result in common."""
    here = Files.create(tmp_path / "here")
    add_result(here, "aa", "common")
    shutil.copytree(here.path, tmp_path / "there")
    return here, Files(tmp_path / "there")


def merge_in(here: Files, there: Files) -> str | None:
    """Merge there's results into here's; the commit that here's are at now."""
    here.git("fetch", "--quiet", str(there.path), RESULTS_BRANCH)
    merge_results(here, here.line("rev-parse", "FETCH_HEAD"), "there")
    return here.resolve(RESULTS_BRANCH)


def test_different_results_are_united_in_one_commit_with_both_parents(pair: tuple[Files, Files]) -> None:
    here, there = pair
    mine, theirs = add_result(here, "a1", "mine"), add_result(there, "a2", "theirs")
    parents = [here.resolve(RESULTS_BRANCH), there.resolve(RESULTS_BRANCH)]
    commit = merge_in(here, there)
    assert names(here).keys() == {f"aa/{datum_id('aa')}", mine, theirs}
    assert here.line("rev-list", "--parents", "-1", RESULTS_BRANCH).split() == [commit, *parents]
    assert here.read(RESULTS_BRANCH, f"{theirs}/result.json") == there.read(RESULTS_BRANCH, f"{theirs}/result.json")
    assert here.refs("refs/minipach/") == {"refs/minipach/build/test": parents[0]}, "the merge leaves no ref of its own"


def test_both_ways_of_merging_have_the_same_results(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1")
    add_result(there, "b1")
    here.git("branch", "before", "minipach")
    merge_in(here, there)
    there.git("fetch", "--quiet", str(here.path), "before")
    merge_results(there, there.line("rev-parse", "FETCH_HEAD"), "here")
    assert len(names(there)) == 3
    assert here.listing(RESULTS_BRANCH) == there.listing(RESULTS_BRANCH)


def test_who_has_nothing_of_his_own_goes_forward_without_a_commit(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(there, "a2")
    assert merge_in(here, there) == there.resolve(RESULTS_BRANCH)
    assert merge_in(here, there) == there.resolve(RESULTS_BRANCH), "nothing to do the second time"
    assert merge_in(there, here) == here.resolve(RESULTS_BRANCH)


def test_histories_without_a_common_beginning(tmp_path: Path) -> None:
    here, there = Files.create(tmp_path / "here"), Files.create(tmp_path / "there")
    add_result(here, "a1")
    add_result(there, "a2")
    merge_in(here, there)
    assert [w.partition("/")[2][:2] for w in names(here)] == ["a1", "a2"]


def test_of_two_results_of_one_datum_ours_stands(pair: tuple[Files, Files]) -> None:
    here, there = pair
    where = add_result(here, "a1", "same", out="ours")
    add_result(there, "a1", "same", out="theirs")
    merge_in(here, there)
    assert here.read(RESULTS_BRANCH, f"{where}/out/f") == b"ours"
    assert len(names(here)) == 2


def test_results_of_one_id_under_two_names_are_both_kept(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1", "liberty", out="liberty")
    add_result(there, "a1", "statue", out="statue")
    merge_in(here, there)
    merge_in(there, here)
    for repo in pair:
        known = StoredResults(repo)
        assert {r.name for r in known.of(datum_id("a1"))} == {"liberty", "statue"}
        repo.close()


def test_what_was_dropped_here_stays_dropped_and_what_was_dropped_there_goes(pair: tuple[Files, Files]) -> None:
    here, there = pair
    gone = add_result(here, "a1")
    merge_in(there, here)
    drop_result(here, gone)
    add_result(there, "b1")
    merge_in(here, there)
    assert gone not in names(here)
    drop_result(there, f"aa/{datum_id('aa')}")
    add_result(here, "c1")
    merge_in(here, there)
    assert [w[:2] for w in names(here)] == ["b1", "c1"]


def test_what_was_run_again_there_takes_the_place_of_what_both_had(pair: tuple[Files, Files]) -> None:
    here, there = pair
    where = add_result(there, "aa", "common", out="again")
    add_result(here, "a1")
    merge_in(here, there)
    assert here.read(RESULTS_BRANCH, f"{where}/out/f") == b"again"


def test_plain_git_merges_different_results_too(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1")
    add_result(there, "a2")
    here.git("checkout", "--quiet", "minipach")
    here.git("pull", "--quiet", "--no-rebase", "--no-edit", str(there.path), "minipach")
    assert StoredResults(here).ids == {datum_id("aa"), datum_id("a1"), datum_id("a2")}


class Overtaken(Files):
    """A repo into which somebody pushes a result just before our refs move."""

    def update_refs(self, lines: Sequence[str]) -> None:
        if not self.refs("refs/test/overtaken"):
            self.git("update-ref", "refs/test/overtaken", RESULTS_BRANCH)
            add_result(Files(self.path), "ff", "pushed")
        super().update_refs(lines)


def test_a_push_into_this_repo_during_a_merge_is_kept(pair: tuple[Files, Files]) -> None:
    here, there = Overtaken(pair[0].path), pair[1]
    add_result(here, "a1")
    add_result(there, "a2")
    merge_in(here, there)
    assert [w[:2] for w in names(here)] == ["a1", "a2", "aa", "ff"]


def test_a_push_into_this_repo_while_results_are_stored_is_kept(pair: tuple[Files, Files]) -> None:
    here = Overtaken(pair[0].path)
    add_pending(here, "a1", "mine")
    assert fold_results(here) == 1
    assert sorted(names(here).values()) == ["common", "mine", "pushed"]
    assert here.refs(RESULT_REFS) == {}


# A clone without a results branch of its own


def test_the_first_results_of_a_fresh_clone_come_on_top_of_its_remotes(
    pair: tuple[Files, Files], tmp_path: Path
) -> None:
    here, _ = pair
    here.git("clone", "--quiet", str(here.path), str(tmp_path / "clone"))
    fresh = Files(tmp_path / "clone")
    add_pending(fresh, "a1", "mine")
    assert fold_results(fresh) == 1
    assert sorted(names(fresh).values()) == ["common", "mine"]
    assert fresh.line("rev-parse", f"{RESULTS_BRANCH}^") == here.resolve(RESULTS_BRANCH)


def test_a_fresh_clone_reads_its_remotes_results_until_it_has_its_own(
    pair: tuple[Files, Files], tmp_path: Path
) -> None:
    here, _ = pair
    here.git("clone", "--quiet", str(here.path), str(tmp_path / "clone"))
    fresh = Files(tmp_path / "clone")
    known = StoredResults(fresh)
    assert (known.own, known.ids) == (None, {datum_id("aa")})
    own_branch(fresh)
    assert StoredResults(fresh).own == here.resolve(RESULTS_BRANCH)
    add_result(here, "a1")
    fresh.git("fetch", "--quiet", "origin")
    own_branch(fresh)
    assert StoredResults(fresh).ids == {datum_id("aa")}, "from then on only a pull brings more"


@pytest.mark.parametrize(
    "changes",
    [
        {"record": None},
        {"id": "../../x"},
        {"files": [["../x", "100644", "0" * 40]]},
        {"files": [["a/.git/config", "100644", "0" * 40]]},
        {"files": [["x", "160000", "0" * 40]]},
        {"files": [["x", "100644", "HEAD"]]},
        {"files": 7},
    ],
    ids=str,
)
def test_a_pending_result_that_no_worker_writes_is_left_out(pair: tuple[Files, Files], changes: dict[str, Any]) -> None:
    here, _ = pair
    add_pending(here, "a1", "mine", **changes)
    assert fold_results(here) == 0
    assert sorted(names(here).values()) == ["common"]
    assert here.refs(RESULT_REFS) == {}, "it is looked at once"
