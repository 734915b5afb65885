"""The cost of verifying contents against their keys before they are used: the first time, and from then on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

from common import call, conditions, parser, table, workplace

from minipach.execution import staging
from minipach.execution.staging import locate
from minipach.git.repo import Repo

Rows = list[list[str]]


def main() -> None:
    """Measure small and large contents, and print a table."""
    made = parser(__doc__ or "")
    made.add_argument("--files", type=int, default=1000, help="small files, of 10 kB each")
    made.add_argument("--megabytes", type=int, default=1000, help="size of the large file")
    options = made.parse_args()
    print(conditions())
    rows: Rows = []
    with workplace(options) as folder:
        rows += measured(folder / "small", options.files, 10_000)
        rows += measured(folder / "large", 1, options.megabytes * 1_000_000)
    table(["contents", "not verified", "first time", "from then on", "first time, per GB"], rows)


def measured(path: Path, count: int, size: int) -> Rows:
    """A dataset of random files, and what `locate` takes for all of them."""
    call("git", "init", "--quiet", path, cwd=path.parent)
    call("git", "annex", "init", "--quiet", cwd=path)
    for number in range(count):
        with (path / f"{number}.dat").open("wb") as file:
            for start in range(0, size, 10_000_000):
                file.write(os.urandom(min(10_000_000, size - start)))
    call("git", "-c", "annex.backend=MD5E", "annex", "add", "--quiet", ".", cwd=path)
    repo = Repo(path)
    keys = set(call("git", "annex", "find", "--format=${key}\\n", cwd=path).split())
    with mock.patch.object(staging, "damaged", lambda *_, **__: []):
        plain = timed(repo, keys)
    first, again = timed(repo, keys), timed(repo, keys)
    repo.close()
    what = f"{count:,} of {size / 1e6:g} MB"
    gigabytes = count * size / 1e9
    return [[what, f"{plain:.2f} s", f"{first:.2f} s", f"{again:.2f} s", f"{(first - plain) / gigabytes:.1f} s"]]


def timed(repo: Repo, keys: set[str]) -> float:
    """Seconds that it takes to find all contents."""
    started = time.perf_counter()
    locate(repo, keys)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
