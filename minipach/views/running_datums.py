"""The names of the datums that run now, for the bar of a schedule: by the executor's view and the logs of sets."""

from __future__ import annotations

from collections.abc import Sequence

from minipach.executors.registry import chosen
from minipach.project.project import Project
from minipach.records.job_history import open_ledger
from minipach.support.errors import UserError
from minipach.views.progress import Sheet


class RunningDatums:
    """A look at one project's work, again and again; each look reads what is new since the one before."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._look = chosen(project).view(project)
        self._sheets: dict[str, tuple[int, Sheet]] = {}  # by pipeline: its newest job

    def names(self, pipelines: Sequence[str]) -> dict[str, list[str]]:
        """Return the datums that run, by the name of their pipeline; nothing where the executor is away."""
        sheets = {name: sheet for name in pipelines if (sheet := self._sheet(name)) is not None}
        sets = {ident: name for name, sheet in sheets.items() for ident in sheet.open_sets()}
        try:
            seen = self._look(sets)
        except (UserError, OSError):
            return {}
        return {name: sheet.at_work(seen.running) for name, sheet in sheets.items()}

    def expected(self, pipeline: str, datums: int, slots: int) -> float | None:
        """Return the seconds that so many datums of a pipeline will take, by earlier ones; None if none ran here."""
        ledger = open_ledger(self._project)
        try:
            times = [one.seconds for one in ledger.durations(pipeline)]
        finally:
            ledger.close()
        return sum(times) / len(times) * datums / max(1, slots) if times else None

    def _sheet(self, name: str) -> Sheet | None:
        folder = self._project.local.logs / name
        try:
            key = max(int(one.name) for one in folder.iterdir() if one.name.isdecimal())
        except (OSError, ValueError):
            return None
        if name not in self._sheets or self._sheets[name][0] != key:
            self._sheets[name] = (key, Sheet(folder / str(key), key))
        sheet = self._sheets[name][1]
        sheet.read_sets()
        return sheet
