"""Contents are verified against their keys before they are used; what is damaged is the source of no result."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minipach.execution import staging
from minipach.execution.staging import HopelessError, StagingError, check_own, locate
from minipach.git import annex_checksums
from minipach.git.annex_checksums import damaged, is_content_of
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files

_BACKENDS = ["MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512"]
_BACKENDS += ["BLAKE2B160", "BLAKE2B224", "BLAKE2B256", "BLAKE2B384", "BLAKE2B512", "BLAKE2BP512", "BLAKE2S160"]
_BACKENDS += ["BLAKE2S224", "BLAKE2S256", "BLAKE2SP224", "BLAKE2SP256", "SKEIN256", "SKEIN512"]


def make(path: Path) -> Files:
    repo = Files.create(path, annex=True)
    repo.put("a.txt", "alpha\n" * 1000)
    repo.commit()
    return repo


@pytest.fixture
def made(tmp_path: Path) -> Files:
    """A dataset with one annexed file."""
    return make(tmp_path / "images")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same, for tests that only ask it for keys."""
    return make(tmp_path_factory.mktemp("checksums") / "images")


def key_of(repo: Files, name: str = "a.txt") -> str:
    return repo.line("annex", "lookupkey", name)


def spoil(file: Path, *, at: int = 100, keep_time: bool = False) -> None:
    """Change bytes of an object in place, as a disk, a copy or somebody else may; the size stays."""
    file = file.resolve()
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    mode = file.stat().st_mode
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"XXXX")
    file.chmod(mode)
    os.utime(file, ns=times if keep_time else (times[0], times[1] + 10**9))


