"""The start of the launcher."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fixtures.container_images import images
from tests.fixtures.launchers import Launcher, launch

__all__ = ["images", "launch"]


def test_an_old_python_is_one_line(launch: Launcher, tmp_path: Path) -> None:
    """The parts can't even be compiled by it."""
    python = tmp_path / "python"
    old = "import sys; sys.version_info, sys.version = (3, 8, 18), '3.8.18 (x)'; exec(sys.argv.pop(1))"
    python.write_text(f'#!/bin/sh\nshift 4\nexec "{sys.executable}" -I -S -B -c "{old}" "$@"\n')
    python.chmod(0o755)
    done = launch(launch.image("host"), "--", "true", MINIPACH_PYTHON=str(python))
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "launch: needs Python 3.9 or later, not 3.8.18\n"
