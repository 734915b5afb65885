"""The workspace of a worker without a shared filesystem: private clones, made as sets need them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from minipach.executors.clones import REMOTE, Clones
from minipach.executors.rq.connection import Client
from minipach.executors.rq.logs import Tails, keep_tail, send_log, send_lost_log
from minipach.executors.rq.names import Names
from minipach.executors.rq.shared_workspace import SharedWorkspace
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, clean_up, slots_dir
from minipach.model.launch_protocol import CLONE_GRACE
from minipach.model.repo_layout import RESULT_REFS, SET_REFS


class CloneWorkspace(SharedWorkspace):
    """A folder with private clones. It publishes nothing: that is done where the project is."""

    child_module = "minipach.executors.rq.clone_child"
    grace = CLONE_GRACE

    def __init__(self, clones: Clones, cache: int) -> None:
        self.clones = clones
        self.project = None
        self.root = clones.root
        self.repo = clones.top()
        self.remote = REMOTE
        self._cache = cache
        self._owners: dict[str, Owner] = {}
        self._tails = Tails(clones.logs)
        for path in clones.known():
            clean_up(Repo(path))

    @property
    def child_arguments(self) -> tuple[str, ...]:
        """Return the arguments for the warm processes."""
        return (str(self.root), self.clones.url, str(self._cache))

    @property
    def pusher(self) -> tuple[str, ...]:
        """Return the module that pushes results, and its arguments."""
        return ("minipach.executors.rq.push_child", *self.child_arguments)

    def left_over(self) -> list[tuple[str, str]]:
        """Return the results that a killed worker has not pushed; those that nobody waits for are removed.

        Where the project can't be asked, they stay as they are.
        """
        found = []
        for path in self.clones.known():
            repo = Repo(path)
            refs = repo.refs(RESULT_REFS)
            try:
                wanted = repo.line("ls-remote", REMOTE, f"{SET_REFS}*") if refs else ""
                ids = {row.rpartition("/")[2] for row in wanted.splitlines()}
                repo.update_refs([f"delete {ref}" for ref in refs if ref.removeprefix(RESULT_REFS) not in ids])
            except GitError:
                continue
            name = os.path.relpath(path, self.root)
            found += [(name, ref) for ref in refs if ref.removeprefix(RESULT_REFS) in ids]
        return found

    def slot(self, repo: str, number: int) -> Path | None:
        """Return the slot of a process of ours; the repo's clone is made for it."""
        if repo.startswith("/") or any(part in ("", ".", "..", ".git") for part in repo.split("/")):
            return None
        there = self.clones.clone(repo)
        if repo not in self._owners:
            self._owners[repo] = Owner(there)
        return slots_dir(there) / f"{self._owners[repo].name}.{number}"

    def has_set(self, repo: str, set_id: str) -> bool:
        """Return whether a set is still wanted; where the project can't be asked, it is."""
        try:
            return bool(Repo(self.folder(repo)).git("ls-remote", REMOTE, SET_REFS + set_id))
        except GitError:
            return True

    def during(self, client: Client, names: Names, running: Collection[str]) -> None:
        """Send what they print, for those who follow."""
        self._tails.send(client, names, running)

    def after(self, client: Client, names: Names, set_id: str, answer: Mapping[str, Any]) -> None:
        """Send the log; the project's next pass writes it where people look."""
        log = answer.get("log")
        if log:
            send_log(client, names, set_id, Path(log))
            Path(log).unlink(missing_ok=True)

    def begins_again(self, client: Client, names: Names, set_id: str, lost: int) -> None:
        """Keep what was sent of the try before: this one's takes its place."""
        keep_tail(client, names, set_id, lost)

    def lost(self, client: Client, names: Names, set_id: str, number: int) -> None:
        """Send what it has printed: the next try may be on another machine."""
        send_lost_log(client, names, set_id, number, self._log(set_id))
        self.forget(set_id)

    def forget(self, set_id: str) -> None:
        """Do nothing: nobody wants its log."""
        self._log(set_id).unlink(missing_ok=True)

    def _log(self, set_id: str) -> Path:
        return self.clones.logs / f"{set_id}.log"
