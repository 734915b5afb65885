"""Staging: what a datum matched lies in its slot, and nothing there leads back to the source."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.datums.snapshot import read_snapshot
from minipach.execution.staging import HopelessError, StagingError, locate, stage
from minipach.model.work_set import StagedFile
from tests.fixtures.repos import Files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A dataset with a file of each kind. Only to look at."""
    repo = Files.create(tmp_path_factory.mktemp("staging") / "images", annex=True)
    repo.put("d/annexed.txt", "alpha")
    repo.put("tool", "#!/bin/sh\n")
    repo.put("locked", "#!/bin/sh -e\n")
    os.chmod(repo.path / "locked", 0o755)  # its content keeps the bit, here alone; git has none for a link
    repo.in_git("plain.txt", "beta")
    repo.in_git("run.sh", "true")
    repo.commit()
    repo.git("annex", "unlock", "--quiet", "tool")
    for name in ("tool", "run.sh"):
        os.chmod(repo.path / name, 0o755)
    repo.git("add", "tool")
    repo.git("-c", "annex.largefiles=nothing", "add", "run.sh")
    for name, target in (("alias", "plain.txt"), ("away", "/etc/passwd"), ("up", "../x")):
        os.symlink(target, repo.path / name)
        repo.stage(name)
    repo.commit()
    return repo


def staged(repo: Files, *paths: str) -> list[StagedFile]:
    """The set's files for paths of a repo, as committed."""
    files = read_snapshot(repo, repo.line("rev-parse", "HEAD")).files
    return [
        StagedFile(f"inputs/images/{p}", str(repo.path), f.kind, f.blob, f.key, f.executable)
        for p, f in files.items()
        if p in paths
    ]


@pytest.mark.parametrize("share", [False, True])
def test_files_are_there_with_content_and_mode(made: Files, tmp_path: Path, share: bool) -> None:
    size = stage(tmp_path, staged(made, "d/annexed.txt", "tool", "plain.txt", "run.sh", "alias", "locked"), share=share)
    here = tmp_path / "inputs" / "images"
    assert (here / "d" / "annexed.txt").read_bytes() == b"alpha"
    assert (here / "tool").read_bytes() == b"#!/bin/sh\n"
    assert (here / "plain.txt").read_bytes() == b"beta"
    assert os.readlink(here / "alias") == "plain.txt"
    modes = {p.name: os.access(p, os.X_OK) for p in here.iterdir() if p.is_file() and not p.is_symlink()}
    assert modes == {"tool": True, "plain.txt": False, "run.sh": True, "locked": False}
    assert not (here / "d" / "annexed.txt").is_symlink()
    assert size == 5 + 10 + 4 + 4 + 13


def test_only_what_is_asked_for_is_there(made: Files, tmp_path: Path) -> None:
    stage(tmp_path, staged(made, "plain.txt"), share=False)
    assert [p.name for p in (tmp_path / "inputs" / "images").iterdir()] == ["plain.txt"]
    assert stage(tmp_path / "none", [], share=False) == 0


def test_to_write_into_an_input_does_not_change_the_source(made: Files, tmp_path: Path) -> None:
    stage(tmp_path, staged(made, "d/annexed.txt", "tool", "plain.txt"), share=False)
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        os.chmod(path, 0o644)
        path.write_bytes(b"spoiled")
    made.git("annex", "fsck", "--quiet")
    assert made.read("HEAD", "plain.txt") == b"beta"


def test_to_stage_does_not_change_the_modes_of_the_source(made: Files, tmp_path: Path) -> None:
    def modes() -> dict[str, int]:
        objects = made.path / ".git" / "annex" / "objects"
        return {str(p): p.stat().st_mode for p in objects.rglob("*") if p.is_file()}

    before = modes()
    stage(tmp_path, staged(made, "d/annexed.txt", "tool"), share=True)
    assert modes() == before


