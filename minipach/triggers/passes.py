"""Passes that a trigger asks for. A trigger writes a line to `.git/minipach/heard`; a pass reads git, never the line.

Order of a pass: wait for the pass before; wait until nothing has been heard for a moment; remove `waiting`; take
`heard` away; read git. A line that comes before `heard` is taken belongs to this pass. A line that comes later finds no
`waiting`, so that its hook starts one more pass.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minipach.executors.registry import chosen
from minipach.experiments.run import own_point, run_experiment, run_points
from minipach.git.repo import Repo, is_dataset
from minipach.git.settings import drop_variables
from minipach.model.local_state import LocalState
from minipach.project.background_command import start_minipach
from minipach.project.pauses import paused
from minipach.project.project import Project, find_project
from minipach.project.targets import Targets
from minipach.scheduling.events import Message, Reporter
from minipach.scheduling.schedule_report import Options, PipelineReport, ScheduleReport
from minipach.scheduling.service import run
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.files import write_whole
from minipach.support.processes import is_alive
from minipach.support.text import many, printable
from minipach.support.validation import InvalidError, parse_object
from minipach.triggers import alerts, bare_repos, bucket_inputs, followed_remotes, hooks
from minipach.triggers.commit_messages import BadKeyword, Wishes, mode_of, note_wrong, read_wishes
from minipach.triggers.push_back import note_pushing, push_back
from minipach.triggers.seen_refs import Tips, begin_pass, end_pass, tips_of, with_own_moves
from minipach.triggers.webhook_secrets import PREFIX

_QUIET = 0.3  # seconds without a new line after which a pass begins: one command often moves several branches
_LONGEST = 1.5  # seconds after which it begins although lines keep coming
_QUIET_IN_A_ROW, _LONGEST_IN_A_ROW = 2.4, 24.0  # the same, at most, while saves keep coming during passes
_ONE_SAVE = 2  # lines of one `datalad save -r`: a repo, and the superdataset
_LOCKED = 10.0  # seconds to wait for a git command that holds the index of a repo
CAUSES = ("hook", "event", "watch", "clock", "look")  # look: `serve` looks without an event
_FAILURES = 5  # of an experiment, that are logged
_LOG_SIZE = 1_000_000  # bytes of the log, after which a new one begins


@dataclass(frozen=True, slots=True)
class PassSummary:
    """The summary of a pass. heard: how many lines it answers · left_out: pipelines that had no part, and why.

    last_heard: when the last of the lines was written (UTC, ISO 8601); None: it is not known · cause: that of
    its jobs · in_a_row: how many passes came right before it, each asked for while another one ran.
    """

    at: str
    heard: int
    last_heard: str | None = None
    seconds: float = 0.0
    pipelines: tuple[dict[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    cause: str = ""
    in_a_row: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored in `.git/minipach/looked.json`."""
        return {
            "schema": 1,
            "at": self.at,
            "heard": self.heard,
            "last_heard": self.last_heard,
            "seconds": round(self.seconds, 2),
            "pipelines": list(self.pipelines),
            "problems": problems_json(self.problems),
            "left_out": self.left_out,
            "cause": self.cause,
            "in_a_row": self.in_a_row,
        }


def ask_for_pass(project: Project, line: str) -> subprocess.Popen[bytes] | None:
    """Write a line to `heard`, and start the process that makes a pass for it. None: one waits that answers it.

    For triggers that are no hooks: it does what `triggers/hook` does. The process belongs to a session of its own.
    """
    state = project.local
    state.folder.mkdir(exist_ok=True)  # no more: the project may have gone
    with state.heard.open("ab") as file:
        file.write(os.fsencode(line.replace("\n", " ")) + b"\n")
    return start_pass(project)


def start_pass(project: Project) -> subprocess.Popen[bytes] | None:
    """Start the process that makes a pass for what was heard. None: one waits already."""
    state = project.local
    if is_waiting(state):
        return None
    env = dict(os.environ)
    drop_variables(env)
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE", *(name for name in os.environ if name.startswith(PREFIX))):
        env.pop(name, None)
    with state.passes_log.open("ab") as log:
        process = start_minipach(project.root, ("hooks", "run"), log, env)
    state.waiting.write_text(f"{process.pid} {_began(process.pid) or ''}\n")
    return process


