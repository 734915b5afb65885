"""Large files go into the annex as `git annex add` would put them there, or are left to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minipach.git import annex_checksums, annex_intake
from minipach.git.annex_checksums import damaged
from minipach.git.annex_intake import take_in
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from tests.fixtures.repos import Files

NAMES = ["a.dat", "b.tar.gz", "plain", "with space.x", "d/e.verylongextension", "c.ä", "-f", "q'\".txt"]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A dataset in which all files of 4 bytes and more are large."""
    monkeypatch.setattr(annex_intake, "LARGE", 4)
    repo = Files.create(tmp_path / "edges", annex=True)
    repo.in_git("first", "1")
    repo.commit()
    return repo


def put(repo: Repo, name: str, text: str, age: int = 60) -> str:
    """Write a new file that is not annexed yet."""
    file = repo.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    os.utime(file, (file.stat().st_mtime - age,) * 2)
    return name


@pytest.mark.parametrize("backend", ["", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SHA512", "MD5E"))])
def test_all_is_as_git_annex_add_has_it(repo: Files, tmp_path: Path, backend: str) -> None:
    other = Files.create(tmp_path / "other", annex=True)
    for one in (repo, other):
        one.in_git(".gitattributes", f"* annex.backend={backend}\n" if backend else "")
        one.in_git(".gitignore", "*.dat\n")
        one.commit()
        for number, name in enumerate(NAMES):
            put(one, name, f"content {number}")
    small = put(repo, "small", "1")
    keys = take_in(repo, [*NAMES, small])
    other.git("annex", "add", "--quiet", "--no-check-gitignore", ".")
    assert list(keys) == NAMES
    for name in NAMES:
        assert os.readlink(repo.path / name) == os.readlink(other.path / name)
        assert keys[name] == os.path.basename(os.readlink(repo.path / name))
    assert repo.git("diff", "--cached", "--name-only", "-z").split(b"\0")[:-1] == [
        os.fsencode(name) for name in sorted(NAMES, key=os.fsencode)
    ]
    assert (repo.path / small).read_text() == "1" and not (repo.path / small).is_symlink()
    repo.commit()
    repo.git("annex", "fsck", "--quiet")
    here = repo.git("annex", "whereis", "--json").count(b'"here":true')
    assert here == len(NAMES)
    assert not list((repo.path / ".git/annex/tmp").glob("*"))


@pytest.mark.parametrize("text", ["content", pytest.param("abc", marks=pytest.mark.slow)], ids=["large", "many"])
def test_a_damaged_content_gives_way(repo: Files, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """git-annex alone would keep it, and remove the new file."""
    monkeypatch.setattr(annex_intake, "MANY", 1)
    take_in(repo, [put(repo, "x.dat", text)])
    there = (repo.path / "x.dat").resolve()
    there.chmod(0o644)
    there.write_text(text.upper())
    keys = take_in(repo, [put(repo, "y.dat", text)])
    assert (repo.path / "y.dat").read_text() == text
    assert (repo.path / ".git/annex/bad" / keys["y.dat"]).read_text() == text.upper()
    repo.commit()
    repo.git("annex", "fsck", "--quiet")


def test_they_are_not_read_again(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, old = put(repo, "fresh.dat", "written just now", -1), put(repo, "old.dat", "older")
    keys = take_in(repo, [fresh, old])
    contents = {key: Path(os.path.realpath(repo.path / name)) for name, key in keys.items()}
    read: list[str] = []

    def reading(key: str, *_: object) -> bool:
        read.append(key)
        return True

    monkeypatch.setattr(annex_checksums, "is_content_of", reading)
    assert damaged(repo, contents) == []
    assert read == [keys[fresh]], "a change within the same tick of the clock would not show"


def test_what_is_here_already_is_kept_once(repo: Files) -> None:
    one, two = put(repo, "one.dat", "the same"), put(repo, "two.dat", "the same")
    first = take_in(repo, [one, two])
    assert len(set(first.values())) == 1
    again = put(repo, "three.dat", "the same")
    assert set(take_in(repo, [again]).values()) == set(first.values())
    repo.commit()
    repo.git("annex", "fsck", "--quiet")
    assert (repo.path / again).read_text() == "the same"


@pytest.mark.parametrize("refused", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_many_small_files(repo: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    """All as `git annex add` has it. What `git annex reinject` refuses stays where it is."""
    monkeypatch.setattr(annex_intake, "LARGE", 1000)
    monkeypatch.setattr(annex_intake, "MANY", 8)
    monkeypatch.setattr(annex_intake, "_AT_ONCE", 3)
    other = Files.create(tmp_path / "other", annex=True)
    names = [*NAMES, "empty", "twice.dat", "twice2.dat", "d/large"]
    texts = {"empty": "", "twice.dat": "same", "twice2.dat": "same", "d/large": "x" * 1000}
    for one in (repo, other):
        for name in names:
            put(one, name, texts.get(name, f"content {name}"))
        (one.path / "plain").chmod(0o755)
    if refused:
        named = annex_intake._named

        def wrong(*args: Any) -> Any:
            return [(one, key.replace("-s10-", "-s9-") if one.path == "-f" else key) for one, key in named(*args)]

        monkeypatch.setattr(annex_intake, "_named", wrong)
    assert take_in(repo, [*names[:-5], "absent"]) == take_in(repo, names[:3]) == {}, "they are too few"
    wrongs = ["-f"] if refused else []
    assert sorted(take_in(repo, names)) == sorted({*names} - {*wrongs})
    assert [name for name in names if not (repo.path / name).is_symlink()] == wrongs
    if refused:
        assert (repo.path / "-f").read_text() == "content -f"
    other.git("annex", "add", "--quiet", ".")
    for name in {*names} - {*wrongs}:
        assert os.readlink(repo.path / name) == os.readlink(other.path / name)
        assert (repo.path / name).stat().st_mode == (other.path / name).stat().st_mode
    repo.commit()
    repo.git("annex", "fsck", "--quiet")
    assert repo.git("annex", "whereis", "--json").count(b'"here":true') == len(names) - len(wrongs)
    assert list((repo.path / ".minipach").iterdir()) == []


_OTHERS: dict[str, Callable[[Files], object]] = {
    "unlocked": lambda repo: repo.git("config", "annex.addunlocked", "true"),
    "unlocked everywhere": lambda repo: repo.git("annex", "config", "--set", "annex.addunlocked", "true"),
    "large files by a rule": lambda repo: repo.git("config", "annex.largefiles", "largerthan=1gb"),
    "large files everywhere": lambda repo: repo.git("annex", "config", "--set", "annex.largefiles", "nothing"),
    "large files by path": lambda repo: repo.in_git(".gitattributes", "*.dat annex.largefiles=nothing\n"),
    "a rule": lambda repo: repo.in_git(".gitattributes", "*.dat annex.largefiles=(largerthan=1kb)\n"),
    "no checksum": lambda repo: repo.in_git(".gitattributes", "* annex.backend=WORM\n"),
    "another checksum": lambda repo: repo.git("config", "annex.backend", "SKEIN256E"),
    "a second name": lambda repo: os.link(repo.path / "x.dat", repo.path / "y"),
    "a link": lambda repo: (os.rename(repo.path / "x.dat", repo.path / "y"), os.symlink("y", repo.path / "x.dat")),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", _OTHERS)
def test_git_annex_decides_where_it_may_do_something_else(repo: Files, what: str) -> None:
    put(repo, "x.dat", "content")
    _OTHERS[what](repo)
    assert take_in(repo, ["x.dat", put(repo, ".hidden", "content"), "absent"]) == {}
    assert (repo.path / "x.dat").read_text() == "content"


def test_what_can_not_be_moved_is_left_to_git_annex(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    git = Repo.git

    def failing(self: Repo, *args: str, **options: object) -> bytes:
        if "setkey" in args and "./bad.dat" in args:
            raise GitError(self.path, args, 1, "it fails")
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", failing)
    files = [put(repo, "bad.dat", "content"), put(repo, "good.dat", "content too")]
    assert list(take_in(repo, files)) == ["good.dat"]
    assert (repo.path / "bad.dat").read_text() == "content"


def test_a_file_that_changes_is_left_to_git_annex(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(repo, "x.dat", "content")
    digest = annex_intake.hashlib.file_digest

    def slow(*args: object) -> object:
        found = digest(*args)  # type: ignore[arg-type]
        (repo.path / file).write_text("another")
        return found

    monkeypatch.setattr(annex_intake.hashlib, "file_digest", slow)
    assert take_in(repo, [file]) == {}
    assert (repo.path / file).read_text() == "another"


def test_what_is_killed_between_two_steps_is_taken_in_again(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    git = Repo.git

    def dying(self: Repo, *args: str, **options: object) -> bytes:
        if "fromkey" in args:
            raise GitError(self.path, args, -9, "killed")
        return git(self, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(GitError):
        patch.setattr(Repo, "git", dying)
        take_in(repo, [put(repo, "x.dat", "content")])
    keys = take_in(repo, [put(repo, "x.dat", "content")])  # the command has run once more
    repo.commit()
    repo.git("annex", "fsck", "--quiet")
    assert (repo.path / "x.dat").read_text() == "content"
    assert b'"here":true' in repo.git("annex", "whereis", "--json", f"--key={keys['x.dat']}")
