"""The git plumbing, with real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipach.git.repo import (
    EXECUTABLE,
    FILE,
    GITLINK,
    SYMLINK,
    CatFile,
    GitError,
    Repo,
    TreeEntry,
    need_identity,
    parse_tree,
    private_index,
    reason_in,
)
from minipach.project.permissions import explain
from minipach.support.git_objects import blob_id
from tests.fixtures.leftovers import until
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files, tree_of

HOSTILE = [
    b"plain",
    b" lead",
    b"a b/c\td",
    b'quo"te',
    b'"',
    b"back\\slash",
    b"new\nline",
    b"\xff\xfe",
    b"-n",
    "é".encode(),
]
ZERO = "0" * 40


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """One repository with one commit; only to look at, or to add objects to."""
    made = Files.create(tmp_path_factory.mktemp("git") / "repo")
    made.put("a.txt", "alpha")
    made.put("d/b.txt", "beta")
    made.put("d/run.sh", "true")
    os.chmod(made.path / "d" / "run.sh", 0o755)
    os.symlink("a.txt", made.path / "link")
    for path in ("d/run.sh", "link"):
        made.stage(path)
    for path in HOSTILE:
        made.put(b"odd/" + path, b"odd: " + path)
    made.commit()
    return made


def test_a_tree_is_listed_with_full_paths(repo: Files) -> None:
    entries = {e.path: e.mode for e in repo.ls_tree("HEAD", recursive=True) if not e.path.startswith("odd/")}
    assert entries == {"a.txt": FILE, "d/b.txt": FILE, "d/run.sh": EXECUTABLE, "link": SYMLINK}
    assert [e.path for e in repo.ls_tree("HEAD")] == ["a.txt", "d", "link", "odd"]
    assert [e.path for e in repo.ls_tree("HEAD", "d/")] == ["d/b.txt", "d/run.sh"]


def test_hostile_names_are_listed_as_they_are(repo: Files) -> None:
    found = {os.fsencode(e.path) for e in repo.ls_tree("HEAD", "odd/", recursive=True)}
    assert found == {b"odd/" + path for path in HOSTILE}


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(
    "paths",
    [
        (),
        ("d",),
        ("d/b.txt", "a.txt"),
        ("d", "nothing", "a.txt/below a file", "link"),
        ("odd",),
    ],
)
def test_a_listing_without_a_process_is_that_of_git(repo: Files, paths: tuple[str, ...], recursive: bool) -> None:
    wanted = [f":(top,literal){path}" for path in paths]
    repo.close()
    listed = repo.ls_tree("HEAD", *wanted, recursive=recursive)
    assert repo.objects.alive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repo, "git", None)
        assert repo.ls_tree("HEAD", *wanted, recursive=recursive) == listed


def test_names_and_paths_without_a_process_are_those_of_git(repo: Files) -> None:
    repo.close()
    names, paths = repo.names("HEAD"), repo.paths("HEAD")
    assert names == ["a.txt", "d", "link", "odd"] and "d/b.txt" in paths
    assert repo.objects.alive
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repo, "git", None)
        assert (repo.names("HEAD"), repo.paths("HEAD")) == (names, paths)


def test_changes_without_a_process_are_those_of_git(tmp_path: Path) -> None:
    """A file becomes a folder, a folder a file; others change in content, in mode, or go."""
    repo = Files.create(tmp_path / "repo")
    for path in ("a.txt", "link", "d/b.txt", "d/run.sh", "odd/x/y", "odd/z", "stays"):
        repo.put(path, path)
    (repo.path / "d/run.sh").chmod(0o755)
    repo.git("add", "--", "d/run.sh")
    old = repo.commit()
    assert repo.small_changes(old, old) == []
    for path in ("a.txt", "link", "d/b.txt"):
        repo.git("rm", "--quiet", "--", path)
    repo.put("a.txt/inside", "i")
    repo.put("a.txt.b", "b")
    repo.git("rm", "--quiet", "-r", "--", "odd")
    repo.put("odd", "a file now")
    (repo.path / "d/run.sh").chmod(0o644)
    repo.git("add", "--", "d/run.sh")
    new = repo.commit()
    rows = os.fsdecode(repo.git("diff-tree", "-r", "-z", "--no-renames", old, new)).split("\0")
    expected = [(path, *meta.lstrip(":").split()[:4]) for meta, path in zip(rows[::2], rows[1::2], strict=False)]
    assert len(expected) > 6
    assert repo.objects.alive
    none = TreeEntry("000000", ZERO, "")
    found = [(path, one or none, two or none) for path, one, two in repo.small_changes(old, new) or ()]
    assert [(path, a.mode, b.mode, a.sha, b.sha) for path, a, b in found] == expected


def test_what_is_large_or_odd_is_listed_by_git(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repo.objects.alive
    assert [e.path for e in repo.ls_tree("HEAD", "d/")] == ["d/b.txt", "d/run.sh"]
    assert repo.ls_tree("HEAD:d") != []
    expected = repo.ls_tree("HEAD", recursive=True)
    monkeypatch.setattr("minipach.git.repo._MOST_TREES", 1)
    assert repo.ls_tree("HEAD", recursive=True) == expected
    with pytest.raises(GitError):
        repo.ls_tree(ZERO)


def test_a_raw_tree_is_read_like_its_listing(repo: Files) -> None:
    listed = repo.ls_tree("HEAD:odd")
    raw = repo.objects.read(repo.line("rev-parse", "HEAD:odd"))
    assert list(parse_tree(raw or b"")) == listed
    top = list(parse_tree(repo.objects.read(repo.line("rev-parse", "HEAD^{tree}")) or b""))
    assert top == repo.ls_tree("HEAD")


def test_objects_are_read_by_id_and_by_path(repo: Files) -> None:
    assert repo.objects.read("HEAD:a.txt") == b"alpha"
    assert repo.objects.read("HEAD:odd/a b/c\td") == b"odd: a b/c\td"
    assert repo.objects.read(blob_id(b"beta")) == b"beta"
    assert repo.objects.read("HEAD:nothing") is None
    assert repo.objects.read(ZERO) is None
    assert repo.objects.read("HEAD:odd/new\nline") is None  # a request is a line: such a name can't be asked for
    assert repo.objects.read("HEAD:a.txt") == b"alpha"  # and the reader is still in step


def test_thousands_of_objects_are_read_in_order(repo: Files) -> None:
    """Requests run ahead of answers: the pipe between must not fill up on both sides."""
    big = repo.hash_blob(b"x" * 300_000)
    small = repo.hash_blob(b"small")
    names = [big, small, ZERO] * 700
    found = [None if data is None else len(data) for data in repo.objects.read_many(names)]
    assert found == [300_000, 5, None] * 700
    repo.git("repack", "-adq")
    assert list(repo.objects.read_many([small, "HEAD:a.txt", ZERO])) == [b"small", b"alpha", None]


def test_the_reader_is_started_again_when_it_has_ended(repo: Files) -> None:
    first = repo.objects
    repo.close()
    repo.close()
    assert not first.alive
    assert repo.objects.read("HEAD:a.txt") == b"alpha"


@pytest.mark.parametrize("does", ["exec <&-", "read name && echo 0123 blob 9 && echo cut"], ids=["at once", "midway"])
def test_a_reader_that_ends_is_an_error_of_gits(
    repo: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\n{does}\necho >{tmp_path}/over\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    reader = CatFile(repo.path)
    with pytest.raises(GitError, match="the object reader ended"):
        reader.read(ZERO)
    if "read" not in does:
        until("nobody reads what we ask for", (tmp_path / "over").exists)
        with pytest.raises(GitError, match="the object reader ended"):
            reader.read(ZERO)
    reader.close()


def test_revisions_are_resolved_or_none(repo: Files) -> None:
    head = repo.head()
    assert head == repo.resolve("HEAD") == repo.resolve("main^{commit}") == repo.line("rev-parse", "HEAD")
    assert repo.resolve("nothing") is None
    assert repo.resolve("HEAD:nothing") is None
    assert repo.resolve("--all") is None  # a name that looks like an option is a name


def test_a_repository_without_commits_has_a_branch_and_no_head(tmp_path: Path) -> None:
    empty = Files.create(tmp_path / "empty")
    assert empty.head() is None
    assert empty.branch() == "main"


def test_a_detached_head_is_no_branch(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.put("a")
    repo.commit()
    repo.git("checkout", "--quiet", "--detach")
    assert repo.branch() is None


def test_a_failing_command_says_what_git_said(repo: Files) -> None:
    with pytest.raises(GitError) as caught:
        repo.git("show", "nothing")
    assert caught.value.code == 128
    assert "nothing" in caught.value.stderr
    assert str(repo.path) in str(caught.value)
    assert repo.git("show", "nothing", ok=(128,)) == b""
    assert not repo.succeeds("show", "nothing")
    assert repo.succeeds("show", "HEAD")


def test_refs_move_all_together_or_not_at_all(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    one, two = repo.commit("one"), repo.commit("two")
    repo.update_refs([f"create refs/minipach/a {one}", f"create refs/minipach/b {one}"])
    with pytest.raises(GitError):
        repo.update_refs([f"update refs/minipach/a {two} {one}", f"update refs/minipach/b {two} {two}"])
    assert repo.refs("refs/minipach/") == {"refs/minipach/a": one, "refs/minipach/b": one}
    repo.update_refs([f"update refs/minipach/a {two} {one}", f"delete refs/minipach/b {one}"])
    assert repo.refs("refs/minipach/") == {"refs/minipach/a": two}
    repo.update_refs([])


def test_settings_are_read_from_the_repository_a_file_or_a_commit(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.git("config", "minipach.jobs", "3")
    repo.put(".datalad/config", '[minipach "x"]\n\tname = a = b\n')
    repo.commit()
    assert repo.config("minipach.jobs") == "3"
    assert repo.config("minipach.other") is None
    assert repo.config("minipach.x.name", str(repo.path / ".datalad/config")) == "a = b"
    assert repo.config("minipach.x.name", "blob:HEAD:.datalad/config") == "a = b"
    assert repo.config("minipach.x.name", "blob:HEAD:nothing") is None


def test_a_tree_is_written_without_touching_the_index(repo: Files) -> None:
    before = (repo.path / ".git" / "index").read_bytes()
    blob = repo.hash_blob(b"new")
    tree = repo.write_tree(
        [TreeEntry(FILE, blob, "x/y"), TreeEntry(GITLINK, "1" * 40, "sub"), TreeEntry(SYMLINK, blob, "l")]
    )
    assert {e.path: e.mode for e in repo.ls_tree(tree, recursive=True)} == {"x/y": FILE, "sub": GITLINK, "l": SYMLINK}
    assert (repo.path / ".git" / "index").read_bytes() == before
    assert not list(repo.common_dir.glob("minipach-*"))


# No part of a path may be ".", ".." or (in any case, also as Windows or HFS+ would read it) ".git".
_part = st.binary(min_size=1, max_size=12).filter(
    lambda b: not {0, ord("/"), ord("\\")} & set(b) and b".git" not in b.lower() and b not in (b".", b"..")
)
_paths = st.lists(_part, min_size=1, max_size=3).map(b"/".join).filter(lambda p: b"git" not in p.lower())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(_paths, min_size=1, max_size=5))
def test_a_tree_keeps_any_path(repo: Files, paths: set[bytes]) -> None:
    files = {p for p in paths if not any(o.startswith(p + b"/") for o in paths)}
    tree = tree_of(repo, {os.fsdecode(p): p for p in files})
    assert repo.listing(tree) == {p: f"100644 blob {blob_id(p)}".encode() for p in files}


def test_an_index_of_ones_own_is_gone_afterwards(tmp_path: Path) -> None:
    with private_index(tmp_path / "index") as env:
        where = Path(env["GIT_INDEX_FILE"])
        where.touch()
        where.with_name(where.name + ".lock").touch()
    assert not list(tmp_path.iterdir())


def test_a_commit_has_the_tree_parents_and_message_asked_for(repo: Files) -> None:
    head = repo.line("rev-parse", "HEAD")
    tree = repo.line("rev-parse", "HEAD:d")
    commit = repo.commit_tree(tree, "title\n\n# no comment\n", [head])
    assert repo.line("log", "-1", "--format=%T %P%n%B", commit) == f"{tree} {head}\ntitle\n\n# no comment"
    assert repo.line("rev-parse", "HEAD") == head


def test_worktrees_share_one_folder(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.commit()
    repo.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "--detach")
    assert Repo(tmp_path / "tree").common_dir == repo.common_dir == repo.path / ".git"


def test_who_commits_must_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Files.create(tmp_path / "repo")
    need_identity(repo)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    repo.git("config", "user.useConfigOnly", "true")
    with refused("git.no-identity", "git", "git config --global user.name"):
        need_identity(repo)


@pytest.mark.parametrize("data", [b"", b"alpha", b"\0\r\n" * 100])
def test_blob_ids_are_gits(repo: Files, data: bytes) -> None:
    assert blob_id(data) == repo.hash_blob(data)


# A repository that is broken


def test_git_never_goes_on_in_the_repository_around(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "around"], cwd=tmp_path, check=True)
    around = Repo(tmp_path / "around")
    around.git("commit", "-q", "--allow-empty", "-m", "begin")
    inner = Repo(around.path / "inner")
    (inner.path / ".git").mkdir(parents=True)  # as an interrupted clone leaves it, or as nobody may enter it
    for question in (inner.head, inner.branch, lambda: inner.names("HEAD"), lambda: inner.objects.read("HEAD:")):
        with pytest.raises(GitError):
            question()
    with pytest.raises(GitError) as found:
        inner.head()
    said = explain(found.value, tmp_path)
    assert said is not None and (said.code, said.location) == ("repo.broken", f"{inner.path}/.git")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "remote: error: refusing to update checked out branch: refs/heads/master\n"
            "To ../images\n ! [remote rejected] master -> master (branch is currently checked out)\n"
            "error: failed to push some refs to '../images'",
            "branch is currently checked out",
        ),
        (
            "remote: the quota is used up\nTo /srv/x\n ! [remote rejected] HEAD -> a (pre-receive hook declined)\n"
            "error: failed to push some refs to '/srv/x'",
            "pre-receive hook declined: the quota is used up",
        ),
        (
            "ssh: connect to host lab port 22: Connection refused\nfatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.",
            "ssh: connect to host lab port 22: Connection refused",
        ),
        (
            "fatal: '/nowhere' does not appear to be a git repository\n"
            "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights",
            "'/nowhere' does not appear to be a git repository",
        ),
        (
            "warning: a\ngit-annex: there is no available git remote named x",
            "git-annex: there is no available git remote named x",
        ),
        ("", ""),
    ],
)
def test_the_reason_of_an_error_is_the_line_that_says_why(text: str, reason: str) -> None:
    assert reason_in(text) == reason
