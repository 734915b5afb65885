"""Add word counts: the .tsv files of $counts (a folder) -> $PFS/out/words.tsv. Argument: rows to keep, 0 for all."""

import collections
import os
import sys
from pathlib import Path

total: collections.Counter[str] = collections.Counter()
for file in sorted(Path(os.environ["counts"]).rglob("*.tsv")):
    for row in file.read_text().splitlines():
        word, _, count = row.partition("\t")
        total[word] += int(count)
rows = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[: int(sys.argv[1]) or None]
Path(os.environ["PFS"], "out", "words.tsv").write_text("".join(f"{word}\t{count}\n" for word, count in rows))
