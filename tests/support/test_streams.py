"""What is printed never decides whether the work is done, nor the exit code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.projects import MINIPACH, Study

_HOW = {
    "stdin closed": "<&-",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "no space for stderr": "2>/dev/full",
    "stdout has no reader": "",
    "stderr has no reader": "",
}


def _started(study: Study, how: str, *arguments: str) -> int:
    """The exit code of minipach with its streams as a shell redirects them, or on a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {_HOW[how]}', "sh", *MINIPACH, *arguments],
            cwd=study.root,
            stdout=writer if how.startswith("stdout has") else subprocess.DEVNULL,
            stderr=writer if how.startswith("stderr has") else subprocess.DEVNULL,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode


@pytest.mark.slow
def test_the_work_is_done_whatever_becomes_of_what_is_printed(study: Study) -> None:
    study.copier()
    for number, how in enumerate(list(_HOW)[3:]):  # "all closed" stands for each of them
        study.put(f"images/n{number}.txt", f"n{number}\n")
        assert (how, _started(study, how, "schedule")) == (how, 0)
        assert (study.root / "edges" / f"n{number}.txt").read_text() == f"n{number}\n"


@pytest.mark.parametrize("how", _HOW)
def test_a_failure_keeps_its_exit_code(study: Study, how: str) -> None:
    assert _started(study, how, "plan", "nowhere") == 2


def test_a_descriptor_that_the_caller_closed_is_not_taken_for_a_file(tmp_path: Path) -> None:
    program = (
        "import os, sys; from minipach.support.streams import open_all; open_all();"
        "fd = os.open('file', os.O_WRONLY | os.O_CREAT); print('lost'); print('lost', file=sys.stderr, flush=True);"
        "os._exit(0 if fd > 2 else 1)"
    )
    python = [MINIPACH[0], "-c", program]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *python], cwd=tmp_path, check=False)
    assert (done.returncode, (tmp_path / "file").read_bytes()) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_the_output_can_not_show_are_escaped(study: Study, encoding: str) -> None:
    study.copier()
    study.put("images/größe—東.txt", "x\n")
    done = study.minipach("datums", "edges", env={"PYTHONIOENCODING": encoding})
    assert done.code == 0, done.err
    assert "\\u6771" in done.out
