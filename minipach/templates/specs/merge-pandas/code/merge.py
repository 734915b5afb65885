"""Merge tables by their columns: $tables (a folder) -> $PFS/out/merged.*. Arguments: pattern, format, sort columns."""

import os
import sys
from pathlib import Path

import pandas

pattern, kind, *sort = sys.argv[1:]
files = sorted(Path(os.environ["tables"]).glob(pattern))
if not files:
    sys.exit(f"no table matches {pattern}")
table = pandas.concat([pandas.read_csv(file) for file in files], ignore_index=True)
if sort:
    table = table.sort_values(sort, kind="stable")
target = Path(os.environ["PFS"], "out", f"merged.{kind}")
table.to_csv(target, index=False) if kind == "csv" else table.to_parquet(target, index=False)
