"""Outputs go into the annex as `git annex add` would put them there, or are left to it."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minipach.executors.clones import _SETTINGS
from minipach.git import annex_outputs
from minipach.git.annex_layout import link_target
from minipach.git.annex_outputs import store_outputs
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, slots_dir
from minipach.support.git_objects import blob_id
from tests.fixtures.repos import Files

ATTRIBUTES = "* annex.backend=SHA256E -text\n**/.git* annex.largefiles=nothing\n/code/** annex.largefiles=nothing\n"


@pytest.fixture
def repo(tmp_path: Path) -> Files:
    repo = Files.create(tmp_path / "edges", annex=True)
    repo.in_git(".gitattributes", ATTRIBUTES)
    repo.in_git(".gitignore", "*.log\n")
    repo.in_git("code/x.sh", "true\n")
    repo.commit()
    return repo


@pytest.fixture
def slot(repo: Files) -> Iterator[Slot]:
    owner = Owner(repo)
    slot = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
    slot.reset(repo.line("rev-parse", "HEAD"))
    yield slot
    slot.remove()
    owner.release()


def put(slot: Slot, name: str, text: str) -> str:
    """Write an output into the slot."""
    (slot.path / name).parent.mkdir(parents=True, exist_ok=True)
    (slot.path / name).write_text(text)
    return name


def store(slot: Slot, *names: str) -> list[annex_outputs.StoredOutput] | None:
    return store_outputs(slot.main, slot.path, slot.main.head() or "", names)


def commit(repo: Files, found: list[annex_outputs.StoredOutput] | None) -> None:
    """Put the links into the work tree, as a checkout would."""
    for one in found or ():
        (repo.path / one.path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(one.target, repo.path / one.path)
        repo.git("add", "--force", "--", one.path)
    repo.commit()


def test_all_is_as_git_annex_add_has_it(repo: Files, slot: Slot, tmp_path: Path) -> None:
    texts = {"a.dat": "a", "b.tar.gz": "b", "d/e.verylong": "", "d/f/same.dat": "a", "x.log": "l", "d/größe.dat": "ö"}
    for name, text in texts.items():
        put(slot, name, text)
    (slot.path / "b.tar.gz").chmod(0o755)
    found = store(slot, *texts)
    assert found is not None and [one.path for one in found] == list(texts)
    assert [one.size for one in found] == [len(text.encode()) for text in texts.values()]
    assert slot.repo.git("status", "--porcelain", "--ignored") == b"", "nothing is left"
    commit(repo, found)
    assert not repo.git("annex", "unused").count(b"SHA256E")
    repo.git("annex", "fsck", "--quiet")
    assert repo.git("annex", "whereis", "--json").count(b'"here":true') == len(texts)
    other = Files.create(tmp_path / "other", annex=True)
    other.in_git(".gitattributes", ATTRIBUTES)
    for name, text in texts.items():
        (other.path / name).parent.mkdir(parents=True, exist_ok=True)
        (other.path / name).write_text(text)
    (other.path / "b.tar.gz").chmod(0o755)
    other.git("annex", "add", "--quiet", "--no-check-gitignore", ".")
    for name, text in texts.items():
        ours, theirs = repo.path / name, other.path / name
        assert os.readlink(ours) == os.readlink(theirs)
        assert ours.read_text() == text
        assert ours.stat().st_mode == theirs.stat().st_mode
        assert ours.resolve().parent.stat().st_mode == theirs.resolve().parent.stat().st_mode
    assert dict(one.row[::2] for one in found) == {name: other.line("rev-parse", f":{name}") for name in texts}


def test_what_is_here_already_is_kept_once(repo: Files, slot: Slot) -> None:
    first = store(slot, put(slot, "one.dat", "the same"))
    again = store(slot, put(slot, "two.dat", "the same"))
    assert first and again and first[0].target == again[0].target
    commit(repo, [*first, *again])
    repo.git("annex", "drop", "--force", "--quiet", "one.dat")
    back = store(slot, put(slot, "d/three.dat", "the same"))
    assert back and back[0].target == b"../" + first[0].target
    repo.git("annex", "fsck", "--quiet")
    assert (repo.path / "one.dat").read_text() == "the same"


def test_a_content_that_somebody_drops_meanwhile_is_no_result(
    repo: Files, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set runs again, and puts it there anew."""
    commit(repo, store(slot, put(slot, "x.dat", "content")))
    note = annex_outputs.note_present

    def dropping(*args: Any) -> None:
        repo.git("annex", "drop", "--force", "--quiet", "x.dat")
        note(*args)

    with monkeypatch.context() as patch, pytest.raises(FileNotFoundError):
        patch.setattr(annex_outputs, "note_present", dropping)
        store(slot, put(slot, "y.dat", "content"))
    assert store(slot, put(slot, "y.dat", "content"))
    assert (repo.path / "x.dat").read_text() == "content"
    repo.git("annex", "fsck", "--quiet")


