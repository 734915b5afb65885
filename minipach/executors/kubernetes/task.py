"""The program of a pod: it runs the sets of one index of a batch in its own clones, and pushes their results.

Arguments: the folder of the clones, the project's address, the pipeline's path, the batch. The index is in
JOB_COMPLETION_INDEX. The exit code is 0 where the report is complete; a pod that ends otherwise is tried
again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import NoReturn

from minipach.execution.chunk import as_members, done_before, run_rest
from minipach.execution.run_set import is_stopping, stop_early
from minipach.execution.staging import StagingError
from minipach.executors.child_process import QUIET, end_group, end_launchers
from minipach.executors.clones import REMOTE, Clones
from minipach.executors.kubernetes.batch import UnknownBatchError, read_batch
from minipach.executors.kubernetes.manifest import INDEX_VARIABLE
from minipach.executors.kubernetes.reports import PodReporter, final, read_report, reports_of
from minipach.executors.kubernetes.sender import Sender
from minipach.executors.stored_sets import UnknownSetError
from minipach.executors.transfer import Transfer, in_a_line
from minipach.git.child_environment import child_environment, enter_environment
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot, slots_dir
from minipach.model.repo_layout import BATCH_REFS, REPORT_REFS, RESULT_REFS
from minipach.model.work_set import Outcome, WorkSet
from minipach.records.job_logs import note_set
from minipach.records.log_stream import STREAM_MARK, Following
from minipach.support.errors import UserError
from minipach.support.messages import say, show_log
from minipach.support.text import printable

_PRINT = 0.5  # seconds between two looks at the logs
_LAST_PRINT = 5.0  # seconds for the last look
_ENDED = 143
_BUSY = 75  # EX_TEMPFAIL of sysexits.h: something that passes; the pod is tried again


def main(arguments: Sequence[str]) -> int:
    """Run the sets of one index. Returns the exit code."""
    show_log()
    root, url, path, name = Path(arguments[0]), arguments[1], arguments[2], arguments[3]
    index = int(os.environ[INDEX_VARIABLE])
    if os.getpgid(0) != os.getpid() and os.getsid(0) != os.getpid():
        os.setsid()  # what ends early ends this whole group
    enter_environment(child_environment(QUIET))
    Path(os.environ.get("HOME", root)).mkdir(parents=True, exist_ok=True)
    clones = Clones(root / "clones", url)
    transfer = Transfer(clones)
    _end_well(lambda: False)
    try:
        clones.top()
        repo = clones.clone(path)
        _fetch(repo, f"+{BATCH_REFS}{name}:{BATCH_REFS}{name}")
        sets = read_batch(repo, name).indices[index]
    except (UnknownBatchError, IndexError) as error:
        say(f"minipach: nothing to do: {error}")
        return 0
    except (GitError, UserError) as error:
        if isinstance(error, GitError) and "couldn't find remote ref" in error.stderr:
            say(f"minipach: nothing to do: batch {name} was cancelled, or is done")
            return 0
        say(f"minipach: {in_a_line(error) if isinstance(error, GitError) else error}")
        return _BUSY
    _PRINTER.start(clones.logs)
    sender = Sender(Transfer(clones), repo.path)
    _end_well(lambda: sender.is_busy)
    try:
        for set_id in sets:
            if is_stopping():
                break
            try:
                _Run(transfer, sender, repo, set_id).work()
            except UnknownSetError as error:
                say(f"minipach: nothing to do: {error}")
        sender.flush()
    except (GitError, StagingError) as error:
        say(f"minipach: {in_a_line(error) if isinstance(error, GitError) else error}")
        with contextlib.suppress(StagingError):  # of sets before
            sender.flush()
        return _BUSY
    return _ENDED if is_stopping() else 0


class _Printer:
    """Prints what datums print, each line after the name of its datum: `kubectl logs` is how it is followed."""

    def __init__(self) -> None:
        self._over = Event()
        self._thread: Thread | None = None

    def start(self, folder: Path) -> None:
        """Print the logs in a folder as they grow."""
        # of its own: while datums run, standard output is their log
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self._thread = Thread(target=self._print, args=(Following(folder),), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Print the rest."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_LAST_PRINT)

    def _print(self, following: Following) -> None:
        is_over = False
        while not is_over:
            is_over = self._over.wait(_PRINT)
            for datum, line in following.look(last=is_over):
                self._out.write(f"{printable(datum)}{STREAM_MARK}{line}\n")
            self._out.flush()


_PRINTER = _Printer()


class _Run:
    """One set in this pod."""

    def __init__(self, transfer: Transfer, sender: Sender, repo: Repo, set_id: str) -> None:
        self._transfer = transfer
        self._sender = sender
        self._repo = repo
        self._id = set_id
        uid = os.environ.get("MINIPACH_POD_UID") or f"{platform.node()}-{os.getpid()}"
        self._run = re.sub(r"[^0-9a-z]", "", uid.lower())[:40] or "pod"
        self._sent: set[str] = set()

    def work(self) -> None:
        """Run the datums without a report, and push results and reports as they come.

        Raises:
            UnknownSetError: Nobody waits for the set any more.
            GitError, StagingError: The project or a store can't be reached.
        """
        repo, transfer = self._repo, self._transfer
        original = transfer.fetch_set(repo, self._id, [])
        path = os.path.relpath(repo.path, transfer.clones.root)
        work = transfer.here(original, path)
        done = self._finished(work)
        report = PodReporter(repo, work, self._run, os.environ.get("MINIPACH_POD") or platform.node())
        known = [index for index in transfer.finished(repo, work) if index not in done]
        self._sent.update(repo.refs(RESULT_REFS))

        def notify(outcome: Outcome) -> None:
            if is_stopping():  # what a set gives then is in git, and the next pod finds it
                self._push(None)
                return
            report.notify(outcome)
            report.write()
            self._push(report)

        if known:
            notify(done_before(work, known))
        left = [index for index in range(len(work.parts)) if index not in done and index not in known]
        if left:
            self._note(work, left)
            self._fetch_contents(work)
            slot = Slot(repo, slots_dir(repo) / f"pod-{os.getpid()}.0")
            run_rest(work, left, slot, as_members(work, range(len(work.parts)), notify))
        # no end is pushed: the project may have settled the set, and the report's ref would come back

    def _note(self, work: WorkSet, left: Sequence[int]) -> None:
        """Name the datums of the log, for what prints it. A chunk names those of its sets as they begin."""
        if not work.chunk:
            part = work if len(left) == len(work.parts) else work.part(left)
            note_set(Path(part.log).parent, Path(part.log).name, [str(datum["name"]) for datum in part.datums])

    def _finished(self, work: WorkSet) -> set[int]:
        """Return the datums whose last outcome an earlier pod has reported."""
        repo = self._repo
        _fetch(repo, f"+{REPORT_REFS}{self._id}-*:{REPORT_REFS}{self._id}-*")
        found: set[int] = set()
        for _, tree in reports_of(repo).get(self._id, ()):
            for outcome in read_report(repo, tree, work).outcomes:
                found.update(final(work, outcome))
        return found

    def _fetch_contents(self, work: WorkSet) -> None:
        """Fetch what the sets need to begin. A chunk's annexed files come as its sets are staged."""
        files = tuple(f for f in work.files if f.kind != "annex") if work.chunk else work.files
        for place in {f.repo for f in work.files}:
            repo = Repo(Path(place))
            self._transfer.clones.refresh(repo)
            if work.chunk:
                self._transfer.clones.enable_stores(repo)
        # the set's own staging reports missing contents: as that, datum by datum, and in the log
        with contextlib.suppress(StagingError):
            self._transfer.fetch_contents(self._repo, replace(work, files=files))

    def _push(self, report: PodReporter | None) -> None:
        """Have new results pushed with their contents, then the report about them."""
        new = [ref for ref in self._repo.refs(RESULT_REFS) if ref not in self._sent]
        tree = None if report is None else self._repo.resolve(report.ref)
        self._sender.add(new, {} if report is None or tree is None else {report.ref: tree})
        self._sent.update(new)


def _fetch(repo: Repo, refspec: str) -> None:
    repo.git("fetch", "--quiet", "--no-write-fetch-head", REMOTE, refspec)


def _end_well(is_busy: Callable[[], bool]) -> None:
    """Have SIGTERM, by which a pod is asked to end, keep the datums that are finished.

    is_busy: whether results of theirs are still to be pushed.
    """

    def end(number: int, frame: object) -> None:
        if not stop_early() and not is_busy():
            end_group(number, frame)
        end_launchers()

    signal.signal(signal.SIGTERM, end)


def end_as(arguments: Sequence[str]) -> NoReturn:
    """Run the sets of an index, and end this process with the exit code."""
    try:
        code = main(arguments)
    except Exception:
        traceback.print_exc()
        code = 1
    _PRINTER.finish()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what datalad does when Python ends takes 0.2 s, and there is nothing left to do


if __name__ == "__main__":
    end_as(sys.argv[1:])
