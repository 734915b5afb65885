"""A command of minipach in the background."""

from __future__ import annotations

import os
from pathlib import Path

from minipach import __version__
from minipach.project.background_command import start_minipach


def test_a_command_prints_into_its_log_and_is_not_of_our_session(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = start_minipach(tmp_path, ("--version",), log)
        assert os.getpgid(process.pid) == process.pid
        assert process.wait(60) == 0
    assert (tmp_path / "log").read_text() == f"minipach {__version__}\n"
