"""Big repos without the work: fast-import with made-up annex keys, and published states that nothing computed.

The trees, the results branch and the branch's state are in minipach's own formats, written through its own modules;
only the contents that the keys would name don't exist, and no location log names them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.fast_import import Stream, committer, quote
from minipach.git.repo import Repo
from minipach.git.tree_entries import FILE, SYMLINK
from minipach.model import launch_protocol, run_record
from minipach.model.datum import Task
from minipach.model.repo_layout import PUBLISHED_REF, RESULT_REFS, RESULTS_FILE
from minipach.model.work_set import Base, record_extra
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import find_project
from minipach.publish import fold_results
from minipach.records.published_state import Published, write_shards
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.work_sets import make_set
from minipach.support.git_objects import blob_id

_REF = "refs/minipach/build/benchmark"
_SET = 1000  # datums of a made-up set


def link_target(path: str, what: str) -> bytes:
    """The target of a locked file's symlink, with a key made up from `what`."""
    digest = hashlib.sha256(what.encode()).hexdigest()
    suffix = path.rpartition("/")[2].partition(".")[2]
    key = f"SHA256E-s4096--{digest}" + (f".{suffix}" if suffix else "")
    return f"{'../' * path.count('/')}.git/annex/objects/{digest[:2]}/{digest[2:4]}/{key}/{key}".encode()


def import_files(repo_path: Path, paths: Iterable[str], *, salt: str = "", removed: Iterable[str] = ()) -> None:
    """One commit on the branch that is checked out: each path an annexed file of its own made-up content.

    The work tree stays as it was.
    """
    repo = Repo(repo_path)
    branch, head, who = repo.branch(), repo.head(), committer(repo)
    process = subprocess.Popen(
        ["git", "fast-import", "--quiet", "--force", "--date-format=raw"],
        cwd=repo_path,
        stdin=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdin is not None
    message = b"made by a benchmark\n"
    process.stdin.write(f"commit refs/heads/{branch}\ncommitter {who}\ndata {len(message)}\n".encode() + message)
    process.stdin.write(f"from {head}\n".encode())
    for path in removed:
        process.stdin.write(b"D " + quote(path) + b"\n")
    for path in paths:
        target = link_target(path, path + salt)
        process.stdin.write(f"M {SYMLINK} inline ".encode() + quote(path) + f"\ndata {len(target)}\n".encode() + target)
        process.stdin.write(b"\n")
    process.stdin.close()
    if process.wait() != 0:
        raise RuntimeError(f"{repo_path}: git fast-import failed")


def folders(count: int, files: int) -> Iterator[str]:
    """`sub-00000/f0.dat`, ...: so many folders with so many files each."""
    return (f"sub-{n:05d}/f{m}.dat" for n in range(count) for m in range(files))


def publish_forged(root: Path, path: str = "edges", outputs: Sequence[str] = ()) -> int:
    """Make the pipeline at `path` current without running anything; the number of datums.

    outputs: the files of each datum below its place (default: one, with the datum's name). What a real `schedule`
    would write: the base, a result per datum on the results branch, the branch with outputs and state, but in one
    commit instead of one for each record. It runs in a process of its own, so that its memory isn't taken for that
    of the commands measured: a new process starts with the peak of the one that made it.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        return apart.submit(_publish, root, path, outputs).result()


def _publish(root: Path, path: str, outputs: Sequence[str]) -> int:
    project = find_project(root)
    assessment = Assessment(project, path, SnapshotStore(project))
    try:
        base = build_base(assessment)
        assessment.refresh()
        tasks = assessment.tasks
        made = {task.id: [_at(task, name) for name in outputs or (task.datum.name,)] for task in tasks}
        _results_branch(assessment, base, made)
        _pipeline_branch(assessment, base, made)
        # each made-up set left a pack of its own, where real ones leave loose objects: thousands slow down every git
        assessment.repo.git("repack", "-a", "-d", "--quiet")
    finally:
        assessment.close()
    return len(tasks)


def _at(task: Task, name: str) -> str:
    return f"{task.dest}/{name}" if task.dest else name


def _results_branch(assessment: Assessment, base: Base, made: dict[str, list[str]]) -> None:
    """What workers would have left: a result ref for each set; then they are folded in as always."""
    repo = assessment.repo
    author = committer(repo)
    updates = []
    for start in range(0, len(assessment.tasks), _SET):
        tasks = assessment.tasks[start : start + _SET]
        work = make_set(assessment, base, tasks, "made-up", "")
        stream = Stream(_REF, None, author)
        stream.commit("a set made up by a benchmark\n")
        results = []
        for task, datum in zip(tasks, work.datums, strict=True):
            files = []
            for path in made[task.id]:
                target = link_target(path, task.id + path)
                stream.write(SYMLINK, target, path)
                files.append([path, SYMLINK, blob_id(target)])
            described = {name: value for name, value in datum.items() if name != "words"}
            own = {"record": _record(assessment, base, task), "code_tree": "", "author": author}
            results.append({**own, **described, "leaks": {}, "seconds": 1.0, "files": files})
        stream.write(FILE, json.dumps({"results": results}).encode(), RESULTS_FILE)
        updates.append(f"update {RESULT_REFS}{work.id} {stream.run(repo)}")
    repo.update_refs([*updates, f"delete {_REF}"])
    fold_results.note_places = lambda repo, keys: set()  # made-up keys: no store has their contents
    fold_results.fold_results(repo)


def _record(assessment: Assessment, base: Base, task: Task) -> str:
    """The run record of one datum."""
    work = make_set(assessment, base, [task], "made-up", "")
    record = {
        "chain": [],
        "cmd": f"{launch_protocol.LAUNCH} {work.image} {work.command()}",
        "dsid": base.dataset_id,
        "exit": 0,
        "extra_inputs": [work.image],
        "inputs": list(work.inputs()),
        "pwd": ".",
        "minipach": record_extra(work.pipeline, work.job, [{"name": task.datum.name, "id": task.id}]),
    }
    return run_record.compose(run_record.title(work.pipeline, [task.datum.name]), record)


def _pipeline_branch(assessment: Assessment, base: Base, made: dict[str, list[str]]) -> None:
    repo, head = assessment.repo, assessment.head
    stream = Stream(_REF, head, committer(repo))
    stream.commit("outputs made up by a benchmark\n")
    for entry in repo.ls_tree(base.commit, recursive=True):
        stream.put(entry.mode, entry.sha, entry.path)
    for task in assessment.tasks:
        for path in made[task.id]:
            stream.write(SYMLINK, link_target(path, task.id + path), path)
    state = {t.datum.name: Published(t.datum.name, t.id, t.dest) for t in assessment.tasks}
    for path, data in write_shards(state, state).items():
        stream.write(FILE, data, path)
    new = stream.run(repo)
    moved = [f"update refs/heads/{repo.branch()} {new} {head}", f"update {PUBLISHED_REF} {new}"]
    repo.update_refs([*moved, f"delete {_REF}"])
