"""A YODA project with a Makefile, turned into pipelines: a step for each target, each shown before it is written."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.datums.combine_inputs import make_datums
from minipach.datums.inputs import SnapshotStore
from minipach.git.repo import Repo, is_dataset
from minipach.model.pipeline import BrokenSpec, Pipeline, folder_in
from minipach.model.repo_layout import SPEC, reserved_in_pipeline
from minipach.project.project import Project
from minipach.spec.load import load_spec
from minipach.spec.value_types import NAME
from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.templates.draft import Draft, DraftFile, to_yaml
from minipach.templates.inputs import repo_around, stage_inputs
from minipach.templates.makefile import MakeRule, patterns, read_pattern, read_rules, read_target
from minipach.templates.stage_draft import CODE_FOLDERS, MappedPath, Stage, folder_of, in_project, is_code, stage_script

_MANY = 8  # outputs of one pipeline; more than these are one input, and each of them is an input otherwise
_NOT_ADOPTED = "made by a rule that is not adopted, and not committed"
_WORD = re.compile(r"[\w./+@%-]+")
_ORIGIN = re.compile(r"# made by minipach new, from (.+)")


@dataclass(frozen=True, slots=True)
class AdoptionStep:
    """A target and the pipeline that it becomes.

    Args:
        target: The target, as the Makefile has it.
        pipeline: The path of the new pipeline.
        draft: The pipeline.
        stays: The path of an existing output in the project, or "".
    """

    target: str
    pipeline: str
    draft: Draft
    stays: str = ""


@dataclass
class Adoption:
    """The targets of a Makefile, and the pipelines that were made of them so far.

    Args:
        file: The Makefile.
        rules: Its rules by target, each after those that it depends on.
        made: The pipeline of each target.
        before: The targets that were pipelines at the beginning.
        skipped: The targets that are not carried over, with the reasons.
        members: The rules that follow a pattern, by target. Their pattern is in `rules`.
        stages: The stages of patterns.
    """

    project: Project
    file: Path
    rules: dict[str, MakeRule]
    made: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    members: dict[str, MakeRule] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)

    def note(self, target: str, pipeline: str) -> None:
        """Note the pipeline of a target, and of all targets that follow it if it is a pattern."""
        for rule in (self.members.get(target) or self.rules[target], *self._members_of(target)):
            self.made[rule.target] = pipeline

    def _members_of(self, target: str) -> Sequence[MakeRule]:
        return self.rules[target].members if target in self.rules else ()

    def has_recipe(self, target: str) -> bool:
        """Return whether a rule makes a target."""
        rule = self.rules.get(target) or self.members.get(target)
        return rule is not None and rule.has_recipe

    def targets(self, wanted: Sequence[str] = ()) -> list[str]:
        """Return the targets that become pipelines, each after those that it depends on. Raises UserError."""
        for target in wanted:
            if target not in self.rules and target not in self.members:
                fix = suggest(target, [*self.rules, *self.members])
                raise UserError(Problem("adopt.no-target", str(self.file), f'no rule for "{target}"', fix))
        chosen = []
        for target, rule in (*self.members.items(), *self.rules.items()):
            if target in self.members and target not in wanted:
                continue
            if wanted and target not in wanted:
                continue
            if target in self.before:
                self.skipped.append(f"{target}: the pipeline {self.before[target]} is made from it already")
            elif why := _no_pipeline(target, rule):
                self.skipped.append(f"{target}: {why}")
            else:
                chosen.append(target)
        return chosen

    def step(self, target: str) -> AdoptionStep | None:
        """Return the pipeline for a target, with those that were made before as upstream; None: there can be none.

        The reason is in `skipped` then.
        """
        try:
            stage = self.stages.get(target) or read_target(self.file, target)
            found = _draft(self, stage, self._name(target))
        except UserError as error:
            problem = error.problems[0]
            self.skipped.append(f"{target}: {problem.message.rstrip('. ')}")
            return None
        path = in_project(self.project, target, self.file.parent, target)
        return AdoptionStep(target, *found, path if (self.project.root / path).exists() else "")

    def _name(self, target: str) -> str:
        """Return a name for the pipeline of a target that nothing in the project has."""
        target = target.replace("%", "")
        file = PurePosixPath(target)
        stem = file.name.partition(".")[0].strip("_-")
        whole = target.replace("/", "-").replace(".", "-")
        taken = {self.project.name_of(place.path) for place in self.project.places} | set(self.made.values())
        taken |= {path.partition("/")[0] for path in self.project.repos}
        for text in (*([stem] if stem else []), whole, *(f"{stem or whole}-{n}" for n in range(2, 1000))):
            name = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-_")[:60] or "target"
            if re.fullmatch(NAME, name) and name not in taken and not (self.project.root / name).exists():
                return name
        raise UserError(Problem("adopt.no-name", target, "no name is left for its pipeline", "minipach new NAME"))


def adoption(project: Project, file: Path) -> Adoption:
    """Return what can be adopted of a Makefile: make is asked, in a sandbox.

    Raises:
        UserError: There is no such file, it is outside of the project, or make fails.
    """
    if not file.is_file():
        fix = "name the Makefile: minipach adopt --makefile FILE"
        raise UserError(Problem("adopt.no-makefile", str(file), "no such file", fix))
    in_project(project, str(file), file.parent, file.name)
    known: dict[str, str] = {}
    for place in project.places:
        spec = project.root / place.path / place.spec
        first = spec.read_text("utf-8", "replace").partition("\n")[0] if spec.is_file() else ""
        if origin := _ORIGIN.fullmatch(first):
            known[origin[1]] = place.path
    rules = read_rules(file)
    stages: dict[str, Stage] = {}
    members: dict[str, MakeRule] = {}
    for pattern in patterns(rules):
        alone = any(origin_of(project, file, member.target) in known for member in pattern.members)
        stage = None if alone or _no_pipeline(pattern.target, pattern) else read_pattern(file, pattern)
        if stage is not None and pattern.target not in rules:
            stages[pattern.target] = stage
            members |= {member.target: member for member in pattern.members}
            rules[pattern.target] = pattern
    rules = _in_order({target: rule for target, rule in rules.items() if target not in members})
    before = {target: known[name] for target in rules if (name := origin_of(project, file, target)) in known}
    found = Adoption(project, file, rules, {}, before, members=members, stages=stages)
    for target, pipeline in before.items():
        found.note(target, pipeline)
    return found


def origin_of(project: Project, file: Path, target: str) -> str:
    """Return the words by which a pipeline names the target that it was made from."""
    there = file.parent.resolve() / file.name  # the file itself may be a link of git-annex
    return f"{there.relative_to(Path(project.root).resolve()).as_posix()}:{target}"


def _in_order(rules: Mapping[str, MakeRule]) -> dict[str, MakeRule]:
    """Return the rules, each after those that it depends on; make reports circles and drops them."""
    pattern_of = {member.target: target for target, rule in rules.items() for member in rule.members}
    found: dict[str, MakeRule] = {}

    def reads_of(target: str) -> Iterator[str]:
        return (pattern_of.get(read, read) for read in rules[target].reads)

    def visit(start: str) -> None:
        path: list[tuple[str, Iterator[str]]] = [(start, reads_of(start))]
        open_ones = {start}
        while path:
            target, reads = path[-1]
            read = next((r for r in reads if r in rules and r not in found and r not in open_ones), None)
            if read is None:
                found[target] = rules[target]
                path.pop()
            else:
                open_ones.add(read)
                path.append((read, reads_of(read)))

    for target in rules:
        if target not in found:
            visit(target)
    return found


def _no_pipeline(target: str, rule: MakeRule) -> str:
    """Return why a rule becomes no pipeline, or ""."""
    if rule.phony:
        return "a phony target, which makes no file" + ("; its prerequisites are steps" if not rule.has_recipe else "")
    if not rule.has_recipe:
        return "no recipe"
    if rule.several:
        return "several rules with recipes (::)"
    if reserved_in_pipeline(posixpath.normpath(target).split("/", 1)[0]):
        return "its first folder is reserved in a pipeline; let the recipe write to another one"
    return ""


@dataclass
class _Sources:
    """The files that a stage reads: what they are in the project.

    Args:
        stage: The stage.
        reads: For each repo, the paths in it that are inputs; "" is all of it.
        laid: The path for the command, the repo, and the path in it.
        code: Files and folders of code, by their path in the project, with that for the command.
        left_out: The files that the command may not find or read, with the reasons.
        missing: It may not find something.
    """

    adoption: Adoption
    stage: Stage
    reads: dict[str, set[str]] = field(default_factory=dict)
    laid: list[tuple[str, str, str]] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    missing: bool = False

    def path(self, word: str) -> str:
        """Return a path of the stage as seen from the project. Raises UserError where it leads out of it."""
        return in_project(self.adoption.project, self.stage.name, self.stage.folder, word)

    def add(self, word: str) -> None:
        """Add a file or folder that the stage reads. Raises UserError where it leads out of the project."""
        project = self.adoption.project
        path, tidy = self.path(word), posixpath.normpath(word)
        repos = [*project.repos, *(place.path for place in project.places)]
        if source := self._upstream(tidy):
            self._add_input(tidy, source, tidy)
        elif repo := repo_around(repos, path):
            self._add_input(tidy, repo, path[len(repo) :].strip("/"))
        elif self.stage.has_stem and "%" in path:
            folder = path.partition("%")[0].rpartition("/")[0]
            self._add_input(tidy, folder or ".", path[len(folder) :].strip("/"))
        elif not _is_committed(project, path):
            why = "no such file, and no recipe for it"
            if self.adoption.has_recipe(tidy):
                why = _NOT_ADOPTED
            elif (project.root / path).exists():
                why = "not committed; datalad save"
            self.left_out.append(f"{word}: {why}")
            self.missing = True
        elif is_code(tidy):
            top = tidy.split("/", 1)[0] if tidy.split("/", 1)[0] in CODE_FOLDERS else tidy
            self.code[self.path(top)] = top
        else:
            self._add_input(tidy, *folder_of(project, path))

    def _upstream(self, word: str) -> str:
        """Return the pipeline that makes a file, or the folder that it is in; "" if none does."""
        made = {posixpath.normpath(target): pipeline for target, pipeline in self.adoption.made.items()}
        return made.get(repo_around(made, word), "")

    def _add_input(self, word: str, repo: str, below: str) -> None:
        self.reads.setdefault(repo, set()).add(below)
        self.laid.append((word, repo, below))

    def named_code(self) -> list[str]:
        """Return the committed files of code that the recipe names, and the rule does not."""
        found = []
        for word in dict.fromkeys(w for line in self.stage.commands for w in _WORD.findall(line)):
            if word in self.stage.reads or word in self.stage.writes or not is_code(posixpath.normpath(word)):
                continue
            with suppress(UserError):
                path = self.path(word)
                if (self.adoption.project.root / path).is_file() and _is_committed(self.adoption.project, path):
                    found.append(word)
        return found


def _draft(adoption: Adoption, stage: Stage, name: str) -> tuple[str, Draft]:
    """Return the pipeline of a stage: its data from plain folders and datasets, its code from where it lies."""
    found = _Sources(adoption, stage)
    for word in dict.fromkeys([*stage.reads, *found.named_code()]):
        found.add(word)
    groups, notes = (
        [],
        {"transform": ["the command sees its files at the paths that it had; code/run.sh puts them there"]},
    )
    for target, pattern in adoption.rules.items():
        made = adoption.made.get(target, "")
        if not made or stage.has_stem or len(_members_in(stage.reads, pattern)) < len(pattern.members or "-"):
            continue
        widened, words = read_group(stage, pattern), pattern.target.replace("%", "*")
        if widened is None:
            found.left_out.append(f"{words}: the command names each file, and does not read later ones of {made}")
            continue
        stage, found.reads[made] = widened, {""}
        members = {posixpath.normpath(member.target) for member in pattern.members}
        found.laid = [row for row in found.laid if row[0] not in members]
        groups.append((posixpath.normpath(words), made))
        notes["input"] = [*notes.get("input", ()), f"the command reads every {words} of {made}, also later ones"]
    for target, pattern in adoption.rules.items():  # of many outputs of one pipeline, all are one input
        made = adoption.made.get(target, "") if pattern.members else ""
        if len(found.reads.get(made, ())) > _MANY and not any("%" in path for path in found.reads[made]):
            found.reads[made] = {""}
    if not found.reads and found.code:  # a pipeline has an input
        repo, below = folder_of(adoption.project, sorted(found.code)[0])
        found.reads[repo] = {below}
    if not found.reads:
        fix = "name its input: minipach new NAME --input REPO:GLOB"
        more = "".join(f"; {line}" for line in found.left_out)
        raise UserError(Problem("adopt.no-input", stage.name, f"it reads no committed file{more}", fix))
    left_out = [*found.left_out, *(["the command may not find what is left out"] if found.missing else [])]
    inputs, names = stage_inputs(found.reads, has_stem=stage.has_stem)
    up = posixpath.relpath(".", name)
    laid = [MappedPath(word, _place(names, repo, below)) for word, repo, below in found.laid]
    shared = [MappedPath(word, f"{up}/{path}") for path, word in sorted(found.code.items())]
    every = [MappedPath(word, _place(names, made, word)) for word, made in groups]
    spec: dict[str, Any] = {"input": inputs, "transform": {"cmd": ["sh", "code/run.sh"]}}
    for repo, paths in found.reads.items():
        if len(paths) > 1 and "" not in paths and not stage.has_stem:
            sentence = f"the files of {repo} are those that make lists now; add later ones here and in code/run.sh"
            notes["input"] = [*notes.get("input", ()), sentence]
    if stage.has_stem:
        spec["transform"]["env"] = {"STEM": "{{ datum.1 }}"}
        notes["input"] = [f"each stem of {stage.writes[0]} is a datum, and new files are new datums"]
    if shared:
        spec["minipach"] = {"code": [one.place for one in shared]}
        notes["minipach"] = ["a change of any file of this code runs the datums again"]
    run = DraftFile("code/run.sh", stage_script(stage, laid, shared, every).encode(), True)
    origin = origin_of(adoption.project, adoption.file, stage.writes[0])
    return name, Draft(spec, notes, (run,), (*left_out, *stage.left_out), origin)


def _members_in(reads: Sequence[str], pattern: MakeRule) -> list[str]:
    """Return the targets of a pattern that a stage reads, in its order."""
    targets = {member.target for member in pattern.members}
    return [read for read in dict.fromkeys(reads) if read in targets]


def read_group(stage: Stage, pattern: MakeRule) -> Stage | None:
    """Return a stage that reads all targets of a pattern, with `*` in its commands where it lists them.

    None if a command names some of them otherwise, or a shell would not replace the `*` by the same files.

    Args:
        stage: The stage.
        pattern: The pattern.
    """
    order = _members_in(stage.reads, pattern)
    words = pattern.target.replace("%", "*")
    others = {*stage.reads, *stage.writes} - set(order)
    if not all(re.fullmatch(r"[\w./+@-]+", word) for word in order) or any(fnmatchcase(word, words) for word in others):
        return None
    listed = re.compile(rf"(?<!\S){re.escape(' '.join(order))}(?![^\s;|)&>])")
    commands = []
    for command in stage.commands:
        parts = listed.split(command)
        before = ["".join(parts[:n]) for n in range(1, len(parts))]
        quoted = any(text.count(mark) % 2 for text in before for mark in "'\"")
        if any(word in part for part in parts for word in order) or (before and (quoted or order != sorted(order))):
            return None
        if before and "<<" in command:
            return None
        commands.append((words if "/" in words else f"./{words}").join(parts))
    return replace(stage, commands=commands)


def _place(names: Mapping[str, str], repo: str, below: str) -> str:
    """Return where an input lies below /pfs."""
    full = f"{repo}/{below}".rstrip("/")
    return f"{names[full] if full in names else names[repo]}/{below}".rstrip("/")


def _is_committed(project: Project, path: str) -> bool:
    """Return whether the dataset that holds a path has it in its last commit."""
    holder = project.holder_of(path)
    if not is_dataset(project.root / holder):
        return False
    repo = Repo(project.root / holder)
    head = repo.head()
    return head is not None and bool(repo.ls_tree(head, f":(top,literal){folder_in(path, holder)}"))


def first_look(project: Project, step: AdoptionStep, given: dict[str, Pipeline | BrokenSpec]) -> tuple[list[str], str]:
    """Return the datums that a step's pipeline would have, or why they are not known yet.

    Args:
        project: The project.
        step: The step.
        given: The pipelines of earlier steps that are not written; that of this one is added.
    """
    given[step.pipeline] = load_spec(to_yaml(step.draft), source=f"{step.pipeline}/{SPEC}", folder=step.pipeline)
    seen = project.with_specs(given)
    if problems := seen.problems.get(step.pipeline):
        return [], str(problems[0])
    if waits := [up for up in seen.upstream(step.pipeline) if not is_dataset(project.root / up)]:
        return [], f"known when {', '.join(waits)} has run"
    store = SnapshotStore(seen)
    pipeline = seen.pipeline(step.pipeline)
    try:
        snapshots = {(n.repo, n.branch): store.at(n.repo, store.commit(n)) for n in pipeline.needs()}
        return [datum.name for datum in make_datums(pipeline.input, snapshots)], ""
    except UserError as error:
        return [], str(error.problems[0])
