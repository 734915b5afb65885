"""The program of a pod that tries what workers need: the project by git, to read and to write, and hosts of stores.

Arguments: a folder, the project's address, `NAME=HOST:PORT` for each store. It prints one line of JSON for each trial,
changes nothing in the project, and sends no credentials to stores.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_PATIENCE = 60.0  # seconds for one trial
_LINES = 3  # of what git says: ssh says why in the first
_REF = "refs/minipach/doctor"


def trials(folder: Path, url: str, stores: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (what was tried, why it failed or "")."""
    folder.mkdir(parents=True, exist_ok=True)
    why = _git(folder, "init", "--quiet") or _git(folder, "fetch", "--quiet", "--depth=1", url, "HEAD")
    yield "read git", why
    if not why:
        yield "push git", _git(folder, "push", "--quiet", "--dry-run", url, f"FETCH_HEAD:{_REF}")
    for word in stores:
        name, _, address = word.partition("=")
        host, _, port = address.rpartition(":")
        why = ""
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, ValueError) as error:
            why = f"{address}: {error}"
        yield f"store {name}", why


def _git(folder: Path, *words: str) -> str:
    """Return why it fails; "" if it does not."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else "; ".join(lines[:_LINES]) or f"exit code {done.returncode}"


def main(arguments: Sequence[str]) -> int:
    """Try all. Returns 0: what failed is in the lines."""
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    for what, why in trials(Path(arguments[0]) / "reach", arguments[1], arguments[2:]):
        sys.stdout.write(json.dumps({"tried": what, "failed": why}) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
