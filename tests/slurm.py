"""A Slurm of the tests' own: one node, real daemons, free ports, a folder of its own; ended by their process ids."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.images import need
from tests.remains import until

# seconds that Slurm's programs wait for an answer: less than minipach waits for them, so that they say why
_PATIENCE = 15
_CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1
EpilogMsgTime=0
KillWait=8
AuthInfo=cred_expire=5
MessageTimeout={patience}
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobcomp.log
{more}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=20000 TmpDisk=10000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Cluster:
    """One slurmctld and one slurmd. `folder` is short: Slurm's sockets lie in it, and their paths have a limit."""

    folder: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        """Its configuration, for SLURM_CONF."""
        return self.folder / "slurm.conf"

    def start(self, program: str) -> None:
        """Start `slurmctld` or `slurmd`, and wait until it answers."""
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        options = ["-N", socket.gethostname()] if program == "slurmd" else []
        self._running[program] = subprocess.Popen(
            [shutil.which(program, path=path) or program, "-D", *options],
            env={**os.environ, "SLURM_CONF": str(self.conf), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if program == "slurmctld":
            until("slurmctld answers", lambda: "UP" in self.ask("scontrol", "ping"))
        else:
            until(
                lambda: f"the node is there: {self.node}",
                lambda: self.node.isalpha() and self.node not in ("down", "unknown"),
            )

    @property
    def node(self) -> str:
        """The state of the node; with a sign after it if that is not sure."""
        return self.ask("sinfo", "-h", "-o", "%T")

    def stop(self, program: str, number: int = signal.SIGTERM) -> None:
        """End a daemon; the tasks that run don't end with slurmd."""
        process = self._running.pop(program, None)
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *command: str) -> str:
        """What a client of Slurm says, or nothing."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command,
                env={**os.environ, "SLURM_CONF": str(self.conf)},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            return done.stdout.strip()
        return ""

    def tasks(self) -> list[str]:
        """`job_index STATE name` of what is queued or runs; waits for an answer."""
        rows: list[str] = []  # the first one is the heading: without it, nobody has answered
        until("squeue answers", lambda: rows or rows.extend(self.ask("squeue", "-r", "-o", "%i %T %j").splitlines()))
        return rows[1:]

    @contextmanager
    def drained(self) -> Iterator[None]:
        """Nothing starts meanwhile; what is submitted waits."""
        change = ("scontrol", "update", f"nodename={socket.gethostname()}")
        self.ask(*change, "state=drain", "reason=test")
        until(lambda: f"the node is drained: {self.node}", lambda: "drain" in self.node)
        try:
            yield
        finally:
            self.ask(*change, "state=resume")
            until(lambda: f"the node is back: {self.node}", lambda: self.node.isalpha() and "drain" not in self.node)

    def ended(self, name: str, folder: Path) -> list[str]:
        """Slurm's lines on the tasks with this name that worked in a folder and have ended."""
        log = self.folder / "jobcomp.log"
        lines = log.read_text().splitlines() if log.is_file() else []
        return [line for line in lines if f"Name={name} " in line and f"WorkDir={folder}/" in line]

    def close(self) -> None:
        """End what runs, and the daemons."""
        if "slurmctld" not in self._running:
            self.start("slurmctld")
        self.ask("scancel", "--me")
        with contextlib.suppress(AssertionError):  # then they end with the daemons, or never
            until("nothing runs", lambda: not self.tasks(), 15)
        self.stop("slurmd")
        self.stop("slurmctld")
        shutil.rmtree(self.folder, ignore_errors=True)


def _start(cpus: int, more: str, patience: int) -> Cluster:
    need("slurmctld", "slurmd", "sbatch", "squeue", "scancel")
    made = Cluster(Path(tempfile.mkdtemp(prefix="slurm.")))
    with contextlib.ExitStack() as ports:
        free = []
        for _ in range(2):
            port = ports.enter_context(socket.socket())
            port.bind(("127.0.0.1", 0))
            free.append(port.getsockname()[1])
    (made.folder / "state").mkdir()
    (made.folder / "spool").mkdir()
    made.conf.write_text(
        _CONF.format(
            name=f"t{uuid.uuid4().hex[:10]}",
            host=socket.gethostname(),
            ctld_port=free[0],
            slurmd_port=free[1],
            folder=made.folder,
            cpus=cpus,
            more=more,
            patience=patience,
        )
    )
    made.start("slurmctld")
    made.start("slurmd")
    return made


@contextmanager
def _chosen(made: Cluster) -> Iterator[Cluster]:
    """SLURM_CONF points to it for a while."""
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(made.conf)
    try:
        yield made
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


@contextmanager
def cluster(*, cpus: int = 2, more: str = "", patience: int = _PATIENCE) -> Iterator[Cluster]:
    """A Slurm of one's own, to be ill-treated. more: lines for slurm.conf · patience: seconds for an answer."""
    made = _start(cpus, more, patience)
    try:
        with _chosen(made):
            yield made
    finally:
        made.close()


@contextmanager
def shared_cluster() -> Iterator[Cluster]:
    """The Slurm that the tests of this process share: it must go on answering."""
    made = _shared()
    with _chosen(made):
        yield made
        made.ask("scancel", "--me")


@functools.cache
def _shared() -> Cluster:
    made = _start(2, "", _PATIENCE)
    atexit.register(made.close)
    return made
