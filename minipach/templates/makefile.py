"""A target of a Makefile. make itself is asked for the commands, in a sandbox in which nothing can be changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted, suggest
from minipach.templates.make_settings import make_settings
from minipach.templates.sandbox import need_program, run_boxed
from minipach.templates.stage_draft import Stage

_SECONDS = 20
_MEMORY = 2_000_000_000  # bytes
_RULE = re.compile(r"^([^\s#:][^:=]*):(?!=)\s*([^|]*)(?:\|.*)?$")
_VARIABLE = re.compile(
    r"^[^\s#:=][^:=]*:\s*(?:(?:override|private|export)\s+)*[^\s:=#]+\s*[:+?!]*="
)  # `target: NAME = value`
_STEM = "MINIPACHSTEM"  # asked of make in place of a stem
_STEM_LINE = re.compile(r"#  Implicit/static pattern stem: '(.*)'$")
_RECIPE_LINE = re.compile(r"#  recipe to execute \((from .*, line \d+)\):$")
_PREFIX = re.compile(r"^[\t @+-]*")
_ONE_SHELL = re.compile(r"^\.ONESHELL[ \t]*:", re.MULTILINE)
_SAID = re.compile(r"(?:make|(.+?):(\d+)): \*\*\* (.*?)\.?(?:  Stop\.)?")
_NO_RULE = re.compile(r"No rule to make target '(.*?)'(?:, needed by '(.*)')?")
_FIXES = {
    "missing separator": "begin each line of a recipe with a tab",
    "missing 'endif'": "add `endif`",
    "missing 'endef'": "add `endef`",
    "recipe commences": "write the target above its recipe",
    "missing target pattern": "write one colon after the target",
    "unterminated": "close the bracket",
    "Recursive variable": "assign it with :=",
}
_DASH = "`-` of a recipe line, at which a command may fail: the line is not known; a command that fails ends the datum"
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
    stage = Stage(f"{file.name}:{target}", file.parent, reads, [target], lines)
    return _as_make_runs(file, stage, database, target)


def _as_make_runs(file: Path, stage: Stage, database: str, target: str) -> Stage:
    """Return the stage with the lines that may fail, and with what of the Makefile its script does not keep."""
    text = file.read_text("utf-8", "replace")
    recipe = [line for line in _joined(_recipe(database, target)) if line.strip("\t @+-")]
    settings = make_settings(text)
    left_out = list(settings.left_out)
    fails = ["-" in _PREFIX.findall(line)[0] for line in recipe]
    if _ONE_SHELL.search(text):
        fails = fails[:1]
        stage = replace(stage, commands=["\n".join(stage.commands)])
    may_fail: frozenset[int] = frozenset()
    if len(fails) == len(stage.commands) or (fails and all(fails)):
        may_fail = frozenset(n for n in range(len(stage.commands)) if all(fails) or fails[n])
    elif any(fails):
        left_out.append(_DASH)
    if any(_begins_with_dash(line, database) for line in recipe) and _DASH not in left_out:
        left_out.append(_DASH)
    return replace(stage, may_fail=may_fail, left_out=tuple(left_out), shell=settings.shell, exports=settings.exports)


def _recipe(database: str, target: str) -> list[str]:
    """Return the lines of a target's recipe as they are in the Makefile, without the tab."""
    for rule, lines in _blocks(database):
        if target in rule[1].split():
            at = next((n for n, line in enumerate(lines) if _RECIPE_LINE.match(line)), len(lines))
            return [line.removeprefix("\t") for line in lines[at + 1 :]]
    return []


def _joined(lines: Sequence[str]) -> list[str]:
    """Return the lines, each with those that follow a backslash at its end; make runs a shell for each of these."""
    found: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    return found


