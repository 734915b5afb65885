"""`results pull` and `push`: what one clone computed, all have; results branches merge without conflicts."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minipach.git.repo import Repo
from minipach.model.repo_layout import RESULTS_BRANCH
from minipach.project.project import find_project
from minipach.publish import results_exchange
from minipach.publish.results_exchange import choose, remote_of, without_credentials
from minipach.support.errors import UserError
from tests.fixtures.clones import add_result, clone, names, project, small_project
from tests.fixtures.projects import Done, Study
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

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


def stopped(done: Done) -> Done:
    assert (done.code, done.out) == (2, ""), done
    return done


def test_without_a_remote_the_command_that_adds_one_is_shown(small: tuple[Study, Files]) -> None:
    study, edges = small
    for command in ("pull", "push"):
        done = stopped(study.minipach("results", command))
        assert done.refusals == [("results.no-remote", "edges")]
        assert done.problems[0].fix == f"git -C {edges.path} remote add origin URL"


def test_the_remote_is_the_one_named_or_the_branchs_or_origin_or_the_only_one(small: tuple[Study, Files]) -> None:
    _, edges = small
    edges.git("config", "remote.store.annex-uuid", "eb5c1a3c-67f9-4e39-8f3a-0e8d5b3ee3c5")  # holds no git
    edges.git("remote", "add", "lab", "../lab")
    assert remote_of(edges, "edges", None) == "lab"
    edges.git("remote", "add", "home", "../home")
    with refused("results.several-remotes", "edges", "(home, lab)"):
        remote_of(edges, "edges", None)
    assert remote_of(edges, "edges", "home") == "home"
    edges.git("remote", "add", "origin", "../origin")
    assert remote_of(edges, "edges", None) == "origin"
    edges.git("config", "branch.main.remote", "lab")
    assert remote_of(edges, "edges", None) == "lab"
    with refused("results.no-such-remote", "edges", '"new"', "home, lab, origin", "remote add new"):
        remote_of(edges, "edges", "new")
    with refused("results.no-such-remote", "edges", '"lob"', '"lab"'):
        remote_of(edges, "edges", "lob")


def test_the_first_word_is_a_remote_unless_only_a_pipeline_has_that_name(small: tuple[Study, Files]) -> None:
    study, edges = small
    here = find_project(study.root)
    assert choose(here, []) == (None, ("edges",))
    assert choose(here, ["edges"]) == (None, ("edges",))
    assert choose(here, ["lab"]) == ("lab", ("edges",))
    with refused("project.no-such-pipeline", "elges"):
        choose(here, ["lab", "elges"])
    edges.git("remote", "add", "lab", "../lab")
    for word, near in (("elges", "edges"), ("labb", "lab")):
        with refused("results.no-such-remote", word, f'"{near}"'):
            choose(here, [word])
    edges.git("remote", "add", "edges", "../lab")
    assert choose(here, ["edges"]) == ("edges", ("edges",))


def test_push_to_a_plain_git_repo_sends_the_results_and_says_that_contents_stay(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    done = study.minipach("results", "push")
    assert done.out == (
        "edges: 1 result went to origin; 1 result now\n"
        "  origin keeps no annexed contents: only the results went there\n"
    )
    assert bare.resolve(RESULTS_BRANCH) == edges.resolve(RESULTS_BRANCH)
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
    listing = edges.line("ls-tree", "-r", RESULTS_BRANCH)
    entries = f"{listing}\n120000 blob {tree}\t{where}/out/result.txt\n"
    new = edges.commit_tree(_write_tree(edges, entries), "annexed output", [str(edges.resolve(RESULTS_BRANCH))])
    edges.git("update-ref", RESULTS_BRANCH, new)
    left_out = study.minipach("results", "push", "--no-data", "--json").json["pipelines"][0]
    assert (left_out["went"], left_out["contents"], _keys_in(bare)) == (2, 0, [])
    sent = study.minipach("results", "push", "--json").json["pipelines"][0]
    assert (sent["went"], sent["contents"], _keys_in(bare)) == (0, 1, [key])
    assert edges.line("annex", "find", "--in=origin", "--format=${key}", f"--branch={RESULTS_BRANCH}") == key
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
        '#!/bin/sh\n[ -e "$0.done" ] && exit 0\n: >"$0.done"\nunset GIT_DIR\n'
        f"exec git -C {other.path} push -q origin minipach\n"
    )
    hook.chmod(0o755)
    done = study.minipach("results", "push", "--no-data", "--json")
    assert done.code == 0, done.err
    assert done.json["pipelines"][0]["results"] == 3
    assert hook.with_name("pre-push.done").exists(), "the other push did come in between"
    assert {mine, theirs} < names(bare).keys()
    assert bare.resolve(RESULTS_BRANCH) == edges.resolve(RESULTS_BRANCH)


def test_a_remote_that_refuses_is_an_error_and_nothing_is_lost(small: tuple[Study, Files]) -> None:
    study, edges = small
    bare = remote(edges)
    hook = bare.path / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    done = study.minipach("results", "push", "--no-data")
    assert done.reports("results.push-refused", "edges", "pre-receive hook declined")
    assert (len(names(edges)), bare.refs("refs/heads/")) == (1, {})


SSH = """#!/bin/sh
echo x >>'{count}'
if [ "$(wc -l <'{count}')" -le {fails} ]; then echo 'ssh: connect to host lab port 22: {why}' >&2; exit 255; fi
shift
exec sh -c "$*"
"""


def through(edges: Files, folder: Path, why: str, *, fails: int) -> Path:
    """Have the remote reached by an ssh that fails so many times; the file with a line for each call."""
    count, ssh = folder / "count", folder / "ssh"
    ssh.write_text(SSH.format(count=count, fails=fails, why=why))
    ssh.chmod(0o755)
    edges.git("config", "core.sshCommand", str(ssh))
    edges.git("config", "ssh.variant", "simple")
    edges.git("remote", "set-url", "origin", f"ssh://lab{folder / 'origin.git'}")
    return count


@pytest.mark.parametrize(("fails", "calls"), [(1, 3), (2, 4)])
def test_a_network_that_drops_is_waited_for_within_one_call(
    small: tuple[Study, Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int, calls: int
) -> None:
    _, edges = small
    bare = remote(edges)
    count = through(edges, tmp_path, "Connection timed out", fails=fails)
    monkeypatch.setattr(results_exchange, "pause", lambda _attempt: None)
    results_exchange.send(edges, "edges", "origin")
    assert bare.resolve(RESULTS_BRANCH) == edges.resolve(RESULTS_BRANCH)
    assert len(count.read_text().splitlines()) - fails <= calls


@pytest.mark.parametrize(("why", "calls"), [("Connection refused", 3), ("Permission denied (publickey).", 1)])
def test_what_stays_broken_is_reported_and_a_refused_key_at_once(
    small: tuple[Study, Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, calls: int
) -> None:
    _, edges = small
    bare = remote(edges)
    count = through(edges, tmp_path, why, fails=99)
    monkeypatch.setattr(results_exchange, "pause", lambda _attempt: None)
    with pytest.raises(UserError, match=re.escape(why)):
        results_exchange.send(edges, "edges", "origin")
    assert len(count.read_text().splitlines()) == calls and bare.refs("refs/heads/") == {}


def test_no_credentials_are_shown(small: tuple[Study, Files]) -> None:
    study, edges = small
    edges.git("remote", "add", "origin", "http://somebody:secret@127.0.0.1:1/edges.git")
    for command in ("pull", "push"):
        done = stopped(study.minipach("results", command))
        assert done.reports("results.git-failed", None, "git ls-remote origin")
        message = done.err
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
    assert done.reports("results.no-remote", "alone")
    assert done.out.startswith("edges: 1 result went to origin")
    assert bare.resolve(RESULTS_BRANCH) == edges.resolve(RESULTS_BRANCH)


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
def test_the_branches_differ_in_history_at_most_so_that_git_merges_them(exchanged: Exchanged) -> None:
    a, b = exchanged.a, exchanged.b  # made in the same second, they are the same commit
    assert a.git("edges", "rev-parse", "HEAD^{tree}") == b.git("edges", "rev-parse", "HEAD^{tree}")
    a.git("edges", "pull", "--quiet", "--no-rebase", "--no-edit", str(b.root / "edges"), "HEAD")
    assert a.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_the_record_of_a_result_is_its_makers_own(exchanged: Exchanged) -> None:
    message = "--grep=^\\[DATALAD RUNCMD\\] edges: a1.txt$"
    made = [s.git("edges", "log", "-1", "--format=%ae %ai %B", message) for s in (exchanged.a, exchanged.b)]
    assert made[0] == made[1]
    assert made[0].startswith("tester@example.org ")


def test_a_remote_that_git_annex_waits_for(tmp_path: Path) -> None:
    said = "git-annex: Push prevented due to an unverified special remote. Run this command to verify it: "
    repo = Repo(tmp_path)
    found = results_exchange.unverified(repo, f"{said}git-annex verifyremote weed\nerror: failed to push some refs")
    assert found is not None and found.code == "push.unverified-remote"
    assert "minipach store add weed" in found.fix and "remote remove weed" in found.fix
    assert results_exchange.unverified(repo, "error: failed to push some refs") is None
