"""A page and a request for it: what all pages have. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minipach.console.addresses import address
from minipach.console.reading import KnownValue, ProjectSummary, Reading
from minipach.project.project import Project
from minipach.views.datum_table import DatumTable

T = TypeVar("T")
PER_PAGE = 100  # rows of a table on one page
_NEXT = {
    "run": "The next schedule runs it",
    "reuse": "The next schedule reuses a result",
    "remove": "The next schedule removes its outputs",
    "skip": "The next schedule skips it",
    "blocked": "It waits",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page. data: as JSON, and as text · context: what only its template needs."""

    title: str
    template: str
    data: dict[str, Any]
    context: dict[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a page.

    values: in its address · waits: whether what takes long to read is waited for; else what was last known is shown ·
    older: the parts of the page for which this is so · can_act: whether actions work.
    """

    reading: Reading
    values: Mapping[str, str]
    prefix: str
    waits: bool = True
    older: list[str] = field(default_factory=list)
    can_act: bool = False

    def summary(self) -> ProjectSummary:
        """Return the graph and the states."""
        return self._known(self.reading.soon_summary(), "states") if not self.waits else self.reading.summary()

    def table(self, path: str) -> DatumTable:
        """Return the datums of a pipeline."""
        return self._known(self.reading.soon_table(path), path) if not self.waits else self.reading.table(path)

    def _known(self, known: KnownValue[T], what: str) -> T:
        if not known.is_of_now:
            self.older.append(what)
        return known.value

    def url(self, page: str, /, **values: object) -> str:
        """Return the address of a page."""
        return address(self.prefix, page, **values)

    def value(self, name: str, default: str = "") -> str:
        """Return a value of the address."""
        return self.values.get(name, default)

    def number(self, name: str, default: int, most: int = 10**9) -> int:
        """Return a whole number from 1 in the address; the default, where it is none."""
        text = self.values.get(name, "")
        return min(max(int(text), 1), most) if text.isdecimal() and len(text) < 10 else default

    def pipeline(self, project: Project) -> str:
        """Return the path of the pipeline that is asked for. Raises UserError."""
        return project.path_of(self.value("pipeline"))


def what_comes(action: str, reason: str) -> str:
    """Return the action of a plan for a datum as a sentence."""
    if action == "current":
        return "It is current: a result with this id is published."
    return _NEXT.get(action, action) + (f" ({reason})" if reason else "") + "."
