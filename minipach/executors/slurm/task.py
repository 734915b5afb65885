"""A task of an array: it runs one set or chunk in a slot, and writes the outcome to a file of its own.

The batch process itself only waits, and ends the whole tree when Slurm asks; the work is done in a child of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from minipach.execution.set_size import MOST
from minipach.executors.child_process import QUIET
from minipach.executors.slurm.submission import OutcomeWriter, Submission
from minipach.executors.stored_sets import UnknownSetError
from minipach.git.child_environment import child_environment, enter_environment
from minipach.git.gc_lock import gc_held_off
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot, kill_inside, remove_slot, slots_dir
from minipach.model.launch_protocol import LAUNCHER_GRACE
from minipach.model.work_set import Outcome, WorkSet
from minipach.support.errors import UserError
from minipach.support.messages import say, show_log

SLOT = "slurm-"  # how slots of tasks are called: not as those that end with a process of this machine
_ENDED = 143
_END = signal.SIGUSR1  # from the batch process to its child: end
_KEEPING = 3  # seconds to store what a set has finished; Slurm's KillWait is 30 by default


class _AskedToEnd(BaseException):
    """SIGTERM: by scancel, or since the time limit is near; SIGALRM: the job has had its time."""


def main() -> int:
    """Run the task that the environment names, of the array `argv[2]` of the submission `argv[1]`."""
    signal.signal(signal.SIGTERM, _ask_to_end)
    show_log()
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    job, index = os.environ["SLURM_ARRAY_JOB_ID"], int(os.environ["SLURM_ARRAY_TASK_ID"])
    run = os.environ.get("SLURM_RESTART_COUNT", "0")
    try:
        submission = Submission.open(folder)
        work = submission.read_set(submission.arrays[number][index])
    except (UserError, UnknownSetError) as error:
        # cancelled, or settled meanwhile: nobody waits for it any more
        say(f"minipach: nothing to do: {error}")
        return 0
    due = submission.due
    if due is not None and time.time() >= due:
        say("minipach: nothing to do: the job has reached its time limit (job_timeout)")
        return 0
    slot = _slot(submission, work, f"{SLOT}{job}-{index}-{run}")
    done = submission.done(work)
    child = 0
    try:
        sys.stdout.flush()
        ours, childs = os.pipe()[::-1]
        child = os.fork()
        if child == 0:
            os.close(ours)
            _be_child(
                lambda: _guarded_work(submission, work, slot, done, OutcomeWriter(folder, number, index, run)), childs
            )
        _end_in_time(submission)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except _AskedToEnd:
        for ending in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(ending, signal.SIG_IGN)
        if child:
            _end_tree(child, early=True)
        _clear(slot)
        return _ENDED
    code = os.waitstatus_to_exitcode(status)
    _end_tree(child)
    _clear(slot)
    with contextlib.suppress(OSError), OutcomeWriter(folder, number, index, run) as teller:  # gone: cancelled meanwhile
        teller.end(code)
    return code if code >= 0 else 128 - code


def _end_in_time(submission: Submission) -> None:
    """Be asked to end when the job's time is over; what that is, is looked up again then: it may have got more."""
    signal.signal(signal.SIGALRM, lambda *_: _end_in_time(submission))
    due = submission.due
    if due is not None and time.time() >= due:
        raise _AskedToEnd
    signal.setitimer(signal.ITIMER_REAL, max(0.001, due - time.time()) if due is not None else 0)


def _ask_to_end(_number: int, _frame: object) -> None:
    raise _AskedToEnd


def _slot(submission: Submission, work: WorkSet, name: str) -> Slot:
    repo = Repo(Path(work.repo))
    scratch = os.path.expanduser(os.path.expandvars(submission.scratch))
    if "$" in scratch:
        say(f"minipach: minipach.scratch: {submission.scratch} is not set on this node; not used")
        scratch = ""
    return Slot(repo, (Path(scratch) if scratch else slots_dir(repo)) / f"{name}.0")


def _clear(slot: Slot) -> None:
    with contextlib.suppress(OSError):
        kill_inside(slot.path)
        remove_slot(slot.main, slot.path)


