"""`results pull` and `push`: what one clone computed, all have; results branches merge without conflicts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minipach.exchange import without_credentials
from minipach.merge import merge
from minipach.results import BRANCH, Known, own_branch
from tests.clones import add_result, clone, datum_id, drop_result, names, project, small_project
from tests.projects import Done, Study
from tests.repos import Files

# Merging, on results made by hand


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Files, Files]:
    """Two plain repos whose results branches have one result in common."""
    here = Files.create(tmp_path / "here")
    add_result(here, "aa", "common")
    shutil.copytree(here.path, tmp_path / "there")
    return here, Files(tmp_path / "there")


def merge_in(here: Files, there: Files) -> str | None:
    """Merge there's results into here's; the commit that here's are at now."""
    here.git("fetch", "--quiet", str(there.path), BRANCH)
    merge(here, here.line("rev-parse", "FETCH_HEAD"), "there")
    return here.resolve(BRANCH)


def test_different_results_are_united_in_one_commit_with_both_parents(pair: tuple[Files, Files]) -> None:
    here, there = pair
    mine, theirs = add_result(here, "a1", "mine"), add_result(there, "a2", "theirs")
    parents = [here.resolve(BRANCH), there.resolve(BRANCH)]
    commit = merge_in(here, there)
    assert names(here).keys() == {f"aa/{datum_id('aa')}", mine, theirs}
    assert here.line("rev-list", "--parents", "-1", BRANCH).split() == [commit, *parents]
    assert here.read(BRANCH, f"{theirs}/result.json") == there.read(BRANCH, f"{theirs}/result.json")
    assert here.refs("refs/minipach/") == {"refs/minipach/build/test": parents[0]}, "the merge leaves no ref of its own"