def _begins_with_dash(line: str, database: str) -> bool:
    """Return whether a line of a recipe begins with a variable in which a line begins with `-`."""
    named = re.match(r"[\t @+-]*\$[({]([\w.-]+)[)}]", line)
    if named is None:
        return False
    name = re.escape(named[1])
    value = re.search(rf"^(?:define {name}[ :=]*\n|{name} :?= (.*)$)", database, re.MULTILINE)
    if value is None:
        return False
    text = value[1] if value[1] is not None else database[value.end() :].partition("\nendef")[0]
    return re.search(r"^[\t @+]*-", text, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class MakeRule:
    """A rule of a Makefile, or a pattern that several of its rules follow.

    Args:
        target: The target. In that of a pattern, `%` is the stem.
        reads: Its prerequisites; those of a pattern may have `%`.
        phony: It makes no file.
        has_recipe: It has commands.
        several: It has more than one recipe (`::`).
        stem: The text that the `%` of its pattern rule stands for; "" if it has none.
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
    members: tuple[MakeRule, ...] = ()


def read_rules(file: Path) -> dict[str, MakeRule]:
    """Return the rules of a Makefile by target, in the order of make's own list; those of pattern rules, too.

    Raises:
        UserError: make or bubblewrap is missing, or make fails.
    """
    explicit = [target for target in _entries(_ask(file, ["-pq"], ok=(0, 1))) if not target.startswith("-")]
    # with these as goals make looks at all files, and finds the pattern rules for them
    answer = _ask(file, ["-p", "-n", "-B", "-k", "--no-print-directory", *explicit], ok=(0, 1, 2))
    return _entries(answer)


def _blocks(database: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Yield the rule and the lines of each target in what `make -p` prints."""
    for block in database.rpartition("\n# Files\n")[2].split("\n\n"):
        lines = block.strip("\n").split("\n")
        while lines and (lines[0].startswith("# makefile (from") or _VARIABLE.match(lines[0])):
            del lines[0]  # variables of this target come before its rule
        if lines and (rule := _RULE.match(lines[0])):
            yield rule, lines


def _entries(database: str) -> dict[str, MakeRule]:
    """Return the entries of the files in what `make -p` prints."""
    found: dict[str, MakeRule] = {}
    for rule, lines in _blocks(database):
        if _SPECIAL.search(rule[1]):
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
            found[target] = MakeRule(target, reads, stem=stem, recipe=recipe, **flags)
    return found


def patterns(rules: Mapping[str, MakeRule]) -> list[MakeRule]:
    """Return the patterns that two or more rules with the same recipe follow: only their stems differ.

    Args:
        rules: The rules by target. make has named the stem of those that a pattern rule has made.
    """
    alike: dict[tuple[str, int], list[MakeRule]] = {}
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
            found.append(MakeRule(target, tuple(reads), has_recipe=True, members=tuple(members)))
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


def read_pattern(file: Path, rule: MakeRule) -> Stage | None:
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
    stage = Stage(f"{file.name}:{rule.target}", file.parent, rule.reads, [rule.target], commands, has_stem=True)
    member = rule.members[0].target
    return _as_make_runs(file, stage, _ask(file, ["-pq", member], ok=(0, 1)), member)


def _all_reads(rule: MakeRule) -> list[str]:
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
    lines = [line for line in printed.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]
    return [line for line in _joined(lines) if line.strip()]


def _ask(file: Path, words: list[str], ok: tuple[int, ...]) -> str:
    make = need_program("make", str(file))
    # -r: no rules of make's own. SHELL: `$(shell ...)` and recipes with + would run even with -n.
    command = [make, "-r", "-f", file.name, "SHELL=/bin/true", ".SHELLFLAGS=-c", *words]
    folder = file.parent.resolve()
    parts = [Path(make).parent] if make.startswith(str(Path.home())) else []
    answer = run_boxed(
        command, folder=folder, place=str(file), seconds=_SECONDS, memory=_MEMORY, parts=parts, env={"HOME": "$$HOME"}
    )  # `$(HOME)` in a recipe is that of the user who runs it
    if answer.code not in ok:
        raise UserError(_problem(file, answer.said))
    return answer.out


def _problem(file: Path, said: str) -> Problem:
    """Return what make says against a Makefile, with its place and a fix."""
    hit = _SAID.fullmatch(said)
    if hit is None:
        return Problem("new.no-answer", str(file), f"make fails: {said}", f"try it: make -n -f {quoted(file.name)}")
    named, line, message = hit.groups()
    place = f"{file.parent / named}:{line}" if line else str(file)
    if rule := _NO_RULE.fullmatch(message):
        what, by = rule.groups()
        message = f'no file "{what}", and no rule that makes it' + (f'; "{by}" needs it' if by else "")
        return Problem("new.no-answer", place, message, "add the file, or a rule for it")
    fix = next((fix for start, fix in _FIXES.items() if message.startswith(start)), "check this line")
    return Problem("new.no-answer", place, f"make cannot read it: {message}", fix)


def _rules(database: str) -> dict[str, list[str]]:
    """Return the prerequisites of each target in what `make -p` prints."""
    found: dict[str, list[str]] = {}
    skip = False
    for line in database.splitlines():
        skip = (skip or line.startswith("# Not a target")) and bool(line)  # an empty line ends an entry
        if skip or line.startswith(("#", "\t")) or _VARIABLE.match(line):
            continue
        if (rule := _RULE.match(line)) and not _SPECIAL.search(rule[1]):
            for target in rule[1].split():
                found.setdefault(target, []).extend(rule[2].split())
    return found


def _first(database: str) -> str:
    goal = re.search(r"^\.DEFAULT_GOAL := (\S+)$", database, re.MULTILINE)
    return goal[1] if goal else ""
