"""Keywords in commit messages: what their authors ask of the next pass. Lines such as `Minipach-Run: edges --force`.

A keyword is a line of a message, from its first column: `Minipach-NAME: VALUE` (as a git trailer), or
`:MINIPACH_NAME: VALUE`. Values are words and numbers from an allow-list; no shell sees them. The message of each commit
since the last pass is read.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from minipach.experiments.points import parse_points
from minipach.experiments.record import check_name
from minipach.experiments.run import experiment_chain, own_point
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.model.messages import RECORD, SUBJECT
from minipach.model.pipeline import Pipeline, Resources
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.project.targets import Targets, parse_targets
from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, suggest
from minipach.triggers.seen_refs import Tips

NOTES = "refs/notes/minipach"  # what is wrong with the keywords of a commit
MODES = ("needed", "optional", "ignored")

_MOST = 10_000  # commits that are read of one branch
_LINE = re.compile(r"^(?:Minipach-([A-Za-z][A-Za-z-]*)[ \t]*:|:MINIPACH_([A-Za-z_]+):)[ \t]*(.*)$", re.I | re.M)
_OPTIONS = frozenset({"--force", "--retry-failed", "--keep-going", "--upstream", "--no-downstream"})
_NAMES = ("Run", "Skip", "Gpus", "Memory", "Vcpus", "Exp")
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that a commit asks for. words: as `minipach schedule` takes them · options: some of the allow-list ·
    resources: requested in place of the spec's; None: as the spec has them · repo, commit: of the message.
    """

    words: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    resources: Resources | None = None
    repo: str = field(default="", compare=False)
    commit: str = field(default="", compare=False)

    @property
    def where(self) -> str:
        """The commit and the keyword, as people see them."""
        return f"{self.repo or '.'} {self.commit[:12]}: Minipach-Run"

    def targets(self, project: Project) -> Targets:
        """Return what is to run. UserError if there is no such pipeline."""
        found = parse_targets(
            project,
            self.words,
            upstream="--upstream" in self.options,
            downstream="--no-downstream" not in self.options,
        )
        return found

    def given(self, project: Project) -> Mapping[str, Pipeline]:
        """Return the pipelines that it names, with its resources."""
        if self.resources is None:
            return {}
        named = [path for path in self.targets(project).named if path in project.pipelines]
        return {path: _with(project.pipelines[path], self.resources) for path in named}


@dataclass(frozen=True, slots=True)
class ExperimentRequest:
    """An experiment that a commit asks for. words: `PIPELINE.PARAMETER=VALUES` each; none: the parameters that the
    pipeline at `path` has · repo, commit: of the message.
    """

    name: str
    words: tuple[str, ...] = ()
    path: str = ""
    repo: str = field(default="", compare=False)
    commit: str = field(default="", compare=False)

    @property
    def where(self) -> str:
        """The commit and the keyword, as people see them."""
        return f"{self.repo or '.'} {self.commit[:12]}: Minipach-Exp: {self.name}"


@dataclass(frozen=True, slots=True)
class BadKeyword:
    """A keyword that can't be followed: the repo, the commit, and the reason."""

    repo: str
    commit: str
    problem: Problem