@pytest.mark.parametrize("name", ["away", "up"])
def test_a_link_that_leads_out_is_refused(made: Files, tmp_path: Path, name: str) -> None:
    with pytest.raises(StagingError, match=f"inputs/images/{name}: a symbolic link that leads out of its repo"):
        stage(tmp_path, staged(made, name), share=False)


def test_a_key_with_an_odd_name_is_found(tmp_path: Path) -> None:
    """A URL key's object has another name than the key: slashes and the like are escaped in it."""
    source = tmp_path / "a b.txt"
    source.write_text("alpha")
    repo = Files.create(tmp_path / "images", annex=True)
    repo.git("config", "annex.security.allowed-url-schemes", "file")
    repo.git("annex", "addurl", "--quiet", "--relaxed", "--file", "a.txt", f"file://{tmp_path}/a%20b.txt")
    repo.git("annex", "get", "--quiet", "a.txt")
    repo.commit()
    stage(tmp_path / "slot", staged(repo, "a.txt"), share=False)
    assert (tmp_path / "slot" / "inputs" / "images" / "a.txt").read_text() == "alpha"


def test_content_that_is_elsewhere_is_fetched(made: Files, tmp_path: Path) -> None:
    made.git("clone", "--quiet", str(made.path), str(tmp_path / "clone"))
    clone = Files(tmp_path / "clone")
    clone.git("annex", "init", "--quiet")
    [file] = staged(clone, "d/annexed.txt")
    assert file.key is not None
    assert not (clone.path / "d/annexed.txt").exists()
    where = locate(clone, {file.key})
    assert where[file.key].read_bytes() == b"alpha"
    assert stage(tmp_path / "slot", [file], share=False) == 5


def test_content_that_a_plain_git_pull_has_told_of_is_fetched(tmp_path: Path) -> None:
    source = Files.create(tmp_path / "images", annex=True)
    source.put("a.txt", "alpha")
    source.commit()
    source.git("clone", "--quiet", str(source.path), str(tmp_path / "clone"))
    clone = Files(tmp_path / "clone")
    clone.git("annex", "init", "--quiet")
    source.put("b.txt", "beta")
    source.commit()
    clone.git("pull", "--quiet", "--no-rebase")  # brings origin/git-annex, and leaves it to git-annex to merge it
    [file] = staged(clone, "b.txt")
    assert file.key is not None
    assert locate(clone, {file.key})[file.key].read_bytes() == b"beta"


def test_content_that_nobody_has_is_an_error_that_names_it(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "images", annex=True)
    repo.put("a.txt", "alpha")
    repo.commit()
    repo.git("annex", "drop", "--quiet", "--force", "a.txt")
    [file] = staged(repo, "a.txt")
    with pytest.raises(HopelessError, match="no repository is known to have it") as caught:
        stage(tmp_path / "slot", [file], share=False)
    assert str(file.key) in str(caught.value)
    assert str(repo.path) in str(caught.value)


def test_content_whose_only_remote_is_away_may_come_back(made: Files, tmp_path: Path) -> None:
    made.git("clone", "--quiet", str(made.path), str(tmp_path / "clone"))
    clone = Files(tmp_path / "clone")
    clone.git("annex", "init", "--quiet")
    clone.git("config", "remote.origin.url", str(tmp_path / "away"))
    with pytest.raises(StagingError) as caught:
        stage(tmp_path / "slot", staged(clone, "d/annexed.txt"), share=False)
    assert not isinstance(caught.value, HopelessError)


def test_several_datasets_are_staged_together(made: Files, tmp_path: Path) -> None:
    other = Files.create(tmp_path / "masks", annex=True)
    other.put("m.txt", "mask")
    other.commit()
    [mask] = staged(other, "m.txt")
    stage(tmp_path / "slot", [*staged(made, "d/annexed.txt"), mask], share=True)
    assert (tmp_path / "slot" / mask.dest).read_text() == "mask"
