"""A datum beside its last good run: what is other now, of inputs, code, image, command, resources and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.model.job_entries import Attempt
from minipach.planning.assessment import Assessment
from minipach.records.job_history import open_ledger
from minipach.records.results_branch import Result
from minipach.support.validation import InvalidError, parse
from minipach.views.contents import read_content

_RUNS = 50  # good runs of a datum that are looked at
_METRICS = 100_000  # bytes of a file with metrics


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """One part of a datum. before, now: as text; "" where there is none."""

    part: str
    name: str
    before: str
    now: str

    @property
    def differs(self) -> bool:
        """Whether it is other now."""
        return self.before != self.now


@dataclass(frozen=True, slots=True)
class GoodRun:
    """The last good run of a datum. rows: what decides a result, then metrics · attempt: None: it ran elsewhere.

    is_same: whether it ran with the very content of now, so that nothing that minipach knows of differs.
    """

    id: str
    is_same: bool
    rows: tuple[ComparedValue, ...]
    attempt: Attempt | None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        rows = [{"part": r.part, "name": r.name, "before": r.before, "now": r.now} for r in self.rows]
        return {"id": self.id, "is_same": self.is_same, "rows": rows}


def last_good(a: Assessment, name: str) -> GoodRun | None:
    """Return the last good run of a datum before the one that is current; None: there is none on record."""
    task = next((task for task in a.tasks if task.datum.name == name), None)
    if task is None:
        return None
    ledger = open_ledger(a.project)
    try:
        runs = ledger.good_runs(a.pipeline.name, name, _RUNS)
        last = ledger.last_attempt(a.pipeline.name, name)
    finally:
        ledger.close()
    found = _find(a, name, task.id, runs, failed=last is not None and last.kind != "ok")
    if found is None:
        return None
    result, attempt = found
    files = {(i, row[0]): row[1] for i, rows in a.files_of(task.datum, task.words).items() for row in rows}
    variables = a.variables_of(task.datum, task.words)
    rows = [*_inputs(result, files), *_recipe(result, a, variables), *_metrics(a, result, name)]
    return GoodRun(result.id, result.id == task.id, tuple(rows), attempt)


def _find(
    a: Assessment, name: str, now: str, runs: Sequence[Attempt], *, failed: bool
) -> tuple[Result, Attempt | None] | None:
    """Return the result of the last good run, and its attempt here. One of now's content counts if a later failed."""
    for run in runs:
        if (failed or run.datum_id != now) and (result := a.known.named(run.datum_id, name)):
            return result, run
    published = a.state.get(name)
    if published is not None and published.id != now:
        results = a.known.of(published.id)
        result = next((one for one in results if one.name == name), results[0] if results else None)
        return (result, None) if result else None
    return None


def _inputs(result: Result, now: Mapping[tuple[str, str], str]) -> Iterator[ComparedValue]:
    before: dict[tuple[str, str], str] = {}
    for name, rows in result.inputs.items():
        for row in rows if isinstance(rows, list | tuple) else ():
            if isinstance(row, list | tuple) and len(row) > 1:
                before[str(name), str(row[0])] = str(row[1])
    for name, path in sorted(before.keys() | now.keys()):
        yield ComparedValue("input", f"{name}:{path}", before.get((name, path), ""), now.get((name, path), ""))


def _recipe(result: Result, a: Assessment, variables: Mapping[str, str]) -> Iterator[ComparedValue]:
    old, new = result.recipe, a.recipe
    yield ComparedValue("image", "image", str(old.get("image", "")), new.image)
    yield ComparedValue("code", "code", str(old.get("code", "")), new.code)
    found = old.get("transform")
    was: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    for key in sorted(was.keys() | new.transform.keys()):
        yield ComparedValue("spec", key, _text(was.get(key)), _text(new.transform.get(key)))
    for key in sorted(result.variables.keys() | variables.keys()):
        yield ComparedValue("variable", key, str(result.variables.get(key, "")), variables.get(key, ""))


def _metrics(a: Assessment, good: Result, name: str) -> Iterator[ComparedValue]:
    """Yield the metrics of the good run and of what is published, if that is another result."""
    published = a.state.get(name)
    now = a.known.named(published.id, name) if published is not None and published.id != good.id else None
    before, after = _values(a, good), _values(a, now) if now else {}
    for key in sorted(before.keys() | after.keys()):
        yield ComparedValue("metric", key, before.get(key, ""), after.get(key, ""))


def _values(a: Assessment, result: Result) -> dict[str, str]:
    """Return the numbers in files of JSON whose name says that they are metrics."""
    found: dict[str, str] = {}
    for entry in a.known.files(result):
        if entry.path.endswith("metrics.json"):
            content = read_content(a.repo, entry, _METRICS)
            try:
                data = parse(content.data.decode()) if content.data and content.is_whole else None
            except (InvalidError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(data, Mapping):
                found |= {str(key): _text(value) for key, value in list(data.items())[:_RUNS] if _is_plain(value)}
    return found


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
