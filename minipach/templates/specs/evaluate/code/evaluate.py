"""Measure one model: $models (a file) on $tests (a folder) -> $PFS/out/NAME.metrics.json. Argument: its name."""

import csv
import json
import os
import sys
from pathlib import Path

model = json.loads(Path(os.environ["models"]).read_text())
errors = []
for table in sorted(Path(os.environ["tests"]).rglob("*.csv")):
    with table.open(newline="") as stream:
        errors += [
            model["slope"] * float(row["x"]) + model["offset"] - float(row["y"]) for row in csv.DictReader(stream)
        ]
if not errors:
    sys.exit("no test data")
score = {"tests": len(errors), "rmse": round((sum(e * e for e in errors) / len(errors)) ** 0.5, 3)}
Path(os.environ["PFS"], "out", f"{sys.argv[1]}.metrics.json").write_text(json.dumps(score) + "\n")
