"""Let optuna choose the points of an experiment: ask for parameters, run the point, tell the metric.

Use: python search.py PROJECT PIPELINE.PARAMETER LOW HIGH METRIC [TRIALS]
Example: python search.py . fit.slope 0 10 loss 20

A point that has a result, from this search or from anywhere else, is not computed again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import optuna


def minipach(project: str, *words: str) -> Any:
    """Run minipach in the project; its JSON."""
    done = subprocess.run(["minipach", "-C", project, *words, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def value_at(project: str, chain: str, shown: str, metric: str) -> float:
    """Run one point of the experiment `optuna`; the value of the metric there."""
    minipach(project, "exp", "run", "--name", "optuna", "-S", f"{chain}={shown}")
    points = minipach(project, "exp", "show", "optuna")["points"]
    parameter = chain.partition(".")[2]
    return float(next(row["metrics"][metric] for row in points if row["params"] == {parameter: shown}))


def main(project: str, chain: str, low: str, high: str, metric: str, trials: str = "20") -> None:
    """Search for the least value of a metric."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    for _ in range(int(trials)):
        trial = study.ask()
        shown = f"{trial.suggest_float(chain, float(low), float(high)):.4g}"
        study.tell(trial, value_at(project, chain, shown, metric))
    print(f"best: {chain}={study.best_params[chain]:.4g} with {metric} {study.best_value:.6g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
