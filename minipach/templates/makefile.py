"""A target of a Makefile. make itself is asked for the commands, in a sandbox in which nothing can be changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.templates.sandbox import need_program, run_boxed
from minipach.templates.stage import Stage

_SECONDS = 20
_MEMORY = 2_000_000_000  # bytes
_RULE = re.compile(r"^([^\s#:][^:=]*):(?!=)\s*([^|]*)(?:\|.*)?$")
_SPECIAL = re.compile(r"^\.|%|^Makefile$|^[^:]*\$")


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


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a Makefile. several: it has more than one recipe (`::`)."""

    target: str
    reads: tuple[str, ...]
    phony: bool = False
    has_recipe: bool = False
    several: bool = False


def read_rules(file: Path) -> dict[str, Rule]:
    """Return the rules of a Makefile by target, in the order of make's own list; those of pattern rules, too.

    Raises:
        UserError: make or bubblewrap is missing, or make fails.
    """
    explicit = [target for target in _entries(_ask(file, ["-pq"], ok=(0, 1))) if not target.startswith("-")]
    # with these as goals make looks at all files, and finds the pattern rules for them
    answer = _ask(file, ["-p", "-n", "-B", "-k", "--no-print-directory", *explicit], ok=(0, 1, 2))
    return _entries(answer)


def _entries(database: str) -> dict[str, Rule]:
    """Return the entries of the files in what `make -p` prints."""
    found: dict[str, Rule] = {}
    for block in database.rpartition("\n# Files\n")[2].split("\n\n"):
        lines = block.strip("\n").split("\n")
        rule = _RULE.match(lines[0])
        if rule is None or lines[0].startswith("#") or _SPECIAL.search(rule[1]):
            continue
        several = rule[2].startswith(":")
        flags = {
            "phony": any(line.startswith("#  Phony target") for line in lines),
            "has_recipe": any(line.startswith("#  recipe to execute") for line in lines),
            "several": several,
        }
        for target in rule[1].split():
            found[target] = Rule(target, tuple(dict.fromkeys(rule[2].lstrip(":").split())), **flags)
    return found


def _ask(file: Path, words: list[str], ok: tuple[int, ...]) -> str:
    make = need_program("make", str(file))
    # -r: no rules of make's own. SHELL: `$(shell ...)` and recipes with + would run even with -n.
    command = [make, "-r", "-f", file.name, "SHELL=/bin/true", ".SHELLFLAGS=", *words]
    folder = file.parent.resolve()
    parts = [Path(make).parent] if make.startswith(str(Path.home())) else []
    answer = run_boxed(command, folder=folder, place=str(file), seconds=_SECONDS, memory=_MEMORY, parts=parts)
    if answer.code not in ok:
        raise UserError(Problem("new.no-answer", str(file), f"make fails: {answer.said}", "check the Makefile"))
    return answer.out


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
