"""What is in the way, moving a branch with its checkout, and going on after a kill. Plain git repos."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from minipach.git.checkout import InTheWay, check_free, dirty_paths, index_entries, move_branch, recover
from minipach.git.git_error import GitError
from minipach.git.repo import Repo

MAIN = "refs/heads/main"
OLD = {"keep": "keep", "change": "old", "gone/deep/file": "gone", "link": "-> old-target"}
NEW = {"keep": "keep", "change": "new", "added/file": "added", "link": "-> new-target"}


def commit(repo: Repo, files: Mapping[str, str], *parents: str, links: Mapping[str, str] | None = None) -> str:
    """A commit of exactly these files; `-> TARGET` is a symbolic link; `links` are gitlinks."""
    from minipach.git.tree_entries import FILE, GITLINK, SYMLINK, TreeEntry

    entries = [
        TreeEntry(SYMLINK, repo.hash_blob(text[3:].encode()), path)
        if text.startswith("-> ")
        else TreeEntry(FILE, repo.hash_blob(text.encode()), path)
        for path, text in files.items()
    ]
    entries += [TreeEntry(GITLINK, sha, path) for path, sha in (links or {}).items()]
    return repo.commit_tree(repo.write_tree(entries), "test\n", parents)


@pytest.fixture(params=["quickly", "by git"])
def repo(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repo with OLD checked out on `main`. Checkouts follow quickly, or each time by git."""
    if request.param == "by git":
        monkeypatch.setattr("minipach.git.checkout.write_paths", lambda repo, changes: False)
        monkeypatch.setattr("minipach.git.checkout.staged_paths", lambda repo, commit: None)
        monkeypatch.setattr("minipach.git.checkout.matching_tree", lambda top, largest: None)
    repo = Repo(tmp_path / "repo")
    repo.path.mkdir()
    repo.git("init", "--quiet", "--initial-branch=main")
    repo.git("update-ref", MAIN, commit(repo, OLD))
    repo.git("reset", "--quiet", "--hard")
    return repo


def new_of(repo: Repo, files: Mapping[str, str] = NEW) -> tuple[str, str]:
    """The commit checked out, and one with other files on top of it."""
    old = repo.head()
    assert old is not None
    return old, commit(repo, files, old)


def files(repo: Repo) -> dict[str, str]:
    """What lies in the work tree."""
    found = {}
    for path in sorted(repo.path.rglob("*")):
        name = str(path.relative_to(repo.path))
        if name.startswith(".git"):
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_a_moved_branch_brings_its_checkout_along(repo: Repo) -> None:
    old, new = new_of(repo)
    repo.git("update-ref", "refs/minipach/build/branch", new)
    check_free(repo, old, new)
    move_branch(repo, MAIN, old, new, ["delete refs/minipach/build/branch"])
    assert files(repo) == NEW
    assert not (repo.path / "gone").exists()
    assert repo.line("status", "--porcelain") == ""
    assert repo.refs("refs/minipach/") == {}
    assert recover(repo) == ()


def test_changes_elsewhere_are_neither_in_the_way_nor_touched(repo: Repo) -> None:
    old, new = new_of(repo)
    (repo.path / "keep").write_text("mine")
    (repo.path / "untracked").write_text("mine too")
    (repo.path / "gone/deep/other").write_text("and mine")
    check_free(repo, old, new)
    move_branch(repo, MAIN, old, new)
    assert files(repo) == NEW | {"keep": "mine", "untracked": "mine too", "gone/deep/other": "and mine"}


def test_staged_changes_elsewhere_stay_staged(repo: Repo) -> None:
    old, new = new_of(repo)
    (repo.path / "keep").write_text("mine")
    repo.git("add", "keep")
    check_free(repo, old, new)
    move_branch(repo, MAIN, old, new)
    assert repo.line("status", "--porcelain") == "M  keep"


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("change", "mine", "change"),
        ("gone/deep/file", "mine", "gone/deep/file"),
        ("added/file", "mine", "added/file"),
        ("link", "mine", "link"),
        ("link", "-> mine", "link"),
        ("added", "a file where a folder will be", "added/file"),
        ("added/file/x", "a folder where a file will be", "added/file"),
        ("added", "-> keep", "added/file"),
    ],
)
def test_a_changed_path_that_would_be_written_is_in_the_way(repo: Repo, path: str, content: str, told: str) -> None:
    old, new = new_of(repo)
    there = repo.path / path
    there.parent.mkdir(parents=True, exist_ok=True)
    there.unlink(missing_ok=True)
    if content.startswith("-> "):
        there.symlink_to(content[3:])
    else:
        there.write_text(content)
    with pytest.raises(InTheWay) as error:
        check_free(repo, old, new)
    assert error.value.paths == (told,)


