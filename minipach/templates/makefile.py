"""A target of a Makefile. make itself is asked for the commands, in a sandbox in which nothing can be changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.templates.sandbox import need_program, run_boxed
from minipach.templates.stage import Stage

_SECONDS = 20
_MEMORY = 2_000_000_000  # bytes
_RULE = re.compile(r"^([^\s#:][^:=]*):(?!=)\s*([^|]*)(?:\|.*)?$")
_STEM = "MINIPACHSTEM"  # asked of make in place of a stem
_STEM_LINE = re.compile(r"#  Implicit/static pattern stem: '(.*)'$")
_RECIPE_LINE = re.compile(r"#  recipe to execute \((from .*, line \d+)\):$")
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
    lines = _printed(file, [target], reads)
    if not any(line.strip() for line in lines):
        raise UserError(Problem("new.no-command", f"{file}: {target}", "no recipe", "name a target that has commands"))
    return Stage(f"{file.name}:{target}", file.parent, reads, [target], lines)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a Makefile, or a pattern that several of its rules follow.

    Args:
        target: The target. In that of a pattern, `%` is the stem.
        reads: Its prerequisites; those of a pattern may have `%`.
        phony: It makes no file.
        has_recipe: It has commands.
        several: It has more than one recipe (`::`).
        stem: What the `%` of its pattern rule stands for; "" if it has none.
        recipe: The place of its recipe.
        members: The rules that follow this pattern.
    """

    target: str
    reads: tuple[str, ...]
    phony: bool = False
    has_recipe: bool = False
    several: bool = False
    stem: str = ""
    recipe: str = ""
    members: tuple[Rule, ...] = ()


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
        flags: dict[str, Any] = {
            "phony": any(line.startswith("#  Phony target") for line in lines),
            "has_recipe": any(line.startswith("#  recipe to execute") for line in lines),
            "several": several,
        }
        stem = next((at[1] for line in lines if (at := _STEM_LINE.match(line))), "")
        recipe = next((at[1] for line in lines if (at := _RECIPE_LINE.match(line))), "")
        for target in rule[1].split():
            reads = tuple(dict.fromkeys(rule[2].lstrip(":").split()))
            found[target] = Rule(target, reads, stem=stem, recipe=recipe, **flags)
    return found


def patterns(rules: Mapping[str, Rule]) -> list[Rule]:
    """Return the patterns that two or more rules with the same recipe follow: only their stems differ.

    Args:
        rules: The rules by target. make has named the stem of those that a pattern rule has made.
    """
    alike: dict[tuple[str, int], list[Rule]] = {}
    for rule in rules.values():
        if rule.stem and "/" not in rule.stem and rule.recipe and not (rule.several or rule.phony):
            alike.setdefault((rule.recipe, len(rule.reads)), []).append(rule)
    found = []
    for members in alike.values():
        own = {rule.target for rule in members}
        if any(read in own for rule in members for read in rule.reads):
            continue
        words = zip(*((rule.target, *rule.reads) for rule in members), strict=True)
        target, *reads = (_pattern(word, [rule.stem for rule in members]) for word in words)
        if len(members) > 1 and target and "%" in target and all(reads) and any("%" in read for read in reads):
            found.append(Rule(target, tuple(reads), has_recipe=True, members=tuple(members)))
    return found


def _pattern(words: Sequence[str], stems: Sequence[str]) -> str:
    """Return the word with `%` for the stems, or the word that all have; "" if there is neither, or no single one."""
    if len(set(words)) == 1:
        return words[0]
    possible = [
        {word[:at] + "%" + word[at + len(stem) :] for at in range(len(word)) if word.startswith(stem, at)}
        for word, stem in zip(words, stems, strict=True)
    ]
    common = set.intersection(*possible)
    return common.pop() if len(common) == 1 else ""


def read_pattern(file: Path, rule: Rule) -> Stage | None:
    """Return the pattern as a stage whose paths have `%`, and whose commands have `${STEM}`.

    None if the commands of its members differ in more than the stem, or the shell would not replace it.

    Args:
        file: The Makefile.
        rule: A pattern.

    Raises:
        UserError: make or bubblewrap is missing, or make fails.
    """
    target, *reads = (word.replace("%", _STEM) for word in (rule.target, *rule.reads))
    try:
        # the prerequisites of a stem that does not exist are said to be targets, or make would find no rule
        lines = _printed(file, [target], reads, more=[f"--eval={' '.join(reads)}:"])
        said = _printed(file, [member.target for member in rule.members], _all_reads(rule))
    except UserError:
        return None
    expected = [line.replace(_STEM, member.stem) for member in rule.members for line in lines]
    if not lines or said != expected or not all(_is_replaced(line) for line in lines):
        return None
    commands = [line.replace(_STEM, "${STEM}") for line in lines]
    return Stage(f"{file.name}:{rule.target}", file.parent, rule.reads, [rule.target], commands, has_stem=True)


def _all_reads(rule: Rule) -> list[str]:
    return list(dict.fromkeys(read for member in rule.members for read in member.reads))


def _is_replaced(line: str) -> bool:
    """Return whether the shell would replace a variable wherever the stem is in a line: not in single quotes."""
    quote = ""
    escaped = False
    for at, letter in enumerate(line):
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
        elif quote == "'" and line.startswith(_STEM, at):
            return False
    return "<<" not in line


def _printed(file: Path, targets: Sequence[str], reads: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """Return the lines of the recipes that make would run for these targets alone."""
    keep = [word for path in reads for word in ("-o", path)]  # their own recipes are other pipelines
    # no shell of the Makefile's choice runs while make reads it, whatever the file says
    printed = _ask(file, ["-n", "-B", "--no-print-directory", *keep, *more, *targets], ok=(0,))
    return [line for line in printed.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]


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
