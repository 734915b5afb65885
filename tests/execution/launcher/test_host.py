"""The host's files that a command without an image does not see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.execution.launcher.host import caller_locale, private_of_system, private_of_user


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder with files that everybody may read, and such that only the owner may."""
    for name, mode in {"a/open": 0o644, "a/key": 0o600, "b/hidden": 0o640, "b/empty": 0o600, "shut/x": 0o644}.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("" if name == "b/empty" else "text")
        file.chmod(mode)
    (tmp_path / "shut").chmod(0o700)
    (tmp_path / "link").symlink_to("a/key")
    (tmp_path / "folder").symlink_to("shut")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "top").write_text("text")
    (tmp_path / "top").chmod(0o400)
    return tmp_path


def test_what_only_the_owner_may_read_is_hidden(system: Path) -> None:
    found = private_of_system(str(system), deep=True)
    shown = [word for word in found if word.startswith(str(system))]
    assert sorted(set(shown)) == sorted(str(system / name) for name in ("a/key", "b/hidden", "shut", "top"))
    assert found.count("--ro-bind") == 3
    assert found[found.index("--tmpfs") + 1] == str(system / "shut")


def test_an_ordinary_user_s_look_is_not_deep(system: Path) -> None:
    found = private_of_system(str(system), deep=False)
    assert sorted({word for word in found if word.startswith(str(system))}) == [
        str(system / "shut"),
        str(system / "top"),
    ]


def test_credentials_beside_programs_are_hidden(tmp_path: Path) -> None:
    hidden = {".env", ".Netrc", "my-Credentials", "TOKEN.txt", "secrets"}
    for name in (*hidden, "environment", ".rc", "python", ".envrc.txt", "rc"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    found = private_of_user(str(tmp_path))
    assert {word.rpartition("/")[2] for word in found if word.startswith(str(tmp_path))} == {*hidden, ".git"}


def test_the_language_is_that_of_the_caller() -> None:
    caller = {
        "LANG": "C",
        "LC_ALL": "",
        "LC_TIME": "de",
        "LC_time": "x",
        "LC_": "x",
        "LC_1": "x",
        "LANGUAGE": "x",
        "A": "b",
    }
    assert caller_locale(caller) == {"LANG": "C", "LC_TIME": "de"}
    assert caller_locale({**caller, "MINIPACH_LOCALE": "LANG=fr LC_ALL=en odd"}) == {"LANG": "fr", "LC_ALL": "en"}
