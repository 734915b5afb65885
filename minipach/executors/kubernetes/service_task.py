"""The program of a service's pod: it fetches the datum into clones of its own, and runs the service's program.

Arguments: the folder of the clones, the project's address, the pipeline's path, the set. It ends with the program, and
the cluster starts it again. Nothing is pushed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minipach.execution.chosen_runtime import chosen_runtime
from minipach.execution.datum_layout import command_line, lay_out, with_network
from minipach.execution.secrets import SecretError, redacting, secret_values
from minipach.execution.staging import StagingError
from minipach.executors.child_process import QUIET
from minipach.executors.clones import Clones
from minipach.executors.stored_sets import UnknownSetError
from minipach.executors.transfer import Transfer, in_a_line
from minipach.git.child_environment import child_environment, enter_environment
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot, clear_scratch, slots_dir
from minipach.model.launch_protocol import INTERACTIVE, TESTED
from minipach.model.work_set import WorkSet
from minipach.support.errors import UserError
from minipach.support.messages import say, show_log

_BUSY = 75  # EX_TEMPFAIL of sysexits.h: something that passes; the pod is started again


def in_a_pod(work: WorkSet, port: int) -> WorkSet:
    """Return the set as a pod runs it: with the pod's network, where the program listens on the port of the spec."""
    return replace(work, head=("-e", f"PORT={port}", *with_network(work.head)))


def main(arguments: Sequence[str]) -> int:
    """Run the program. Returns the exit code."""
    show_log()
    root, url, path, set_id = Path(arguments[0]), arguments[1], arguments[2], arguments[3]
    enter_environment(child_environment(QUIET))
    Path(os.environ.get("HOME", root)).mkdir(parents=True, exist_ok=True)
    clones = Clones(root / "clones", url)
    transfer = Transfer(clones)
    try:
        clones.top()
        repo = clones.clone(path)
        work = transfer.here(transfer.fetch_set(repo, set_id, []), path)
        for place in {f.repo for f in work.files}:
            clones.refresh(Repo(Path(place)))
        transfer.fetch_contents(repo, work)
        slot = Slot(repo, slots_dir(repo) / "service.0")
        lay_out(work, slot, get=True)
        clear_scratch(slot.path)  # of a container that was killed
        secrets = secret_values(work.secrets, work.secrets_folder)
    except (UnknownSetError, StagingError, SecretError, GitError, UserError) as error:
        say(f"minipach: {in_a_line(error) if isinstance(error, GitError) else error}")
        return _BUSY
    tested = chosen_runtime(slot.path, work.image).name
    with redacting(1, list(secrets.values())) as to:
        process = subprocess.Popen(
            command_line(work),
            cwd=slot.path,
            env=child_environment({INTERACTIVE: "", TESTED: tested, **secrets}),
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=subprocess.STDOUT,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: process.send_signal(number))
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
