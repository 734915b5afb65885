"""An executor without processes, for tests: the sets run in this process, one after the other, when it is polled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipach.execution.chunk import run_work
from minipach.executors.registry import Backend
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, remove_slot, slots_dir
from minipach.model.work_set import Needs, Outcome, WorkSet
from minipach.project.project import Project


@dataclass
class _Entry:
    work: WorkSet
    ended: bool = False
    outcomes: list[Outcome] = field(default_factory=list)


class Memory:
    """The stored state of an executor: submitted sets and their outcomes. It may outlive its executors."""

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}

    def waiting(self) -> list[WorkSet]:
        """Return the sets that have not run, in order."""
        return [entry.work for entry in self.entries.values() if not entry.ended]

    def work(self, most: int) -> None:
        """Run so many sets, as workers would."""
        todo = self.waiting()[:most]
        for path in dict.fromkeys(work.repo for work in todo):
            repo = Repo(Path(path))
            owner = Owner(repo)
            slot = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
            try:
                for entry in [self.entries[work.id] for work in todo if work.repo == path]:
                    run_work(entry.work, slot, entry.outcomes.append)
                    entry.ended = True
            finally:
                slot.repo.close()
                remove_slot(repo, slot.path)
                owner.release()
                repo.close()


class MemoryBackend(Backend):
    """An executor of this process. lasting, at_once: as wanted, so that both ways of a scheduler can be tested."""

    name = "memory"
    lasting = True

    def __init__(self, memory: Memory | None = None, slots: int = 1, *, at_once: bool = False) -> None:
        self.memory = memory or Memory()
        self.slots = slots
        self.at_once = at_once

    def make(self, project: Project, jobs: int | None) -> MemoryExecutor:
        """Return the executor."""
        return MemoryExecutor(self.memory, jobs or self.slots, lasting=self.lasting, at_once=self.at_once)


class MemoryExecutor:
    """An executor whose sets run when it is polled. lasting: whether they outlive it."""

    def __init__(self, memory: Memory, slots: int = 1, *, lasting: bool = False, at_once: bool = False) -> None:
        self.memory = memory
        self._slots = slots
        self._lasting = lasting
        self._at_once = at_once
        self._reported: dict[str, int] = {}
        self.left: list[Path] = []  # the repos for which a pass is to be made

    @property
    def at_once(self) -> bool:
        """Whether all sets are submitted at once, as given to the constructor."""
        return self._at_once

    @property
    def slots(self) -> int:
        """The number of slots, as given to the constructor."""
        return self._slots

    @property
    def running(self) -> int:
        """Zero: nothing runs between two polls."""
        return 0

    def can_have(self, needs: Needs) -> bool:
        """Return True: nothing is counted."""
        return True

    def limit(self, pipeline: str, sets: int) -> None:
        """Do nothing: one set at once is within every limit."""

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Do nothing: sets run in the order in which they come."""

    def expect(self, datums: int) -> None:
        """Do nothing: there is nothing to start."""

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Note the sets."""
        for work in sets:
            entry = self.memory.entries.get(work.id)
            if entry is None or entry.ended:
                self.memory.entries[work.id] = _Entry(work)
            self._reported[work.id] = 0

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return the sets of this repo that were not settled."""
        if not self._lasting:
            return []
        found = [e.work for e in self.memory.entries.values() if e.work.repo == str(repo.path)]
        for work in found:
            self._reported.setdefault(work.id, 0)
        return found

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; with a timeout, one set runs meanwhile."""
        new = self._new()
        if not new and timeout:
            self.memory.work(1)
            new = self._new()
        return new

    def _new(self) -> list[Outcome]:
        found = []
        for name, start in self._reported.items():
            entry = self.memory.entries.get(name)
            if entry is not None:
                found += entry.outcomes[start:]
                self._reported[name] = len(entry.outcomes)
        return found

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Forget the sets."""
        for work in sets:
            self.memory.entries.pop(work.id, None)
            self._reported.pop(work.id, None)

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Drop the sets that have not run (of these ids)."""
        waiting = {work.id for work in self.memory.waiting() if work.id in self._reported}
        dropped = waiting if ids is None else waiting.intersection(ids)
        for name in dropped:
            del self.memory.entries[name], self._reported[name]
        return dropped

    def leave(self, repo: Repo) -> None:
        """Note the repo."""
        self.left.append(repo.path)

    def cancel(self, repo: Repo | None = None) -> None:
        """Drop everything, or what is of this repo."""
        for name in list(self._reported):
            entry = self.memory.entries.get(name)
            if repo is None or entry is None or entry.work.repo == str(repo.path):
                self.memory.entries.pop(name, None)
                del self._reported[name]

    def close(self) -> None:
        """Drop the sets if they do not outlive the executor. There is nothing else to give back."""
        if not self._lasting:
            self.cancel()