def _be_child(job: Callable[[], None], parent: int) -> None:
    """Do the job as a process group of its own, and end. parent: a pipe that ends when the parent does."""
    code = 1
    try:
        os.setsid()
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        # Slurm signals every process of a task: the shell that datalad starts must not end before the launcher has
        # reported, so that it inherits to ignore that; the launcher does not
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(_END, _end_early)
        enter_environment(child_environment(QUIET))
        job()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_early(number: int, frame: object) -> None:
    """Have the set that runs end with the datums that are finished, or end the whole group if there is none."""
    from minipach.execution.run_set import stop_early
    from minipach.executors.child_process import end_group, end_launchers

    if not stop_early():
        end_group(number, frame)
    signal.signal(_END, signal.SIG_IGN)
    end_launchers()


def _end_with(parent: int) -> None:
    """End the whole group when the parent was killed: Slurm does not always find what has lost its parent."""
    os.read(parent, 1)
    os.kill(os.getpid(), _END)


def _guarded_work(submission: Submission, work: WorkSet, slot: Slot, done: set[int], teller: OutcomeWriter) -> None:
    with gc_held_off(slot.main):
        _work(submission, work, slot, done, teller)


def _work(submission: Submission, work: WorkSet, slot: Slot, done: set[int], teller: OutcomeWriter) -> None:
    from minipach.execution.chunk import as_members, done_before, run_rest, run_work
    from minipach.execution.run_set import is_stopping
    from minipach.executors.stored_sets import finished
    from minipach.git.datalad_imports import import_containers_run
    from minipach.records.job_logs import note_set

    import_containers_run()
    teller.begin()
    before = any(work.id in array for array in submission.arrays[:-1]) or bool(os.environ.get("SLURM_RESTART_COUNT"))
    kept = [index for index in (finished(slot.main, work) if before else ()) if index not in done]
    if kept:
        teller.notify(done_before(work, kept))
    left = [index for index in range(len(work.parts)) if index not in done and index not in kept]

    def notify(outcome: Outcome) -> None:
        if not is_stopping():  # what a set gives then is in git, and the next task finds it
            teller.notify(outcome)

    if not work.chunk:
        lost = sum(work.id in array for array in submission.arrays) - 1
        run_rest(work, left, slot, notify, lost)
        return
    if before:
        # an earlier run was lost: those that it can have had in hand go one by one, so that one costs no other anything
        for index in left[:MOST]:
            alone = work.part([index])
            note_set(Path(alone.log).parent, Path(alone.log).name, [str(d["name"]) for d in alone.datums])
            run_work(alone, slot, as_members(work, [index], notify))
            if is_stopping():
                return
        left = left[MOST:]
    run_rest(work, left, slot, as_members(work, range(len(work.parts)), notify))


def _end_tree(child: int, *, early: bool = False) -> None:
    """Ask a child's whole process group to end, give launchers their time, and end it.

    early: ask the child alone, which gives what the set that it runs has finished; that may take longer.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, _END) if early else os.killpg(child, signal.SIGTERM)
    deadline = time.monotonic() + LAUNCHER_GRACE + (_KEEPING if early else 0)
    while time.monotonic() < deadline and _alive(child):
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def _alive(group: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(group, os.WNOHANG)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def clear_slots(repo: Repo, ask: Callable[[], set[tuple[str, int]]]) -> None:
    """Remove the slots of tasks that are gone. ask: for the tasks (job, index) that may still use theirs."""
    folders = (slots_dir(repo), repo.common_dir / "worktrees")
    # listed before Slurm is asked: a task that begins meanwhile must not lose its slot
    names = sorted({p.name for there in folders if there.is_dir() for p in there.glob(f"{SLOT}*")})
    alive = ask() if names else set()
    for name in names:
        job, index, _ = [*name.removeprefix(SLOT).split("-"), "", "", ""][:3]
        if index.isdecimal() and (job, int(index)) not in alive:
            path = slots_dir(repo) / name
            kill_inside(path)
            remove_slot(repo, path)


if __name__ == "__main__":
    sys.exit(main())
