"""The runtime that the launcher takes, as a worker remembers it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.execution import chosen_runtime as module
from minipach.execution import set_try
from minipach.execution.chosen_runtime import Chosen, chosen_runtime
from minipach.execution.set_try import SetTry
from minipach.model.launch_protocol import TESTED


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", {})


def _slot(path: Path, says: str) -> Path:
    """Make a slot with a stand-in for the launcher; it notes that it was asked."""
    (path / ".minipach").mkdir(parents=True)
    (path / ".minipach" / "launch").write_text(f"echo asked >>{path.parent}/asked\n{says}\n")
    (path / "image").symlink_to("/etc/hostname")
    return path


def _asked(folder: Path) -> int:
    return len((folder / "asked").read_text().splitlines())


def test_it_is_asked_once_for_all_slots_of_a_folder(tmp_path: Path) -> None:
    slots = [_slot(tmp_path / name, "echo bubblewrap read-only") for name in "ab"]
    assert [chosen_runtime(slot, "image") for slot in slots * 2] == [Chosen("bubblewrap", True)] * 4
    assert _asked(tmp_path) == 1


@pytest.mark.parametrize("says", ["echo bubblewrap read-only; exit 125", "echo", "echo a b c"])
def test_what_was_no_answer_is_asked_again(tmp_path: Path, says: str) -> None:
    slot = _slot(tmp_path / "a", says)
    assert [chosen_runtime(slot, "image"), chosen_runtime(slot, "image")] == [Chosen()] * 2
    assert _asked(tmp_path) == 2


def test_an_image_that_is_not_here_has_no_runtime(tmp_path: Path) -> None:
    assert chosen_runtime(_slot(tmp_path / "a", "echo none copy"), "absent") == Chosen()


def test_a_try_names_the_runtime_to_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher then does not test it for each set."""

    class Stand:
        path = _slot(tmp_path / "a", "echo bubblewrap read-only")
        image = "image"
        secrets: tuple[str, ...] = ()
        secrets_folder = ""
        parts = ("one",)
        timeout = None
        trial = None

    seen = []
    monkeypatch.setattr(set_try, "_containers_run", lambda *_: seen.append(os.environ.get(TESTED)) or (1, {}))
    tried: SetTry = set_try.try_set(Stand(), Stand())  # type: ignore[arg-type]
    assert (tried.exit, seen) == (1, ["bubblewrap"])
    assert TESTED not in os.environ
