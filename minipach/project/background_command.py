"""A command of minipach for a project, as a process in the background."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from minipach.git.child_environment import child_environment


def start_minipach(
    root: Path, words: Sequence[str], log: IO[bytes], env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command that continues when this process ends.

    Args:
        root: The folder of the project.
        words: The command and its options.
        log: Receives what it prints.
        env: Its environment; None: that of child processes.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "minipach", "-C", str(root), *words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=child_environment() if env is None else env,
        start_new_session=True,
        cwd=root,
    )
