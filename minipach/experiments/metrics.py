"""Metrics of points: values in the outputs that `minipach: {metrics: [...]}` names, from JSON, YAML or CSV."""

from __future__ import annotations

import csv
import fnmatch
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.experiments.points import Point
from minipach.experiments.record import Experiment, RecordedPoint
from minipach.git.content import classify
from minipach.git.repo import Repo, annex
from minipach.git.tree_entries import SYMLINK, TreeEntry
from minipach.project.project import Project
from minipach.records.results_branch import Result, StoredResults
from minipach.spec.yaml_reader import Number, read_yaml
from minipach.support.validation import InvalidError, parse

_MOST = 1_000_000  # bytes of a file with metrics
_VALUES = 200  # of one datum
Value = float | str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A point with what is known of it. done, datums: how many have a result, of how many · notes: files not read."""

    number: int
    params: Point
    done: int
    datums: int
    metrics: Mapping[str, Value]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach exp show --json`."""
        return {
            "point": self.number,
            "params": dict(self.params),
            "done": self.done,
            "datums": self.datums,
            "metrics": dict(self.metrics),
            "notes": list(self.notes),
        }


def rows(project: Project, experiment: Experiment) -> list[MetricRow]:
    """Return the points of an experiment with their metrics; of several datums the mean counts."""
    repo = Repo(project.root / experiment.pipeline)
    try:
        known = StoredResults(repo)
        pipeline = project.pipelines.get(experiment.pipeline)
        files = pipeline.metrics if pipeline else ()
        return [_row(repo, known, n, trial, files) for n, trial in enumerate(experiment.trials, 1)]
    finally:
        repo.close()


def _row(repo: Repo, known: StoredResults, number: int, trial: RecordedPoint, files: Sequence[str]) -> MetricRow:
    found: dict[str, list[Value]] = {}
    notes: list[str] = []
    done = 0
    for name, datum_id in trial.datums:
        result = known.named(datum_id, name) or next(iter(known.of(datum_id)), None)
        if result is None:
            continue
        done += 1
        for metric, value in _of_result(repo, known, result, files, notes):
            found.setdefault(metric, []).append(value)
    metrics = {name: _together(values) for name, values in found.items()}
    return MetricRow(number, trial.params, done, len(trial.datums), metrics, tuple(dict.fromkeys(notes)))


def _together(values: Sequence[Value]) -> Value:
    """Return the mean of numbers; of texts the one that all have."""
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) == len(values):
        return math.fsum(numbers) / len(numbers)
    return str(values[0]) if len(set(values)) == 1 else f"{len(set(values))} values"


def _of_result(
    repo: Repo, known: StoredResults, result: Result, files: Sequence[str], notes: list[str]
) -> Iterator[tuple[str, Value]]:
    for entry in known.files(result):
        if any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in files):
            data = _content(repo, entry)
            if data is None:
                notes.append(f"{result.name}: the content of {entry.path} is not here")
                continue
            try:
                yield from list(_values(entry.path, data))[:_VALUES]
            except (ValueError, csv.Error):
                notes.append(f"{result.name}: {entry.path} has no metrics that can be read")


def _content(repo: Repo, entry: TreeEntry) -> bytes | None:
    kind, _, key = classify(repo, [entry])[entry.sha, entry.mode == SYMLINK]
    if kind == "git":
        return (repo.objects.read(entry.sha) or b"")[: _MOST + 1]
    place = annex(repo, "contentlocation", key or "", ok=(0, 1)).rstrip(b"\n") if kind == "annex" else b""
    if not place:
        return None
    with (repo.path / os.fsdecode(place)).open("rb") as file:
        return file.read(_MOST + 1)


def _values(path: str, data: bytes) -> Iterator[tuple[str, Value]]:
    """Yield the values of a file. ValueError if it can't be read."""
    if len(data) > _MOST:
        raise ValueError("too large")
    text = data.decode()
    if path.endswith((".csv", ".tsv")):
        table = list(csv.DictReader(io.StringIO(text), delimiter="\t" if path.endswith(".tsv") else ","))
        yield from _flat("", table[-1] if table else {})
    elif path.endswith((".yml", ".yaml")):
        document = read_yaml(text)
        if document.problems:
            raise ValueError("no YAML")
        yield from _flat("", document.data)
    else:
        try:
            yield from _flat("", parse(text))
        except InvalidError as error:
            raise ValueError(str(error)) from None


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), below)
    elif isinstance(value, bool):
        yield prefix or "value", str(value).lower()
    elif isinstance(value, int | float | str | Number):
        yield prefix or "value", _plain(value.text if isinstance(value, Number) else value)


def _plain(value: float | str) -> Value:
    """Return a number, if a value is one that can be shown; else a short text."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return str(value)[:200]
    return number if math.isfinite(number) else str(value)[:200]
