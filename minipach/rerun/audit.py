"""The audit: published datums are run again in scratch, and their outputs compared. Nothing published changes."""

from __future__ import annotations

import hashlib
import itertools
import queue
import random
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipach.git.content import classify
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK, SYMLINK
from minipach.git.worktrees import Owner, Slot, kill_inside, slots_dir
from minipach.model.datum import Task
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import CONTAINER, DATALAD_CONFIG
from minipach.model.run_record import options_of_settings
from minipach.model.work_set import Base
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.planning.project_plan import drift_remarks
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.records.branch_history import added_paths, outputs_of, record_commits
from minipach.records.published_state import Published
from minipach.records.results_branch import StoredResults
from minipach.rerun.repeated_run import Processes, PublishedFile, RepeatedRun, Verdict, reexecute
from minipach.scheduling.work_sets import make_set
from minipach.support.errors import Problem, UserError

DEFAULT_SAMPLE = 5  # datums of each pipeline
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_EPOCH = "@0 +0000"  # the same tree makes the same commit, so that audits add no object after the first


@dataclass(frozen=True, slots=True)
class Skipped:
    """A published datum that can't be audited as things stand, and why."""

    pipeline: str
    name: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Return the JSON object of `minipach audit --json`."""
        return {"pipeline": self.pipeline, "name": self.name, "reason": self.reason}


@dataclass
class Audit:
    """The sample to run again, then the verdicts. seed: draws the same sample again · remarks: for people."""

    seed: int
    trials: list[RepeatedRun] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all that ran is reproducible."""
        return all(v.outcome == "reproducible" for v in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach audit --json`."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "datums": [v.as_json() for v in sorted(self.verdicts, key=lambda v: (v.pipeline, v.name))],
            "skipped": [s.as_json() for s in self.skipped],
        }


def prepare(project: Project, targets: Targets, *, sample: int | None, seed: int) -> Audit:
    """Choose the datums: of each pipeline a random sample, or all that are asked for (sample None).

    UserError if nothing can be audited.
    """
    audit = Audit(seed)
    for path in targets.order:
        assessment = Assessment(project, path, SnapshotStore(project))
        try:
            _choose(audit, assessment, targets, sample)
        finally:
            assessment.close()
    if not audit.trials:
        first = f" ({audit.skipped[0].name}: {audit.skipped[0].reason})" if audit.skipped else ""
        raise UserError(
            Problem(
                "audit.nothing-to-do",
                "nothing to audit",
                f"no datum is published and current{first}",
                "minipach schedule",
            )
        )
    return audit


def _choose(audit: Audit, a: Assessment, targets: Targets, sample: int | None) -> None:
    name = a.pipeline.name
    if not a.state:
        audit.remarks.append(f"{name}: nothing published yet")
        return
    tasks = {t.datum.name: t for t in a.tasks}
    chosen: list[Task] = []
    for datum in sorted(targets.names(a.path, sorted(a.state))):
        reason = _behind(tasks.get(datum), a.state[datum])
        if reason:
            audit.skipped.append(Skipped(name, datum, reason))
        else:
            chosen.append(tasks[datum])
    if sample is not None and sample < len(chosen):
        # by pipeline: what others there are doesn't change which datums a seed draws here
        chosen = random.Random(f"{audit.seed}:{name}").sample(chosen, sample)
    if not chosen:
        return
    if a.pipeline.parallelism:
        audit.limits[name] = a.pipeline.parallelism
    audit.remarks += drift_remarks(a)
    _add_trials(audit, a, chosen)


def _behind(task: Task | None, published: Published) -> str:
    if task is None:
        return "no longer matched"
    if task.id != published.id:
        return "behind: its inputs have changed since"
    return "its output folder has changed" if task.dest != published.dest else ""


def _add_trials(audit: Audit, a: Assessment, chosen: Sequence[Task]) -> None:
    assert a.head is not None
    records = record_commits(a.repo, a.head, [(t.datum.name, t.id) for t in chosen])
    outputs = _published_paths(a, chosen, records)
    wanted = {path for paths in outputs.values() for path in paths}
    entries = {e.path: e for e in a.repo.ls_tree(a.head, recursive=True) if e.path in wanted and e.mode != GITLINK}
    kinds = classify(a.repo, entries.values())
    tree = a.repo.write_tree(a.reserved)  # what datums start from, as published
    dates = {"GIT_AUTHOR_DATE": _EPOCH, "GIT_COMMITTER_DATE": _EPOCH}
    commit = a.repo.commit_tree(tree, f"{SUBJECT}audit\n", env=dates)
    image = _image_path(a, a.head)
    logs = a.project.local.logs / a.pipeline.name / "audit"
    for task in chosen:
        name = task.datum.name
        if name not in outputs:
            audit.skipped.append(Skipped(a.pipeline.name, name, "neither a record nor a result names its outputs"))
            continue
        record = records[name, task.id][1] if (name, task.id) in records else {}
        base = Base(commit, tree, image, "", _recorded_commits(a, record), "", options=options_of_settings(record))
        job = str(record.get("minipach", {}).get("job", ""))
        work = make_set(a, base, [task], job, str(logs / _log_name(name)))
        expected = {
            p: PublishedFile(entries[p].mode, kinds[entries[p].sha, entries[p].mode == SYMLINK][2], entries[p].sha)
            for p in outputs[name]
            if p in entries
        }
        audit.trials.append(RepeatedRun(a.pipeline.name, name, task.id, work, expected))


def _published_paths(
    a: Assessment, chosen: Sequence[Task], records: Mapping[tuple[str, str], tuple[str, dict[str, Any]]]
) -> dict[str, Sequence[str]]:
    """Return the paths that each datum published, from its record or stored result. Others are left out."""
    added = added_paths(a.repo, [commit for commit, _ in records.values()])
    known: StoredResults | None = None
    found: dict[str, Sequence[str]] = {}
    for task in chosen:
        name = task.datum.name
        commit, record = records.get((name, task.id), ("", {}))
        if record:
            found[name] = outputs_of(record, added.get(commit, []), name, task.id)
            continue
        known = known or a.known
        result = known.named(task.id, name)
        if result is not None:
            prefix = result.dest + "/" if result.dest else ""
            found[name] = [prefix + e.path for e in known.files(result)]
        elif any(r.tree is None for r in known.of(task.id)):
            found[name] = []  # the copy of a result without output
    return found


def _recorded_commits(a: Assessment, record: Mapping[str, Any]) -> dict[tuple[str, str | None], str]:
    """Return the inputs' commits as the first run saw them in its environment: a command may write them to its output.

    Only these and the job's id are taken from the record; the command itself is made from the spec.
    """
    found = dict(a.commits)
    try:
        words = shlex.split(str(record.get("cmd", "")))
    except ValueError:
        return found
    pairs = itertools.pairwise(words)
    values = dict(word.split("=", 1) for flag, word in pairs if flag == "-e" and "=" in word)
    for pfs in a.pipeline.pfs_inputs():
        value = values.get(f"{pfs.name}_COMMIT", "")
        if _COMMIT.fullmatch(value):
            found[pfs.repo, pfs.branch] = value
    return found


def _image_path(a: Assessment, head: str) -> str:
    """Return where the published image lies. Equal datum ids say that it is the image that the spec names now."""
    place = a.repo.config(f"datalad.containers.{CONTAINER}.image", f"blob:{head}:{DATALAD_CONFIG}")
    if place is None or place.startswith("/") or ".." in place.split("/"):
        raise UserError(
            Problem(
                "image.not-registered",
                a.path,
                "no image is registered on its branch",
                f"minipach schedule {a.pipeline.name}",
            )
        )
    return place


def _log_name(datum: str) -> str:
    """Return one per datum: the next audit of it writes over this one's."""
    plain = re.sub(r"[^0-9A-Za-z._-]+", "_", datum)[:60].strip(".")
    return f"{plain}-{hashlib.sha256(datum.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.log"


def run(audit: Audit, jobs: int, notify: Callable[[Verdict], None], *, get: bool = False) -> None:
    """Run all trials, `jobs` at once; `notify` gets each verdict as it comes. An interrupt ends all and clears up.

    get: fetch the contents that they need and that aren't here.
    """
    processes = Processes()
    limits = {name: threading.BoundedSemaphore(most) for name, most in audit.limits.items()}
    with _slots(audit.trials, jobs) as slots:

        def one(trial: RepeatedRun) -> Verdict:
            with limits.get(trial.pipeline) or nullcontext():
                slot = slots[trial.work.repo].get()
                try:
                    return reexecute(trial, slot, processes, get=get)
                finally:
                    slots[trial.work.repo].put(slot)

        with ThreadPoolExecutor(jobs) as pool:
            futures: list[Future[Verdict]] = [pool.submit(one, trial) for trial in audit.trials]
            try:
                for future in as_completed(futures):
                    audit.verdicts.append(future.result())
                    notify(audit.verdicts[-1])
            except BaseException:
                for future in futures:
                    future.cancel()
                processes.cancel()
                raise


@contextmanager
def _slots(trials: Sequence[RepeatedRun], jobs: int) -> Iterator[dict[str, queue.SimpleQueue[Slot]]]:
    """Yield for each repo as many slots as can be in use at once; remove them afterwards, with their processes."""
    owners: list[Owner] = []
    every: list[Slot] = []
    found: dict[str, queue.SimpleQueue[Slot]] = {}
    try:
        for path in sorted({t.work.repo for t in trials}):
            repo = Repo(Path(path))
            owners.append(Owner(repo))
            found[path] = queue.SimpleQueue()
            for number in range(min(jobs, sum(t.work.repo == path for t in trials))):
                # a repo of its own: threads that read objects through one process would take each other's answers
                slot = Slot(Repo(repo.path), slots_dir(repo) / f"{owners[-1].name}.{number}")
                every.append(slot)
                found[path].put(slot)
        yield found
    finally:
        for slot in every:
            kill_inside(slot.path)
            slot.remove()
            slot.main.close()
        for owner in owners:
            owner.release()
