"""One run of a datum outside of a job: what the launcher is given."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minipach.model.launch_protocol import REPORT, TESTED
from minipach.rerun import repeated_run


def test_a_trial_names_the_runtime_to_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher then does not test it again, as for a worker."""
    folder = tmp_path / "slot" / ".minipach"
    folder.mkdir(parents=True)
    (folder / "launch").write_text('[ "$1" = --runtime ] && echo bubblewrap read-only && exit\nenv >said\nexit 3\n')
    (folder.parent / "image").touch()
    monkeypatch.setattr(repeated_run, "command_line", lambda _: ["sh", ".minipach/launch"])
    work: Any = SimpleNamespace(image="image", parts=("one",), timeout=None)
    slot: Any = SimpleNamespace(path=folder.parent)
    tried = repeated_run.run_reported(
        work, slot, repeated_run.Processes(), tmp_path / "log", {"MINIPACH_SECRET_A": "hush"}
    )
    said = dict(line.split("=", 1) for line in (folder.parent / "said").read_text().splitlines() if "=" in line)
    assert (tried.exit, said[TESTED], said["MINIPACH_SECRET_A"]) == (3, "bubblewrap", "hush")
    assert os.path.isabs(said[REPORT])
