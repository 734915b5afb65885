#!/usr/bin/env python3
"""Start workers in a cloud for the datum sets that wait, by class. docs/howto-cloud.md says how. Standard library only.

    autoscale.py [-C PROJECT] [--class PATTERN] [--slots N] [--most N] [--boot S] [--every S] -- COMMAND [ARG...]

COMMAND starts workers: {start} in its arguments becomes how many to start now, {count} how many there should be.
Workers that were started with --burst end by themselves, so that nothing is ever stopped here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from fnmatch import fnmatchcase


def queue_depth(top: dict, pattern: str) -> int:
    """Return how many sets of these classes wait."""
    return sum(row["sets"] for row in top["waiting"] if fnmatchcase(row["kind"], pattern))


class Fleet:
    """Workers that were started and have not appeared yet. boot: seconds after which a start counts as failed."""

    def __init__(self, slots: int, most: int, boot: float) -> None:
        self.slots, self.most, self.boot = slots, most, boot
        self.starts: list[float] = []
        self.seen = 0

    def wanted(self, top: dict, pattern: str, now: float) -> tuple[int, int]:
        """Return how many workers there should be, and how many of them to start now."""
        here = len(top["workers"])
        appeared = max(0, here - self.seen)
        self.seen = here
        self.starts = [at for at in self.starts[appeared:] if now - at < self.boot]
        coming = len(self.starts)
        for_queue = -(-queue_depth(top, pattern) // self.slots)
        busy = sum(1 for worker in top["workers"] if worker["runs"])
        count = min(self.most, busy + for_queue)
        start = max(0, count - here - coming)
        return max(count, min(here, self.most)), start

    def started(self, number: int, now: float) -> None:
        """Remember a start."""
        self.starts += [now] * number


def look(project: str) -> dict:
    """Ask minipach. Raises subprocess.CalledProcessError, ValueError."""
    done = subprocess.run(["minipach", "-C", project, "top", "--json"], check=True, capture_output=True, timeout=120)
    return json.loads(done.stdout)


def main(words: list[str]) -> int:
    """Look again and again. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-C", dest="project", default=".", help="the project")
    parser.add_argument("--class", dest="pattern", default="*", help="classes of sets, as `minipach top` shows them")
    parser.add_argument("--slots", type=int, default=1, help="sets that a worker runs at once (its -j)")
    parser.add_argument("--most", type=int, default=10, help="workers at most")
    parser.add_argument("--boot", type=float, default=600, help="seconds in which a worker appears")
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks; 0: look once")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(words)
    if given.slots < 1 or given.most < 0:
        parser.error("--slots is at least 1, --most at least 0")
    fleet = Fleet(given.slots, given.most, given.boot)
    while True:
        code = 0
        try:
            count, start = fleet.wanted(look(given.project), given.pattern, time.monotonic())
            if start:
                command = [word.replace("{start}", str(start)).replace("{count}", str(count)) for word in given.command]
                print(f"{start} to start, {count} in all", flush=True)
                subprocess.run(command, check=True, timeout=600)
                fleet.started(start, time.monotonic())
        except (subprocess.SubprocessError, OSError, ValueError, KeyError, TypeError) as error:
            print(f"autoscale: {error}", file=sys.stderr, flush=True)
            code = 1
        if not given.every:
            return code
        time.sleep(given.every)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