@dataclass
class Wishes:
    """The wishes of the commits since the last pass. skipped: a commit that asks to skip, as people see it, if all do;
    None: not all do · needed: a keyword is needed, and there is none · trials: experiments, in the order of commits.
    """

    requests: list[RunRequest] = field(default_factory=list)
    trials: list[ExperimentRequest] = field(default_factory=list)
    wrong: list[BadKeyword] = field(default_factory=list)
    skipped: str | None = None
    needed: bool = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The reasons why keywords can't be followed."""
        return tuple(wrong.problem for wrong in self.wrong)

    def refuse(self, project: Project, request: RunRequest, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """Note at a commit why its run can't begin. Return the problems, located at the commit."""
        found = tuple(problem.within(request.where) for problem in problems)
        self.wrong += [BadKeyword(request.repo, request.commit, problem) for problem in found]
        note_wrong(project, [wrong for wrong in self.wrong if wrong.commit == request.commit])
        return found

    def left_out(self, project: Project, targets: Targets) -> dict[str, str]:
        """Return why the pipelines have no part, by name, if a commit or its lack of a keyword says so."""
        if self.skipped is not None:
            why = f"{self.skipped} says Minipach-Skip; the next commit without it runs this, too"
        elif self.needed:
            why = "no commit asks for it with Minipach-Run (minipach.commit-keywords)"
        else:
            return {}
        return {project.name_of(path): why for path in targets.order}


def mode_of(project: Project) -> str:
    """Return whether keywords are `needed`, `optional` or `ignored` (`minipach.commit-keywords`).

    Raises:
        UserError: The setting has another value.
    """
    value = local_setting(project.repo, "commit-keywords") or "optional"
    if value not in MODES:
        raise bad_setting("commit-keywords", f'"{value}" is none of {", ".join(MODES)}', "optional")
    return value


def read_wishes(project: Project, before: Tips | None, now: Tips, *, lasting: bool) -> Wishes:
    """Read the messages of all commits between two states of the branches.

    Repos and projects that no pass has seen before ask for nothing: their history is old.

    Args:
        project: The project.
        before: The branches for which all is done; None: no pass has ended yet.
        now: The branches as they are.
        lasting: Whether sets outlive a pass, so that later passes would take resources from the spec again.
    """
    found = Wishes()
    skips: list[str | None] = []
    for path, tips in now.items():
        old = (before or {}).get(path)
        if not old:
            continue
        for commit, message in _commits(Repo(project.root / path), old, tips):
            subject = message.partition("\n")[0]
            if subject.startswith((SUBJECT, RECORD)):
                if path and path not in project.order:
                    skips.append(None)  # an import or a tick: new data, which nobody asked to skip
                continue
            where = f"{path or '.'} {commit[:12]}"
            request, trial, skip, wrong = _parse(project, message, path, where, lasting=lasting)
            found.wrong += [BadKeyword(path, commit, problem) for problem in wrong]
            skips.append(where if skip else None)
            if request is not None and request not in found.requests:
                found.requests.append(replace(request, repo=path, commit=commit))
            if trial is not None and trial not in found.trials:
                found.trials.append(replace(trial, repo=path, commit=commit))
    if skips and all(skips) and not found.requests and not found.trials:
        found.skipped = skips[0]
    return found


def note_wrong(project: Project, wrong: list[BadKeyword]) -> None:
    """Write a git note for each commit whose keywords can't be followed, so that `git log` shows it."""
    texts: dict[tuple[str, str], list[str]] = {}
    for one in wrong:
        texts.setdefault((one.repo, one.commit), []).append(str(one.problem))
    for (path, commit), lines in texts.items():
        repo = Repo(project.root / path)
        text = "\n".join(dict.fromkeys(lines)) + "\n"
        try:
            if os.fsdecode(repo.git("notes", f"--ref={NOTES}", "show", commit, ok=(0, 1))) != text:
                repo.git("notes", f"--ref={NOTES}", "add", "-f", "-F", "-", commit, stdin=os.fsencode(text))
        except GitError:
            continue  # no identity for commits; the log and `minipach triggers` have the line


def _commits(repo: Repo, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the commits that came to branches, with their messages, each once; the oldest first."""
    moved = sorted({c for ref, c in new.items() if old.get(ref) != c and not c.startswith("ref: ")})
    known = sorted({c for c in old.values() if not c.startswith("ref: ")})
    here = [c for c in known if repo.succeeds("cat-file", "-e", f"{c}^{{commit}}")]
    if not moved:
        return
    # where the old commits are gone (a new clone, a history that was written again), only the tips are known to be new
    limit = [f"--max-count={_MOST}", "--not", *here] if here else ["--no-walk=unsorted"]
    try:
        out = repo.git("log", "-z", "--no-show-signature", "--no-notes", "--format=%H%n%B", *moved, *limit)
    except GitError:  # a branch points nowhere
        return
    for row in reversed([row for row in out.split(b"\0") if row]):
        commit, _, message = row.decode("utf-8", "replace").partition("\n")
        yield commit, message


@dataclass
class _Keywords:
    """The keywords of one message. trial: the name of an experiment and what follows it."""

    request: RunRequest | None = None
    trial: tuple[str, tuple[str, ...]] | None = None
    skip: bool = False
    numbers: dict[str, int] = field(default_factory=dict)

    def take(self, project: Project, name: str, value: str, where: str) -> None:
        """Take a keyword. UserError if it can't be followed."""
        if name == "Run":
            if self.request is not None:
                raise _bad(where, name, value, "a second run in one commit", "name all pipelines in one line")
            self.request = _request(project, value, where)
        elif name == "Exp":
            if self.trial is not None:
                raise _bad(where, name, value, "a second experiment in one commit", "make a commit for each")
            self.trial = _trial_words(value, where)
        elif name == "Skip":
            self.skip = _truth(value, where)
        elif name in ("Gpus", "Memory", "Vcpus"):
            self.numbers[name] = _number(name, value, where)
        else:
            raise _bad(where, name, value, "no such keyword", suggest(name, _NAMES) or "leave the line out")


def _parse(
    project: Project, message: str, path: str, where: str, *, lasting: bool
) -> tuple[RunRequest | None, ExperimentRequest | None, bool, list[Problem]]:
    """Return the run and the experiment that a message asks for, whether it asks to skip, and what is wrong with it."""
    words = _Keywords()
    wrong: list[Problem] = []
    for found in _LINE.finditer(message.replace("\r\n", "\n")):
        name = (found[1] or found[2]).replace("_", "-").capitalize()
        try:
            words.take(project, name, found[3].strip(), where)
        except UserError as error:
            wrong += error.problems
    request, numbers, trial = words.request, words.numbers, None
    if words.trial is not None:
        try:
            trial = _trial(project, *words.trial, path, request)
        except UserError as error:
            wrong += [problem.within(f"{where}: Minipach-Exp: {words.trial[0]}") for problem in error.problems]
    skip = words.skip and request is None and trial is None
    if words.skip and not skip:
        wrong += _bad(where, "Skip", "true", "the commit asks for a run, too", "leave one of them out").problems
    if numbers and (request is None or lasting):
        name, number = next(iter(numbers.items()))
        why = "it needs a run in the same commit" if request is None else "resources of one run need the executor local"
        fix = "add Minipach-Run: PIPELINE to the message" if request is None else "set resource_requests in the spec"
        wrong += _bad(where, name, str(number), why, fix).problems
    elif request is not None and numbers:
        request = replace(request, resources=_resources(numbers))
    return request, trial, skip, wrong


def _trial_words(value: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of an experiment, and what follows it."""
    try:
        name, *words = shlex.split(value) or [""]
        return check_name(name), tuple(words)
    except ValueError:
        raise _bad(where, "Exp", value, "a quote is not closed", "close it") from None
    except UserError as error:
        raise UserError([problem.within(f"{where}: Minipach-Exp") for problem in error.problems]) from None


def _trial(
    project: Project, name: str, words: tuple[str, ...], repo: str, request: RunRequest | None
) -> ExperimentRequest:
    """Return an experiment. Without values, it is one of the pipeline that is named, or that is meant."""
    if any("=" in word for word in words):
        return ExperimentRequest(name, words, experiment_chain(project, parse_points(words)[0])[-1])
    named = list(request.targets(project).named) if request is not None and request.words else []
    if words:
        paths = [project.path_of(word) for word in words]
    elif named:
        paths = named
    elif repo in project.order:
        paths = [repo]
    else:
        paths = [path for path in project.order if path in project.pipelines and own_point(project, path)]
    if len(paths) != 1:
        message = "the pipeline of the experiment is not clear"
        fix = f"write Minipach-Exp: {name} PIPELINE, or Minipach-Exp: {name} PIPELINE.PARAMETER=VALUES"
        raise UserError(Problem("commit.bad-keyword", "", message, fix))
    return ExperimentRequest(name, (), paths[0])


def _request(project: Project, value: str, where: str) -> RunRequest:
    try:
        words = shlex.split(value)
    except ValueError:
        raise _bad(where, "Run", value, "a quote is not closed", "close it") from None
    options = [word for word in words if word.startswith("-")]
    for option in options:
        if option not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise _bad(where, "Run", value, f"{printable(option)} is not allowed here", f"use some of {known}")
    request = RunRequest(tuple(word for word in words if not word.startswith("-")), frozenset(options))
    try:
        request.targets(project)
    except UserError as error:
        raise UserError([problem.within(f"{where}: Minipach-Run") for problem in error.problems]) from None
    return request


def _truth(value: str, where: str) -> bool:
    if value.lower() not in _TRUE | _FALSE:
        raise _bad(where, "Skip", value, "neither true nor false", "write Minipach-Skip: true")
    return value.lower() in _TRUE


def _number(name: str, value: str, where: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        unit = " (of MiB)" if name == "Memory" else ""
        raise _bad(where, name, value, f"not a number{unit}", f"write Minipach-{name}: 2")
    return int(value)


def _resources(numbers: Mapping[str, int]) -> Resources:
    memory = numbers.get("Memory")
    return Resources(
        cpu=float(numbers["Vcpus"]) if "Vcpus" in numbers else None,
        memory=memory * 1024 * 1024 if memory else None,
        gpu_number=numbers.get("Gpus", 0),
    )


def _with(pipeline: Pipeline, wanted: Resources) -> Pipeline:
    ask = pipeline.resource_requests or Resources()
    return replace(
        pipeline,
        resource_requests=replace(
            ask,
            cpu=wanted.cpu or ask.cpu,
            memory=wanted.memory or ask.memory,
            gpu_number=wanted.gpu_number or ask.gpu_number,
        ),
    )


def _bad(where: str, name: str, value: str, message: str, fix: str) -> UserError:
    shown = printable(value)[:80]
    return UserError(Problem("commit.bad-keyword", f"{where}: Minipach-{name}: {shown}", message, fix))
