"""The host environment's fingerprint: what stands for the image of a pipeline that has none."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence

from minipach.environment import host_python as hostpython
from minipach.git.child_environment import user_path
from minipach.support.disk_cache import Cache

FIRST_LINE = "minipach host environment"
_READ = 256 * 1024 * 1024  # bytes of a file that a command names, at most; of a larger one the size must do
_NOT_OF_HOST = ("/pfs/", "/dev/", "/proc/", "/sys/")
ONE_LOOK = 1.0  # seconds: the pipelines of a pass share one look
PATH_IN_REPO = ".datalad/environments/host/image"


def fingerprint(
    cmd: Sequence[str], cache: Cache | None = None, clock: Callable[[], int] = time.time_ns, fresh: float = 0.0
) -> str:
    """Return a text that names the system, python3 with its packages, and the host's files that the command names.

    That is its program, and each file that it names by a whole path: those are not in the pipeline's repo. With a
    cache, what is known of files that nothing touched since is not asked again. clock: the time of now (ns) ·
    fresh: seconds for which the last look at the packages of python3 counts.
    """
    env = command_environment()
    lines = [FIRST_LINE, f"system: {platform.system()} {platform.machine()}"]
    python = shutil.which("python3", path=env["PATH"])
    described = hostpython.describe(os.path.abspath(python), env, cache, clock, fresh) if python else None
    if described:
        version, installed = described
        lines += [f"python3: {version}", *installed]
    program = shutil.which(cmd[0], path=env["PATH"]) if "/" not in cmd[0] else None
    if program and not cmd[0].startswith("python"):
        lines.append(f"program: {cmd[0]} sha256:{_digest(os.path.abspath(program), cache, clock)}")
    for path in sorted({word for word in cmd if names_host(word) and os.path.isfile(word)}):
        size = os.path.getsize(path)
        content = f"sha256:{_digest(path, cache, clock)}" if size <= _READ else f"size:{size}"
        lines.append(f"file: {_on_a_line(path)} {content}")
    return "\n".join(lines) + "\n"


def command_environment() -> dict[str, str]:
    """Return the environment in which a command without an image looks for its programs, as the launcher makes it."""
    home = os.path.expanduser("~")
    env = {"PATH": user_path(), "HOME": home}
    env |= {name: value for name, value in os.environ.items() if name in ("LANG", "TZ") or name.startswith("LC_")}
    if os.path.isdir(os.path.join(home, ".local", "lib")):
        env["PYTHONUSERBASE"] = os.path.join(home, ".local")
    return env


def host_python(cache: Cache | None = None) -> tuple[str, str] | None:
    """Return the path and the version of the python3 that a command without an image finds, or None."""
    env = command_environment()
    python = shutil.which("python3", path=env["PATH"])
    described = hostpython.describe(os.path.abspath(python), env, cache) if python else None
    return (os.path.abspath(python), described[0]) if python and described else None


def names_host(word: str) -> bool:
    """Return whether a word of a command is an absolute path on the host, not below /pfs and not of the system."""
    return word.startswith("/") and not word.startswith(_NOT_OF_HOST) and os.path.exists(word)


def _on_a_line(path: str) -> str:
    return path.encode("unicode_escape").decode()


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
    """Return the content id of a fingerprint."""
    return "env:" + hashlib.sha256(text.encode()).hexdigest()


def drift(recorded: str, now: str, *, python: bool = True) -> tuple[str, ...]:
    """Return what differs between two fingerprints, a line each: `numpy 2.4.6 -> 2.5.0`.

    python: whether python3 and its packages count.
    """
    before, after = _table(recorded, python=python), _table(now, python=python)
    return tuple(
        f"{name} {_short(before.get(name, 'absent'))} -> {_short(after.get(name, 'absent'))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _short(value: str) -> str:
    """Return a value for people: of a digest the beginning."""
    kind, _, digest = value.partition(":")
    return f"{kind}:{digest[:8]}…" if kind == "sha256" and len(digest) > 8 else value


def _table(text: str, *, python: bool) -> dict[str, str]:
    table: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        kind, _, rest = line.partition(": ")
        if kind in ("python3", "package", "module") and not python:
            continue
        name, _, value = rest.rpartition(" ")
        if kind in ("package", "module", "program", "file"):
            table[name] = value
        else:
            table[kind] = rest
    return table
