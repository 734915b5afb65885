"""Which executor runs the sets: the setting `minipach.executor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minipach.executors.base import Executor
from minipach.project import Project
from minipach.settings import bad_setting, local_setting, slots


@dataclass(frozen=True, slots=True)
class Choice:
    """An executor that can be made.

    lasting: as `Executor.lasting`, told beforehand; then it makes later passes, too, for what `goal` has noted ·
    forsaken: whether it is known that nobody is there who would make the next one · way_on: what to do then.
    """

    name: str
    lasting: bool
    make: Callable[[], Executor]
    forsaken: Callable[[], bool] = lambda: False
    way_on: str = "minipach schedule"


def choose(project: Project, jobs: int | None = None) -> Choice:
    """The executor of this project on this machine. UserError.

    jobs: sets at once, for those that have it to say.
    """
    name = local_setting(project.repo, "executor") or "local"
    maker = _MAKERS.get(name)
    if maker is None:
        known = ", ".join(_MAKERS)
        raise bad_setting("executor", f'"{name}" is none of {known}', "local")
    return maker(project, jobs)


def _local(project: Project, jobs: int | None) -> Choice:
    from minipach.executors.local import LocalExecutor
    from minipach.executors.localboard import Board

    at_once = slots(project.repo, jobs)
    # what schedules have left is an engine's that was set before: nobody comes for it
    return Choice(
        "local",
        False,
        lambda: LocalExecutor(at_once, Board(project.state_dir)),
        forsaken=lambda: True,
        way_on="minipach up, or git config minipach.executor as it was; or minipach schedule to run it here",
    )


def _slurm(project: Project, jobs: int | None) -> Choice:
    def make() -> Executor:
        from minipach.executors.slurm import SlurmExecutor

        return SlurmExecutor(project, jobs)

    def forsaken() -> bool:
        from minipach.executors.slurmnext import step_is_gone

        return step_is_gone(project)

    return Choice("slurm", True, make, forsaken=forsaken)


def _rq(project: Project, _jobs: int | None) -> Choice:
    def make() -> Executor:
        from minipach.executors.rq import RqExecutor

        return RqExecutor(project)

    return Choice("rq", True, make)


_Maker = Callable[[Project, int | None], Choice]
_MAKERS: dict[str, _Maker] = {"local": _local, "rq": _rq, "slurm": _slurm}
