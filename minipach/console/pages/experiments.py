"""The page of experiments."""

from __future__ import annotations

from typing import Any

from minipach.console import plot
from minipach.console.pages.page import Asked, Page
from minipach.experiments.metrics import MetricRow
from minipach.experiments.metrics import rows as experiment_rows
from minipach.experiments.points import shown
from minipach.experiments.record import experiments as known_experiments
from minipach.experiments.record import find as find_experiment
from minipach.support.text import quoted


def experiments(asked: Asked) -> Page:
    """Return the page of experiments: the points of one as a table, and a metric over a parameter as a plot."""
    project = asked.reading.project()
    every = known_experiments(project)
    word = asked.value("name")
    chosen = find_experiment(project, word) if word else every[-1] if every else None
    data: dict[str, Any] = {
        "experiments": [
            {"name": e.name, "pipeline": e.pipeline, "created": e.created, "points": len(e.trials)} for e in every
        ],
        "name": chosen.name if chosen else "",
        "points": [_shown(row) for row in experiment_rows(project, chosen)] if chosen else [],
    }
    params = list(dict.fromkeys(name for row in data["points"] for name in row["params"]))
    metrics = list(dict.fromkeys(name for row in data["points"] for name in row["metrics"]))
    numbers = [m for m in metrics if any(isinstance(row["metrics"].get(m), float) for row in data["points"])]
    x, y = asked.value("x"), asked.value("y")
    x = x if x in params else params[0] if params else ""
    y = y if y in numbers else numbers[0] if numbers else ""
    drawn = [
        plot.Point(row["params"][x], row["metrics"][y], f"point {row['point']}: {x}={row['params'][x]}, {y}={value}")
        for row in data["points"]
        if x in row["params"] and isinstance(value := row["metrics"].get(y), float)
    ]
    commands = {}
    if chosen:
        commands = {
            "show this table": f"minipach exp show {quoted(chosen.name)}",
            "compare two points": f"minipach exp diff {quoted(f'{chosen.name}:1')} {quoted(f'{chosen.name}:2')}",
            "write the values of a point into params.yml": f"minipach exp apply {quoted(f'{chosen.name}:1')}",
        }
    data |= {"x": x, "y": y, "commands": commands}
    context = {"params": params, "metrics": metrics, "numbers": numbers, "plot": plot.as_svg(drawn, x, y)}
    return Page("Experiments", "experiments.html", data, context)


def _shown(row: MetricRow) -> dict[str, Any]:
    """Return the row of a table, whose parameters are texts."""
    return {**row.as_json(), "params": {name: shown(value) for name, value in row.params.items()}}
