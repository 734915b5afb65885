"""The backend `rq`: workers that take sets from queues in Redis.

The client of Redis is imported where it is used: also a project with another executor may ask this one to withdraw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minipach.executors.base import Executor
from minipach.executors.registry import Backend
from minipach.executors.stored_sets import drop_all
from minipach.executors.view import Looker
from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.records.log_stream import Elsewhere
from minipach.support.errors import Finding, Problem, UserError
from minipach.support.text import many


class RqBackend(Backend):
    """RQ workers, on one or several machines. Sets, and the passes that follow them, outlive the scheduler."""

    name = "rq"
    lasting = True

    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return an executor that submits to Redis. The workers decide how many sets run at once."""
        from minipach.executors.rq.executor import RqExecutor

        return RqExecutor(project)

    def view(self, project: Project) -> Looker:
        """Return the view of queues and workers, for `top`."""
        from minipach.executors.rq.view import looker

        return looker(project)

    def stalled(self, project: Project) -> Iterator[str]:
        """Yield the resource classes of queued sets that no worker has the capacity for."""
        from minipach.executors.rq.view import waiting_in_vain

        try:
            for row in waiting_in_vain(project):
                yield f"{many(row.sets, 'set waits', 'sets wait')}: {row.why}; minipach top"
        except UserError as error:
            yield f"submitted work waits: {error}"

    @contextmanager
    def remote_logs(self, project: Project) -> Iterator[Elsewhere | None]:
        """Read the logs that workers with private clones send through Redis."""
        from minipach.executors.rq.connection import connect
        from minipach.executors.rq.logs import TailReader
        from minipach.executors.rq.names import Names, project_id

        try:
            client = connect(project.repo)
        except UserError:  # what is here can be followed all the same
            yield None
            return
        try:
            yield TailReader(client, Names(project_id(project.repo)))
        finally:
            client.close()

    def check_setup(self, project: Project) -> Iterator[Finding]:
        """Yield whether Redis answers."""
        from minipach.executors.rq.connection import check, connect

        try:
            client = connect(project.repo)
            try:
                check(client, project.repo)
            finally:
                client.close()
        except UserError as error:
            yield Finding.of("problem", error.problems[0])
        else:
            yield Finding("ok", "Redis answers")

    def explain(self, project: Project, error: Exception) -> Problem | None:
        """Return the problem that an error of Redis' client is about."""
        redis = sys.modules.get("redis")  # a process that has not imported it can't have met its errors
        if redis is None or not isinstance(error, redis.RedisError):
            return None
        from minipach.executors.rq.connection import away

        return away(project.repo, error)

    def withdraw(self, repo: Repo) -> None:
        """Delete the repo's set refs: a worker doesn't start a set whose ref is gone."""
        drop_all(repo)
