"""DataLad's settings of a slot are those that git lists, and mostly no process is started for them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipach.execution.datalad_settings import known_settings
from minipach.git.child_environment import entered, own_environment
from minipach.git.repo import Repo
from tests.fixtures.repos import Files

COMMITTED = '[datalad "dataset"]\n\tid = 1-2\n[datalad "containers.x"]\n\timage = a\n\timage = b\n'


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Files, Path]]:
    """A repository and a linked working tree of it, with settings in each place."""
    (tmp_path / "personal").write_text('[user]\n\tname = "A B"\n[alias]\n\tx\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "personal"))
    main = Files.create(tmp_path / "repo")
    main.git("config", "remote.Big.fetch", "+refs/heads/*:refs/remotes/Big/*")
    main.git("config", "--add", "remote.Big.fetch", "+refs/notes/*:refs/notes/*")
    main.in_git(".datalad/config", COMMITTED)
    main.git("-c", "user.email=a@example.org", "commit", "--quiet", "-m", "one")
    root = tmp_path / "slot"
    main.git("worktree", "add", "--quiet", "--detach", str(root))
    with entered(own_environment()):
        yield main, root


def settings_of(root: Path) -> dict[str, Any]:
    from datalad.config import ConfigManager
    from datalad.support.gitrepo import GitRepo

    found = ConfigManager(GitRepo(str(root), create=False))
    return {"merged": dict(found._merged_store), "files": [found._stores[name]["files"] for name in ("git", "branch")]}


@pytest.fixture
def listed(slot: tuple[Files, Path], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The calls of `git config` of datalad; what comes before is left out."""
    from datalad.config import ConfigManager

    settings_of(slot[1])
    Repo(slot[0].path, own=True).settings()
    calls: list[list[str]] = []
    run = ConfigManager._run
    monkeypatch.setattr(ConfigManager, "_run", lambda self, args, **more: calls.append(args) or run(self, args, **more))
    return calls


def test_the_settings_of_a_slot_need_no_process(slot: tuple[Files, Path], listed: list[list[str]]) -> None:
    main, root = slot
    expected = settings_of(root)
    assert len(listed) == 2
    listed.clear()
    with known_settings(main, root), pytest.MonkeyPatch.context() as patch:
        patch.setattr("minipach.git.repo.subprocess.run", None)
        assert settings_of(root) == expected
        assert listed == []
        settings_of(main.path)
        assert len(listed) == 2, "another place is datalad's to ask for"
    assert expected["merged"]["remote.Big.fetch"] == (
        "+refs/heads/*:refs/remotes/Big/*",
        "+refs/notes/*:refs/notes/*",
    )
    assert expected["merged"]["datalad.containers.x.image"] == ("a", "b")
    assert (expected["merged"]["user.name"], expected["merged"]["core.hookspath"]) == ("A B", os.devnull)


@pytest.mark.parametrize(
    ("file", "text", "asked"),
    [
        (".git/config", '[x]\n\ty = "q r"\n', 1),
        (".git/config", "[include]\n\tpath = other\n", 1),
        (".datalad/config", '[x]\n\ty = "q r"\n', 1),
    ],
)
def test_what_is_not_plain_is_gits(
    slot: tuple[Files, Path], listed: list[list[str]], file: str, text: str, asked: int
) -> None:
    main, root = slot
    (main.path / ".git/other").write_text("[x]\n\ty = q r\n")
    with open((root if file.startswith(".datalad") else main.path) / file, "a") as stream:
        stream.write(text)
    with known_settings(main, root):
        found = settings_of(root)
    assert len(listed) == asked
    assert found == settings_of(root)
    assert found["merged"]["x.y"] == "q r"


def test_a_change_of_the_users_file_is_seen(slot: tuple[Files, Path], listed: list[list[str]], tmp_path: Path) -> None:
    main, root = slot
    subprocess.run(["git", "config", "--file", tmp_path / "personal", "user.name", "C D"], check=True)
    with known_settings(main, root):
        assert settings_of(root)["merged"]["user.name"] == "C D"