def test_a_staged_path_that_would_be_written_is_in_the_way(repo: Repo) -> None:
    old, new = new_of(repo)
    (repo.path / "change").write_text("mine")
    repo.git("add", "change")
    (repo.path / "change").write_text("old")  # the work tree alone looks as committed
    with pytest.raises(InTheWay) as error:
        check_free(repo, old, new)
    assert error.value.paths == ("change",)


def test_a_staged_removal_is_in_the_way_and_a_deleted_file_is_not(repo: Repo) -> None:
    old, new = new_of(repo)
    (repo.path / "change").unlink()
    check_free(repo, old, new)
    repo.git("rm", "--quiet", "--cached", "change")
    with pytest.raises(InTheWay):
        check_free(repo, old, new)


def test_a_file_becomes_a_folder_and_a_folder_a_file(repo: Repo) -> None:
    old, new = new_of(repo, {"change/now/a": "folder", "gone": "file"})
    check_free(repo, old, new)
    move_branch(repo, MAIN, old, new)
    assert files(repo) == {"change/now/a": "folder", "gone": "file"}
    assert repo.line("status", "--porcelain") == ""


@pytest.mark.parametrize("name", ['a "quote"', "new\nline", "-dash", "$(touch x)", "ünï", ":(top)x", "*", " space "])
def test_odd_names_are_moved_and_protected(repo: Repo, name: str) -> None:
    old, new = new_of(repo, {**OLD, name: "odd"})
    move_branch(repo, MAIN, old, new)
    assert files(repo)[name] == "odd"
    (repo.path / name).write_text("mine")
    with pytest.raises(InTheWay) as error:
        check_free(repo, new, old)
    assert error.value.paths == (name,)


def test_a_branch_that_somebody_moved_stays(repo: Repo) -> None:
    old, new = new_of(repo)
    theirs = commit(repo, {**OLD, "theirs": "x"}, old)
    repo.git("reset", "--quiet", "--hard", theirs)
    with pytest.raises(GitError):
        move_branch(repo, MAIN, old, new)
    assert repo.head() == theirs
    assert files(repo) == {**OLD, "theirs": "x"}
    assert recover(repo) == ()
    assert files(repo) == {**OLD, "theirs": "x"}


def test_a_path_to_keep_stays_as_it_is(repo: Repo) -> None:
    old, new = new_of(repo)
    move_branch(repo, MAIN, old, new, keep={"change"})
    assert files(repo) == NEW | {"change": "old"}


# --- after a kill ------------------------------------------------------------------------------------------------


def killed(repo: Repo) -> tuple[str, str]:
    """The branch has moved, its checkout has not: as a kill between the two leaves it."""
    old, new = new_of(repo)
    journal = repo.common_dir / "minipach" / "checkout"
    journal.parent.mkdir(parents=True)
    journal.write_text(f"{old} {new}\n")
    repo.git("update-ref", MAIN, new)
    return old, new


def test_recover_finishes_the_checkout(repo: Repo) -> None:
    killed(repo)
    assert recover(repo) == ()
    assert files(repo) == NEW
    assert repo.line("status", "--porcelain") == ""
    assert not (repo.common_dir / "minipach" / "checkout").exists()


def test_recover_goes_on_where_half_of_it_was_done(repo: Repo) -> None:
    _, new = killed(repo)
    repo.git("update-index", "--cacheinfo", f"100644,{repo.resolve(f'{new}:change')},change")
    (repo.path / "change").write_text("new")
    (repo.path / "gone/deep/file").unlink()
    (repo.path / "gone/deep").rmdir()
    assert recover(repo) == ()
    assert files(repo) == NEW
    assert repo.line("status", "--porcelain") == ""


def test_recover_leaves_what_somebody_changed_since(repo: Repo) -> None:
    killed(repo)
    (repo.path / "change").write_text("mine")
    (repo.path / "added").mkdir()
    (repo.path / "added/file").write_text("mine")
    repo.git("add", "added/file")
    (repo.path / "added/file").unlink()  # staged, and nowhere else
    assert set(recover(repo)) == {"change", "added/file"}
    assert files(repo) == {"keep": "keep", "change": "mine", "link": "-> new-target"}
    assert repo.git("show", ":added/file") == b"mine"


def test_recover_does_nothing_if_the_branch_never_moved(repo: Repo) -> None:
    old, _ = killed(repo)
    repo.git("update-ref", MAIN, old)
    assert recover(repo) == ()
    assert files(repo) == OLD


def test_recover_does_nothing_after_a_commit_of_somebody_else(repo: Repo) -> None:
    killed(repo)
    (repo.path / "theirs").write_text("x")
    repo.git("add", "theirs")
    repo.git("commit", "--quiet", "-m", "theirs")
    before = files(repo)
    assert recover(repo) == ()
    assert files(repo) == before


