"""Names in Redis: queues by what a set needs, jobs by what it holds. All begin with the project's own id."""

from __future__ import annotations

import re
from dataclasses import dataclass

from minipach.executors.resources import ResourceClass
from minipach.git.repo import Repo
from minipach.model.work_set import WorkSet
from minipach.project.settings import local_setting

_SET = re.compile(r"[0-9a-f]{40}")


def project_id(repo: Repo, remote: str | None = None) -> str:
    """Return the id of a project in Redis: that of its superdataset's annex, so each clone has its own.

    remote: of the clone's remote of this name instead of itself.
    """
    found = local_setting(repo, "project-id") or repo.config(f"remote.{remote}.annex-uuid" if remote else "annex.uuid")
    found = found or repo.config("datalad.dataset.id", str(repo.path / ".datalad" / "config")) or "project"
    return re.sub(r"[^0-9a-z]", "", found.lower())[:12]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one project."""

    project: str

    @property
    def prefix(self) -> str:
        """The beginning of our own keys and channels."""
        return f"minipach:{self.project}"

    @property
    def queues(self) -> str:
        """The beginning of the names of all queues of this project."""
        return f"minipach.{self.project}."

    def queue(self, kind: ResourceClass) -> str:
        """Return the queue of a class."""
        return self.queues + kind.name

    def kind(self, queue: str) -> ResourceClass | None:
        """Return the class of a queue; None if it isn't one of this project's sets."""
        return ResourceClass.parse(queue.removeprefix(self.queues)) if queue.startswith(self.queues) else None

    @property
    def publish_queue(self) -> str:
        """The queue of the one job that continues."""
        return self.queues + "publish"

    @property
    def publish_job(self) -> str:
        """The id of the one job that continues."""
        return f"{self.project}-publish"

    def job(self, set_id: str) -> str:
        """Return the RQ job of a set."""
        return f"{self.project}-{set_id}"

    def set_of(self, job: str) -> str | None:
        """Return the set of an RQ job; None if it isn't one of this project's."""
        found = job.removeprefix(f"{self.project}-")
        return found if found != job and _SET.fullmatch(found) else None

    @property
    def folder(self) -> str:
        """The key that says in which folder the project is."""
        return f"{self.prefix}:folder"

    @property
    def work(self) -> str:
        """The channel that says that there is something to do."""
        return f"{self.prefix}:work"

    @property
    def done(self) -> str:
        """The channel that says which set has ended."""
        return f"{self.prefix}:done"

    def left(self, repo: str) -> str:
        """Return the key of the set of what was submitted for a repo (its path in the project) and has not ended."""
        return f"{self.prefix}:left:{repo}"

    @property
    def again(self) -> str:
        """The key that is there if something ended while the publish job ran."""
        return f"{self.prefix}:again"

    @property
    def soon(self) -> str:
        """The key that is there for a moment after a pass was made."""
        return f"{self.prefix}:soon"

    @property
    def workers(self) -> str:
        """The key of what serves this project: name to JSON."""
        return f"{self.prefix}:workers"

    @property
    def tending(self) -> str:
        """The key of the lock for the clean-up of abandoned jobs."""
        return f"{self.prefix}:tending"

    def log(self, set_id: str) -> str:
        """Return the key of a log that a worker without a shared filesystem has sent."""
        return f"{self.prefix}:log:{set_id}"

    def lost_log(self, set_id: str, number: int) -> str:
        """Return the same of a try (from 1) whose worker was lost."""
        return f"{self.prefix}:log:{set_id}:lost{number}"

    def tail(self, set_id: str) -> str:
        """Return the key of what a set prints while such a worker runs it."""
        return f"{self.prefix}:tail:{set_id}"

    @property
    def tails(self) -> str:
        """The key of the ids of sets that print."""
        return f"{self.prefix}:tails"


def describe(work: WorkSet) -> str:
    """Return a set for people: `edges: chelsea.png and 30 more`."""
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(work.datums[0]["name"]))
    return f"{work.pipeline}: {name}" + (f" and {len(work.datums) - 1} more" if len(work.datums) > 1 else "")
