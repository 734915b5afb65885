"""The worked example: git, git-annex and a hook, as a user has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fixtures.projects import run

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hooks.py"


@pytest.mark.parametrize("saves", [pytest.param(6, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.soak)])
def test_example(tmp_path: Path, saves: int) -> None:
    done = run(sys.executable, str(EXAMPLE), "--saves", str(saves), cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("done\n")
