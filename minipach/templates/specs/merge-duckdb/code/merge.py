"""Merge tables by their columns: $tables (a folder) -> $PFS/out/merged.*. Arguments: pattern, format, sort columns."""

import os
import sys
from pathlib import Path

import duckdb

pattern, kind, *sort = sys.argv[1:]
files = sorted(map(str, Path(os.environ["tables"]).glob(pattern)))
if not files:
    sys.exit(f"no table matches {pattern}")
table = duckdb.read_csv(files, header=True, union_by_name=True, all_varchar=False)
if sort:
    table = table.order(", ".join('"' + column.replace('"', '""') + '"' for column in sort))
target = str(Path(os.environ["PFS"], "out", f"merged.{kind}"))
table.write_csv(target) if kind == "csv" else table.write_parquet(target)
