"""A cluster with Slurm, a store, and a git hook: a push from a laptop starts the tasks, and the results go back.

The laptop, the cluster and the store are sandboxes that share no file system (see `machines.py`). The cluster has bare
repositories whose hook starts a pass, the project with the executor `slurm`, and a Slurm of its own with one node.
CI runs it as a test.
"""

import json
import os
import pwd
import sys
from pathlib import Path

from machines import ACCESS, REPOS, SECRET, Machine, Person, answers, free_ports, start_s3, until
from server import CODE, SPEC
from walkthrough import main, need

CONF = """\
ClusterName=example
SlurmctldHost=cluster(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
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
AuthInfo=cred_expire=5
NodeName=cluster NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=20000 TmpDisk=10000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Example(Person):
    """The machines of the example."""

    def __init__(self, root: Path, cpus: int) -> None:
        self.cpus = cpus
        self.ports = free_ports("slurmctld", "slurmd")
        keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
        conf = str(root / "cluster" / "slurm" / "slurm.conf")
        programs = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        self.store = Machine("store", root, **keys)
        self.cluster = Machine("cluster", root, **keys, SLURM_CONF=conf, MINIPACH_EXECUTOR="slurm", PATH=programs)
        self.laptop = Machine("laptop", root, **keys)
        self.all = [self.laptop, self.cluster, self.store]
        self.git = f"git://127.0.0.1:{self.ports['git']}/forge"
        self.log = self.cluster.home / "study/.git/minipach/passes.log"

    def slurm(self) -> None:
        """Start Slurm with one node."""
        folder = self.cluster.home / "slurm"
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        values = {"folder": folder, "cpus": self.cpus, "user": pwd.getpwuid(os.getuid()).pw_name}
        (folder / "slurm.conf").write_text(CONF.format(**values, **self.ports))
        self.cluster.start("slurmctld.log", "slurmctld", "-D")
        self.cluster.start("slurmd.log", "slurmd", "-D", "-N", "cluster")
        state = ("sinfo", "-h", "-o", "%T")
        until(lambda: answers(self.ports["slurmctld"]), "slurmctld does not answer")
        until(lambda: self.cluster.run(*state, quiet=True).strip() == "idle", "the node is not idle")

    def project(self) -> None:
        """Make the project on the cluster, its bare repositories and their hooks."""
        cluster, home = self.cluster, self.cluster.home
        cluster.run("minipach", "init", "study")
        cluster.run("datalad", "create", "-d", ".", "words", cwd="study")
        (home / "study/words/first").write_text("first")
        (home / "study/sizes/code").mkdir(parents=True)
        (home / "study/sizes/spec.yml").write_text(SPEC)
        (home / "study/sizes/code/count.sh").write_text(CODE)
        cluster.run("datalad", "save", "-d", ".", "-r", "-m", "a pipeline", cwd="study")
        cluster.run("minipach", "schedule", "--wait", cwd="study")
        for repo in ("words", "sizes"):
            cluster.run("git", "config", "-f", ".gitmodules", f"submodule.{repo}.url", f"../{repo}.git", cwd="study")
        cluster.run("datalad", "save", "-m", "addresses of the repositories", ".gitmodules", cwd="study")
        for repo in REPOS:
            bare = home / "forge" / ("study.git" if repo == "." else f"{repo}.git")
            cluster.run("git", "clone", "-q", "--bare", f"study/{repo}", str(bare), quiet=True)
            cluster.run("git", "remote", "add", "origin", str(bare), cwd=f"study/{repo}")
            cluster.run("git", "fetch", "-q", "origin", cwd=f"study/{repo}", quiet=True)
        cluster.run("minipach", "store", "add", "lab", "--s3", f"http://127.0.0.1:{self.ports['s3']}", cwd="study")
        cluster.run("minipach", "push", "origin", cwd="study")
        for repo in REPOS:
            bare = home / "forge" / ("study.git" if repo == "." else f"{repo}.git")
            cluster.run("minipach", "hooks", "install", "--repo", str(bare), cwd="study")
        served = ["git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1"]
        cluster.start("git.log", *served, f"--port={self.ports['git']}", f"--base-path={home}", str(home / "forge"))
        until(lambda: answers(self.ports["git"]), "git daemon does not answer")


def example(root: Path, cpus: int) -> None:
    """Walk through the example in a new folder."""
    root.mkdir(parents=True, exist_ok=True)
    here = Example(root, cpus)
    try:
        start_s3(here.store, here.ports)
        here.slurm()
        here.project()

        print("\n=== a person saves and pushes on the laptop", flush=True)
        here.clone()
        here.save_and_push("word0", "word1", "word2")
        wanted = {"first", "word0", "word1", "word2"}
        here.until_results(wanted)
        here.need_sizes({"first": 5, "word0": 14, "word1": 14, "word2": 14})

        print("\n=== each datum ran once, as a task of Slurm", flush=True)
        jobs = json.loads(here.cluster.run("minipach", "jobs", "--json", cwd="study", quiet=True))["jobs"]
        ran = sum(job["counts"].get("ran", 0) for job in jobs)
        need(ran == len(wanted), f"{ran} datums ran; there are {len(wanted)}")
        print(here.cluster.run("minipach", "jobs", cwd="study"), end="", flush=True)
        print(here.cluster.run("minipach", "triggers", cwd="study"), end="", flush=True)
    finally:
        for machine in here.all:
            machine.stop()
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main("cluster", __doc__, example, folder="m", count=("--cpus", 2, "CPUs of the node")))
