"""The second and each later dataset of a pass is made without a process: git, git-annex and datalad can't tell."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.project import adoption
from minipach.project.adoption import adopt_all
from minipach.project.project import find_project
from tests.fixtures.projects import Study, run

NAMES = ("a", "b", "odd name")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study.create(tmp_path_factory.mktemp("copies") / "study", "images")
    for name in NAMES:
        made.copier(name)
        (made.root / name / "code/step.sh").write_text("#!/bin/sh\ncp /pfs/images/* /pfs/out/\n")
        (made.root / name / "code/step.sh").chmod(0o755)
        (made.root / name / "code/link").symlink_to("step.sh")
    return made


@pytest.fixture
def study(original: Study, tmp_path: Path) -> Study:
    return original.duplicate(tmp_path / "study")


def adopt(study: Study) -> None:
    project = find_project(study.root)
    _, paths = adopt_all(project, project.places)
    assert paths == set(NAMES)


@pytest.fixture
def git_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Path, tuple[str, ...]]]]:
    made: list[tuple[Path, tuple[str, ...]]] = []
    git = Repo.git

    def counting(self: Repo, *args: str, **options: object) -> bytes:
        made.append((self.path, args))
        return git(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Repo, "git", counting)
    yield made


@pytest.mark.slow
def test_a_copy_is_what_git_and_git_annex_make(study: Study, git_calls: list[tuple[Path, tuple[str, ...]]]) -> None:
    adopt(study)
    assert [call for path, call in git_calls if path.name in NAMES[1:]] == [], "no process for these"
    first, *copies = (study.root / name for name in NAMES)
    uuids = {study.git(name, "config", "annex.uuid") for name in NAMES}
    assert len(uuids) == len(NAMES)
    for folder in copies:
        name = folder.name
        assert study.git(name, "fsck", "--strict", "--no-dangling") == ""
        assert study.git(name, "status", "--porcelain") == ""
        assert study.git(name, "diff-files", "--name-only") == "", "the index knows the files"
        assert study.git(name, "ls-files", "--stage") == study.git(first.name, "ls-files", "--stage").replace(
            blob(study, first.name), blob(study, name)
        )
        assert study.git(name, "log", "--format=%s") == study.git(first.name, "log", "--format=%s")
        for file in ("hooks/pre-commit", "info/attributes", "description"):
            assert (folder / ".git" / file).read_bytes() == (first / ".git" / file).read_bytes()
        assert os.access(folder / ".git/hooks/pre-commit", os.X_OK)
        (folder / "big.bin").write_bytes(bytes(range(256)) * 400)
        study.ok("datalad", "save", "-d", name, "-m", "an output")
        said = json.loads(study.git(name, "annex", "whereis", "--json", "big.bin"))
        assert [(place["here"], place["uuid"]) for place in said["whereis"]] == [
            (True, study.git(name, "config", "annex.uuid"))
        ]
        assert f":{folder}" in said["whereis"][0]["description"]
        assert study.git(name, "annex", "fsck", "--quiet") == ""
        assert study.git(name, "annex", "unused", "--quiet") == ""
        study.git(name, "annex", "unlock", "big.bin")
        (folder / "big.bin").write_bytes(bytes(range(256)) * 400 + b"x")
        assert "big.bin" in study.git(name, "status", "--porcelain")
        study.ok("datalad", "save", "-d", name, "-m", "changed")
        assert study.git(name, "annex", "fsck", "--quiet") == ""
        # git-annex keeps what the first commit of its branch says
        assert f":{folder}" in study.git(name, "show", "git-annex:uuid.log")
    assert run("datalad", "status", "-r", cwd=study.root).code == 0


def blob(study: Study, name: str) -> str:
    return study.git(name, "rev-parse", "HEAD:.datalad/config")


@pytest.mark.slow
def test_a_clone_of_a_copy_gets_its_contents(study: Study, tmp_path: Path) -> None:
    adopt(study)
    (study.root / "b" / "big.bin").write_bytes(bytes(range(256)) * 400)
    study.ok("datalad", "save", "-d", "b", "-m", "an output")
    assert run("datalad", "clone", str(study.root / "b"), str(tmp_path / "clone"), cwd=tmp_path).code == 0
    assert run("datalad", "get", "big.bin", cwd=tmp_path / "clone").code == 0
    assert (tmp_path / "clone/big.bin").read_bytes() == bytes(range(256)) * 400


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".gitignore", "secret\n"),
        ("code/.gitattributes", "* text eol=crlf\n"),
        ("code/table.bin", "\0\1\2"),
    ],
)
def test_what_git_must_see_to_is_left_to_git(study: Study, path: str, content: str) -> None:
    (study.root / "b" / path).write_text(content)
    (study.root / "b" / "secret").write_text("hush\n")
    (study.root / ".git/info/exclude").write_text("secret\n")
    adopt(study)
    assert path in study.git("b", "ls-files").splitlines()
    assert "secret" not in study.git("b", "ls-files").splitlines()
    assert study.git("b", "status", "--porcelain") == ""


def test_what_the_superdataset_ignores_stays_out(study: Study) -> None:
    (study.root / ".git/info/exclude").write_text("*.key\n")
    for name in NAMES:
        (study.root / name / "code/my.key").write_text("hush\n")
    adopt(study)
    for name in NAMES:
        assert "code/my.key" not in study.git(name, "ls-files").splitlines()
        (study.root / name / "later.key").write_text("hush\n")
        assert study.git(name, "status", "--porcelain") == "", "the rule goes along"


@pytest.mark.slow
def test_what_was_tracked_against_a_rule_is_tracked(study: Study) -> None:
    (study.root / "b/code/my.key").write_text("known\n")
    study.git(".", "add", "--force", "b/code/my.key")
    (study.root / ".git/info/exclude").write_text("*.key\n")
    adopt(study)
    assert "code/my.key" in study.git("b", "ls-files").splitlines()
    assert study.git(".", "ls-files", "b").splitlines() == ["b"]


@pytest.mark.slow
def test_a_repository_of_another_kind_is_made_by_git(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modes of files for a group are git's to set."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.sharedRepository")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "group")
    built: list[Path] = []
    build = adoption._build_dataset

    def building(aside: Path, folder: Path) -> None:
        built.append(folder)
        build(aside, folder)

    monkeypatch.setattr(adoption, "_build_dataset", building)
    adopt(study)
    assert sorted(folder.name for folder in built) == sorted(NAMES)


@pytest.mark.slow
def test_a_copy_that_fails_is_made_by_git(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minipach.git.loose_objects.LooseObjects.write_ref", full)
    adopt(study)
    for name in NAMES:
        assert study.git(name, "status", "--porcelain") == ""
        assert subprocess.run(["git", "fsck"], cwd=study.root / name, capture_output=True, check=False).returncode == 0
