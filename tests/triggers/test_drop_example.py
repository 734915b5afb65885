"""The worked example of the drop folder, as a user has it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fixtures.projects import run

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "drop_folder.py"


@pytest.mark.slow
def test_example(tmp_path: Path) -> None:
    done = run(sys.executable, str(EXAMPLE), cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.endswith("done\n")
