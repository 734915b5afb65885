"""The frame of the examples: commands that must succeed, conditions that must hold, and a scratch folder."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


class Failed(Exception):
    """The example did not do what it shows; the message says what."""


def need(condition: bool, otherwise: str) -> None:
    """Fail if something is not as it is shown."""
    if not condition:
        raise Failed(otherwise)


def until(condition: Callable[[], bool], otherwise: str, patience: float) -> None:
    """Wait until something is so; fail after so many seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        need(time.monotonic() < deadline, f"{otherwise} after {patience:g} s")
        time.sleep(0.1)


def environment() -> dict[str, str]:
    """Return the environment for commands: the programs beside this Python come first."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": programs, "DATALAD_LOG_LEVEL": "error"}


class Project:
    """A project folder, and commands in it that are shown as a person would type them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = environment()

    def run(self, *command: str, quiet: bool = False, cwd: Path | None = None) -> str:
        """Run a command, which must exit with 0, and return what it prints. quiet: it is not shown."""
        if not quiet:
            print(f"$ {shlex.join(command)}", flush=True)
        done = subprocess.run(command, cwd=cwd or self.root, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"`{shlex.join(command)}` ended with exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, *command: str) -> list[str]:
        """Return the lines that a command prints, without showing it."""
        return self.run(*command, quiet=True).splitlines()


def main(
    name: str,
    description: str,
    example: Callable[..., None],
    *,
    folder: str = "study",
    count: tuple[str, int, str] | None = None,
) -> int:
    """Run an example from the command line; return the exit code.

    Args:
        name: The name of the example, for messages.
        description: The text of its help.
        example: Called with the folder, and with the count if there is one.
        folder: The folder below a scratch folder, if none is named.
        count: An option with a number: its name, its default and its help.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="make everything there and keep it")
    if count:
        option, default, text = count
        parser.add_argument(option, dest="count", type=int, default=default, help=f"{text} [default: {default}]")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix=f"minipach-{name}."))
    try:
        root = arguments.folder.resolve() if arguments.folder else scratch / folder
        example(root, *([arguments.count] if count else []))
    except Failed as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(scratch)], check=False)
        shutil.rmtree(scratch)
    return 0
