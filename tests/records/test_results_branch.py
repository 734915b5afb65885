"""The results branch: results are folded in from their refs, and found again by datum id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minipach.git.fast_import import Stream
from minipach.git.git_error import GitError
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model.repo_layout import RESULT_REFS, RESULTS_BRANCH, RESULTS_FILE
from minipach.publish import fold_results as fold_module
from minipach.publish.fold_results import fold_results
from minipach.records import results_branch as results_module
from minipach.records.results_branch import StoredResults, folder_of
from tests.fixtures.repos import Files, tree_of

ID = "ab" + "0" * 62
OTHER = "cd" + "1" * 62


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    """A pipeline's repository without results."""
    made = Files.create(tmp_path / "edges")
    made.put("spec.yml", "x")
    made.commit()
    return made


def described(repo: Files, name: str, datum_id: str = ID, dest: str = "", **outputs: str) -> dict[str, Any]:
    """What a worker says of a datum; `outputs` are files by name, each with its content."""
    return {
        "schema": 1,
        "id": datum_id,
        "name": name,
        "words": [],
        "dest": dest,
        "matches": [["images", "images", f"/{name}"]],
        "recipe": {"transform": {}, "image": "i", "code": "c"},
        "inputs": {"images": [[".png", "git:1", False]]},
        "code_tree": "tree",
        "author": "A Tester <tester@example.org> 1700000000 +0000",
        "seconds": 0.5,
        "files": [[p.replace("__", "/"), FILE, repo.hash_blob(c.encode())] for p, c in outputs.items()],
    }


def pending(repo: Files, set_id: str, *datums: dict[str, Any]) -> None:
    """What a worker leaves: a ref to a commit that describes the results of a set."""
    told = {"results": [{"record": f"record of {set_id}", **datum} for datum in datums]}
    commit = repo.commit_tree(tree_of(repo, {RESULTS_FILE: json.dumps(told).encode()}), "result")
    repo.git("update-ref", RESULT_REFS + set_id, commit)


def log(repo: Files) -> list[str]:
    return repo.line("log", "--format=%s", RESULTS_BRANCH).splitlines()


def test_without_results_nothing_is_known(repo: Files) -> None:
    known = StoredResults(repo)
    assert (known.commit, known.ids) == (None, frozenset())
    assert ID not in known
    assert known.of(ID) == ()
    assert known.named(ID, "a.png") is None
    assert known.folders_of(ID) == []
    assert fold_results(repo) == 0
    assert repo.resolve(RESULTS_BRANCH) is None


