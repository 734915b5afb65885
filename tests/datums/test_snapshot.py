"""Snapshots: what each file of a commit is, read from git alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.datums.snapshot import loose_files, open_repo, read_snapshot
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from minipach.model.snapshot import FileEntry, Snapshot
from minipach.support.disk_cache import Cache
from minipach.support.files import stays_inside
from minipach.support.git_objects import blob_id
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

ALPHA = "SHA256--8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"  # of "alpha"


@pytest.fixture
def data(tmp_path: Path) -> Files:
    """An empty annex."""
    return Files.create(tmp_path / "data", annex=True)


def snapshot(repo: Files) -> Snapshot:
    return read_snapshot(repo, repo.commit())


# What a file is


def test_a_locked_file_is_its_key(data: Files) -> None:
    data.put("a.txt", "alpha")
    entry = snapshot(data).files["a.txt"]
    assert (entry.content, entry.kind, entry.executable, entry.sub) == (ALPHA, "annex", False, "")
    assert entry.key == data.line("annex", "lookupkey", "a.txt")


def test_an_unlocked_file_is_the_same_content(data: Files) -> None:
    data.put("a.txt", "alpha")
    data.commit()
    data.git("annex", "unlock", "--quiet", "a.txt")
    data.git("add", "a.txt")
    entry = snapshot(data).files["a.txt"]
    assert (entry.content, entry.kind) == (ALPHA, "annex")
    assert entry.blob == data.line("rev-parse", "HEAD:a.txt")
    assert data.line("ls-tree", "HEAD", "a.txt").startswith("100644")


def test_content_that_is_not_here_counts_all_the_same(data: Files, tmp_path: Path) -> None:
    data.put("a.txt", "alpha")
    here = snapshot(data)
    data.git("clone", "--quiet", str(data.path), str(tmp_path / "clone"))
    clone = Files(tmp_path / "clone")
    assert not (clone.path / "a.txt").exists()
    assert read_snapshot(clone, here.commit).files == here.files


def test_a_file_in_git_is_its_blob(data: Files) -> None:
    data.in_git("notes.txt", "alpha")
    entry = snapshot(data).files["notes.txt"]
    assert entry == FileEntry(f"git:{blob_id(b'alpha')}", "git", False, blob_id(b"alpha"), None, "")


def test_three_extensions_are_one_content(data: Files) -> None:
    for name in ("a.txt", "a.dat", "plain"):
        data.put(name, "alpha")
    files = snapshot(data).files
    assert {f.content for f in files.values()} == {ALPHA}
    assert len({f.key for f in files.values()}) == 3


def test_different_hashes_are_not_equated(data: Files) -> None:
    data.put("a.txt", "alpha")
    data.git("config", "annex.backend", "MD5E")
    data.put("b.txt", "alpha")
    files = snapshot(data).files
    assert files["a.txt"].content == ALPHA
    assert files["b.txt"].content == "MD5--2c1743a391305fbf367df8e4f069f9f9"


def test_a_key_that_is_no_hash_is_taken_as_it_is(data: Files) -> None:
    data.git("config", "annex.backend", "WORM")
    data.put("a.txt", "alpha")
    entry = snapshot(data).files["a.txt"]
    assert entry.content == entry.key == data.line("annex", "lookupkey", "a.txt")
    assert entry.content.startswith("WORM-s5-m")


def test_the_executable_bit_is_seen_in_git_and_in_the_annex(data: Files) -> None:
    data.in_git("run.sh", "true")
    data.put("tool", "alpha")
    data.commit()
    data.git("annex", "unlock", "--quiet", "tool")
    for name in ("run.sh", "tool"):
        os.chmod(data.path / name, 0o755)
    data.git("-c", "annex.largefiles=nothing", "add", "run.sh")
    data.git("add", "tool")
    files = snapshot(data).files
    assert {name: (f.kind, f.executable) for name, f in files.items()} == {
        "run.sh": ("git", True),
        "tool": ("annex", True),
    }


def test_a_link_to_elsewhere_is_a_link(data: Files) -> None:
    data.put("a.txt", "alpha")
    os.symlink("a.txt", data.path / "alias")
    os.symlink("/etc/passwd", data.path / "away")
    for name in ("alias", "away"):
        data.stage(name)
    files = snapshot(data).files
    assert (files["alias"].kind, files["alias"].content) == ("link", f"link:{blob_id(b'a.txt')}")
    assert (files["away"].kind, files["away"].key) == ("link", None)


def test_text_that_speaks_of_annex_objects_is_text(data: Files) -> None:
    data.in_git("notes.txt", "/annex/objects/ is a folder\n")
    assert snapshot(data).files["notes.txt"].kind == "git"


def test_only_what_is_committed_counts(data: Files) -> None:
    data.put("a.txt", "alpha")
    commit = data.commit()
    data.put("staged.txt", "beta")
    (data.path / "loose.txt").write_text("gamma")
    assert set(read_snapshot(data, commit).files) == {"a.txt"}


@pytest.mark.parametrize(
    "name", [b"a b", b'"', b"back\\slash", b"new\nline", b"\xff", "ü".encode(), b"-x", b"*", b"$(x)"]
)
def test_any_name_is_read(tmp_path: Path, name: bytes) -> None:
    repo = Files.create(tmp_path / "repo")
    repo.put(b"d/" + name, "alpha")
    assert list(snapshot(repo).files) == ["d/" + os.fsdecode(name)]


# Housekeeping


def test_housekeeping_is_no_data(data: Files) -> None:
    for path in (".datalad/config", ".gitattributes", ".minipach/launch", "sub/.gitattributes", "code/x", "README"):
        data.in_git(path, "x")
    assert set(snapshot(data).files) == {"sub/.gitattributes", "code/x", "README"}


def test_of_a_pipelines_repo_only_outputs_are_seen(data: Files) -> None:
    for path in ("spec.yml", "code/x", "README.md", ".datalad/config", "inputs/x", "out.txt", "d/spec.yml", "d/code/x"):
        data.in_git(path, "x")
    found = snapshot(data)
    assert found.pipeline
    assert set(found.files) == {"out.txt", "d/spec.yml", "d/code/x"}


# Subdatasets


@pytest.fixture
def nested(data: Files) -> tuple[Files, Files]:
    """A repo with a subdataset `sub/deep` that has moved on since it was pinned; both."""
    inner = Files.create(data.path / "sub" / "deep", annex=True)
    inner.put("in.txt", "alpha")
    inner.in_git(".datalad/config", "x")
    pinned = inner.commit()
    data.put("out.txt", "beta")
    data.git("update-index", "--add", "--cacheinfo", f"160000,{pinned},sub/deep")
    data.commit()
    inner.put("later.txt", "gamma")
    inner.commit()
    return data, inner


def test_a_subdataset_is_read_at_the_commit_that_is_pinned(nested: tuple[Files, Files]) -> None:
    found = read_snapshot(nested[0], nested[0].line("rev-parse", "HEAD"))
    assert set(found.files) == {"out.txt", "sub/deep/in.txt"}
    assert (found.files["sub/deep/in.txt"].sub, found.files["out.txt"].sub) == ("sub/deep", "")
    assert found.files["sub/deep/in.txt"].content == ALPHA
    assert (found.nested, found.missing) == (("sub/deep",), ())
    assert found.paths() == ["/", "/out.txt", "/sub", "/sub/deep", "/sub/deep/in.txt"]


def test_a_subdataset_that_is_not_installed_is_named(nested: tuple[Files, Files]) -> None:
    outer, inner = nested
    shutil.rmtree(inner.path / ".git")
    found = read_snapshot(outer, outer.line("rev-parse", "HEAD"))
    assert set(found.files) == {"out.txt"}
    assert found.missing == ("sub/deep",)


def test_a_pinned_commit_that_is_not_here_is_an_error_with_a_way_out(data: Files) -> None:
    Files.create(data.path / "sub").commit()
    data.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    with refused("repo.commit-missing", None, "1111111111", "datalad update"):
        snapshot(data)


def test_a_repo_that_is_not_installed_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with refused("repo.not-installed", "images", "datalad get -n "):
        open_repo(tmp_path, "images")


# The cache


def _edit(repo: Files) -> None:
    repo.put("a.txt", "alpha, again")


def _remove(repo: Files) -> None:
    repo.git("rm", "--quiet", "d/b.txt")


def _file_to_folder(repo: Files) -> None:
    repo.git("rm", "--quiet", "a.txt")
    repo.put("a.txt/inside", "alpha")


def _become_a_pipeline(repo: Files) -> None:
    repo.in_git("spec.yml", "input: {}")
    repo.in_git("code/x", "true")


def _make_executable(repo: Files) -> None:
    repo.git("update-index", "--chmod=+x", "notes")


def _pin_a_subdataset(repo: Files) -> None:
    inner = Files.create(repo.path / "sub")
    inner.put("in.txt", "x")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{inner.commit()},sub")


@pytest.mark.parametrize(
    "change", [_edit, _remove, _file_to_folder, _become_a_pipeline, _make_executable, _pin_a_subdataset]
)
def test_a_cached_snapshot_follows_every_change(data: Files, tmp_path: Path, change: Callable[[Files], None]) -> None:
    cache = Cache(tmp_path / "cache")
    data.put("a.txt", "alpha")
    data.put("d/b.txt", "beta")
    data.in_git("notes", "n")
    first = data.commit()
    before = read_snapshot(data, first, cache)
    change(data)
    commit = data.commit()
    for _ in range(2):  # once from what was kept of the first, once from what was kept of the second
        found = read_snapshot(data, commit, cache)
        plain = read_snapshot(data, commit)
        assert (found.files, found.pipeline, found.missing) == (plain.files, plain.pipeline, plain.missing)
        assert found.paths() == plain.paths()
    assert read_snapshot(data, first, cache).files == before.files  # and back again


def test_a_cached_snapshot_sees_that_a_subdataset_went_and_came(nested: tuple[Files, Files], tmp_path: Path) -> None:
    outer, inner = nested
    cache, head = Cache(tmp_path / "cache"), outer.line("rev-parse", "HEAD")
    assert "sub/deep/in.txt" in read_snapshot(outer, head, cache).files
    inner.close()
    (inner.path / ".git").rename(tmp_path / "aside")
    assert read_snapshot(outer, head, cache).missing == ("sub/deep",)
    (tmp_path / "aside").rename(inner.path / ".git")
    assert "sub/deep/in.txt" in read_snapshot(outer, head, cache).files


def _move_it(outer: Files, inner: Files) -> None:
    outer.git("update-index", "--cacheinfo", f"160000,{inner.line('rev-parse', 'HEAD')},sub/deep")


def _unpin_it(outer: Files, _inner: Files) -> None:
    outer.git("update-index", "--force-remove", "sub/deep")


def _file_in_its_place(outer: Files, _inner: Files) -> None:
    blob = outer.hash_blob(b"text")
    outer.git("update-index", "--force-remove", "sub/deep")
    outer.git("update-index", "--add", "--cacheinfo", f"100644,{blob},sub/deep")


@pytest.mark.parametrize("change", [_move_it, _unpin_it, _file_in_its_place])
def test_of_many_subdatasets_only_the_one_that_changed_is_read_again(
    nested: tuple[Files, Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Files, Files], None]
) -> None:
    outer, inner = nested
    other = Files.create(outer.path / "sub" / "deeper")
    other.put("in.txt", "delta")
    outer.git("update-index", "--add", "--cacheinfo", f"160000,{other.commit()},sub/deeper")
    outer.git("commit", "--quiet", "-m", "two")
    cache = Cache(tmp_path / "cache")
    read_snapshot(outer, outer.line("rev-parse", "HEAD"), cache)
    change(outer, inner)
    outer.git("commit", "--quiet", "-m", "changed")
    commit = outer.line("rev-parse", "HEAD")
    plain = read_snapshot(outer, commit)
    read: list[str] = []
    ls_tree = Repo.ls_tree

    def noting(repo: Repo, treeish: str, *paths: str, recursive: bool = False) -> list[TreeEntry]:
        read.append(repo.path.name)
        return ls_tree(repo, treeish, *paths, recursive=recursive)

    monkeypatch.setattr(Repo, "ls_tree", noting)
    found = read_snapshot(outer, commit, cache)
    assert (found.files, sorted(found.nested), found.missing) == (plain.files, sorted(plain.nested), plain.missing)
    assert found.paths() == plain.paths()
    assert read == (["deep"] if change is _move_it else [])


# Paths and matches


def entry(path: str) -> FileEntry:
    return FileEntry(f"git:{path}", "git", False, path, None, "")


def made(*paths: str) -> Snapshot:
    return Snapshot("commit", {path: entry(path) for path in paths})


def test_folders_exist_where_files_lie_below_them() -> None:
    found = made("a/b/c.txt", "a/d.txt", "e.txt")
    assert found.paths() == ["/", "/a", "/a/b", "/a/b/c.txt", "/a/d.txt", "/e.txt"]
    assert found.paths(0) == ["/"]
    assert found.paths(2) == ["/a/b", "/a/d.txt"]
    assert found.paths(9) == []


def test_an_empty_repo_has_no_root() -> None:
    assert made().paths() == []
    assert list(made().below("/")) == []


def test_a_match_brings_itself_or_all_below_it() -> None:
    found = made("a", "ab/x", "a.b/y", "b/a/1", "b/a/2", "b/a-b", "b/a.c")
    assert [p for p, _ in found.below("/a")] == ["a"]
    assert [p for p, _ in found.below("/b/a")] == ["b/a/1", "b/a/2"]
    assert [p for p, _ in found.below("/")] == sorted(found.files)
    assert [p for p, _ in found.below("/nothing")] == []
    assert found.is_file("/a")
    assert not found.is_file("/b/a")


_name = st.text(st.sampled_from("ab.-/"), min_size=1, max_size=6)
_path = _name.map(lambda p: "/".join(part for part in p.split("/") if part)).filter(bool)


@given(st.sets(_path, min_size=1, max_size=8))
def test_paths_by_depth_are_all_paths(paths: set[str]) -> None:
    files = {p for p in paths if not any(o.startswith(p + "/") for o in paths)}
    found = made(*files)
    by_depth = [path for depth in range(9) for path in found.paths(depth)]
    assert sorted(by_depth) == found.paths()
    for path in found.paths():
        below = {p for p, _ in found.below(path)}
        assert below == {p for p in files if path == "/" or f"/{p}/".startswith(path + "/")}


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [
        ("a", "b", True),
        ("a", "d/e/b", True),
        ("d/a", "../b", True),
        ("d/a", "./b", True),
        ("a", "..b", True),
        ("d/e/a", "../../b", True),
        ("a", "../b", False),
        ("d/a", "../../b", False),
        ("a", "/b", False),
        ("a", "d/../../b", False),
        ("a", "d/../b", False),  # d may be a link: then this is not b
        ("a", "d/d/d/../../../b", False),
    ],
)
def test_where_a_link_leads(path: str, target: str, inside: bool) -> None:
    assert stays_inside(path, target) is inside


def test_links_that_stay_inside_stay_inside_together(tmp_path: Path) -> None:
    """Each link alone may look harmless, while a chain of them climbs out."""
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    links = {"here": ".", "out": "here/here/../secret", "d/up": "..", "d/out": "up/../secret"}
    for path, target in links.items():
        if stays_inside(path, target):
            (top / path).symlink_to(target)
    for path in links:
        assert (top / path).resolve().is_relative_to(top), path


KEY = "SHA256E-s4--88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589.bin"


def test_files_links_and_annexed_files_without_their_content(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "run.sh").write_text("echo\n")
    (tmp_path / "run.sh").chmod(0o755)
    os.symlink("run.sh", tmp_path / "sub/link")
    os.symlink("sub", tmp_path / "folder")
    os.symlink(f"../.git/annex/objects/aa/bb/{KEY}/{KEY}", tmp_path / "locked.bin")
    (tmp_path / "unlocked.bin").write_text(f"/annex/objects/{KEY}\n")

    found = loose_files(tmp_path)

    assert sorted(found) == ["folder", "locked.bin", "run.sh", "sub/link", "unlocked.bin"]
    script = found["run.sh"]
    assert (script.content, script.executable) == ("git:fa11a6a9c54797a8f68963af8ffc4d92bbffc660", True)
    assert found["folder"].kind == found["sub/link"].kind == "link"
    annexed = {found["locked.bin"].content, found["unlocked.bin"].content}
    assert annexed == {"SHA256--88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"}
