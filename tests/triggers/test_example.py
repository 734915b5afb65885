"""The worked examples, as a user has them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fixtures.projects import PATIENCE, need, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.timeout(5400)  # 500 saves on a busy machine
@pytest.mark.parametrize("saves", [pytest.param(6, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.soak)])
def test_example(tmp_path: Path, saves: int) -> None:
    patience = PATIENCE + 10 * saves
    done = run(sys.executable, str(EXAMPLES / "hooks.py"), "--saves", str(saves), cwd=tmp_path, timeout=patience)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("done\n")


@pytest.mark.slow
def test_server(tmp_path: Path) -> None:
    done = run(sys.executable, str(EXAMPLES / "server.py"), "--pushes", "1", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("done\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["machines", "cluster"])
def test_machines_without_a_shared_file_system(name: str) -> None:
    """The folder's path is short: sockets of Slurm lie below it."""
    for program in ("bwrap", "weed", *(["slurmctld", "slurmd", "sbatch"] if name == "cluster" else [])):
        need(program)
    done = run(sys.executable, str(EXAMPLES / f"{name}.py"), cwd=EXAMPLES)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("done\n")
