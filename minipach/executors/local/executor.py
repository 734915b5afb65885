"""The local executor: N warm worker processes on this machine, each with a slot per pipeline."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import selectors
import signal
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minipach.executors.child_process import WorkerProcess, ended_within
from minipach.executors.early_start import take_early
from minipach.executors.local.fork_server import new_worker, new_worker_source
from minipach.executors.local.status_file import StatusFile
from minipach.executors.resources import Capacity, ResourceClass, Share, own_cpus, own_memory
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, clear_scratch, kill_inside, remove_slot, slots_dir
from minipach.model.job_entries import Took, Try
from minipach.model.launch_protocol import SET_GRACE
from minipach.model.work_set import LOST_TRIES, Needs, Outcome, WorkSet
from minipach.records.job_logs import lost_log
from minipach.support.processes import group_alive, signal_group

_PATIENT = 8  # sets that may begin before one that came first, and needs more than is free


@dataclass
class _Worker:
    process: WorkerProcess
    number: int
    work: WorkSet | None = None
    share: Share | None = None
    used: bool = False
    began: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)

    @property
    def stdout(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def signal(self, number: int) -> None:
        """Send a signal to all that it has started, too."""
        with contextlib.suppress(ProcessLookupError):  # it never came into being
            signal_group(self.process.pid, number)

    @property
    def alive(self) -> bool:
        """Whether something of it still runs."""
        try:
            return group_alive(self.process.pid)
        except ProcessLookupError:
            return False


class LocalExecutor:
    """Worker processes that stay warm, so that datalad is imported once per worker and not per set."""

    def __init__(self, slots: int, board: StatusFile | None = None, capacity: Capacity | None = None) -> None:
        """board: where people look · capacity: what sets share (None: this machine's CPUs and memory)."""
        self._slots = slots
        self._capacity = capacity or Capacity((), own_cpus(), own_memory())
        self._overtaken: dict[str, int] = {}  # by set: how often another began that came after it
        self._board = board
        self._queue: deque[WorkSet] = deque()
        self._workers: list[_Worker] = []
        self._owners: dict[str, Owner] = {}
        self._lost: dict[str, list[Try]] = {}  # by set: how often its worker died
        self._limits: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._cancelled = False
        self._server = take_early()
        self._spawn()  # the first one is needed at any rate: it imports datalad meanwhile

    def can_have(self, needs: Needs) -> bool:
        """Return whether the machine has this."""
        return self._capacity.can_ever(ResourceClass.of(needs, "", None))

    def limit(self, pipeline: str, sets: int) -> None:
        """Run at most so many sets of this pipeline at once (`parallelism_spec.constant`)."""
        self._limits[pipeline] = sets

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Give a free slot to the set whose pipeline comes first here."""
        self._places = {name: place for place, name in enumerate(pipelines)}

    @property
    def at_once(self) -> bool:
        """Return False: nothing queues here."""
        return False

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return none: workers end with their scheduler."""
        return []

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Do nothing: no set is kept."""

    def leave(self, repo: Repo) -> None:
        """Do nothing: no set continues without the scheduler."""

    @property
    def slots(self) -> int:
        """The number of sets that can run at once."""
        return self._slots

    @property
    def running(self) -> int:
        """The number of sets that run now."""
        return sum(w.work is not None for w in self._workers)

    def expect(self, datums: int) -> None:
        """Start the workers, up to one for each: they import datalad meanwhile."""
        while len(self._workers) < min(self._slots, datums):
            self._spawn()

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Queue the sets and start what fits."""
        waiting = [*self._queue, *sets]
        self._queue = deque(sorted(waiting, key=lambda work: self._places.get(work.pipeline, len(self._places))))
        self._start()
        self._show()

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; waits up to `timeout` seconds for the first one."""
        outcomes: list[Outcome] = []
        for key, _ in self._selector.select(timeout):
            worker: _Worker = key.data
            data = os.read(worker.stdout, 65536)
            if not data:
                outcomes += self._died(worker)
                continue
            worker.buffer += data
            while b"\n" in worker.buffer:
                line, _, rest = bytes(worker.buffer).partition(b"\n")
                worker.buffer[:] = rest
                if not line:
                    continue  # warm
                self._release(worker)
                worker.work = None
                outcome = Outcome.from_json(line)
                outcomes.append(replace(outcome, before=(*self._lost.pop(outcome.set_id, ()), *outcome.before)))
        self._start()
        if outcomes:
            self._show()
        return outcomes

    def _show(self) -> None:
        if self._board is not None:
            runs = [(w.number, w.work.id, w.began) for w in self._workers if w.work is not None]
            self._board.show(self._slots, runs, len(self._queue))

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Drop the sets that have not started (of these ids), and return which they were."""
        dropped = {work.id for work in self._queue if ids is None or work.id in ids}
        self._queue = deque(work for work in self._queue if work.id not in dropped)
        return dropped

    def cancel(self, repo: Repo | None = None) -> None:
        """End the workers (those that run sets of this repo) with their process trees."""
        self._cancelled = self._cancelled or repo is None
        ours = None if repo is None else str(repo.path)
        self._queue = deque(work for work in self._queue if ours not in (None, work.repo))
        workers = [w for w in self._workers if ours is None or (w.work is not None and w.work.repo == ours)]
        for worker in workers:  # itself alone: it ends what it has started, in order
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + SET_GRACE
        while time.monotonic() < deadline and any(worker.alive for worker in workers):
            for worker in workers:
                worker.process.poll()
            time.sleep(0.02)
        for worker in workers:
            worker.signal(signal.SIGKILL)
        if ours is not None:
            for worker in workers:
                self._drop(worker)
            self._start()
            self._show()

    def close(self) -> None:
        """End the workers and remove their slots."""
        for worker in self._workers:
            assert worker.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()
        for worker in self._workers:
            self._end(worker)
            self._release(worker)
        self._workers.clear()
        if self._server is not None:
            self._server.close()
        self._selector.close()
        if self._board is not None:
            self._board.remove()
        left: list[tuple[Repo, Path]] = []
        for repo_path, owner in self._owners.items():
            repo = Repo(Path(repo_path))
            found = slots_dir(repo).glob(f"{owner.name}.*")
            left += [(repo, path) for path in found if path.suffix != ".lock"]
        kill_inside(*(path for _, path in left))
        for repo, path in left:
            remove_slot(repo, path)
        for owner in self._owners.values():
            owner.release()
        self._owners.clear()

    def _end(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        if not worker.used:  # it may still be starting, for nothing
            worker.signal(signal.SIGKILL)
        if not ended_within(worker.process, SET_GRACE):
            worker.signal(signal.SIGKILL)
            worker.process.wait()
        worker.process.stdout.close()

    def _start(self) -> None:
        while self._queue and not self._cancelled:
            found = self._next()
            if found is None:
                return
            work, share = found
            worker = next((w for w in self._workers if w.work is None), None)
            if worker is None:
                worker = self._spawn()
            self._queue.remove(work)
            slot = self._slot(work, worker.number)
            worker.work = work
            worker.used = True
            worker.began = time.time()
            worker.share = share
            lost = len(self._lost.get(work.id, ()))
            env = share.env if share.gpus else {}
            request = json.dumps({"slot": str(slot), "work": work.to_json(), "lost": lost, "env": env}) + "\n"
            assert worker.process.stdin is not None
            try:
                worker.process.stdin.write(request.encode())
                worker.process.stdin.flush()
            except BrokenPipeError:
                pass  # it died; its stdout says so at the next poll

    def _next(self) -> tuple[WorkSet, Share] | None:
        """Return the first queued set that has a free slot, is within its pipeline's limit, and fits beside the others.

        With its share, which is taken.

        One that others have overtaken often is waited for: it needs much, and small ones would keep it waiting.
        """
        if self.running >= self._slots:
            return None
        large: list[str] = []
        for work in self._queue:
            busy = sum(w.work is not None and w.work.pipeline == work.pipeline for w in self._workers)
            if busy >= self._limits.get(work.pipeline, self._slots):
                continue
            share = self._capacity.take_if_fits(self._kind(work))
            if share is not None:
                self._overtaken |= {name: self._overtaken.get(name, 0) + 1 for name in large}
                self._overtaken.pop(work.id, None)
                return work, share
            if self._overtaken.get(work.id, 0) >= _PATIENT:
                return None
            large.append(work.id)
        return None

    def _kind(self, work: WorkSet) -> ResourceClass:
        """Return what a set gets of the machine. What it asks for beyond that is not there to be kept for it."""
        kind = ResourceClass.of(work.needs, work.pipeline, None)
        capacity = self._capacity
        return ResourceClass(
            min(kind.gpus, len(capacity.gpus)), "", min(kind.cpu, capacity.cpus), min(kind.memory, capacity.memory)
        )

    def _release(self, worker: _Worker) -> None:
        if worker.share is not None:
            self._capacity.release(worker.share)
            worker.share = None

    def _slot(self, work: WorkSet, number: int) -> Path:
        if work.repo not in self._owners:
            self._owners[work.repo] = Owner(Repo(Path(work.repo)))
        return slots_dir(Repo(Path(work.repo))) / f"{self._owners[work.repo].name}.{number}"

    def _spawn(self) -> _Worker:
        taken = {w.number for w in self._workers}
        number = next(n for n in range(self._slots + 1) if n not in taken)
        if self._server is not None and not self._server.alive:
            self._server = new_worker_source()
        worker = _Worker(new_worker(self._server), number)
        self._workers.append(worker)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)
        return worker

    def _drop(self, worker: _Worker) -> None:
        """Forget a worker that is gone or is to go, and clear its slot."""
        self._selector.unregister(worker.stdout)
        self._release(worker)
        worker.signal(signal.SIGKILL)
        worker.process.wait()
        self._workers.remove(worker)
        if worker.work is not None and not self._cancelled:
            slot = Slot(Repo(Path(worker.work.repo)), self._slot(worker.work, worker.number))
            kill_inside(slot.path)
            clear_scratch(slot.path)
            slot.remove()

    def _died(self, worker: _Worker) -> list[Outcome]:
        """Give the set of a worker that is gone to another, or return it as lost."""
        self._drop(worker)
        work = worker.work
        if work is None or self._cancelled:
            return []
        code, now, host = worker.process.returncode, time.time(), platform.node()
        took = Took(worker.began, now, now - worker.began, 0.0)
        lost = self._lost.setdefault(work.id, [])
        if len(lost) + 1 < LOST_TRIES:
            log = lost_log(work.log, len(lost) + 1)  # the next worker puts it there
            lost.append(Try.of(took, "lost", code, f"its worker died (exit {code}); out of memory?", host, log))
            self._queue.appendleft(work)
            return []
        del self._lost[work.id]
        message = f"its worker died {LOST_TRIES} times (last: exit {code}); out of memory?"
        outcome = Outcome(work.id, "lost", code, message, 0.0, LOST_TRIES, work.log, host)
        datums = tuple(replace(one, took=took) for one in outcome.results(len(work.parts)))
        return [replace(outcome, before=tuple(lost), datums=datums)]
