"""The workspace of a worker in the project itself, on a filesystem shared with the scheduler."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from minipach.executors.rq.connection import Client
from minipach.executors.rq.names import Names
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, clean_up, clear_scratch, kill_inside, remove_slot, slots_dir
from minipach.model.launch_protocol import WORKER_GRACE
from minipach.model.repo_layout import SET_REFS
from minipach.project.project import Project


class SharedWorkspace:
    """The project, and the slots in its repos that are this worker's."""

    child_module = "minipach.executors.rq.child"
    grace = WORKER_GRACE

    def __init__(self, project: Project) -> None:
        self.project: Project | None = project
        self.repo = project.repo
        self.root = project.root
        self.remote: str | None = None  # which of the repo's remotes is the project, if it isn't the repo itself
        self._places = {p.path for p in project.places if p.is_dataset}
        self._owners: dict[str, Owner] = {}
        for path in self._places:
            clean_up(Repo(self.root / path))

    @property
    def child_arguments(self) -> tuple[str, ...]:
        """Return the arguments for the warm processes."""
        return ()

    @property
    def pusher(self) -> tuple[str, ...]:
        """Return the module that pushes results, and its arguments. None: results are in the project at once."""
        return ()

    def left_over(self) -> list[tuple[str, str]]:
        """Return the results that a killed worker has not pushed: the repo's path in the project, and the ref."""
        return []

    def folder(self, repo: str) -> Path:
        """Return where a repo is, by its path in the project."""
        return self.root / repo

    def _is_pipeline(self, repo: str) -> bool:
        if repo not in self._places:  # it may be new
            self._places = {p.path for p in Project(self.root).places if p.is_dataset}
        return repo in self._places

    def slot(self, repo: str, number: int) -> Path | None:
        """Return the slot of a process of ours; None if there is no such pipeline."""
        if not self._is_pipeline(repo):
            return None
        there = Repo(self.folder(repo))
        if repo not in self._owners:
            self._owners[repo] = Owner(there)
        return slots_dir(there) / f"{self._owners[repo].name}.{number}"

    def has_set(self, repo: str, set_id: str) -> bool:
        """Return whether a set is still wanted."""
        return Repo(self.folder(repo)).resolve(SET_REFS + set_id) is not None

    def clear(self, repo: str, slot: Path) -> None:
        """End what still runs in a slot, and take it away."""
        kill_inside(slot)
        clear_scratch(slot)
        remove_slot(Repo(self.folder(repo)), slot)

    def read_answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer of a worker's process, parsed."""
        answer: dict[str, Any] = json.loads(line)
        return answer

    def during(self, client: Client, names: Names, running: Collection[str]) -> None:
        """Do nothing while sets run: their logs are in the project already."""

    def after(self, client: Client, names: Names, set_id: str, answer: Mapping[str, Any]) -> None:
        """Do nothing after a set: its log is in the project already."""

    def begins_again(self, client: Client, names: Names, set_id: str, lost: int) -> None:
        """Do nothing: the process that runs the set renames the log of the lost try."""

    def lost(self, client: Client, names: Names, set_id: str, number: int) -> None:
        """Do nothing after a lost try: its log is in the project already."""

    def forget(self, set_id: str) -> None:
        """Do nothing after a cancelled set: its log is in the project."""

    def close(self) -> None:
        """Take all slots away."""
        for path, owner in self._owners.items():
            repo = Repo(self.folder(path))
            for slot in slots_dir(repo).glob(f"{owner.name}.*"):
                if slot.suffix != ".lock":
                    self.clear(path, slot)
            owner.release()
        self._owners.clear()