def is_waiting(state: LocalState) -> bool:
    """Return whether a process waits to begin a pass. It answers each line that is in `heard` by then."""
    words = _read(state.waiting).split()
    if not words or not words[0].isdecimal():
        return False
    if not is_alive(words[0]):
        return False
    began = _began(int(words[0]))
    return began is None or len(words) < 2 or began == words[1]


def is_held(lock: Path) -> bool:
    """Return whether a process holds a lock."""
    try:
        with lock.open() as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _began(pid: int) -> str | None:
    """Return when a process started, as /proc has it; "ended" for one that has ended; None where there is no /proc."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return None
    words = stat.rpartition(b")")[2].split()
    return "ended" if words[0] in (b"Z", b"X") else words[19].decode()


def answer_requests(root: Path, reporter: Reporter) -> ScheduleReport | None:
    """Make one pass for all that was heard until now. None: nothing was heard since the last pass began.

    Raises:
        UserError: Something for the user to fix; `looked.json` has it too.
    """
    project = find_project(root)
    state = project.local
    state.folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(state) as waited:
        row = _in_a_row(state) if waited else 0
        _settle(project, *settling(row))
        last = modified(state.heard)
        lines = _take(state)
        if not lines:
            return None
        began = time.monotonic()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        reporter.report(Message(f"{at}: a pass, asked for by {len(lines)} line(s) in {state.heard}"))
        missed: tuple[Problem, ...] = ()
        for bring in (bare_repos.update, followed_remotes.fetch, bucket_inputs.update):
            missed += _tried(bring, root, reporter)
        project = find_project(root)  # as it is now
        tips = tips_of(project)
        done = begin_pass(state, tips)
        left_out: dict[str, str] = {}
        look = PassSummary(at, len(lines), last, cause=cause_of(lines), in_a_row=row)
        try:
            targets, left_out = by_itself(project)
            wishes = _wishes(project, done, tips, reporter)
            left_out |= wishes.left_out(project, targets)
            for name, why in left_out.items():
                reporter.report(Message(f"{name}: left out: {why}"))
            missed += wishes.problems
            # a save may be under way, whose own commit of the superdataset would fail if ours came before it
            options = Options(postpone=state.heard.exists, leave=state.heard.exists, cause=look.cause)
            report, refused = _run(project, targets, wishes, options, reporter)
            missed += refused
            missed += _experiments(root, wishes, reporter)
            for hook in hooks.complete(find_project(root)):
                reporter.report(Message(f"{hook.repo}: hook installed"))
        except UserError as error:
            seconds, problems = time.monotonic() - began, (*missed, *error.problems)
            _note(state, replace(look, seconds=seconds, problems=problems, left_out=left_out))
            state.taken.unlink(missing_ok=True)
            alerts.evaluate(project)
            raise
        missed += _tried(push_back, root, reporter)
        note_pushing(project)
        if wishes.skipped is None:  # else the next pass reads these commits again
            end_pass(state, with_own_moves(project, tips))
        rows = tuple(p.as_json() for p in report.pipelines)
        seconds, problems = time.monotonic() - began, (*missed, *report.problems)
        _note(state, replace(look, seconds=seconds, pipelines=rows, problems=problems, left_out=left_out))
        state.taken.unlink(missing_ok=True)
        _rotate(state.passes_log)
        alerts.evaluate(find_project(root))
        return report


def _tried(
    act: Callable[[Project, Reporter], tuple[Problem, ...]], root: Path, reporter: Reporter
) -> tuple[Problem, ...]:
    """Return what could not be brought or sent. A setting that can't be used is such a problem: the pass continues."""
    try:
        return act(find_project(root), reporter)
    except UserError as error:
        for problem in error.problems:
            reporter.report(Message(str(problem)))
        return error.problems


def _wishes(project: Project, before: Tips | None, now: Tips, reporter: Reporter) -> Wishes:
    """Read what commits ask for; report what can't be followed, in the log and as git notes."""
    mode = mode_of(project)
    if mode == "ignored":
        return Wishes()
    wishes = read_wishes(project, before, now, lasting=chosen(project).lasting)
    wishes.needed = mode == "needed" and not wishes.requests
    for problem in wishes.problems:
        reporter.report(Message(str(problem)))
    note_wrong(project, wishes.wrong)
    return wishes


