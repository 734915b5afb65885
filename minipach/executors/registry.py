"""The executors by name. No module outside of `executors` imports one of them: it asks the project's backend.

A new executor is a folder with a subclass of `Backend`, and one line in `BACKENDS`. Two contracts of import-linter in
pyproject.toml list the folders of executors: add it there, or nothing guards it. Here a `Backend` is the class that
makes an executor (`base.Executor`). Kinds of stores are in `storage/store_kinds`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from minipach.executors.base import Executor
from minipach.executors.service_host import ServiceHost
from minipach.executors.view import ExecutorState, Looker
from minipach.git.repo import Repo
from minipach.model.pipeline import Pipeline
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.records.log_stream import Elsewhere
from minipach.support.errors import Finding, Problem, UserError


class Backend(ABC):
    """One kind of executor: its abilities, its construction, and what it shows.

    A subclass gives `name`, `lasting` and `make`. All else has a default for an executor that has nothing to add.
    """

    name: ClassVar[str]
    lasting: ClassVar[bool]
    """Whether sets continue when the scheduler leaves. Then it may leave, and a later pass adopts them."""
    stays: bool = False
    """Whether a schedule stays until all sets have ended although they would continue without it."""
    shares_project: ClassVar[bool] = True
    """Whether schedules of different pipelines run side by side; else each has the project for itself."""
    fix_forsaken: ClassVar[str] = "minipach schedule"
    """The command that continues pending work which is `forsaken`."""
    patience: ClassVar[float | None] = None
    """Seconds that a pass of the executor waits for the project's lock; None: as long as it takes."""

    @abstractmethod
    def make(self, project: Project, jobs: int | None) -> Executor:
        """Return a new executor of a project.

        Args:
            project: The project whose sets it is to run.
            jobs: The number of sets at once, for executors that let the caller choose; None: as configured.

        Raises:
            UserError: A setting is invalid, or the executor can't be reached.
        """

    def view(self, project: Project) -> Looker:
        """Return what shows workers, and running and waiting sets. Raises UserError where the executor is away."""
        return lambda _sets: ExecutorState()

    def too_much(self, project: Project, pipeline: Pipeline) -> Problem | None:
        """Return the problem of a pipeline whose sets could never get what they request. None: they may."""
        return None

    def forsaken(self, project: Project) -> bool:
        """Return whether no process will make the pass that pending work waits for."""
        return False

    def stalled(self, project: Project) -> Iterator[str]:
        """Yield a line for each group of sets that no worker could ever run as things are."""
        return iter(())

    def remote_logs(self, project: Project) -> AbstractContextManager[Elsewhere | None]:
        """Return a context with the logs of running sets that are not on this file system; None: all are."""
        return nullcontext(None)

    def stream(self, project: Project, path: str | None, ended: Callable[[], bool]) -> Iterator[tuple[str, str]] | None:
        """Return what all workers print for a pipeline (None: for all) as (worker, line), until it has ended.

        None: logs grow as files, or come by `remote_logs`. Raises UserError where the executor is away.
        """
        return None

    def check_setup(self, project: Project) -> Iterator[Finding]:
        """Yield what `minipach doctor` is to report of the executor on this machine."""
        return iter(())

    def try_worker(self, project: Project) -> Iterator[Finding]:
        """Start a worker for a moment, and yield what it reaches. Raises UserError."""
        return iter(())

    def manifests(self, project: Project, pipeline: Pipeline, sets: int) -> list[dict[str, Any]]:
        """Return what would be submitted for so many sets of a pipeline, as objects of the executor.

        Raises UserError where a setting is missing, or the executor submits no such objects.
        """
        raise UserError(
            Problem(
                "option.no-manifests",
                "--manifest",
                f"executor {self.name} submits no manifests",
                "git config minipach.executor kubernetes",
            )
        )

    def service_host(self, project: Project) -> ServiceHost | None:
        """Return what runs services in the cluster; None: the supervisor on this machine does. Raises UserError."""
        return None

    def workflow(self, project: Project, order: Sequence[str], *, chunks: bool = False) -> dict[str, Any]:
        """Return these pipelines, upstream first, as a workflow for Argo. Raises UserError.

        chunks: whether its own steps run the datum sets.
        """
        raise UserError(_no_workflows(self.name))

    def cron_workflows(self, project: Project, order: Sequence[str]) -> list[dict[str, Any]]:
        """Return a workflow for each clock of these pipelines. Raises UserError."""
        raise UserError(_no_workflows(self.name))

    def explain(self, project: Project, error: Exception) -> Problem | None:
        """Return the problem that an exception of the executor's own client is about; None: it is none of those."""
        return None

    def withdraw(self, repo: Repo) -> None:
        """Keep the executor from starting sets of this repo that it still has queued. Running ones continue."""
        return

    def pass_label(self) -> str | None:
        """Return what the project's lock is to show for a pass that the executor makes in this process."""
        return None

    def come_back(self, project: Project, seconds: int) -> None:
        """Have the executor make a pass later. Called where another schedule holds the project's lock for long."""
        return


def _no_workflows(name: str) -> Problem:
    return Problem(
        "export.no-workflows", "minipach.executor", f"{name} has none", "git config minipach.executor kubernetes"
    )


# name -> module and class; a module is imported when its executor is asked for: Redis' client alone takes 0.1 s
BACKENDS: dict[str, str | Callable[[], Backend]] = {
    "local": "minipach.executors.local.backend:LocalBackend",
    "rq": "minipach.executors.rq.backend:RqBackend",
    "slurm": "minipach.executors.slurm.backend:SlurmBackend",
    "kubernetes": "minipach.executors.kubernetes.backend:KubernetesBackend",
}


def backend(name: str) -> Backend:
    """Return the backend of this name. Raises KeyError."""
    entry = BACKENDS[name]
    if isinstance(entry, str):
        module, _, kind = entry.partition(":")
        entry = getattr(importlib.import_module(module), kind)
    made: Backend = entry()
    return made


def chosen_name(project: Project) -> str:
    """Return the name of the executor that is set on this machine (`minipach.executor`). Raises UserError."""
    name = local_setting(project.repo, "executor") or "local"
    if name not in BACKENDS:
        raise bad_setting("executor", f'"{name}" is not one of {", ".join(BACKENDS)}', "local")
    return name


def chosen(project: Project) -> Backend:
    """Return the backend that is set on this machine. Raises UserError."""
    return backend(chosen_name(project))


def too_much(project: Project, paths: Iterable[str]) -> Iterator[Problem]:
    """Yield the problem of each of these pipelines that requests more than a machine of the executor has."""
    used = chosen(project)
    found = (used.too_much(project, project.pipelines[path]) for path in paths if path in project.pipelines)
    return (problem for problem in found if problem is not None)


def withdraw_others(used: Backend, repo: Repo) -> None:
    """Keep every other executor, which may have been set before, from starting sets of this repo."""
    for name in BACKENDS:
        if name != used.name:
            backend(name).withdraw(repo)


def explain(project: Project, error: Exception) -> Problem | None:
    """Return the problem that an exception of any executor's client is about; None: it is none of those."""
    found = (backend(name).explain(project, error) for name in BACKENDS)
    return next((problem for problem in found if problem is not None), None)