def test_both_ways_of_merging_have_the_same_results(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1")
    add_result(there, "b1")
    there_first = there.resolve(BRANCH)
    merge_in(here, there)
    there.git("fetch", "--quiet", str(here.path), f"{BRANCH}~1")
    merge(there, there.line("rev-parse", "FETCH_HEAD"), "here")
    assert there.resolve(BRANCH) != there_first
    assert here.listing(BRANCH) == there.listing(BRANCH)


def test_who_has_nothing_of_his_own_goes_forward_without_a_commit(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(there, "a2")
    assert merge_in(here, there) == there.resolve(BRANCH)
    assert merge_in(here, there) == there.resolve(BRANCH), "nothing to do the second time"
    assert merge_in(there, here) == here.resolve(BRANCH)


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
    assert here.read(BRANCH, f"{where}/out/f") == b"ours"
    assert len(names(here)) == 2


def test_results_of_one_id_under_two_names_are_both_kept(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1", "liberty", out="liberty")
    add_result(there, "a1", "statue", out="statue")
    merge_in(here, there)
    merge_in(there, here)
    for repo in pair:
        known = Known(repo)
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
    assert here.read(BRANCH, f"{where}/out/f") == b"again"


def test_plain_git_merges_different_results_too(pair: tuple[Files, Files]) -> None:
    here, there = pair
    add_result(here, "a1")
    add_result(there, "a2")
    here.git("checkout", "--quiet", "minipach")
    here.git("pull", "--quiet", "--no-rebase", "--no-edit", str(there.path), "minipach")
    assert Known(here).ids == {datum_id("aa"), datum_id("a1"), datum_id("a2")}


# A clone without a results branch of its own


def test_a_fresh_clone_reads_its_remotes_results_until_it_has_its_own(
    pair: tuple[Files, Files], tmp_path: Path
) -> None:
    here, _ = pair
    here.git("clone", "--quiet", str(here.path), str(tmp_path / "clone"))
    fresh = Files(tmp_path / "clone")
    known = Known(fresh)
    assert (known.own, known.ids) == (None, {datum_id("aa")})
    own_branch(fresh)
    assert Known(fresh).own == here.resolve(BRANCH)
    add_result(here, "a1")
    fresh.git("fetch", "--quiet", "origin")
    own_branch(fresh)
    assert Known(fresh).ids == {datum_id("aa")}, "from then on only a pull brings more"


# The commands, on a small project


@pytest.fixture
def small(tmp_path: Path) -> tuple[Study, Files]:
    study, edges = small_project(tmp_path / "study")
    add_result(edges, "a1")
    return study, edges


def remote(edges: Files, name: str = "origin", *, annexed: bool = False) -> Files:
    """A bare repository beside the project, as a remote."""
    path = edges.path.parent.parent / f"{name}.git"
    edges.git("init", "--quiet", "--bare", str(path))
    bare = Files(path)
    if annexed:
        bare.git("annex", "init", "--quiet")
    edges.git("remote", "add", name, str(path))
    return bare


def refused(done: Done) -> str:
    assert (done.code, done.out) == (2, ""), done
    return done.err


def test_without_a_remote_the_command_that_adds_one_is_shown(small: tuple[Study, Files]) -> None:
    study, edges = small
    way_out = f"edges: no remote to exchange results with; git -C {edges.path} remote add origin URL\n"
    assert refused(study.minipach("results", "pull")) == way_out
    assert refused(study.minipach("results", "push")) == way_out


def test_the_remote_is_the_one_named_or_the_branchs_or_origin_or_the_only_one(small: tuple[Study, Files]) -> None:
    study, edges = small

    def used(*arguments: str) -> Any:
        done = study.minipach("results", "pull", "--json", *arguments)
        assert done.code == 0, done.err
        return done.json["pipelines"][0]["remote"]

    remote(edges, "lab")
    assert used() == "lab"
    remote(edges, "home")
    several = "edges: several remotes (home, lab) and none of them is the branch's; name the one to use\n"
    assert refused(study.minipach("results", "pull")) == several
    assert used("home") == "home"
    remote(edges, "origin")
    assert used() == used("edges") == "origin"
    edges.git("config", "branch.main.remote", "lab")
    assert used() == "lab"
    assert 'edges: no remote "lob"; there are: home, lab, origin; git -C' in refused(
        study.minipach("results", "pull", "lob", "edges")
    )
    assert "elges: no such pipeline in this project" in refused(study.minipach("results", "pull", "lab", "elges"))


def test_push_to_a_plain_git_repo_sends_the_results_and_says_that_contents_stay(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    done = study.minipach("results", "push")
    assert done.out == (
        "edges: 1 result went to origin; 1 result now\n"
        "  origin keeps no annexed contents: only the results went there\n"
    )
    assert bare.resolve(BRANCH) == edges.resolve(BRANCH)
    assert bare.resolve("git-annex") is not None
    assert study.minipach("results", "push", "--no-data").out == "edges: nothing new with origin; 1 result now\n"


def test_push_copies_the_contents_of_results_only_and_no_data_leaves_them_out(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges, annexed=True)
    edges.put("unrelated.txt", "not a result")
    edges.put("result.txt", "a result")
    edges.commit()
    key = edges.line("annex", "lookupkey", "result.txt")
    tree = edges.line("ls-tree", "HEAD", "result.txt").split()[2]
    where = add_result(edges, "b1", "result.txt")
    listing = edges.line("ls-tree", "-r", BRANCH)
    entries = f"{listing}\n120000 blob {tree}\t{where}/out/result.txt\n"
    new = edges.commit_tree(_write_tree(edges, entries), "annexed output", [str(edges.resolve(BRANCH))])
    edges.git("update-ref", BRANCH, new)
    left_out = study.minipach("results", "push", "--no-data", "--json").json["pipelines"][0]
    assert (left_out["went"], left_out["contents"], _keys_in(bare)) == (2, 0, [])
    sent = study.minipach("results", "push", "--json").json["pipelines"][0]
    assert (sent["went"], sent["contents"], _keys_in(bare)) == (0, 1, [key])
    assert edges.line("annex", "find", "--in=origin", "--format=${key}", f"--branch={BRANCH}") == key
    assert bare.resolve("git-annex") == edges.resolve("git-annex"), "others learn from it where the content is"


def _write_tree(repo: Files, listing: str) -> str:
    env = {"GIT_INDEX_FILE": str(repo.path / ".git/test-index")}
    repo.git("update-index", "--index-info", stdin=listing.encode(), env=env)
    return repo.line("write-tree", env=env)


def _keys_in(bare: Files) -> list[str]:
    return sorted(p.name for p in (bare.path / "annex" / "objects").rglob("*") if p.is_file())


def test_a_push_that_somebody_else_overtakes_is_merged_and_sent_again(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    study.minipach("results", "push", "--no-data")
    other = Files(edges.path.parent.parent / "other")
    edges.git("clone", "--quiet", "--branch", "minipach", str(bare.path), str(other.path))
    mine, theirs = add_result(edges, "b1"), add_result(other, "c1")
    hook = edges.path / ".git/hooks/pre-push"
    hook.write_text(
        f'#!/bin/sh\n[ -e "$0.done" ] && exit 0\n: >"$0.done"\nunset GIT_DIR\nexec git -C {other.path} push -q origin minipach\n'
    )
    hook.chmod(0o755)
    done = study.minipach("results", "push", "--no-data", "--json")
    assert done.code == 0, done.err
    assert done.json["pipelines"][0]["results"] == 3
    assert hook.with_name("pre-push.done").exists(), "the other push did come in between"
    assert {mine, theirs} < names(bare).keys()
    assert bare.resolve(BRANCH) == edges.resolve(BRANCH)


def test_a_remote_that_refuses_is_an_error_and_nothing_is_lost(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    hook = bare.path / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    done = study.minipach("results", "push", "--no-data")
    assert "edges: origin refused the results ([remote rejected] (pre-receive hook declined))" in refused(done)
    assert (len(names(edges)), bare.refs("refs/heads/")) == (1, {})


def test_no_credentials_are_shown(small: tuple[Study, Files]) -> None:
    study, edges = small
    edges.git("remote", "add", "origin", "http://somebody:secret@127.0.0.1:1/edges.git")
    for command in ("pull", "push"):
        message = refused(study.minipach("results", command))
        assert "git ls-remote origin failed: " in message
        assert "secret" not in message
        assert "somebody" not in message
    assert without_credentials("at https://me:pw@host/x\nand ssh://u@h/y") == "at https://host/x and ssh://h/y"


def test_one_pipeline_that_cannot_be_reached_does_not_keep_the_others_back(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    shutil.copytree(edges.path, study.root / "alone")
    Files(study.root / "alone").git("remote", "remove", "origin")
    done = study.minipach("results", "push", "--no-data")
    assert done.code == 2
    assert done.err.startswith("alone: no remote")
    assert done.out.startswith("edges: 1 result went to origin")
    assert bare.resolve(BRANCH) == edges.resolve(BRANCH)


# Two clones of one project compute different halves


@dataclass(frozen=True)
class Exchanged:
    """What was said on the way, and the two clones afterwards."""

    a: Study
    b: Study
    halves: dict[str, dict[str, Any]]
    pushed: dict[str, Any]
    reports: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> Exchanged:
    folder = tmp_path_factory.mktemp("clones")
    origin = project(folder / "origin")
    a, b = clone(origin, folder / "a"), clone(origin, folder / "b")
    halves = {"a": a.schedule("edges:a*")["edges"], "b": b.schedule("edges:b*")["edges"]}
    pushed = {name: s.minipach("results", "push", "--json") for name, s in (("a", a), ("b", b))}
    a.ok("git", "-C", "edges", "remote", "-v")
    pulled = a.minipach("results", "pull", "--json")
    reports = {name: s.schedule()["edges"] for name, s in (("a", a), ("b", b))}
    said = {name: done.json["pipelines"][0] for name, done in {**pushed, "pull": pulled}.items()}
    return Exchanged(a, b, halves, said, reports)


@pytest.mark.slow
def test_each_clone_computes_its_half_from_the_results_that_came_with_it(exchanged: Exchanged) -> None:
    for report in exchanged.halves.values():
        assert report["state"] == "partial"
        assert (report["counts"]["ran"], report["counts"]["current"]) == (2, 1)


@pytest.mark.slow
def test_the_halves_go_through_the_origin(exchanged: Exchanged) -> None:
    said = {name: (one["came"], one["went"], one["contents"]) for name, one in exchanged.pushed.items()}
    assert said == {"a": (0, 2, 2), "b": (2, 2, 2), "pull": (2, 0, 0)}


@pytest.mark.slow
def test_afterwards_each_has_everything_and_neither_runs_anything(exchanged: Exchanged) -> None:
    for report in exchanged.reports.values():
        assert report["state"] == "published"
        assert (report["counts"]["ran"], report["counts"]["reused"], report["counts"]["current"]) == (0, 4, 1)
    assert exchanged.a.outputs("edges") == exchanged.b.outputs("edges")
    assert sorted(exchanged.a.outputs("edges")) == ["a1.txt", "a2.txt", "b1.txt", "b2.txt", "first.txt"]


@pytest.mark.slow
def test_what_the_other_computed_can_be_fetched(exchanged: Exchanged) -> None:
    for study, name in ((exchanged.a, "b1"), (exchanged.b, "a2")):
        assert not (study.root / f"edges/{name}.txt").exists()
        study.git("edges", "annex", "get", f"{name}.txt")
        assert study.read(f"edges/{name}.txt").decode() == f"content of {name}\n"


@pytest.mark.slow
def test_the_branches_differ_in_history_only_so_that_git_merges_them(exchanged: Exchanged) -> None:
    a, b = exchanged.a, exchanged.b
    assert a.git("edges", "rev-parse", "HEAD") != b.git("edges", "rev-parse", "HEAD")
    assert a.git("edges", "rev-parse", "HEAD^{tree}") == b.git("edges", "rev-parse", "HEAD^{tree}")
    a.git("edges", "pull", "--quiet", "--no-rebase", "--no-edit", str(b.root / "edges"), "HEAD")
    assert a.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_the_record_of_a_result_is_its_makers_own(exchanged: Exchanged) -> None:
    message = "--grep=^\\[DATALAD RUNCMD\\] edges: a1.txt$"
    made = [s.git("edges", "log", "-1", "--format=%ae %ai %B", message) for s in (exchanged.a, exchanged.b)]
    assert made[0] == made[1]
    assert made[0].startswith("tester@example.org ")
