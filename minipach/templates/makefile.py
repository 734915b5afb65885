"""A target of a Makefile. make itself is asked for the commands, in a sandbox in which nothing can be changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.templates.stage import Stage

_SECONDS = 20.0
_RULE = re.compile(r"^([^\s#:][^:=]*):(?!=)\s*([^|]*)(?:\|.*)?$")
_SPECIAL = re.compile(r"^\.|%|^Makefile$|^[^:]*\$")
_SANDBOX = (
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/run",
)


def read_target(file: Path, target: str) -> Stage:
    """Return a target of a Makefile as a stage: its prerequisites, and its recipe as make expands it.

    Args:
        file: The Makefile.
        target: The target; "" is the first one.

    Raises:
        UserError: make or bubblewrap is missing, make fails, or the target has no recipe.
    """
    database = _ask(file, ["-pq", *([target] if target else [])], ok=(0, 1))
    rules = _rules(database)
    target = target or _first(database)
    if target not in rules:
        fix = f"{suggest(target, rules)}; write {file.name}:TARGET"
        raise UserError(Problem("new.no-stage", str(file), f'no rule for "{target}"' if target else "no target", fix))
    reads = rules[target]
    keep = [word for path in reads for word in ("-o", path)]  # their own recipes are other pipelines
    # no shell of the Makefile's choice runs while make reads it, whatever the file says
    printed = _ask(file, ["-n", "-B", "--no-print-directory", *keep, target], ok=(0,))
    lines = [line for line in printed.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]
    if not any(line.strip() for line in lines):
        raise UserError(Problem("new.no-command", f"{file}: {target}", "no recipe", "name a target that has commands"))
    return Stage(f"{file.name}:{target}", file.parent, reads, [target], lines)


def _ask(file: Path, words: list[str], ok: tuple[int, ...]) -> str:
    make, bwrap = shutil.which("make"), shutil.which("bwrap")
    for program, found in (("make", make), ("bubblewrap", bwrap)):
        if found is None:
            fix = f"install {program}, or write the spec by hand"
            raise UserError(
                Problem("new.no-program", str(file), f"{program} is needed to read it, and is missing", fix)
            )
    folder = str(file.parent.resolve())
    # -r: no rules of make's own. SHELL: `$(shell ...)` and recipes with + would run even with -n.
    asked = [str(make), "-r", "-f", file.name, "SHELL=/bin/true", ".SHELLFLAGS=", *words]
    hidden = [word for home in _homes(str(make)) for word in ("--tmpfs", home)]
    command = [str(bwrap), *_SANDBOX, *hidden, "--ro-bind", folder, folder, "--chdir", folder, "--", *asked]
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
    }  # what make prints must hold no secret of the user
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, env=env, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(Problem("new.no-answer", str(file), f"make does not end within {_SECONDS:.0f} s")) from None
    if done.returncode not in ok:
        said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(Problem("new.no-answer", str(file), f"make fails: {said}"))
    return done.stdout.decode("utf-8", "surrogateescape")


def _homes(program: str) -> list[str]:
    """Return the folders of users, which make has no need to read, unless it lies there itself."""
    homes = {"/home", "/root", "/Users", str(Path.home())}
    return sorted(home for home in homes if home != "/" and Path(home).is_dir() and not program.startswith(f"{home}/"))


def _rules(database: str) -> dict[str, list[str]]:
    """Return the prerequisites of each target in what `make -p` prints."""
    found: dict[str, list[str]] = {}
    skip = False
    for line in database.splitlines():
        skip = (skip or line.startswith("# Not a target")) and bool(line)  # an empty line ends an entry
        if skip or line.startswith(("#", "\t")):
            continue
        if (rule := _RULE.match(line)) and not _SPECIAL.search(rule[1]):
            for target in rule[1].split():
                found.setdefault(target, []).extend(rule[2].split())
    return found


def _first(database: str) -> str:
    goal = re.search(r"^\.DEFAULT_GOAL := (\S+)$", database, re.MULTILINE)
    return goal[1] if goal else ""
