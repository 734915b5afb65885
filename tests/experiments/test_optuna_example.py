"""examples/optuna: an optimizer chooses the points, and none runs twice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.fixtures.projects import Study, run

SCRIPT = Path(__file__).parents[2] / "examples" / "optuna" / "search.py"
SPEC = """\
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/fit.sh, "{{ params.slope }}"]}
minipach: {params: {slope: 1}, metrics: [m.json]}
"""
FIT = """awk -v x="$1" 'BEGIN { printf "{\\"loss\\": %.6f}", (x - 4) * (x - 4) }' >"$PFS/out/m.json"\n"""


@pytest.mark.slow
def test_optuna_finds_a_good_point(study: Study) -> None:
    study.put("images/a", "a\n")
    study.pipeline("fit", SPEC, fit=FIT)
    study.schedule()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run(sys.executable, str(SCRIPT), ".", "fit.slope", "0", "8", "loss", "3", cwd=study.root, env={"PATH": path})
    assert done.code == 0, done.err
    assert done.out.startswith("best: fit.slope=")
    points = study.minipach("exp", "show", "optuna", "--json").json["points"]
    assert len(points) == 3
    assert all(0 <= float(row["params"]["slope"]) <= 8 for row in points)
    best = min(row["metrics"]["loss"] for row in points)
    assert done.out.rstrip().endswith(f"with loss {best:.6g}")