@pytest.mark.parametrize("journal", ["", "half", "one two three"])
def test_a_journal_that_was_cut_short_is_dropped(repo: Repo, journal: str) -> None:
    killed(repo)
    (repo.common_dir / "minipach" / "checkout").write_text(journal)
    assert recover(repo) == ()
    assert not (repo.common_dir / "minipach" / "checkout").exists()


# --- subdatasets -------------------------------------------------------------------------------------------------


def test_a_gitlink_moves_and_its_folder_is_left_alone(repo: Repo) -> None:
    old = repo.head()
    assert old is not None
    one = commit(repo, OLD, old, links={"sub": old})
    check_free(repo, old, one)
    move_branch(repo, MAIN, old, one)
    assert (repo.path / "sub").is_dir()
    (repo.path / "sub" / "mine").write_text("mine")
    two = commit(repo, OLD, one, links={"sub": one})
    check_free(repo, one, two)
    move_branch(repo, MAIN, one, two)
    assert repo.line("rev-parse", ":sub") == one
    assert (repo.path / "sub" / "mine").read_text() == "mine"


def test_files_of_a_folder_that_becomes_a_dataset_stay_where_they_are(repo: Repo) -> None:
    old = repo.head()
    assert old is not None
    (repo.path / "gone/deep/file").write_text("edited meanwhile")
    repo.git("add", "gone")
    new = commit(repo, {k: v for k, v in OLD.items() if not k.startswith("gone")}, old, links={"gone": old})
    check_free(repo, old, new)
    move_branch(repo, MAIN, old, new)
    assert (repo.path / "gone/deep/file").read_text() == "edited meanwhile"
    assert repo.line("ls-files", "-s", "gone").split()[:2] == ["160000", old]


def test_dirty_paths_names_every_kind_of_change_below_the_given_folders(repo: Repo) -> None:
    assert dirty_paths(repo) == []
    (repo.path / "change").write_text("mine")
    (repo.path / "gone/deep/file").unlink()
    (repo.path / "keep").write_text("staged")
    repo.git("add", "keep")
    (repo.path / "new\nfile").touch()
    assert sorted(dirty_paths(repo)) == ["change", "gone/deep/file", "keep", "new\nfile"]
    assert dirty_paths(repo, "gone") == ["gone/deep/file"]


def test_a_sparse_checkout_gets_what_it_contains_and_no_more(repo: Repo) -> None:
    old = {"in/change": "old", "in/gone": "gone", "out/change": "old", "out/gone": "gone", "top": "top"}
    repo.git("reset", "--quiet", "--hard", commit(repo, old))
    repo.git("sparse-checkout", "set", "--cone", "in")
    assert files(repo) == {"in/change": "old", "in/gone": "gone", "top": "top"}
    new = {"in/change": "new", "in/added": "-> change", "out/change": "new", "out/deep/added": "added", "top": "top"}
    before, after = new_of(repo, new)
    check_free(repo, before, after)
    move_branch(repo, MAIN, before, after)
    assert files(repo) == {"in/change": "new", "in/added": "-> change", "top": "top"}
    assert dirty_paths(repo) == []
    repo.git("sparse-checkout", "disable")
    assert files(repo) == new


def test_a_change_in_a_sparse_checkout_is_in_the_way(repo: Repo) -> None:
    repo.git("reset", "--quiet", "--hard", commit(repo, {"in/change": "old", "out/change": "old"}))
    repo.git("sparse-checkout", "set", "--cone", "in")
    (repo.path / "in" / "change").write_text("mine")
    before, after = new_of(repo, {"in/change": "new", "out/change": "new"})
    with pytest.raises(InTheWay, match="in/change"):
        check_free(repo, before, after)


def test_more_paths_than_a_process_takes_are_found_in_the_index(repo: Repo) -> None:
    repo.git("reset", "--quiet", "--hard", commit(repo, {"a": "a", "d/b": "b", "d/e/c": "c", "other": "o"}))
    many = [f"{'x' * 200}{number}" for number in range(20_000)]
    assert [e.path for e in index_entries(repo, "a", "d", *many)] == ["a", "d/b", "d/e/c"]


def test_looking_for_changes_never_locks_the_index(repo: Repo) -> None:
    """A save that is under way would fail, or leave a file out."""
    index = repo.path / ".git" / "index"
    (repo.path / "new").write_text("new")
    os.utime(repo.path / "keep", (1, 1))  # a status that may lock would write that to the index
    before = index.read_bytes()
    assert dirty_paths(repo) == ["new"]
    assert index.read_bytes() == before
    repo.git("status")
    assert index.read_bytes() != before  # or the test proves nothing
