#!/usr/bin/env python3
"""Whether the `minipach worker` of this container runs, and Redis hears of it. Exit code 1, and why, if not.

Start it where the worker was started, with its environment. A worker with `--clone` is found, too.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from redis.exceptions import RedisError

from minipach.executors.rq.connection import away, check, connect
from minipach.executors.rq.names import Names
from minipach.executors.rq.queue import QueueStore
from minipach.git.repo import Repo
from minipach.support.errors import UserError


def trouble() -> str | None:
    """What is wrong; None if nothing is. UserError where Redis is away."""
    repo = Repo(Path.cwd())
    client = connect(repo)
    check(client, repo)
    try:
        projects = [key.decode().split(":")[1] for key in client.scan_iter(Names("*").workers)]
        known = [facts for name in projects for facts in QueueStore(client, Names(name)).workers().values()]
    except RedisError as error:
        return away(repo, error)
    here = [facts["pid"] for facts in known if facts["host"] == platform.node()]
    if not here:
        return "Redis has not heard of a worker of this container for half a minute"
    if not any(is_worker(pid) for pid in here):
        return f"the worker (process {here[0]}) is gone"
    return None


def is_worker(pid: int) -> bool:
    """Whether a process is there, and a worker."""
    try:
        return b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def main() -> None:
    """Say what is wrong, if something is."""
    try:
        problem = trouble()
    except UserError as error:
        problem = "; ".join(map(str, error.problems))
    if problem:
        print(f"unhealthy: {problem}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