def test_a_folded_result_is_found_by_its_id(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", d__a="alpha", b="beta"))
    assert fold_results(repo) == 1
    assert set(repo.listing(RESULTS_BRANCH)) == {
        f"ab/{ID}/out/d/a".encode(),
        f"ab/{ID}/out/b".encode(),
        f"ab/{ID}/record".encode(),
        f"ab/{ID}/result.json".encode(),
    }
    known = StoredResults(repo)
    assert known.ids == {ID}
    [found] = known.of(ID)
    assert found == known.named(ID, "a.png")
    known.forget()
    assert found == known.named(ID, "a.png"), "it is read again"
    assert (found.name, found.dest, known.record(found), found.words) == ("a.png", "", "record of s1", ())
    assert found.matches == (("images", "images", "/a.png"),)
    assert [e.path for e in known.files(found)] == ["b", "d/a"]
    assert repo.refs(RESULT_REFS) == {}


def test_outputs_are_kept_relative_to_their_place(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", dest="x/y", d__a="alpha", b="beta"))
    fold_results(repo)
    known = StoredResults(repo)
    [found] = known.of(ID)
    assert (found.dest, [e.path for e in known.files(found)]) == ("x/y", ["b", "d/a"])


def test_a_result_without_outputs_is_a_result(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png"))
    fold_results(repo)
    known = StoredResults(repo)
    [found] = known.of(ID)
    assert found.tree is None
    assert known.files(found) == []


def test_any_path_and_mode_comes_through(repo: Files) -> None:
    datum = described(repo, "a.png")
    blob = repo.hash_blob(b"../.git/annex/objects/x")
    datum["files"] = [['quo"te \\ ü', SYMLINK, blob], ["new\nline/\udcff", "100755", blob]]
    pending(repo, "s1", datum)
    fold_results(repo)
    known = StoredResults(repo)
    assert set(known.files(known.of(ID)[0])) == {TreeEntry(mode, sha, path) for path, mode, sha in datum["files"]}


def test_many_results_are_one_commit(repo: Files) -> None:
    for i in range(5):
        pending(repo, f"s{i}", described(repo, f"{i}.png", f"{i}{i}" + "0" * 62, x=str(i)))
    assert fold_results(repo) == 5
    assert log(repo) == ["minipach: 5 results: 0.png, 1.png, 2.png ..."]


def test_a_set_may_bring_several_results(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", x="1"), described(repo, "b.png", OTHER, x="2"))
    assert fold_results(repo) == 2
    assert StoredResults(repo).ids == {ID, OTHER}


# One id, several names


def test_two_names_of_one_id_are_two_results(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    fold_results(repo)
    pending(repo, "s2", described(repo, "b.png", b="beta"))
    fold_results(repo)
    known = StoredResults(repo)
    assert known.ids == {ID}
    assert {r.name for r in known.of(ID)} == {"a.png", "b.png"}
    for name, path in (("a.png", "a"), ("b.png", "b")):
        found = known.named(ID, name)
        assert found is not None
        assert [e.path for e in known.files(found)] == [path]
        assert found.where in known.folders_of(ID)


def test_two_names_in_one_fold_are_two_results_too(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    pending(repo, "s2", described(repo, "b.png", b="beta"))
    pending(repo, "s3", described(repo, "c.png", c="gamma"))
    assert fold_results(repo) == 3
    assert {r.name for r in StoredResults(repo).of(ID)} == {"a.png", "b.png", "c.png"}


def test_the_same_datum_twice_is_one_result_the_first(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="first"))
    fold_results(repo)
    before = repo.resolve(RESULTS_BRANCH)
    pending(repo, "s1", described(repo, "a.png", a="second"))
    assert fold_results(repo) == 0
    assert repo.resolve(RESULTS_BRANCH) == before
    assert repo.refs(RESULT_REFS) == {}


def test_a_forced_result_takes_the_place_of_the_old_one(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="first", old="x"))
    fold_results(repo)
    [old] = StoredResults(repo).of(ID)
    pending(repo, "s2", {**described(repo, "a.png", a="second"), "forced": True})
    assert fold_results(repo) == 1
    known = StoredResults(repo)
    [found] = known.of(ID)
    assert found.where == old.where
    assert [e.path for e in known.files(found)] == ["a"]
    assert repo.read(RESULTS_BRANCH, f"{found.where}/out/a") == b"second"


def test_the_folder_of_a_result() -> None:
    assert folder_of(ID, "a", []) == f"ab/{ID}"
    second = folder_of(ID, "b", [f"ab/{ID}"])
    assert second.startswith(f"ab/{ID}.")
    assert second == folder_of(ID, "b", [f"ab/{ID}"])
    assert second != folder_of(ID, "c", [f"ab/{ID}"])
    assert folder_of(ID, "\udcff", [f"ab/{ID}"])  # no name makes it fail


# Kills


def test_to_fold_twice_is_no_harm(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    fold_results(repo)
    before = repo.refs("refs/")
    assert fold_results(repo) == 0
    assert repo.refs("refs/") == before


def test_a_fold_that_was_killed_before_its_last_step_is_done_again(repo: Files) -> None:
    """The new commit was stored, then came the kill: neither the branch nor the refs had moved."""
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    fold_results(repo)
    pending(repo, "s2", described(repo, "b.png", OTHER, b="beta"))
    stream = Stream("refs/minipach/build/results", repo.resolve(RESULTS_BRANCH), "X <x@example.org> 1 +0000")
    stream.commit("half done")
    stream.write(FILE, b"junk", "junk")
    stream.run(repo)
    assert fold_results(repo) == 1
    assert log(repo) == ["minipach: 1 result: b.png", "minipach: 1 result: a.png"]
    assert b"junk" not in repo.listing(RESULTS_BRANCH)
    assert set(repo.refs("refs/minipach/")) == set()


def test_a_result_that_was_folded_though_its_ref_is_still_there_is_not_folded_again(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    ref, commit = repo.refs(RESULT_REFS).popitem()
    fold_results(repo)
    before = repo.resolve(RESULTS_BRANCH)
    repo.git("update-ref", ref, commit)
    assert fold_results(repo) == 0
    assert (repo.resolve(RESULTS_BRANCH), repo.refs(RESULT_REFS)) == (before, {})


def test_results_that_came_in_meanwhile_are_folded_onto(repo: Files) -> None:
    """Somebody pushed to the branch between the reading and the writing: compare-and-swap, and once more."""
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    meanwhile = repo.commit_tree(tree_of(repo, {"README.md": b"x"}), "somebody else's")

    class Shared(Files):
        def update_refs(self, lines: Any) -> None:
            self.git("update-ref", RESULTS_BRANCH, meanwhile)
            super().update_refs(lines)

    assert fold_results(Shared(repo.path)) == 1
    assert repo.line("rev-parse", f"{RESULTS_BRANCH}^") == meanwhile
    assert set(StoredResults(repo).ids) == {ID}
    assert repo.refs(RESULT_REFS) == {}


def test_a_set_that_ends_once_more_meanwhile_is_folded_as_it_is_then(repo: Files) -> None:
    """It was taken for lost, and so ran twice: the second one moves the ref between the reading and the writing."""
    pending(repo, "s1", described(repo, "a.png", a="first"))
    ref, commit = repo.refs(RESULT_REFS).popitem()
    pending(repo, "s1", described(repo, "a.png", a="second"))
    second = repo.refs(RESULT_REFS)[ref]
    repo.git("update-ref", ref, commit)

    class Moving(Files):
        def update_refs(self, lines: Any) -> None:
            self.git("update-ref", ref, second)
            super().update_refs(lines)

    assert fold_results(Moving(repo.path)) == 1
    [found] = StoredResults(repo).of(ID)
    assert repo.read(RESULTS_BRANCH, f"{found.where}/out/a") == b"second"
    assert repo.refs(RESULT_REFS) == {}


def test_to_fold_what_never_rests_is_given_up(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    [ref] = repo.refs(RESULT_REFS)
    asked: list[str] = []

    class Restless(Files):
        def update_refs(self, lines: Any) -> None:
            asked.append(self.commit_tree(self.line("rev-parse", f"{ref}^{{tree}}"), f"{len(asked)}"))
            self.git("update-ref", ref, asked[-1])
            super().update_refs(lines)

    with pytest.raises(GitError):
        fold_results(Restless(repo.path), tries=3)
    assert len(asked) == 3
    assert fold_results(repo) == 1


def test_a_fold_that_fails_changes_nothing(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    lock = repo.path / ".git" / (RESULTS_BRANCH + ".lock")
    lock.touch()
    with pytest.raises(GitError):
        fold_results(repo)
    assert (repo.resolve(RESULTS_BRANCH), len(repo.refs(RESULT_REFS))) == (None, 1)
    lock.unlink()
    assert fold_results(repo) == 1


def test_a_ref_without_results_goes(repo: Files) -> None:
    repo.git("update-ref", RESULT_REFS + "s1", "HEAD")
    assert fold_results(repo) == 0
    assert repo.refs(RESULT_REFS) == {}
    assert repo.resolve(RESULTS_BRANCH) is None


# What else may be on the branch


def test_what_is_no_result_is_passed_over(repo: Files) -> None:
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    fold_results(repo)
    blob = repo.hash_blob(b"x")
    repo.update_refs(
        [
            "update {} {} {}".format(
                RESULTS_BRANCH,
                repo.commit_tree(
                    repo.write_tree(
                        [
                            *repo.ls_tree(RESULTS_BRANCH, recursive=True),
                            TreeEntry(FILE, blob, "README.md"),
                            TreeEntry(FILE, blob, "docs/x/y"),
                            TreeEntry(FILE, blob, "ef/" + "ef" * 32 + "/out/x"),
                        ]
                    ),
                    "more",
                ),
                repo.resolve(RESULTS_BRANCH),
            )
        ]
    )
    known = StoredResults(repo)
    assert [r.name for r in known.of(ID)] == ["a.png"]
    assert known.of("ef" * 32) == ()  # its description is missing: as good as none
    at_once = StoredResults(repo)
    at_once.read_ahead([ID, "ef" * 32, "no such id", ID])
    assert [at_once.of(i) for i in (ID, "ef" * 32, "no such id")] == [known.of(ID), (), ()]


def test_what_is_known_is_what_the_branch_held_then(repo: Files) -> None:
    known = StoredResults(repo)
    pending(repo, "s1", described(repo, "a.png", a="alpha"))
    fold_results(repo)
    assert ID not in known
    assert ID in StoredResults(repo)


def test_many_results_are_folded_a_part_at_a_time(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the memory of a pass would grow with their number."""
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        pending(repo, f"s-{name[0]}", described(repo, name, tenth(name), a=name))
    monkeypatch.setattr(fold_module, "_SETS", 2)
    assert fold_results(repo) == 5
    assert [line.rpartition(": ")[2] for line in reversed(log(repo))] == ["0.png, 1.png", "2.png, 3.png", "4.png"]
    known = StoredResults(repo)
    assert all(known.named(tenth(name), name) for name in names) and repo.refs(RESULT_REFS) == {}


def test_the_rest_is_folded_where_others_have_changed_a_part(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.png", "2.png", "3.png"):
        pending(repo, f"s-{name[0]}", described(repo, name, tenth(name), a=name))
    monkeypatch.setattr(fold_module, "_SETS", 1)
    update = repo.update_refs
    calls: list[int] = []

    def with_another(lines: Sequence[str]) -> None:
        calls.append(len(calls))
        if len(calls) == 2:  # another pass folds all in between
            fold_results(repo)
        update(lines)

    monkeypatch.setattr(repo, "update_refs", with_another)
    assert fold_results(repo) == 1, "the others were not its own"
    known = StoredResults(repo)
    assert all(known.named(tenth(name), name) for name in ("1.png", "2.png", "3.png"))
    assert repo.refs(RESULT_REFS) == {} and len(log(repo)) == 3


def tenth(name: str) -> str:
    """An id for a name."""
    return f"{name[0]}0" + "2" * 62


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_files_and_records_of_many_are_those_of_each(
    repo: Files, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(results_module, "_AT_ONCE", at_once)
    names = {f"{number}.png": f"{number:02x}" + "2" * 62 for number in range(5)}
    pending(repo, "s1", *(described(repo, n, i, deep__er__a=n, z=n, **{n[0]: n}) for n, i in list(names.items())[:3]))
    pending(repo, "s2", *(described(repo, n, i, b=n) for n, i in list(names.items())[3:4]))
    pending(repo, "s3", described(repo, "4.png", names["4.png"]))
    fold_results(repo)
    known = StoredResults(repo)
    results = [result for ident in names.values() for result in known.of(ident)]
    results = [*results, *results]  # a record that was read is kept for a while
    files = [[(e.path, repo.objects.read(e.sha)) for e in one] for one in known.files_of(results)]
    first = [[(p, n.encode()) for p in (n[0], "deep/er/a", "z")] for n in list(names)[:3]]
    assert files == [*first, [("b", b"3.png")], []] * 2
    assert list(known.records_of(results)) == [*["record of s1"] * 3, "record of s2", "record of s3"] * 2
