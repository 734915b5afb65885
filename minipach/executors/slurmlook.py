"""What squeue tells of our tasks: which run, and why the others wait."""

from __future__ import annotations

from collections import Counter

from minipach.executors import slurmclient as client
from minipach.executors.looks import Waiting, Worker


def tasks_and_waiting() -> tuple[tuple[Worker, ...], tuple[Waiting, ...]]:
    """Arrays with the number of their running tasks, and how many wait for what. UserError where slurmctld is away."""
    ours = [task for task in client.squeue() if task.alive and task.comment.startswith("minipach ")]
    waiting = Counter((task.job, task.reason) for task in ours if task.state == "PENDING")
    running = Counter(task.job for task in ours if task.state != "PENDING")
    workers = tuple(Worker(f"job {job}", f"{count} tasks run") for job, count in sorted(running.items()))
    return workers, tuple(Waiting(n, f"job {job}", f"Slurm says {why}") for (job, why), n in sorted(waiting.items()))
