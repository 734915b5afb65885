"""The Kubernetes executor: batches of sets as Indexed Jobs, whose pods have clones and push what they have made.

What the cluster says of a pod is a hint: when to look, and when to submit once more. What became of a set is in the
refs of the project alone. So a pod, a Job, the API server or the scheduler may disappear at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from minipach.executors.kubernetes.batch import Batch, batches_of
from minipach.executors.kubernetes.client import Client, ClusterAwayError
from minipach.executors.kubernetes.command_container import ContainerCommand, memory_limit
from minipach.executors.kubernetes.flight import Flight
from minipach.executors.kubernetes.job_request import command_image, pod_options, seconds_left
from minipach.executors.kubernetes.job_state import number
from minipach.executors.kubernetes.manifest import PROJECT_LABEL, JobRequest, job
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.pod_ends import last_lines, note_ends
from minipach.executors.kubernetes.pod_state import STARTING, pod_place, waits
from minipach.executors.kubernetes.preflight import Preflight
from minipach.executors.kubernetes.reports import drop_reports, final, read_report, reports_of, store_logs
from minipach.executors.moved_project import another_is
from minipach.executors.stored_sets import drop_sets, known_sets, write_sets
from minipach.git.repo import Repo
from minipach.model.job_entries import DatumResult
from minipach.model.pipeline import Pod
from minipach.model.work_set import LOST_TRIES, Needs, Outcome, WorkSet
from minipach.project.project import Project
from minipach.records.job_logs import note_set
from minipach.support.errors import UserError

_LOG = logging.getLogger(__name__)
_LOOK = 0.3  # seconds between two looks at the refs
_PACE = 3.0  # seconds between two questions to the API server, at least
_SLOWEST = 30.0
_SOONEST = 0.5  # where the answer decides something
_WHY = 15.0  # seconds between two questions why pods wait, where none runs
_END = 60.0  # seconds for pods to end what is cancelled


class KubernetesExecutor:
    """Sets as indices of Jobs. They outlive their scheduler.

    grace: seconds between the end of a pod and the last look at its refs.
    """

    grace: ClassVar[float] = 2.0

    def __init__(self, project: Project, throttle: int | None, client: Client | None = None) -> None:
        """throttle: pods of a pipeline at once (None: as configured). Raises UserError for a bad setting."""
        self._project = project
        self._settings = KubernetesOptions(project)
        self._client = client or self._settings.client()
        self._pods = min(throttle or 2000, self._settings.pods)
        self._options = pod_options(self._settings)
        self._mark = self._settings.mark
        self._limits: dict[str, int] = {}
        self._flights: dict[str, Flight] = {}
        self._repos: dict[str, Repo] = {}
        self._preflight = Preflight(self._settings, self._client)
        self._running = 0
        self._away = False
        self._began = time.monotonic()
        self._asked = 0.0
        self._next_why = 0.0
        self._reported_waits: set[tuple[str, str]] = set()

    @property
    def at_once(self) -> bool:
        """Yes: a cluster may have its own queue, and a pod takes its time to start."""
        return True

    @property
    def slots(self) -> int:
        """The number of pods of a pipeline that may run at once."""
        return self._pods

    @property
    def running(self) -> int:
        """The number of pods that ran when the cluster was last asked."""
        return self._running

    def can_have(self, needs: Needs) -> bool:
        """Return True: a cluster may grow, and few users may list its nodes."""
        return True

    def limit(self, pipeline: str, sets: int) -> None:
        """Run at most so many sets of this pipeline at once (`parallelism_spec.constant`)."""
        self._limits[pipeline] = sets

    def prefer(self, pipelines: Sequence[str]) -> None:
        """Do nothing: the cluster decides."""

    def expect(self, datums: int) -> None:
        """Do nothing: pods wait in the cluster's queue."""

    # --- submit ---

    def submit(self, sets: Sequence[WorkSet]) -> None:
        """Hand sets over: sets and batch as refs first, then the Job. UserError: none of a class is submitted."""
        self._need_what_can_be_known(sets)
        classes: dict[tuple[str, Needs], list[WorkSet]] = {}
        for work in sets:
            flight = self._flights.get(work.id)
            if flight is None or not flight.left:
                classes.setdefault((work.repo, work.needs), []).append(work)
        for (path, _), members in classes.items():
            repo = self._repo(path)
            drop_reports(repo, [work.id for work in members])  # of an earlier time, when these datums failed
            for work in members:
                self._flights[work.id] = Flight(work, set(range(len(work.parts))), [])
            try:
                self._submit_batch(repo, members)
            except BaseException:
                for work in members:
                    del self._flights[work.id]
                drop_sets(repo, [work.id for work in members])
                raise
        self._asked = time.monotonic()

    def _need_what_can_be_known(self, sets: Sequence[WorkSet]) -> None:
        """Raise UserError if the pods of these sets could never run; log what they will wait for."""
        needs, classes = {}, set()
        for work in sets:
            path = os.path.relpath(work.repo, self._project.root)
            pipeline = self._project.pipelines.get(path)
            needs[pipeline.at("resource_requests") if pipeline else path] = work.needs
            classes.add(self._pod_of(path).priority_class)
        if problems := self._preflight.problems(classes, needs):
            raise UserError(problems)
        for note in self._preflight.notes:
            _LOG.warning(note)
        self._preflight.notes.clear()

    def _submit_batch(self, repo: Repo, members: Sequence[WorkSet]) -> None:
        path = os.path.relpath(members[0].repo, self._project.root)
        batch = Batch.of(self._mark, [work.id for work in members])
        manifest = job(
            JobRequest(
                batch.name,
                self._mark,
                path,
                len(batch.indices),
                min(self._pods, self._limits.get(members[0].pipeline, self._pods)),
                members[0].needs,
                self._pod_of(path),
                seconds_left(self._project, path),
                self._command_of(path, members[0]),
            ),
            self._options,
        )
        write_sets(repo, members)
        batch.write(repo)
        try:
            self._client.create(manifest)
        except BaseException:
            with contextlib.suppress(UserError):
                self._client.delete("jobs", [batch.name])
            repo.update_refs([f"delete {batch.ref}"])
            raise
        for work in members:
            flight = self._flights[work.id]
            flight.runs.append(batch)
            flight.gone = None

    def _pod_of(self, path: str) -> Pod:
        pipeline = self._project.pipelines.get(path)
        return pipeline.pod if pipeline is not None else Pod()

    def _command_of(self, path: str, work: WorkSet) -> ContainerCommand | None:
        pipeline = self._project.pipelines.get(path)
        image = command_image(self._project, self._settings, pipeline) if pipeline else None
        return ContainerCommand(image, memory_limit(work)) if image else None

    # --- what comes back ---

    def adopt(self, repo: Repo) -> list[WorkSet]:
        """Return the sets of this repo's batches that were not settled; what can't be used is withdrawn."""
        batches, bad = batches_of(repo)
        repo.update_refs([f"delete {ref}" for ref in bad])
        found = known_sets(repo)
        usable = {i: work for i, work in found.items() if work is not None and _is_of(work, repo)}
        moved = [work for work in found.values() if work is not None and not _is_of(work, repo)]
        if any(not another_is(Path(work.repo), Path(repo.path)) for work in moved):
            # the project was moved: pods would push to where it was
            self._client.delete("jobs", [batch.name for batch in batches])
        held = {name for batch in batches for row in batch.indices for name in row}
        drop_sets(repo, found.keys() - (usable.keys() & held))
        self._repos[str(repo.path)] = repo
        for batch in batches:
            for name in (name for row in batch.indices for name in row if name in usable):
                flight = self._flights.get(name)
                if flight is None:
                    work = usable[name]
                    flight = self._flights[name] = Flight(work, set(range(len(work.parts))), [])
                if batch not in flight.runs:
                    flight.runs.append(batch)
        self._drop_done(repo)
        self._asked = 0.0
        return [self._flights[name].work for name in usable if name in self._flights]

    def poll(self, timeout: float) -> list[Outcome]:
        """Return outcomes since the last call; waits up to `timeout` seconds for the first one."""
        deadline = time.monotonic() + timeout
        while True:
            found = [*self._read(), *self._look()]
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(min(_LOOK, max(deadline - time.monotonic(), 0.02)))

    def _waiting(self) -> list[Flight]:
        return [flight for flight in self._flights.values() if flight.left]

    def _read(self) -> list[Outcome]:
        """Read the reports of pods."""
        found = []
        waiting = self._waiting()
        for path in {flight.work.repo for flight in waiting}:
            repo = self._repo(path)
            reports = reports_of(repo)
            for flight in (f for f in waiting if f.work.repo == path):
                for run, tree in reports.get(flight.work.id, ()):
                    if flight.read.get(run, ("", 0))[0] != tree:
                        found += self._take(repo, flight, run, tree)
        return found

    def _take(self, repo: Repo, flight: Flight, run: str, tree: str) -> list[Outcome]:
        work, found = flight.work, []
        report = read_report(repo, tree, work)
        new = report.outcomes[flight.read.get(run, ("", 0))[1] :]
        flight.read[run] = (tree, len(report.outcomes))
        if new:
            store_logs(repo, tree, work)
        for outcome in new:
            indices = [index for index in final(work, outcome) if index in flight.left]
            flight.left.difference_update(indices)
            flight.counted = len(flight.runs)
            if indices:
                datums = tuple(one for one in outcome.results(len(work.parts)) if one.index in indices)
                self._note(outcome.log or work.log, work, datums)
                before = (*flight.lost_tries(), *outcome.before)
                found.append(replace(outcome, datums=datums, log=outcome.log or work.log, before=before))
        return found

    @staticmethod
    def _note(log: str, work: WorkSet, datums: Iterable[DatumResult]) -> None:
        if log != work.log:
            names = [str(work.datums[one.index]["name"]) for one in datums]
            note_set(Path(log).parent, Path(log).name, names)

    def _look(self) -> list[Outcome]:
        """Ask the cluster, if it is time, which indices are over; one without a complete report runs again."""
        now = time.monotonic()
        waiting = self._waiting()
        pace = min(max(_PACE, (now - self._began) / 20), _SLOWEST)
        if not self._away and any(flight.gone is not None for flight in waiting):
            pace = _SOONEST
        if not waiting or now - self._asked < pace:
            return []
        self._asked = now + random.uniform(0, pace / 10)
        try:
            jobs = {row["metadata"]["name"]: row for row in self._client.listed("jobs", self.selector)}
        except ClusterAwayError as error:
            if not self._away:
                _LOG.warning(f"{error.problems[0].what}; waiting for it")
            self._away = True
            return []
        except (KeyError, TypeError):
            return []
        if self._away:
            _LOG.warning("Kubernetes: the API server answers again")
            self._away = False
        self._running = sum(number(row, "active") for row in jobs.values())
        self._notify_waits(jobs, now)
        over = []
        for flight in waiting:
            state, flight.why = flight.state(jobs)
            if state == "alive":
                flight.gone = None
                continue
            flight.gone = now if flight.gone is None else flight.gone
            if now - flight.gone >= self.grace:
                over.append(flight)
        if not over:
            return []
        found = self._read()  # what they pushed last
        left = [flight for flight in over if flight.left]
        note_ends(self._client, self.selector, left)
        return [*found, *self._go_again(left)]

    def _notify_waits(self, jobs: dict[str, dict[str, Any]], now: float) -> None:
        """Log why pods wait, each reason once, where nothing has come for some time."""
        if any(number(row, "succeeded") for row in jobs.values()) or now < self._next_why:
            return
        with contextlib.suppress(UserError):
            pods = self._client.listed("pods", self.selector)
            if any(pod.get("status", {}).get("phase") == "Running" for pod in pods):
                return
            found = {(p, why) for p, why in waits(jobs.values(), pods, self._client.events()) if why != STARTING}
            if found:
                self._next_why = now + _WHY
            for pipeline, why in sorted(found - self._reported_waits):
                _LOG.warning(f"{pipeline}: pods wait: {why}")
            self._reported_waits |= found

    def _go_again(self, flights: Sequence[Flight]) -> list[Outcome]:
        """Submit once more what was left undone; what keeps ending without a result is lost."""
        found = [self._lose(flight) for flight in flights if flight.in_vain >= LOST_TRIES]
        classes: dict[tuple[str, Needs], list[WorkSet]] = {}
        for flight in flights:
            if flight.left and flight.in_vain < LOST_TRIES:
                classes.setdefault((flight.work.repo, flight.work.needs), []).append(flight.work)
        for (path, _), members in classes.items():
            with contextlib.suppress(ClusterAwayError):  # later
                self._submit_batch(self._repo(path), members)
        return found

    def _lose(self, flight: Flight) -> Outcome:
        """Give a set up (of a chunk: the first datum without a report)."""
        work = flight.work
        first = min(flight.left)
        part = work.part([first]) if work.chunk else work
        why = (flight.ends.get(flight.runs[-1].name) if flight.runs else "") or flight.why or "unknown"
        message = f"its pods ended {flight.in_vain} times without a result (Kubernetes: {why})"
        log = Path(part.log)
        said = last_lines(self._client, self.selector, flight)
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"minipach: {message}\n{said}")
            note_set(log.parent, log.name, [str(datum["name"]) for datum in part.datums])
        indices = [first] if work.chunk else sorted(flight.left)
        flight.left.difference_update(indices)
        if flight.left:
            flight.counted = len(flight.runs)
        datums = tuple(DatumResult(index, "lost", 1, message) for index in indices)
        return Outcome(work.id, "lost", 1, message, 0.0, flight.in_vain or 1, part.log, "", datums=datums)

    # --- the end of sets ---

    def settle(self, sets: Sequence[WorkSet]) -> None:
        """Forget the sets; Jobs of which nobody waits for anything any more go."""
        by_repo: dict[str, list[str]] = {}
        for work in sets:
            by_repo.setdefault(work.repo, []).append(work.id)
            self._flights.pop(work.id, None)
        for path, ids in by_repo.items():
            repo = self._repo(path)
            drop_sets(repo, ids)
            drop_reports(repo, ids)
            self._drop_done(repo)

    def _drop_done(self, repo: Repo) -> None:
        """Remove the batches whose sets are all settled, and their Jobs."""
        left = known_sets(repo).keys()
        done = [b for b in batches_of(repo)[0] if not any(name in left for row in b.indices for name in row)]
        with contextlib.suppress(UserError):  # the cluster removes what has ended, by itself
            self._client.delete("jobs", [batch.name for batch in done])
        repo.update_refs([f"delete {batch.ref}" for batch in done])

    def discard(self, ids: Collection[str] | None = None) -> set[str]:
        """Take back the sets (of these ids) whose pods have not begun; none if the cluster can't be asked."""
        asked = [f for name, f in self._flights.items() if f.left and f.runs and (ids is None or name in ids)]
        try:
            begun = self._begun()
            dropped = [f for f in asked if (f.runs[-1].name, f.runs[-1].index_of(f.work.id)) not in begun]
            # a pod that begins from now on finds no set
            for path in {f.work.repo for f in dropped}:
                drop_sets(self._repo(path), [f.work.id for f in dropped if f.work.repo == path])
            begun = self._begun()
        except UserError:
            return set()
        found = set()
        for flight in dropped:
            if (flight.runs[-1].name, flight.runs[-1].index_of(flight.work.id)) in begun:
                write_sets(self._repo(flight.work.repo), [flight.work])  # it began meanwhile, and may have the set
            else:
                del self._flights[flight.work.id]
                found.add(flight.work.id)
        for path in {flight.work.repo for flight in dropped}:
            self._drop_done(self._repo(path))
        return found

    def _begun(self) -> set[tuple[str, int]]:
        """Return the (Job, index) whose pods run or ran."""
        found = set()
        for pod in self._client.listed("pods", self.selector):
            if pod.get("status", {}).get("phase") != "Pending":
                name, index = pod_place(pod)
                if index is not None:
                    found.add((name, index))
        return found

    def leave(self, repo: Repo) -> None:
        """Do nothing: Jobs continue, and the next pass adopts their sets."""

    def cancel(self, repo: Repo | None = None) -> None:
        """End all Jobs (of this repo) with their pods. UserError if the API server is away."""
        paths = {flight.work.repo for flight in self._flights.values()} if repo is None else {str(repo.path)}
        for path in paths:
            there = self._repo(path)
            ids = [name for name, flight in self._flights.items() if flight.work.repo == path]
            drop_sets(there, ids)  # first: a pod that begins finds no set
            batches = batches_of(there)[0]
            self._client.delete("jobs", [batch.name for batch in batches], wait=True)
            self._wait_for_end({batch.name for batch in batches})
            drop_reports(there, ids)
            there.update_refs([f"delete {batch.ref}" for batch in batches])
            for name in ids:
                del self._flights[name]

    def _wait_for_end(self, names: Collection[str]) -> None:
        deadline = time.monotonic() + _END
        while names and time.monotonic() < deadline:
            pods = self._client.listed("pods", self.selector)
            if not any(pod_place(pod)[0] in names and _runs(pod) for pod in pods):
                return
            time.sleep(1.0)

    def close(self) -> None:
        """Close what is open; Jobs continue."""
        for repo in self._repos.values():
            repo.close()
        self._repos.clear()

    @property
    def selector(self) -> str:
        """The labels of all objects of this project."""
        return f"{PROJECT_LABEL}={self._mark}"

    def _repo(self, path: str) -> Repo:
        if path not in self._repos:
            self._repos[path] = Repo(Path(path))
        return self._repos[path]


def _runs(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Running", "Pending", "Unknown")


def _is_of(work: WorkSet, repo: Repo) -> bool:
    return os.path.realpath(work.repo) == os.path.realpath(repo.path)
