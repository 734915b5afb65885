"""Count the words of one text: $texts (its path) -> $PFS/out/counts.tsv. Argument: the shortest word that counts."""

import collections
import os
import re
import sys
from pathlib import Path

least = int(sys.argv[1])
words = re.findall(r"[^\W\d_]+", Path(os.environ["texts"]).read_text(errors="replace").lower())
counts = collections.Counter(word for word in words if len(word) >= least)
rows = [f"{word}\t{count}\n" for word, count in sorted(counts.items())]
Path(os.environ["PFS"], "out", "counts.tsv").write_text("".join(rows))
