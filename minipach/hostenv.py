"""The host environment's fingerprint: what stands for the image of a pipeline that has none."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence

from minipach import hostpython
from minipach.cache import Cache
from minipach.git import child_environment

FIRST_LINE = "minipach host environment"
PATH_IN_REPO = ".datalad/environments/host/image"


def fingerprint(cmd: Sequence[str], cache: Cache | None = None, clock: Callable[[], int] = time.time_ns) -> str:
    """A text that names the system, the python3 on PATH with its packages, and the command's own program.

    With a cache, what is known of files that nothing touched since is not asked again. clock: the time of now (ns).
    """
    env = child_environment()
    lines = [FIRST_LINE, f"system: {platform.system()} {platform.machine()}"]
    python = shutil.which("python3", path=env["PATH"])
    described = hostpython.describe(os.path.abspath(python), env, cache, clock) if python else None
    if described:
        version, packages = described
        lines.append(f"python3: {version}")
        lines += [f"package: {package}" for package in packages]
    program = shutil.which(cmd[0], path=env["PATH"]) if "/" not in cmd[0] else None
    if program and not cmd[0].startswith("python"):
        lines.append(f"program: {cmd[0]} sha256:{_digest(os.path.abspath(program), cache, clock)}")
    return "\n".join(lines) + "\n"


def _digest(path: str, cache: Cache | None, clock: Callable[[], int]) -> str:
    stamp = hostpython.stamp(path)
    kept = cache.get("program", path) if cache else None
    if kept is not None and kept[0] == stamp:
        return str(kept[1])
    started = clock()
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if cache is not None and hostpython.settled([stamp], started):
        cache.put("program", path, (stamp, digest))
    return digest


def content_of(text: str) -> str:
    """The content id of a fingerprint."""
    return "env:" + hashlib.sha256(text.encode()).hexdigest()


def drift(recorded: str, now: str) -> tuple[str, ...]:
    """What differs between two fingerprints, a line each: `numpy 2.4.6 -> 2.5.0`."""
    before, after = _table(recorded), _table(now)
    return tuple(
        f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _table(text: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        kind, _, rest = line.partition(": ")
        name, _, value = rest.partition(" ")
        if kind in ("package", "program"):
            table[name] = value
        else:
            table[kind] = rest
    return table
