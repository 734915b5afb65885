"""The probe of `doctor`: which container runtimes are installed, and whether each of them can start a program.

No datum runs by it: the launcher chooses a runtime and runs it. A new runtime has these places:

- a file in `execution/launcher/`, and its name in the table of `candidates.py` there;
- here, its program in `PROGRAMS`, and the arguments of a trial in `_command`;
- in `views/doctor.py`, the advice in `_FIXES`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment

# program -> runtime, as `RUNTIMES` of the launcher names it
PROGRAMS = {
    "apptainer": "apptainer",
    "singularity": "singularity",
    "podman": "podman",
    "docker": "docker",
    "ch-run": "charliecloud",
    "bwrap": "bubblewrap",
}
# as .minipach/launch tries it: within a container, a /proc of one's own is what is forbidden
_BUBBLEWRAP = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-pid", "--proc", "/proc", "true")
_PROGRAM = "/usr/bin/true"
_PATIENCE = 60.0  # seconds: a daemon that does not answer is as good as none


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that is installed.

    name: its program · problem: why it starts nothing here (empty: it does)
    gap: what it does not prevent, and others of its kind do.
    """

    name: str
    problem: str = ""
    gap: str = ""


def installed() -> Iterator[Runtime]:
    """Start a program with each runtime that is installed."""
    path = child_environment()["PATH"]
    with _root() as root:
        for name in PROGRAMS:
            if shutil.which(name, path=path):
                gap = _gap_of_bubblewrap(path) if name == "bwrap" else ""
                yield Runtime(name, _problem(_command(name, root)), gap)


def _command(name: str, root: Path | None) -> tuple[str, ...]:
    """Return the command that starts a program and changes nothing.

    Where that takes an image, one that asks the runtime.

    Raises:
        ValueError: No trial is known for a program of this name.
    """
    if name == "bwrap":
        return _BUBBLEWRAP
    if name == "docker":
        return ("docker", "version", "--format", "{{.Server.Version}}")  # which fails without its daemon
    if root is None:
        return (name, "ps", "-q") if name == "podman" else (name, "--version")
    if name == "podman":
        mount = ("--volume", "/usr:/usr:ro")
        return ("podman", "run", "--rm", "--network", "none", *mount, "--rootfs", str(root), _PROGRAM)
    if name == "ch-run":
        return ("ch-run", "--no-passwd", "--bind=/usr:/usr", str(root), "--", _PROGRAM)
    if name in ("apptainer", "singularity"):
        return (name, "exec", "--cleanenv", "--containall", "--bind", "/usr:/usr", str(root), _PROGRAM)
    raise ValueError(f"no trial of {name}")


def _gap_of_bubblewrap(path: str) -> str:
    """Return what an old or a setuid bubblewrap lacks; the launcher tests the same."""
    program = shutil.which("bwrap", path=path) or "bwrap"
    try:
        done = subprocess.run((program, "--version"), capture_output=True, timeout=_PATIENCE, check=False)
        is_setuid = bool(os.stat(program).st_mode & stat.S_ISUID)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # then it has a problem, too
    version = [int(number) for number in re.findall(rb"[0-9]+", done.stdout)[:2]]
    if version >= [0, 8] and not is_setuid:
        return ""
    return "a command with `network: false`, or in `minipach shell`, can make user namespaces"


def _problem(command: tuple[str, ...]) -> str:
    """Return why a command fails: the last line that it says; empty if it does not."""
    try:
        done = subprocess.run(
            command,
            env=child_environment({"USER": os.environ.get("USER") or "user"}),  # ch-run wants to know it
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode == 0:
        return ""
    said = os.fsdecode(done.stderr).strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"


@contextmanager
def _root() -> Iterator[Path | None]:
    """Yield a root file system with the host's /usr mounted; None where programs are elsewhere."""
    if not os.path.isfile(_PROGRAM):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="minipach-root.") as name:
        root = Path(name)
        for folder in ("usr", "dev", "proc", "sys", "tmp", "etc", "run", "var", "root", "home"):
            (root / folder).mkdir()
        for link in ("bin", "lib", "lib64", "sbin"):
            if os.path.islink(f"/{link}"):
                (root / link).symlink_to(f"usr/{link}")
        yield root
