"""The host environment's fingerprint: what stands for the image of a pipeline that has none."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from minipach.git import child_environment

FIRST_LINE = "minipach host environment"
PATH_IN_REPO = ".datalad/environments/host/image"
# Run by the python3 that the datums' commands would find, which need not be the one that runs minipach.
_PROBE = (
    "import json,sys,importlib.metadata as m;"
    "print(json.dumps([sys.version.split()[0],"
    "sorted({((d.metadata['Name'] or '?').lower().replace('_','-')+' '+d.version) for d in m.distributions()})]))"
)


def fingerprint(cmd: Sequence[str]) -> str:
    """A text that names the system, the python3 on PATH with its packages, and the command's own program."""
    env = child_environment()
    lines = [FIRST_LINE, f"system: {platform.system()} {platform.machine()}"]
    python = shutil.which("python3", path=env["PATH"])
    if python:
        probe = subprocess.run(
            [python, "-c", _PROBE], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if probe.returncode == 0:
            version, packages = json.loads(probe.stdout)
            lines.append(f"python3: {version}")
            lines += [f"package: {package}" for package in packages]
    program = shutil.which(cmd[0], path=env["PATH"]) if "/" not in cmd[0] else None
    if program and not cmd[0].startswith("python"):
        lines.append(f"program: {cmd[0]} sha256:{_digest(Path(program))}")
    return "\n".join(lines) + "\n"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
