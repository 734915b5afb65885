"""`minipach worker`: a supervisor with warm processes that runs the sets of a project which Redis has queued.

One thread does all that changes something; two more send heartbeats and listen (see heartbeat). What ended, outcomes
reports to Redis.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import secrets
import select
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from rq.job import Job

from minipach.executors.child_process import spawn
from minipach.executors.resources import Capacity, ResourceClass
from minipach.executors.rq.capacity import keeps_to
from minipach.executors.rq.connection import Client, away, passes
from minipach.executors.rq.heartbeat import Heartbeat, Order
from minipach.executors.rq.job_tries import UNABLE, note_lost, was_begun
from minipach.executors.rq.lane import Lane, LaneJob, RqWorker, make_worker
from minipach.executors.rq.outcomes import OutcomeReporter
from minipach.executors.rq.passes import PassStarter
from minipach.executors.rq.pusher import HeldResults, Pusher
from minipach.executors.rq.queue import MENDS, QueueStore, is_of_wrong_kind
from minipach.executors.rq.shared_workspace import SharedWorkspace
from minipach.git.git_error import GitError
from minipach.support.text import many

# what a worker's own processes have no use for, and a datum's command even less
_NOT_FOR_CHILDREN = ("MINIPACH_REDIS", "MINIPACH_REDIS_PASSWORD_FILE")
_TICK = 0.5  # seconds between two looks when nobody says anything
_QUEUES = 2.0  # seconds between two looks which queues there are
_PAUSE = 5.0  # seconds in which a worker that could not begin a set leaves the others to others
_BURST = 1.0  # seconds that nothing is to be done before a worker in a burst ends


@dataclass(frozen=True)
class WorkerOptions:
    """The options of a worker. queues: patterns of classes to serve (none: all that fit)."""

    slots: int
    capacity: Capacity
    queues: Sequence[str] = ()
    burst: bool = False


class WorkerSupervisor:
    """Runs until a signal or a command ends it, or, in a burst, until nothing is queued."""

    def __init__(
        self,
        place: SharedWorkspace,
        client: Client,
        board: QueueStore,
        plan: WorkerOptions,
        notify: Callable[[str], None],
    ) -> None:
        self._place = place
        self._client = client
        self._board = board
        self._plan = plan
        self._notify = notify
        self._capacity = plan.capacity
        self._name = f"minipach.{platform.node()}.{os.getpid()}.{secrets.token_hex(2)}"
        self._lanes: list[Lane] = []
        self._teller = OutcomeReporter(place, client, board, self._progress)
        self._selector = selectors.DefaultSelector()
        self._pusher = Pusher(place.pusher, self._pushed, self._not_pushed) if place.pusher else None
        self._pusher_stdout: int | None = None
        self._why_not_pushed = ""
        self._queues: list[tuple[str, ResourceClass]] = []
        self._queues_at = 0.0
        self._turn = 0
        self._away = False
        self._mends = 0  # rounds in a row that met keys of another kind
        self._end: int | None = None  # the signal that ends us
        self._going: PassStarter | None = None
        self._quiet_since: float | None = None
        self._unable_until = 0.0

    # --- life ------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Work, and return the signal that ended it, or 0."""
        logging.getLogger("rq").setLevel(logging.CRITICAL)  # what it has to say of lost jobs, outcomes say
        queues = [self._board.queue(name) for name, _ in self._fitting()]
        workers = [make_worker(self._client, f"{self._name}.{n}", queues) for n in range(self._plan.slots)]
        if self._place.project is not None:
            going = make_worker(
                self._client, f"{self._name}.publish", [self._board.queue(self._board.names.publish_queue)]
            )
            self._going = PassStarter(self._place.project, self._board, going)
        everyone = [*workers, *([self._going.worker] if self._going else [])]
        self._heart = Heartbeat(self._board, everyone, self._busy, self._facts, self._name)
        self._selector.register(self._heart.wake, selectors.EVENT_READ)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        try:
            self._lanes = [self._open(n, worker) for n, worker in enumerate(workers)]
            self._heart.start()
            self._board.report(self._name, self._facts())
            if self._pusher is not None:
                for repo, ref in self._place.left_over():
                    self._pusher.add(HeldResults(repo, [ref]))
            while self._end is None and not self._is_done():
                self._step()
        finally:
            self._shut_down(everyone)
        return self._end or 0

    def _signalled(self, number: int, _frame: object) -> None:
        self._end = number
        self._heart.poke(Order("shutdown"))

    def _open(self, number: int, worker: RqWorker) -> Lane:
        process = spawn(self._place.child_module, *self._place.child_arguments, without=_NOT_FOR_CHILDREN)
        lane = Lane(number, worker, process)
        self._selector.register(lane.stdout, selectors.EVENT_READ, lane)
        return lane

    def _progress(self) -> None:
        if self._going is not None:
            self._going.progress()

    def _facts(self) -> dict[str, Any]:
        return {
            "host": platform.node(),
            "pid": os.getpid(),
            "slots": self._plan.slots,
            "gpus": list(self._capacity.gpus),
            "gpu_type": self._capacity.gpu_type,
            "cpus": self._capacity.cpus,
            "memory": self._capacity.memory,
            "queues": list(self._plan.queues),
            "publishes": self._place.project is not None,
        }

    def _busy(self) -> list[tuple[RqWorker, LaneJob]]:
        """Return for the heartbeat the running sets, and the ended ones that are not reported yet."""
        # asked from another thread: what is looked at twice may have gone in between
        tasks = [(lane.worker, lane.task) for lane in list(self._lanes)]
        found = [(worker, task) for worker, task in tasks if task is not None]
        found += self._teller.waiting
        held = self._pusher.held if self._pusher is not None else []
        found += [(one.worker, one.task) for one in held if one.worker is not None and one.task is not None]
        publishing = self._going.task if self._going is not None else None
        if self._going is not None and publishing is not None:
            job, execution = publishing
            queue = self._board.queue(self._board.names.publish_queue)
            share = Capacity((), 0, 0).take(ResourceClass())
            found.append((self._going.worker, LaneJob(job, queue, execution, "", "", Path(), share)))
        return found

    # --- one turn --------------------------------------------------------------------------------------------

    def _step(self) -> None:
        for key, _ in self._selector.select(_TICK):
            if key.data is None:
                os.read(key.fd, 65536)
            elif isinstance(key.data, Pusher):
                self._hear_pusher(key.data)
            else:
                self._hear(key.data)
        self._follow_orders()
        self._end_overdue()
        try:
            self._teller.notify()
            if self._going is not None:
                self._going.turn()
                self._going.look()
            self._fetch()
            self._push()  # after it: results wait for those of sets that have just begun
            self._place.during(self._client, self._board.names, [task.set_id for _, task in self._busy()])
        except redis.exceptions.RedisError as error:
            if is_of_wrong_kind(error) and self._mends < MENDS:
                self._mends += 1  # another process may have deleted the key just before
                self._mend()
                return
            if not passes(error):
                raise
            if not self._away:
                self._notify(str(away(self._place.repo, error, "running sets continue")))
            self._away = True
            self._push()
            time.sleep(1.0)
            return
        if self._away:
            self._away = False
            self._notify("Redis is back")
        self._mends = 0
        self._notify_dropped()

    def _mend(self) -> None:
        """Delete our keys that hold another kind of value."""
        with contextlib.suppress(redis.exceptions.RedisError):
            self._board.dropped += self._board.mend()
        self._notify_dropped()

    def _notify_dropped(self) -> None:
        for key in self._board.dropped:
            self._notify(f"Redis: {key} was of a wrong type; deleted, and made again")
        self._board.dropped = []

    def _follow_orders(self) -> None:
        while not self._heart.orders.empty():
            order = self._heart.orders.get()
            if order.what == "work":
                self._queues_at = 0.0
            elif order.what == "shutdown":
                self._end = self._end or signal.SIGTERM
            elif order.what in ("stop", "missing"):
                for lane in self._lanes:
                    if lane.task is not None and lane.task.job.id == order.job:
                        self._stop(lane) if order.what == "stop" else self._missing(lane, lane.task)
                if self._pusher is not None:
                    self._pusher.hurry()  # it may be about a set that it holds

    def _stop(self, lane: Lane) -> None:
        assert lane.task is not None
        lane.task.stopped = True
        lane.ask_to_end(self._place.grace)

    def _missing(self, lane: Lane, task: LaneJob) -> None:
        """Handle a running job that Redis does not know: it was cancelled, or Redis was emptied and gets it again."""
        if not self._place.has_set(task.repo, task.set_id):
            self._stop(lane)
        else:
            with contextlib.suppress(redis.exceptions.RedisError):  # the next heartbeat misses it again
                self._teller.revive(lane.worker, task)

    # --- sets ------------------------------------------------------------------------------------------------

    def _fitting(self) -> list[tuple[str, ResourceClass]]:
        """Return the queues that this worker serves: those that need the most come first."""
        if time.monotonic() - self._queues_at > _QUEUES:
            self._queues_at = time.monotonic()
            found = [
                (name, kind)
                for name, kind in sorted(self._board.queues().items())
                if self._capacity.can_ever(kind) and keeps_to(kind, self._plan.queues)
            ]
            if [name for name, _ in found] != [name for name, _ in self._queues]:
                for lane in self._lanes:
                    lane.worker.serve([self._board.queue(name) for name, _ in found])
            self._queues = found
        self._turn += 1  # of those that need the same, each is first in turn
        turned = self._queues[self._turn % max(1, len(self._queues)) :] + self._queues
        ordered = list(dict.fromkeys(turned))
        return sorted(ordered, key=lambda row: (-row[1].gpus, -row[1].memory, -row[1].cpu))

    def _fetch(self) -> None:
        idle = [lane for lane in self._lanes if lane.idle]
        if not idle or (self._pusher is not None and self._pusher.is_full):
            return
        for name, kind in self._fitting():
            while idle and self._capacity.fits(kind) and time.monotonic() >= self._unable_until:
                job = self._board.take(name, kind.limit)
                if job is None:
                    break
                if self._begin(idle[-1], job, name, kind):
                    idle.pop()

    def _begin(self, lane: Lane, job: Job, name: str, kind: ResourceClass) -> bool:
        queue = self._board.queue(name)
        lost = note_lost(job)
        execution = lane.worker.prepare_execution(job)
        lane.worker.prepare_job_execution(job, True)
        try:
            set_id, repo = (str(arg) for arg in job.args)
            slot = self._place.slot(repo, lane.number)
        except (GitError, OSError) as error:  # a clone that could not be made: perhaps there, later
            lane.worker.fail(job, queue, execution, f"{UNABLE}{error}")
            self._unable_until = time.monotonic() + _PAUSE  # or this worker alone would use up all tries, of all sets
            self._notify(f"{job.description}: can't be begun here: {error}; another try, or worker, in {_PAUSE:g} s")
            return False
        except Exception as error:  # whatever somebody else has put into the queue
            job.retries_left = 0
            lane.worker.fail(job, queue, execution, f"not a job of this project: {error}")
            return False
        if self._board.names.set_of(job.id) != set_id or slot is None:
            job.retries_left = 0
            lane.worker.fail(job, queue, execution, f"no pipeline of this project: {repo}")
            return False
        share = self._capacity.take(kind)
        lane.task = LaneJob(job, queue, execution, set_id, repo, slot, share, lost)
        if lost:
            self._place.begins_again(self._client, self._board.names, set_id, lost)
        env = share.env if self._capacity.gpus else {}
        request = {"set": set_id, "repo": str(self._place.folder(repo)), "slot": str(slot), "env": env, "lost": lost}
        request["again"] = bool(lost) or was_begun(job)
        with contextlib.suppress(BrokenPipeError):  # its stdout says so at the next turn
            lane.send(request)
        return True

    def _hear(self, lane: Lane) -> None:
        data = os.read(lane.stdout, 65536)
        if not data:
            self._died(lane)
            return
        lane.buffer += data
        while b"\n" in lane.buffer:
            line, _, rest = bytes(lane.buffer).partition(b"\n")
            lane.buffer[:] = rest
            if not line:
                lane.warm = True
            elif lane.task is not None:
                self._answered(lane, line)

    def _hear_last(self, lane: Lane) -> None:
        """Take the result of a set that ended just before its process was asked to end."""
        while lane.task is not None and select.select([lane.stdout], [], [], 0)[0]:
            data = os.read(lane.stdout, 65536)
            lane.buffer += data
            if b'"refs": ["' in lane.buffer and lane.buffer.endswith(b"\n"):
                self._answered(lane, bytes(lane.buffer).strip())
            elif not data:
                return

    def _answered(self, lane: Lane, line: bytes) -> None:
        assert lane.task is not None
        task, worker = lane.task, lane.worker
        answer = self._place.read_answer(line)
        if answer.get("refs") and self._pusher is not None:
            task.ended = True
            datums = sum(len(row.get("datums") or "1") for row in answer["outcomes"])
            self._pusher.add(HeldResults(task.repo, answer["refs"], worker, task, answer, datums))
            kind = self._board.names.kind(task.queue.name)
            if kind is not None and kind.limit:  # the next one of its pipeline begins only after it
                self._pusher.hurry()
        elif "outcomes" in answer:
            self._teller.finished(worker, task, answer)
        elif not task.stopped and self._place.project is None:  # a clone may not have it yet
            self._teller.lost(worker, task, UNABLE + answer["gone"])
        else:
            self._teller.no_more(worker, task, answer["gone"])
        self._capacity.release(task.share)
        lane.task = None

    def _died(self, lane: Lane) -> None:
        """Clean up after a dead process, give its set to another, and start a new process."""
        self._selector.unregister(lane.stdout)
        lane.end_now()
        task, worker, code = lane.task, lane.worker, lane.process.returncode
        if task is not None:
            self._place.clear(task.repo, task.slot)
            self._capacity.release(task.share)
            lane.task = None
            why = f"its process ended with {code}" + ("; out of memory?" if code == -signal.SIGKILL else "")
            self._teller.lost(worker, task, why)
        self._lanes[lane.number] = self._open(lane.number, worker)

    # --- results -----------------------------------------------------------------------------------------------

    def _push(self) -> None:
        """Push results if it is time to."""
        if self._pusher is None:
            return
        running = {lane.task.repo for lane in self._lanes if lane.task is not None}
        self._pusher.prepare(running)
        self._pusher.turn(others=bool(running))
        if self._pusher.stdout != self._pusher_stdout and self._pusher.stdout is not None:
            self._selector.register(self._pusher.stdout, selectors.EVENT_READ, self._pusher)
        self._pusher_stdout = self._pusher.stdout

    def _hear_pusher(self, pusher: Pusher) -> None:
        assert pusher.stdout is not None
        data = os.read(pusher.stdout, 65536)
        if not data:
            self._selector.unregister(pusher.stdout)
            self._pusher_stdout = None
        pusher.hear(data)

    def _pushed(self, held: HeldResults) -> None:
        self._why_not_pushed = ""
        if held.worker is not None and held.task is not None:
            self._teller.finished(held.worker, held.task, held.answer)

    def _not_pushed(self, held: HeldResults, why: str) -> None:
        """Report a result that the project or a store does not take. It stays here, and its set gets another try."""
        if why != self._why_not_pushed:
            self._notify(f"results can't be pushed: {why}; another try, or worker, in {_PAUSE:g} s")
        self._why_not_pushed = why
        self._unable_until = time.monotonic() + _PAUSE
        if held.worker is None or held.task is None:
            return
        if self._end is not None:
            self._hand_back(held.worker, held.task)
        else:
            self._teller.lost(held.worker, held.task, UNABLE + why)

    def _hand_back(self, worker: RqWorker, task: LaneJob) -> None:
        with contextlib.suppress(redis.exceptions.RedisError):
            worker.hand_back(task.job, task.queue, task.execution)
        self._place.forget(task.set_id)

    def _finish_pushes(self, deadline: float) -> None:
        """Push what is still held; what is not pushed in time is handed back."""
        if self._pusher is None:
            return
        while self._pusher.held and time.monotonic() < deadline:
            self._pusher.hurry()
            self._pusher.turn(others=False)
            assert self._pusher.stdout is not None
            if select.select([self._pusher.stdout], [], [], 0.2)[0]:
                self._pusher.hear(os.read(self._pusher.stdout, 65536))
        self._pusher.end()
        for one in self._pusher.held:
            if one.worker is not None and one.task is not None:
                self._hand_back(one.worker, one.task)
        if self._pusher.pushes:
            datums, pushes = many(self._pusher.results, "datum"), many(self._pusher.pushes, "push", "pushes")
            self._notify(f"pushed the results of {datums} in {pushes}")

    def _end_overdue(self) -> None:
        for lane in self._lanes:
            if lane.end_by is not None and time.monotonic() > lane.end_by:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(lane.process.pid, signal.SIGKILL)

    # --- the end ---------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        """Return whether a burst is over: nothing runs, nothing waits that fits, and no pass is due."""
        if not self._plan.burst:
            return False
        try:
            at_work = any(lane.task or not lane.warm for lane in self._lanes) or bool(self._teller.waiting)
            at_work = at_work or bool(self._pusher is not None and self._pusher.held)
            waits = at_work or any(self._board.to_do(name) for name, _ in self._fitting())
            if self._going is not None and not waits:
                waits = self._going.task is not None or self._board.is_pass_pending()
                waits = waits or (self._going.healed < 2 and self._going.look(at_once=True))
        except redis.exceptions.RedisError:
            waits = True
        if waits:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = time.monotonic()
        return self._quiet_since is not None and time.monotonic() - self._quiet_since > _BURST

    def _shut_down(self, workers: Sequence[RqWorker]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for lane in self._lanes:
            lane.ask_to_end(self._place.grace)
        if self._going is not None:
            self._going.end()
        deadline = time.monotonic() + self._place.grace
        while time.monotonic() < deadline and any(lane.process.poll() is None for lane in self._lanes):
            time.sleep(0.02)
        for lane in self._lanes:
            self._hear_last(lane)
            lane.end_now()
        self._finish_pushes(deadline)
        self._heart.stop()
        self._selector.close()
        with contextlib.suppress(redis.exceptions.RedisError):
            self._teller.notify()
            for lane in self._lanes:
                if lane.task is not None:
                    lane.worker.hand_back(lane.task.job, lane.task.queue, lane.task.execution)
            if self._going is not None:
                self._going.hand_back()
            for worker in workers:
                worker.retire()
            self._board.retire(self._name)
            self._client.publish(self._board.names.work, "handed back")
        for lane in self._lanes:
            if lane.task is not None:
                self._place.clear(lane.task.repo, lane.task.slot)
                self._place.forget(lane.task.set_id)  # who has it next begins it again
        self._place.close()