@pytest.mark.parametrize("backend", [*_BACKENDS, *(f"{name}E" for name in _BACKENDS)])
def test_a_key_of_every_backend_is_verified_as_git_annex_makes_it(shared: Files, backend: str, tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_bytes(os.urandom(5000))
    key = shared.line("annex", "calckey", f"--backend={backend}", str(file))
    assert is_content_of(key, file, shared)
    spoil(file)
    assert not is_content_of(key, file, shared)


@pytest.mark.parametrize("key", ["WORM-s5-m1--a.txt", "URL-s5--http&c%%example.org%a"])
def test_of_a_key_without_a_checksum_the_size_is_looked_at(shared: Files, key: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("12345")
    assert is_content_of(key, tmp_path / "x", shared)
    (tmp_path / "x").write_text("1234")
    assert not is_content_of(key, tmp_path / "x", shared)


def test_a_content_is_read_once_while_it_stays_the_same(made: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(annex_checksums, "is_content_of", lambda key, *_: read.append(key) or True)
    key = key_of(made)
    there = locate(made, {key})
    os.utime(there[key].resolve(), ns=(1, 10**18))
    read.clear()
    locate(made, {key})
    locate(made, {key})
    assert read == [key]
    os.link(there[key], made.path / "staged")  # which changes its ctime
    locate(made, {key})
    assert read == [key], "a hard link changes no content"
    locate(made, {key}, fresh=True)
    assert read == [key, key]
    spoil(there[key])
    locate(made, {key})
    assert read == [key, key, key], "its time is another"


def test_what_was_just_written_is_looked_at_again(made: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in the same tick of the clock has the same time."""
    read: list[str] = []
    file = tmp_path / "x"
    file.write_text("x")
    monkeypatch.setattr(annex_checksums, "is_content_of", lambda key, *_: read.append(key) or True)
    monkeypatch.setattr(annex_checksums, "_SETTLED", 10**12)
    for _ in range(2):
        assert damaged(made, {"k": file}) == []
    assert read == ["k", "k"]


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000, None])
def test_the_notes_of_what_was_verified_may_be_damaged(made: Files, data: bytes | None) -> None:
    notes = made.common_dir / "minipach" / "verified.sqlite"
    notes.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        with sqlite3.connect(notes) as db:
            db.execute("CREATE TABLE verified (other)")
    else:
        notes.write_bytes(data)
    key = key_of(made)
    assert list(locate(made, {key})) == [key]
    spoil(locate(made, {key})[key])
    with pytest.raises(HopelessError):
        locate(made, {key})


def test_notes_that_can_be_kept_nowhere_cost_only_time(made: Files) -> None:
    (made.common_dir / "minipach").write_text("in the way")
    key = key_of(made)
    assert list(locate(made, {key})) == [key]


def test_the_only_copy_is_left_where_it_is(made: Files) -> None:
    key = key_of(made)
    file = locate(made, {key})[key]
    spoil(file)
    with pytest.raises(HopelessError, match=rf"content of a.txt \({key}\) is damaged, .*only copy.*annex fsck --key"):
        locate(made, {key}, names={key: "a.txt"})
    assert file.is_file()


@pytest.fixture
def cloned(made: Files, tmp_path: Path) -> Files:
    """A clone that has a damaged copy; its origin has a good one."""
    there = tmp_path / "clone"
    made.git("clone", "--quiet", str(made.path), str(there))
    clone = Files(there)
    clone.git("annex", "init", "--quiet")
    clone.git("annex", "get", "--quiet", "a.txt")
    spoil(there / "a.txt")
    return clone


def test_a_damaged_content_is_fetched_anew_where_another_copy_is(cloned: Files) -> None:
    key = key_of(cloned)
    found = locate(cloned, {key})
    assert found[key].read_text() == "alpha\n" * 1000
    assert list((cloned.common_dir / "annex" / "bad").iterdir()), "the bad one was put aside, not deleted"


def test_without_leave_to_fetch_it_is_left_and_told(cloned: Files) -> None:
    key = key_of(cloned)
    with pytest.raises(StagingError, match=r"is damaged; git -C .* annex fsck --key"):
        locate(cloned, {key}, get=False)
    assert "XXXX" in (cloned.path / "a.txt").read_text()


def test_where_the_other_copy_is_damaged_too_nothing_is_used(cloned: Files, made: Files) -> None:
    spoil(made.path / "a.txt")
    with pytest.raises(StagingError):
        locate(cloned, {key_of(cloned)})


# --- a project -------------------------------------------------------------------------------------------------


def annexed(study: Study, repo: str, name: str, text: str) -> Path:
    """An annexed file in a repo of the study; the object."""
    file = study.root / repo / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    study.ok("git", "-C", repo, "-c", "annex.largefiles=anything", "annex", "add", "--force-large", name)
    study.save(repo)
    assert file.is_symlink()
    return file


@pytest.mark.slow
def test_no_result_comes_of_a_damaged_input(study: Study) -> None:
    annexed(study, "images", "good", "good\n" * 100)
    bad = annexed(study, "images", "bad", "bad\n" * 100)
    study.copier()
    spoil(bad)
    report = study.schedule(code=1)["edges"]
    assert [row["name"] for row in report["failed"]] == ["bad"]
    assert "content of images/bad" in str(report["failed"]) and "annex fsck --key" in str(report["failed"])
    assert "bad" not in study.outputs("edges")


@pytest.mark.slow
def test_no_result_comes_of_damaged_code(study: Study) -> None:
    study.put("images/a", "a")
    study.copier()
    study.schedule()
    code = annexed(study, "edges", "code/data.txt", "table\n" * 100)
    spoil(code)
    report = study.schedule(code=1)["edges"]
    assert report["state"] != "published" and "content of code/data.txt" in str(report)


@pytest.mark.slow
def test_audit_reads_what_was_verified_before_and_says_so(study: Study) -> None:
    file = annexed(study, "images", "a", "alpha\n" * 100)
    study.copier()
    os.utime(file.resolve(), ns=(1, 10**18))
    study.schedule()
    assert "contents were verified again" in study.minipach("audit").out
    spoil(file, keep_time=True)
    done = study.minipach("audit")
    assert done.code == 1 and "content of images/a" in done.out and "is damaged" in done.out


def test_a_damaged_image_is_found_and_another_image_is_not_looked_at(made: Files) -> None:
    for name in ("one", "two"):
        file = made.path / ".datalad/environments" / name / "image"
        file.parent.mkdir(parents=True)
        file.write_text(f"{name}\n" * 100)
        made.git("-c", "annex.dotfiles=true", "annex", "add", "--quiet", "--force-large", str(file))
    made.commit()
    base = made.line("rev-parse", "HEAD")
    check_own(made, base, ".datalad/environments/one/image")
    spoil(made.path / ".datalad/environments/two/image")
    check_own(made, base, ".datalad/environments/one/image")
    with pytest.raises(HopelessError, match=r"content of .datalad/environments/two/image .* is damaged"):
        check_own(made, base, ".datalad/environments/two/image")


def test_threads_that_share_a_repo_read_it_one_after_the_other(made: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    classify, now, most = staging.classify, [], [0]

    def slow(repo: Files, entries: Iterable[TreeEntry]) -> object:
        now.append(1)
        most[0] = max(most[0], len(now))
        time.sleep(0.05)
        found = classify(repo, entries)
        now.pop()
        return found

    monkeypatch.setattr(staging, "classify", slow)
    base = made.line("rev-parse", "HEAD")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda image: check_own(made, base, f".datalad/environments/{image}/image"), "abcd"))
    assert most == [1]


def test_an_image_is_fetched_from_a_remote_whose_path_is_relative(made: Files, tmp_path: Path) -> None:
    image = ".datalad/environments/one/image"
    (made.path / image).parent.mkdir(parents=True)
    (made.path / image).write_text("one\n" * 100)
    made.git("-c", "annex.dotfiles=true", "annex", "add", "--quiet", "--force-large", image)
    made.commit()
    made.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    there = Repo(tmp_path / "clone")
    there.git("remote", "set-url", "origin", "../images")
    there.git("annex", "init", "--quiet")
    base = there.line("rev-parse", "HEAD")
    check_own(there, base, image, get=False)
    assert not (there.path / image).exists()
    check_own(there, base, image)
    assert (there.path / image).read_text() == "one\n" * 100
    there.close()