def _run(
    project: Project, targets: Targets, wishes: Wishes, options: Options, reporter: Reporter
) -> tuple[ScheduleReport, tuple[Problem, ...]]:
    """Run what commits ask for, then what is missing. Return also why runs with resources of their own can't begin."""
    reports = []
    refused: tuple[Problem, ...] = ()
    for request in wishes.requests:
        asked = Project(project.root, request.given(project))
        wanted = request.targets(asked)
        order = tuple(path for path in wanted.order if path in targets.order)
        if order:
            reporter.report(Message(f"a commit asks for: {printable(' '.join((*request.words, *request.options)))}"))
            chosen_options = replace(
                options,
                leave=None,  # the next pass would not know of the request
                force="--force" in request.options,
                keep_going="--keep-going" in request.options,
                retry_failed="--retry-failed" in request.options,
            )
            patterns = {path: found for path, found in wanted.patterns.items() if path in order}
            limited = Targets(order, patterns, wanted.named & set(order))
            try:
                reports.append(run(asked, limited, chosen_options, reporter))
            except UserError as error:
                if request.resources is None:
                    raise
                # a commit that asks for too much must not stop this pass and all that follow
                found = wishes.refuse(project, request, error.problems)
                for problem in found:
                    reporter.report(Message(str(problem)))
                refused += found
    if wishes.needed and options.cause == "clock":  # no commit is asked about; what a clock runs is
        timed = [path for path in targets.order if path in project.pipelines and project.pipelines[path].clocks()]
        order = tuple(path for path in project.downstream(timed) if path in targets.order)
        reports.append(run(project, Targets(order, {}, frozenset(timed)), options, reporter))
    elif wishes.skipped is None and not wishes.needed and (not reports or mode_of(project) == "optional"):
        fresh = find_project(project.root) if reports else project
        reports.append(run(fresh, by_itself(fresh)[0] if reports else targets, options, reporter))
    if not reports:
        return ScheduleReport((), (), None), refused
    rows: dict[str, PipelineReport] = {}
    for report in reports:
        for row in report.pipelines:
            if row.name not in rows or row.state != "current":
                rows[row.name] = row
    commits = [report.commit for report in reports if report.commit is not None]
    problems = tuple(dict.fromkeys(problem for report in reports for problem in report.problems))
    return ScheduleReport(tuple(rows.values()), problems, commits[-1] if commits else None), refused


def _experiments(root: Path, wishes: Wishes, reporter: Reporter) -> tuple[Problem, ...]:
    """Run the experiments that commits ask for; return what could not be done."""

    def notify(line: str) -> None:
        reporter.report(Message(line))

    problems: list[Problem] = []
    for trial in wishes.trials:
        project = find_project(root)
        notify(f"a commit asks for the experiment {trial.name}")
        try:
            if why := paused(project).get(trial.path):
                name = project.name_of(trial.path)
                fix = f"{why}, then commit with the line again"
                raise UserError(Problem("commit.paused", "", f"{name} is paused", fix))
            if trial.words:
                done = run_experiment(project, trial.words, trial.name, notify)
            else:
                done = run_points(project, trial.path, [own_point(project, trial.path)], trial.name, notify)
        except UserError as error:
            found = [problem.within(trial.where) for problem in error.problems]
            note_wrong(project, [BadKeyword(trial.repo, trial.commit, problem) for problem in found])
        else:
            for end in done.failed[:_FAILURES]:
                notify(f"failed: {end.datum}: {end.message}; {end.log}")
            notify(f"{trial.name}: {done.ran} computed, {done.known} had a result, {len(done.failed)} failed")
            failed = f"{many(len(done.failed), 'datum')} failed"
            fix = f"minipach exp show {trial.name}"
            found = [Problem("commit.experiment-failed", trial.where, failed, fix)] if done.failed else []
        for problem in found:
            notify(str(problem))
        problems += found
    return tuple(problems)


def cause_of(lines: Sequence[str]) -> str:
    """Return the kind of trigger that asked for a pass; of several, the one nearest to what people do."""
    kinds = {_kind(line.split(" ", 1)[0]) for line in lines}
    return next(kind for kind in CAUSES if kind in kinds)


def _kind(word: str) -> str:
    if word == "serve:":
        return "look"
    return "event" if word.endswith(":") else word if word in ("watch", "clock") else "hook"


