"""The resources that datums used: a table, a histogram, and a request for next time. Pure, but for `read_usage`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.model.job_entries import Attempt
from minipach.project.project import Project
from minipach.records.job_history import open_ledger
from minipach.support.errors import Problem, UserError

MOST = 10_000  # runs that are looked at, the last ones
_BINS = 10
_HEADROOM = 1.25  # of the highest memory seen: what is suggested
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The summary of one measure. p95: the value that 95% of the runs do not exceed."""

    min: float
    median: float
    p95: float
    max: float
    runs: int

    def as_json(self) -> dict[str, float | int]:
        """Return the JSON object of `minipach usage --json`."""
        numbers = {"min": self.min, "median": self.median, "p95": self.p95, "max": self.max}
        return {**{name: round(value, 3) for name, value in numbers.items()}, "runs": self.runs}


@dataclass(frozen=True, slots=True)
class Bin:
    """A bar of a histogram: so many values from `low` up to `high`."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources of a pipeline's last successful runs. seconds, cpu: per datum · memory, bytes: None: not known."""

    pipeline: str
    runs: int
    measures: dict[str, UsageSummary | None]
    histogram: tuple[Bin, ...]  # of seconds
    suggested: dict[str, float | str]
    memory_histogram: tuple[Bin, ...] = ()  # of bytes; empty where memory is not known

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach usage --json`."""
        return {
            "pipeline": self.pipeline,
            "runs": self.runs,
            **{name: found.as_json() if found else None for name, found in self.measures.items()},
            "histogram": [{"low": round(b.low, 3), "high": round(b.high, 3), "count": b.count} for b in self.histogram],
            "resource_requests": self.suggested,
        }


def read_usage(project: Project, path: str) -> Usage:
    """Return the usage of a pipeline; UserError if it never succeeded on this machine."""
    name = project.name_of(path)
    ledger = open_ledger(project)
    runs = ledger.successes(name, MOST)
    ledger.close()
    if not runs:
        raise UserError(
            Problem("usage.no-success", name, "no datum has succeeded on this machine yet", f"minipach schedule {name}")
        )
    return usage_of(name, runs)


def usage_of(name: str, runs: Sequence[Attempt]) -> Usage:
    """Return the usage that these runs add up to (at least one)."""
    measures = {
        "seconds": summarize([r.took.seconds for r in runs]),
        "cpu": summarize([r.took.cpu for r in runs]),
        "memory": summarize([r.took.memory for r in runs if r.took.memory is not None]),
        "bytes_in": summarize([r.result.bytes_in for r in runs if r.result.bytes_in is not None]),
        "bytes_out": summarize([r.result.bytes_out for r in runs if r.result.bytes_out is not None]),
        "disk": summarize([r.took.disk for r in runs if r.took.disk is not None]),
    }
    suggested: dict[str, float | str] = {"cpu": _cores(runs)}
    memory = measures["memory"]
    if memory is not None:
        suggested["memory"] = f"{_round_mib(memory.max * _HEADROOM)}Mi"
    sizes = [float(r.took.memory) for r in runs if r.took.memory is not None]
    bins = histogram(sizes) if sizes else ()
    return Usage(name, len(runs), measures, histogram([r.took.seconds for r in runs]), suggested, bins)


def summarize(values: Sequence[float]) -> UsageSummary | None:
    """Return minimum, median, 95th percentile (nearest rank) and maximum; None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return UsageSummary(ordered[0], _rank(ordered, 0.5), _rank(ordered, 0.95), ordered[-1], len(ordered))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram(values: Sequence[float]) -> tuple[Bin, ...]:
    """Return equal bins from the lowest to the highest value, more for more values; one, if all are about equal."""
    low, high = min(values), max(values)
    bins = min(_BINS, math.ceil(math.log2(len(values))) + 1)  # Sturges' rule
    width = (high - low) / bins
    if high - low <= 0.02 * high:
        return (Bin(low, high, len(values)),)
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return tuple(Bin(low + n * width, low + (n + 1) * width, count) for n, count in enumerate(counts))


def _cores(runs: Sequence[Attempt]) -> int:
    """Return whole cores, at least one: what 95% of the runs kept busy (a little of another does not count)."""
    busy = summarize([r.took.cpu / r.took.seconds for r in runs if r.took.seconds > 0])
    return max(1, math.ceil(busy.p95 - 0.1)) if busy else 1


def _round_mib(size: float) -> int:
    """Return the next 16 MiB above, or 128 MiB where it is a GiB and more."""
    step = 16 if size < 1024 * _MIB else 128
    return step * math.ceil(size / _MIB / step)
