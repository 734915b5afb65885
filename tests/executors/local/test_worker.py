"""The worker process of the local executor: what its start costs."""

from __future__ import annotations

import subprocess
import sys

from minipach.git.child_environment import child_environment


def test_a_worker_imports_nothing_of_the_scheduler() -> None:
    """Each of them pays for it, before its first datum."""
    script = "import sys, minipach.executors.local.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=child_environment(), capture_output=True, check=True)
    modules = done.stdout.decode().split()
    assert "minipach.executors.child_process" in modules
    assert not [
        name
        for name in modules
        if name.startswith(("minipach.scheduling", "minipach.planning", "minipach.executors.view"))
        or name == "minipach.executors.local.executor"
    ]
