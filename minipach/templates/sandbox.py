"""Children that read what others wrote: with limits, and in a sandbox where they can run code of the file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.text import printable

_SANDBOX = ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--ro-bind", "/", "/")
_PRIVATE = ("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run")
_LIMITS = 'ulimit -f {blocks}; ulimit -t {cpu}; ulimit -v {memory}; ulimit -c 0; exec "$@"'
_MOST = 20_000_000  # bytes of output


@dataclass(frozen=True, slots=True)
class ChildAnswer:
    """The end of a child: its exit code, its output and the last line of its errors."""

    code: int
    out: str
    said: str


def need_program(name: str, place: str) -> str:
    """Return the path of a program. Raises UserError if there is none."""
    found = shutil.which(name)
    if found is None:
        called = {"bwrap": "bubblewrap"}.get(name, name)
        fix = f"install {called}, or write the spec by hand"
        raise UserError(Problem("new.no-program", place, f"{called} is needed to read it, and is missing", fix))
    return found


def run_boxed(
    command: Sequence[str],
    *,
    folder: Path,
    place: str,
    seconds: int,
    memory: int,
    parts: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> ChildAnswer:
    """Run a program without network, and without a file that it could change. It sees no home of a user.

    Args:
        command: The program and its arguments.
        folder: The folder in which it runs. It may write new files there, which vanish.
        place: The file that it reads, for messages.
        seconds: The time after which it is ended.
        memory: The bytes that it may use.
        parts: Folders of the program itself, which it may read in a home, too.
        env: Variables besides PATH, LC_ALL and HOME, or in their place.

    Raises:
        UserError: bubblewrap is missing, or the program does not end in time.
    """
    bwrap = need_program("bwrap", place)
    words = [bwrap, *_SANDBOX, *_PRIVATE]
    for home in _homes():
        words += ["--tmpfs", home]
    for part in parts:
        words += ["--ro-bind", str(part), str(part)]
    words += ["--tmpfs", str(folder)]
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        target = os.path.realpath(entry.path)
        if entry.is_symlink() and target.startswith(f"{os.path.realpath(folder)}/.git/annex/") and entry.is_file():
            words += ["--ro-bind", target, entry.path]
        elif entry.is_symlink():
            words += ["--symlink", os.readlink(entry.path), entry.path]
        elif entry.is_dir() or entry.is_file():  # no pipes: to open one could wait for ever
            words += ["--ro-bind", entry.path, entry.path]
    # what a program prints must hold no secret of the user
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/tmp"} | dict(env or {})
    limited = [*words, "--chdir", str(folder), "--", *_limited(command, seconds, memory)]
    return _run(limited, env, place, command[0], seconds, folder)


def run_limited(
    command: Sequence[str], *, folder: Path, place: str, seconds: int, memory: int, called: str = ""
) -> ChildAnswer:
    """Run a program that runs no code of what it reads, with limits of time, memory and output. Raises UserError.

    called: what the program is called in messages.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    return _run(_limited(command, seconds, memory), env, place, called or command[0], seconds, folder)


def _limited(command: Sequence[str], seconds: int, memory: int) -> list[str]:
    limits = _LIMITS.format(blocks=_MOST // 512, cpu=seconds, memory=memory // 1024)
    return ["/bin/sh", "-c", limits, "sh", *command]


def _run(
    command: Sequence[str], env: Mapping[str, str], place: str, name: str, seconds: int, folder: Path
) -> ChildAnswer:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # files: `ulimit -f` holds for them
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=seconds,
                env=env,
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired:
            message = f"{Path(name).name} does not end within {seconds} s"
            raise UserError(Problem("new.no-answer", place, message, "make the file simpler")) from None
        out.seek(0)
        err.seek(max(0, err.seek(0, os.SEEK_END) - 10_000))
        lines = err.read().decode("utf-8", "replace").strip().splitlines()
        said = printable(lines[-1])[:500] if lines else f"exit code {done.returncode}"
        return ChildAnswer(done.returncode, out.read(_MOST).decode("utf-8", "surrogateescape"), said)


def _homes() -> list[str]:
    """Return the folders of users."""
    homes = {"/home", "/root", "/Users", str(Path.home())}
    return sorted(home for home in homes if home != "/" and Path(home).is_dir())
