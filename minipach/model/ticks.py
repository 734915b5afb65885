"""The ticks of a repo: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cause = Literal["scheduled", "backfill", "manual"]


@dataclass(frozen=True, slots=True)
class Ticks:
    """The ticks of a repo. skipped: not to be added · manual: added by a person, not due · began: when the repo began.

    backfilled, asked: added by `cron backfill` and `cron run` for a time that was due.
    """

    there: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()
    manual: frozenset[int] = frozenset()
    backfilled: frozenset[int] = frozenset()
    asked: frozenset[int] = frozenset()
    began: int | None = None

    def cause(self, tick: int) -> Cause:
        """Return why a tick is there."""
        return "manual" if tick in self.manual | self.asked else "backfill" if tick in self.backfilled else "scheduled"
