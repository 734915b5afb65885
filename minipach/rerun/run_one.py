"""Try one datum in scratch: run it and look at its outputs, or open a shell in its place. Nothing is kept."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.execution.chosen_runtime import chosen_runtime
from minipach.execution.datum_layout import command_line, lay_out
from minipach.execution.secrets import SecretError, secret_values
from minipach.execution.staging import StagingError
from minipach.git.child_environment import child_environment
from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, clear_scratch, kill_inside, slots_dir
from minipach.model.launch_protocol import INTERACTIVE, TESTED
from minipach.model.work_set import WorkSet
from minipach.project.project import Project
from minipach.project.targets import parse_targets
from minipach.rerun.repeated_run import Processes, run_reported
from minipach.rerun.working_tree import assess, working_project
from minipach.scheduling.base_commit import scratch_base
from minipach.scheduling.work_sets import make_set
from minipach.support.errors import Problem, UserError

TEXT_LIMIT = 2000  # bytes of an output that is shown as text
_JOB = "0" * 32  # a trial is no job
_SHELL = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """A file that a trial wrote. text: its content, if that is short text."""

    path: str
    bytes: int
    text: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach run-one --json`."""
        return {"path": self.path, "bytes": self.bytes, **({} if self.text is None else {"text": self.text})}


@dataclass(frozen=True, slots=True)
class ScratchRun:
    """The outcome of a run in scratch. seconds: wall time of the command · why: it failed, as a job would say it."""

    pipeline: str
    datum: str
    id: str
    exit: int
    seconds: float
    outputs: tuple[TrialOutput, ...]
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach run-one --json`."""
        return {
            "pipeline": self.pipeline,
            "datum": self.datum,
            "id": self.id,
            "exit": self.exit,
            "seconds": round(self.seconds, 3),
            "outputs": [output.as_json() for output in self.outputs],
        }


@dataclass(frozen=True, slots=True)
class ChosenDatum:
    """A datum made ready to be tried: as committed now, whether it ran before or not."""

    id: str
    work: WorkSet

    @property
    def name(self) -> str:
        """The datum's name."""
        return str(self.work.datums[0]["name"])

    @property
    def command(self) -> tuple[str, ...]:
        """The words that a run would start; `tail` has those of err_cmd before it."""
        at = 0
        while self.work.tail[at] != "--":  # -x WORD, -j LINE: a word may be -- too
            at += 2
        return self.work.tail[at + 1 :]


def choose(project: Project, word: str, *, committed: bool = False) -> ChosenDatum:
    """Return the datum that `PIPELINE:DATUM` names; UserError if it is not exactly one, or cannot be tried now.

    committed: as in the last commit of the pipeline; else as in its working tree.
    """
    if not word.partition(":")[2]:
        raise UserError(
            Problem(
                "datum.not-named",
                word,
                f"name one datum, as in {word.rstrip(':')}:DATUM",
                f"minipach datums {word.rstrip(':')}",
            )
        )
    targets = parse_targets(project, [word], downstream=False)
    (path,) = targets.order
    project = project if committed else working_project(project, [path])
    project.need(targets.order)
    assessment = assess(project, path, committed=committed)
    try:
        tasks = {t.datum.name: t for t in assessment.tasks}
        names = sorted(targets.names(path, sorted(tasks), assessment.pipeline.exclude))
        if len(names) > 1:
            more = ", ..." if len(names) > 3 else ""
            raise UserError(
                Problem(
                    "datum.ambiguous", word, f"{len(names)} datums ({', '.join(names[:3])}{more})", "name one of them"
                )
            )
        task = tasks[names[0]]
        work = make_set(assessment, scratch_base(assessment), [task], _JOB, "")
        return ChosenDatum(task.id, work)
    finally:
        assessment.close()


def run_one(chosen: ChosenDatum, *, get: bool = False) -> ScratchRun:
    """Run the datum once; what it prints goes to stderr. UserError if its inputs can't be had. get: fetch them."""
    processes = Processes()
    secrets = _secrets(chosen.work)
    with (
        _scratch(chosen.work, get=get) as slot,
        ThreadPoolExecutor(1) as pool,
    ):
        started = time.monotonic()
        # in a thread, so that an interrupt can end what runs
        future = pool.submit(run_reported, chosen.work, slot, processes, None, secrets)
        try:
            tried = future.result()
        except BaseException:
            processes.cancel()
            raise
        seconds = time.monotonic() - started
        outputs = tuple(_output(slot.path, path) for path in sorted(tried.report.outputs))
    why = tried.failure or tried.message
    return ScratchRun(chosen.work.pipeline, chosen.name, chosen.id, tried.exit, seconds, outputs, why)


def open_shell(chosen: ChosenDatum, *, get: bool = False) -> int:
    """Return a shell on this terminal in the place of the datum's command.

    Its exit code. get: fetch its inputs first.
    """
    # a shell is no loop over datums: the launcher ignores -b on a terminal
    work = replace(chosen.work, tail=("--", "sh", "-c", _SHELL))
    with _scratch(work, get=get) as slot:
        tested = chosen_runtime(slot.path, work.image).name
        env = child_environment({INTERACTIVE: "1", TESTED: tested, **_secrets(work)})
        # in our own process group, which has the terminal
        process = subprocess.Popen(command_line(work), cwd=slot.path, env=env)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # Ctrl-C is the shell's


def _secrets(work: WorkSet) -> dict[str, str]:
    try:
        return secret_values(work.secrets, work.secrets_folder)
    except SecretError as error:
        raise UserError(Problem("secret.unavailable", "", str(error))) from None


@contextmanager
def _scratch(work: WorkSet, *, get: bool) -> Iterator[Slot]:
    """Yield a slot with the datum's inputs; remove it afterwards, with its processes."""
    repo = Repo(Path(work.repo))
    owner = Owner(repo)
    slot = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
    try:
        try:
            lay_out(work, slot, get=get)
        except StagingError as error:
            raise UserError(Problem("input.content-missing", "", str(error))) from None
        yield slot
    finally:
        if slot.path.exists():
            kill_inside(slot.path)
            clear_scratch(slot.path)
        slot.remove()
        owner.release()
        repo.close()


def _output(slot: Path, path: str) -> TrialOutput:
    there = slot / path
    if there.is_symlink():
        return TrialOutput(path, 0, f"-> {os.readlink(there)}")
    size = there.stat().st_size
    text = None
    if size <= TEXT_LIMIT:
        try:
            text = there.read_bytes().decode()
        except UnicodeDecodeError:
            text = None
        if text is not None and "\0" in text:
            text = None
    return TrialOutput(path, size, text)
