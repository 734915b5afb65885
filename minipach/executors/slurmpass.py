"""The pass that a step makes, as a job of Slurm: what schedules have left to be done in a project."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import typer

from minipach.cli.frame import guarded, say
from minipach.cli.runs import carry_out
from minipach.executors.slurm import SlurmExecutor
from minipach.git import child_environment, enter_environment
from minipach.project import find_project
from minipach.report import Options
from minipach.running import wait_until_free

_PATIENCE = 60.0  # seconds that it waits for another schedule before it gives its place in the queue back
_LATER = 300  # seconds until it tries again


def main() -> int:
    """Go on with what schedules have left to be done, in the project `argv[1]`."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    enter_environment(child_environment({"DATALAD_LOG_LEVEL": "error", "DATALAD_UI_PROGRESSBAR": "none"}))
    project = find_project(Path(sys.argv[1]))
    sys.argv[1:] = ["schedule", f"(job {os.environ.get('SLURM_JOB_ID', '?')} of Slurm)"]  # as the lock will name it
    if not wait_until_free(project.state_dir / "lock", _PATIENCE, say):
        SlurmExecutor(project, None).come_back(_LATER)
        return 0
    try:
        guarded(carry_out)(project, None, Options(), None, as_json=False, wait=None)
    except typer.Exit as exit_:
        return exit_.exit_code
    return 0


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
