"""Submissions that name another folder than the project's: it was moved, or is a copy of the one that made them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from minipach.executors.moved_project import another_is
from minipach.executors.slurm import client
from minipach.executors.slurm.next_pass import NextStep
from minipach.executors.slurm.submission import Submission
from minipach.git.repo import Repo

_LOG = logging.getLogger(__name__)


def is_of(submission: Submission, repo: Repo) -> bool:
    """Whether what a submission names is this repo."""
    return os.path.realpath(submission.repo) == os.path.realpath(repo.path)


def take_back(submissions: Sequence[Submission], path: str, repo: Repo) -> list[Submission]:
    """Of all submissions, those of this repo (`path` in the project) that still hold; the rest of them goes.

    What a moved project had handed over names a folder that is not there: its tasks could do nothing but fail. They are
    ended, and the plan has their sets still. A copy's belong to the original, whose tasks are let alone. AwayError
    where slurmctld can't be asked.
    """
    holding = [s for s in submissions if is_of(s, repo)]
    others = [s for s in submissions if s.path == path and not is_of(s, repo)]
    moved = [s for s in others if not another_is(Path(s.repo), repo.path)]
    if moved:
        queue = client.squeue()
        comments = {s.comment(number) for s in moved for number in range(len(s.arrays))}
        client.scancel(sorted({t.job for t in queue if t.comment in comments and t.alive}))
        roots = {s.repo.removesuffix(f"/{path}") for s in moved}
        for root in roots:
            NextStep.cancel_of(root, queue)
        _LOG.warning(
            f"{path}: what was handed over in {', '.join(sorted(roots))}, where the project was, is taken back"
        )
    for submission in others:
        submission.remove()
    return holding