def by_itself(project: Project) -> tuple[Targets, dict[str, str]]:
    """Return the pipelines that a pass without a user brings up to date, and why others have no part, by name."""
    left_out: dict[str, str] = {}
    order: list[str] = []
    waits = paused(project)
    for path in project.order:
        problems = project.trouble([path])
        if path in waits:
            left_out[project.name_of(path)] = f"paused; {waits[path]}"
        elif problems:
            left_out[project.name_of(path)] = str(problems[0])
        else:
            order.append(path)
    while lacking := {path: lines for path in order if (lines := project.lacks(path, but=order))}:
        for path, lines in lacking.items():
            left_out[project.name_of(path)] = str(lines[0])
            order.remove(path)
    return Targets(tuple(order), {}, frozenset(order)), left_out


@contextmanager
def _one_at_a_time(state: LocalState) -> Iterator[bool]:
    """Hold the lock of passes. The value: whether another pass ran when this one was asked for."""
    with state.answering.open("a") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = False
        except BlockingIOError:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            waited = True
        yield waited


def _in_a_row(state: LocalState) -> int:
    """Return how many passes in a row come before one that was asked for while another one ran.

    Only passes that answered several saves count: where each save comes alone, to wait would bring nothing.
    """
    try:
        last = parse_object(state.looked.read_bytes())
    except (OSError, InvalidError):
        return 0
    before, heard = last.get("in_a_row"), last.get("heard")
    if type(before) is not int or type(heard) is not int or not 0 <= before < 1_000_000:
        return 0
    return before + (heard > _ONE_SAVE)


def settling(in_a_row: int) -> tuple[float, float]:
    """Return the seconds without a new line after which a pass begins, and those after which it begins in any case.

    Where saves keep coming while passes run, each pass in a row waits twice as long as the one before it, so that few
    passes serve many saves. After a pause, a single save starts as soon as before.
    """
    factor = 2 ** min(in_a_row, 10)
    return min(_QUIET * factor, _QUIET_IN_A_ROW), min(_LONGEST * factor, _LONGEST_IN_A_ROW)


def _settle(project: Project, quiet: float, longest: float) -> None:
    """Wait until nothing has been heard for a moment, and no git command holds the index of a repo."""
    heard = project.local.heard
    begin = time.monotonic()
    while (left := begin + longest - time.monotonic()) > 0:
        age = _age(heard)
        if age is None or not 0 <= age < quiet:
            break
        time.sleep(min(quiet - age, left))
    begin = time.monotonic()
    folders = [project.repo.common_dir, *(_git_dir(project, path) for path in project.repos)]
    while time.monotonic() - begin < _LOCKED and any((folder / "index.lock").exists() for folder in folders):
        time.sleep(0.1)


def _git_dir(project: Project, path: str) -> Path:
    folder = project.root / path
    inside = folder / ".git"
    return inside if inside.is_dir() or not is_dataset(folder) else Repo(folder).common_dir


def _age(file: Path) -> float | None:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return None


def _take(state: LocalState) -> list[str]:
    """Take the lines that were heard, those of a pass that was killed included."""
    waiting = state.waiting
    own = _read(waiting).split()[:1] == [str(os.getpid())]
    if own:
        waiting.unlink(missing_ok=True)
    try:
        if (
            not state.taken.exists()
        ):  # in one step: whoever looks sees one of both files, also if this process is killed
            state.heard.rename(state.taken)
        else:  # of a pass that was killed, which is answered in any case
            fresh = state.taken.with_name(f"{state.taken.name}.{os.getpid()}")
            state.heard.rename(fresh)
            with state.taken.open("a") as file:
                file.write(_read(fresh))
            fresh.unlink()
    except FileNotFoundError:  # nothing is new
        pass
    return _read(state.taken).splitlines()


def modified(file: Path) -> str | None:
    """Return when a file was last written (UTC, ISO 8601); None: there is none."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except FileNotFoundError:
        return None


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _note(state: LocalState, look: PassSummary) -> None:
    write_whole(state.looked, json.dumps(look.as_json()))


def _rotate(log: Path) -> None:
    if log.is_file() and log.stat().st_size > _LOG_SIZE:
        log.replace(log.with_name(f"{log.name}.1"))