def test_a_link_to_attributes_is_left_to_git(repo: Files, slot: Slot) -> None:
    """git reads no `.gitattributes` that is a symbolic link."""
    (repo.path / ".gitattributes").rename(repo.path / "rules")
    (repo.path / ".gitattributes").symlink_to("rules")
    repo.git("-c", "annex.largefiles=nothing", "add", "--all")
    slot.reset(repo.commit())
    assert store(slot, put(slot, "x.dat", "content")) is None


def test_fetched_branches_of_any_name_do_not_hinder(repo: Files, slot: Slot) -> None:
    for ref in ("refs/remotes/origin/git-annex", "refs/remotes/origin/größe#1"):
        repo.git("update-ref", ref, repo.line("rev-parse", "git-annex"))
    assert store(slot, put(slot, "x.dat", "content"))


def test_a_set_without_outputs_has_none(slot: Slot) -> None:
    assert store(slot) == []


@pytest.mark.parametrize("damage", ["CONTENT", pytest.param("another length", marks=pytest.mark.slow)])
def test_a_damaged_content_is_replaced(repo: Files, slot: Slot, damage: str) -> None:
    """`git annex add` would keep it, and remove the new file."""
    there = _place(repo, "content")
    there.write_text(damage)
    there.chmod(0o444)
    there.parent.chmod(0o555)
    commit(repo, store(slot, put(slot, "x.dat", "content"), put(slot, "y.dat", "content")))
    assert there.read_text() == "content" == (repo.path / "y.dat").read_text()
    assert (there.stat().st_mode | there.parent.stat().st_mode) & 0o222 == 0
    repo.git("annex", "fsck", "--quiet")


def _place(repo: Files, text: str) -> Path:
    """Return where the content of x.dat is kept, in a folder that is there."""
    key = f"SHA256E-s{len(text)}--{hashlib.sha256(text.encode()).hexdigest()}.dat"
    there = repo.path / os.fsdecode(link_target(key, "x.dat"))
    there.parent.mkdir(parents=True)
    return there


def _hook(repo: Files) -> None:
    hook = repo.path / ".git/hooks/freezecontent-annex"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)


def _fetched(repo: Files) -> None:
    """Another clone has said that all files are unlocked; git-annex has not merged that yet."""
    before = repo.line("rev-parse", "git-annex")
    repo.git("annex", "config", "--set", "annex.addunlocked", "true")
    repo.git("update-ref", "refs/remotes/origin/git-annex", repo.line("rev-parse", "git-annex"))
    repo.git("update-ref", "refs/heads/git-annex", before)


_OTHERS: dict[str, Callable[[Files, Slot], object]] = {
    "unlocked": lambda repo, slot: repo.git("config", "annex.addunlocked", "true"),
    "unlocked everywhere": lambda repo, slot: repo.git("annex", "config", "--set", "annex.addunlocked", "true"),
    "unlocked, in the journal": lambda repo, slot: repo.git(
        "-c", "annex.alwayscommit=false", "annex", "config", "--set", "annex.addunlocked", "true"
    ),
    "unlocked, by another clone": lambda repo, slot: _fetched(repo),
    "a hook of git-annex": lambda repo, slot: _hook(repo),
    "patterns of any case": lambda repo, slot: repo.git("config", "core.ignoreCase", "true"),
    "attributes of the system": lambda repo, slot: None,
    "large files by a rule": lambda repo, slot: repo.git("config", "annex.largefiles", "largerthan=1gb"),
    "an unknown setting": lambda repo, slot: repo.git("config", "annex.newfangled", "true"),
    "a shared repository": lambda repo, slot: repo.git("config", "core.sharedRepository", "group"),
    "no checksum": lambda repo, slot: repo.git("config", "annex.backend", "WORM"),
    "rules of the clone": lambda repo, slot: (repo.path / ".git/info/attributes").write_text("*.dat -text\n"),
    "a second name": lambda repo, slot: os.link(slot.path / "x.dat", repo.path / "y"),
    "a link": lambda repo, slot: ((slot.path / "x.dat").unlink(), (slot.path / "x.dat").symlink_to("code/x.sh")),
    "a file that nobody reported": lambda repo, slot: put(slot, "more.dat", "m"),
    "an output that is gone": lambda repo, slot: (slot.path / "x.dat").unlink(),
    "a changed file": lambda repo, slot: (slot.path / "code/x.sh").write_text("false\n"),
    "a folder in its place": lambda repo, slot: _place(repo, "content").mkdir(),
}
_QUICK = ("an unknown setting", "a file that nobody reported", "a changed file")


