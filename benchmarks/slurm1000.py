"""1,000 datums of `cp` through one Slurm array, beside the local executor in the same run, from nothing to published.

Slurm is a real slurmctld and slurmd on this machine (`apt-get install slurm-wlm`), with as many CPUs as the local
executor has slots. Aim: at most 1.5 times the local time plus Slurm's own start, which an empty job shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from common import Measured, conditions, parser, table, workplace
from copies import new_copies, schedule

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fixtures.slurm_cluster import Cluster, cluster

AIM = 1.5


def main() -> None:
    """Measure the local executor, an empty job, and Slurm; print the ratios."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)))
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions(), flush=True)
        how = ("--wait", "-j", str(chosen.cpus))
        here = new_copies(scratch / "local", chosen.datums)
        local = schedule(here, chosen.datums, *how, env={"MINIPACH_EXECUTOR": "local"})
        with cluster(cpus=chosen.cpus) as slurm:
            start = _start(slurm)
            there = new_copies(scratch / "slurm", chosen.datums)
            theirs = schedule(there, chosen.datums, *how, env={"MINIPACH_EXECUTOR": "slurm"})
            tasks = len({line for line in (slurm.folder / "jobcomp.log").read_text().splitlines() if "edges" in line})
    rows = [
        _row("local", local, local),
        _row(f"slurm, {tasks} tasks", theirs, local),
        ["an empty job of Slurm", f"{start:.1f}", "", ""],
    ]
    print(f"{chosen.datums:,} datums of cp, from nothing to published; wall and CPU seconds (without Slurm's tasks)")
    table(["executor", "seconds", "÷ local", "CPU"], rows)
    allowed = AIM * local.seconds + start
    print(f"aim: {AIM} x local + an empty job = {allowed:.1f} s; slurm took {theirs.seconds / allowed:.2f} of that")


def _row(what: str, run: Measured, local: Measured) -> list[str]:
    return [what, f"{run.seconds:.1f}", f"{run.seconds / local.seconds:.2f}x", f"{run.cpu:.1f}"]


def _start(slurm: Cluster) -> float:
    """Seconds from the submission of an empty job until it is over."""
    subprocess.run(["sbatch", "--wrap=true", "--output=/dev/null"], check=True, capture_output=True)
    started = time.perf_counter()
    while "COMPLETED" not in slurm.ask("squeue", "--states=all", "-h", "-o", "%T"):
        time.sleep(0.05)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
