"""The times at which results from private clones are pushed: the longer they keep coming, the more go together."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 1.0  # seconds that a result waits for others, at most, after a time of quiet
LONGEST = 60.0  # seconds that a result waits for others, while results keep coming
MOST = 2000  # datums whose results wait: then they are pushed at once


@dataclass
class Rhythm:
    """The times of pushes: the longer results keep coming, the more of them go together. Pure.

    The very first result goes at once: a schedule cuts all other sets by what it took.
    """

    wait: float = 0.0
    _ended: float | None = None

    def is_due(self, now: float, oldest: float, datums: int, *, others: bool) -> bool:
        """Return whether to push what waits.

        Args:
            now: The time.
            oldest: When the first of them came.
            datums: How many datums they are of.
            others: Whether sets run whose results may go with them.
        """
        return not others or datums >= MOST or now - oldest >= self.wait

    def began(self, now: float) -> None:
        """Note that a push begins."""
        busy = self._ended is not None and now - self._ended <= 2 * self.wait
        self.wait = min(2 * max(self.wait, FIRST / 2), LONGEST) if busy else FIRST

    def ended(self, now: float) -> None:
        """Note that it has ended."""
        self._ended = now
