"""Fit a line to a table: $data (its path) -> $PFS/out/NAME.model.json and NAME.metrics.json.

Replace the loop by your training. The GPUs that a datum may use are those in CUDA_VISIBLE_DEVICES.
"""

import argparse
import csv
import json
import os
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
options = parser.parse_args()

random.seed(options.seed)
table = Path(os.environ["data"])
with table.open(newline="") as stream:
    points = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(stream)]
slope, offset = random.gauss(0, 0.1), 0.0
print(f"GPUs: {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}")
for _ in range(options.epochs):
    errors = [(x, slope * x + offset - y) for x, y in points]
    slope -= options.lr * sum(error * x for x, error in errors) / len(points)
    offset -= options.lr * sum(error for _, error in errors) / len(points)
loss = sum((slope * x + offset - y) ** 2 for x, y in points) / len(points)

out = Path(os.environ["PFS"], "out")
(out / f"{table.stem}.model.json").write_text(json.dumps({"slope": round(slope, 3), "offset": round(offset, 3)}) + "\n")
(out / f"{table.stem}.metrics.json").write_text(json.dumps({"loss": round(loss, 4)}) + "\n")