@pytest.mark.parametrize(
    "what", [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(_OTHERS.keys() - set(_QUICK)))]
)
def test_git_annex_decides_where_it_may_do_something_else(
    repo: Files, slot: Slot, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "no checksum":
        repo.in_git(".gitattributes", "")
        slot.reset(repo.commit())
    put(slot, "x.dat", "content")
    _OTHERS[what](repo, slot)
    if what == "attributes of the system":
        monkeypatch.setattr(annex_outputs, "system_attributes", lambda path: (str(slot.path / ".gitattributes"),))
    assert store(slot, "x.dat") is None
    assert what == "an output that is gone" or os.path.lexists(slot.path / "x.dat")
    assert what == "a link" or not (slot.path / "x.dat").exists() or (slot.path / "x.dat").read_text() == "content"


@pytest.mark.parametrize("name", ["code/y", "README.txt", ".hidden", "d/.gitignore", "spec.yml"])
def test_reserved_and_hidden_names_are_left_to_git_annex(slot: Slot, name: str) -> None:
    put(slot, name, "content")
    assert store(slot, name) is None


@pytest.mark.parametrize(
    ("text", "path", "backend"),
    [
        ("", "a", ""),
        ("* annex.backend=MD5E\n", "a", "MD5E"),
        ("* annex.backend=MD5E -text\n*.txt annex.largefiles=nothing\n", "a.dat", "MD5E"),
        ("*.txt annex.largefiles=nothing\n", "a.txt", None),
        ("*.txt annex.largefiles=nothing\n", "d/a.txt", None),
        ("/d/* annex.largefiles=nothing\n", "d/a", None),
        ("/d/* annex.largefiles=nothing\n", "e/d/a", ""),
        ("**/d/** annex.backend=MD5\n", "e/d/a", None),
        ("d/ annex.backend=MD5\n", "d/a", None),
        ("* annex.largefiles=nothing\n", "a", None),
        ("* filter=lfs\n", "a", None),
        ('"a b" annex.backend=MD5\n', "c", None),
        ("[attr]small annex.largefiles=nothing\n", "c", None),
        ("# * annex.backend=MD5\n", "a", ""),
        (" *\t annex.backend=MD5E \r\n", "a", "MD5E"),
        ("\ufeff* annex.backend=MD5E\n", "a", None),
        ("* annex.backend=MD5E #small\n", "a", None),
        ("* annex.backend=MD5E builtin_x\n", "a", None),
        ("* annex.backend=MD5E -\n", "a", None),
        ("* annex.backend=MD5E\x0cannex.largefiles=nothing\n", "a", None),
        ("*\xa0annex.backend=MD5E\n", "a", ""),
        ("* -text\u2028* annex.backend=MD5E\n", "a", None),
        (f"* annex.backend=MD5E {'x' * 2100}\n", "a", None),
        ("gr????e annex.backend=MD5E\n", "größe", None),
    ],
)
def test_attributes_that_are_not_for_all_files(text: str, path: str, backend: str | None) -> None:
    assert annex_outputs._named_backend(text, ["other", path]) == backend


def test_a_backend_is_the_one_that_git_reads(repo: Files) -> None:
    """Lines of unusual form, as git itself reads them."""
    seen = set()
    patterns, blanks, words = ("*", "\ufeff*", " *", "x"), (" ", "\xa0"), ("", " #x", " -text", "\u2028* -text")
    for pattern, blank, word in itertools.product(patterns, blanks, words):
        text = f"{pattern}{blank}annex.backend=MD5E{word}\r\n"
        backend = annex_outputs._named_backend(text, ["größe"])
        if backend is not None:
            (repo.path / ".gitattributes").write_text(text, newline="")
            said = repo.line("check-attr", "annex.backend", "--", "größe").rpartition(": ")[2]
            assert said.replace("unspecified", "") == backend, repr(text)
            seen.add(backend)
    assert seen >= {"", "MD5E"}


def test_a_folder_that_another_process_closes_is_opened_again(
    repo: Files, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set of another worker has just put the same content there; or somebody drops it."""
    rename = os.rename
    raised: list[OSError] = []

    def refused(source: Any, target: Any) -> None:
        if len(raised) < 2:
            raised.append([PermissionError, FileNotFoundError][len(raised)]())
            raise raised[-1]
        rename(source, target)

    monkeypatch.setattr(annex_outputs.os, "rename", refused)
    commit(repo, store(slot, put(slot, "x.dat", "content")))
    assert len(raised) == 2 and (repo.path / "x.dat").read_text() == "content"


@pytest.mark.parametrize("step", ["rename", "chmod", "note_present"])
def test_what_is_killed_between_two_steps_is_completed(
    repo: Files, slot: Slot, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The command has run once more. Nothing is lost, and git-annex finds nothing to mend."""

    def dying(*args: Any) -> None:
        if step == "rename":
            os.replace(*args)
        raise GitError(repo.path, [step], -9, "killed")

    with monkeypatch.context() as patch, pytest.raises(GitError):
        patch.setattr(annex_outputs if step == "note_present" else annex_outputs.os, step, dying)
        store(slot, put(slot, "x.dat", "content"), put(slot, "y.dat", "content too"))
    monkeypatch.undo()
    slot.reset(slot.main.head() or "")
    found = store(slot, put(slot, "x.dat", "content"), put(slot, "y.dat", "content too"))
    commit(repo, found)
    assert repo.git("annex", "fsck").count(b"ok\n") == 2
    assert repo.git("annex", "whereis", "--json").count(b'"here":true') == 2
    for name in ("x.dat", "y.dat"):
        assert (repo.path / name).stat().st_mode & 0o222 == 0
    assert not repo.git("annex", "unused").count(b"SHA256E")


_KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from minipach.git.annex_outputs import store_outputs
from minipach.git.repo import Repo
top, slot, base, module, name, when = sys.argv[1:]
there = importlib.import_module(module)
owner, _, name = name.rpartition(".")
owner = getattr(there, owner) if owner else there
before = getattr(owner, name)
def dying(*args, **options):
    if when == "after":
        before(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, dying)
store_outputs(Repo(Path(top)), Path(slot), base, ["x.dat", "y.dat"])
"""
_POINTS = [
    ("minipach.git.annex_outputs", "_move", "after"),
    ("minipach.git.location_log", "_commit", "before"),
    ("minipach.git.repo", "run_transaction", "before"),  # of the branch
    ("minipach.git.loose_objects", "os.replace", "before"),
    ("minipach.git.repo", "run_transaction", "after"),
    ("minipach.git.annex_outputs", "note_present", "after"),
]


@pytest.mark.parametrize(
    ("module", "name", "when"),
    [_POINTS[3], *(pytest.param(*point, marks=pytest.mark.slow) for point in _POINTS if point != _POINTS[3])],
)
def test_nothing_is_lost_by_a_kill(repo: Files, slot: Slot, module: str, name: str, when: str) -> None:
    """SIGKILL, after which nothing of our own runs. The set runs again, in a new slot."""
    texts = {"x.dat": "content", "y.dat": "content too"}
    for path, text in texts.items():
        put(slot, path, text)
    base = slot.main.head() or ""
    command = [sys.executable, "-c", _KILLED, str(repo.path), str(slot.path), base, module, name, when]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    slot.reset(base)
    for path, text in texts.items():
        put(slot, path, text)
    commit(repo, store(slot, *texts))
    assert repo.git("annex", "fsck").count(b"ok\n") == 2
    assert repo.git("annex", "whereis", "--json").count(b'"here":true') == 2
    assert not repo.git("annex", "unused").count(b"SHA256E")
    assert {path: (repo.path / path).read_text() for path in texts} == texts
    repo.git("rev-list", "--objects", "--all", "--quiet")


def test_a_file_that_changes_is_left_to_git_annex(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.file_digest

    def slow(*args: Any) -> Any:
        found = digest(*args)
        put(slot, "x.dat", "another")
        return found

    monkeypatch.setattr(annex_outputs.hashlib, "file_digest", slow)
    assert store(slot, put(slot, "x.dat", "content")) is None
    assert (slot.path / "x.dat").read_text() == "another"


def test_links_are_those_of_git(slot: Slot) -> None:
    found = store(slot, put(slot, "a/b/c.dat", "content"))
    assert found and found[0].row == ("a/b/c.dat", "120000", blob_id(found[0].target))
    assert Repo(slot.path).line("hash-object", "--stdin", stdin=found[0].target) == found[0].row[2]


def test_the_private_clone_of_a_worker_takes_outputs_in_without_git_annex(
    repo: Files, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**_SETTINGS, "annex.security.allowed-ip-addresses": "127.0.0.1"}  # with a store on this machine
    for name, value in settings.items():
        repo.git("config", name, value)
    before = repo.resolve("refs/heads/git-annex")
    names = [put(slot, name, name) for name in ("a.dat", "d/b.dat")]
    with monkeypatch.context() as patch:
        patch.setattr(annex_outputs, "annex", None)
        found = store(slot, *names)
    commit(repo, found)
    assert repo.resolve("refs/heads/git-annex") == before, "nobody else hears of this clone"
    repo.git("annex", "fsck", "--quiet")
    assert repo.git("annex", "whereis", "--json").count(b'"here":true') == 2
