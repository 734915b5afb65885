"""A pipeline's branch as history: its publishes, the run records of its datums, and the commits that people name."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.git.repo import Repo
from minipach.model.messages import BY_JOB, BY_MINIPACH, SUBJECT, job_of
from minipach.model.run_record import parse
from minipach.support.errors import Problem, UserError
from minipach.support.text import near_id, nearest, quoted

_AT_ONCE = 200  # commits that are read together
_FEW = 5  # datums whose ids git looks for
_HEX = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class Publish:
    """One publish. job: its id · before: the commit that it began from · commit: the state that it left."""

    job: str
    before: str | None
    commit: str


def publishes(repo: Repo, head: str) -> list[Publish]:
    """Return the publishes on a branch, newest first.

    A publish is a commit `minipach: NAME: ...` with a line `job: ID`, and the run records right after it: the state
    that it left is the last of those.
    """
    found = []
    state = head
    for commit, parents, message in _log(repo, head, "--first-parent"):
        if message.startswith(SUBJECT) and (job := job_of(message)):
            found.append(Publish(job, parents[0] if parents else None, state))
        elif _is_record(message):
            continue
        # whatever came before this commit ended at its parent
        state = parents[0] if parents else commit
    return found


def last_publish(repo: Repo, head: str) -> str | None:
    """Return the id of the job that published last on a branch.

    None if none did. Costs more the more records it wrote.
    """
    only = ("--first-parent", "-1", "--extended-regexp", "--all-match", BY_MINIPACH, BY_JOB)
    for _, _, message in _log(repo, head, *only):
        if job := job_of(message):
            return job
    return None


def _is_record(message: str) -> bool:
    """Return whether a publisher wrote this record; `datalad rerun` keeps our object, and adds to the chain."""
    ours = our_record(message)
    return ours is not None and not ours.get("chain")


def our_record(message: str) -> dict[str, Any] | None:
    """Return the run record in a commit message, if it is one of ours."""
    if '"minipach"' not in message:
        return None
    try:
        record = parse(message + "\n")[1]
    except ValueError:
        return None
    return record if isinstance(record.get("minipach"), dict) else None


def record_commits(
    repo: Repo, revs: str, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Return for each wanted datum, as (name, id), the newest commit in `revs` with its run record, and the record.

    What published no output has no record on the branch.
    """
    return {which: (commit, record) for which, commit, record in _records(repo, revs, wanted)}


def commits_of_records(repo: Repo, revs: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return for each wanted datum, as (name, id), the newest commit in `revs` with its run record."""
    return {which: commit for which, commit, _ in _records(repo, revs, wanted)}


def _records(
    repo: Repo, revs: str, wanted: Collection[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], str, dict[str, Any]]]:
    left = set(wanted)
    if not left:
        return
    # git finds a few of many commits faster than we do
    words = [datum_id for _, datum_id in left] if len(left) <= _FEW and all(i for _, i in left) else ['"minipach"']
    for commit, _, message in _log(repo, revs, "--fixed-strings", *(f"--grep={word}" for word in words)):
        record = our_record(message)
        if record is None:
            continue
        for datum in record["minipach"].get("datums", []):
            which = (datum.get("name", ""), datum.get("id", ""))
            if which in left:
                left.discard(which)
                yield which, commit, record
        if not left:
            return


def outputs_of(record: Mapping[str, Any], added: Sequence[str], name: str, datum_id: str) -> list[str]:
    """Return the paths that one datum of a record wrote: in a set of several the record says which, else it is all."""
    for datum in record["minipach"].get("datums", []):
        if (datum.get("name"), datum.get("id")) == (name, datum_id) and "outputs" in datum:
            return list(datum["outputs"])
    return list(added)


def added_paths(repo: Repo, commits: Collection[str]) -> dict[str, list[str]]:
    """Return the paths that each of these commits added or changed."""
    if not commits:
        return {}
    request = "".join(f"{c}\n" for c in dict.fromkeys(commits)).encode()
    args = ("diff-tree", "--stdin", "--root", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=d")
    found: dict[str, list[str]] = {}
    at: list[str] = []
    wanted = set(commits)
    for row in os.fsdecode(repo.git(*args, stdin=request)).split("\0"):
        # git prints `COMMIT` as a row of its own, then the paths; no output has a path of 40 hex digits we asked for
        if row in wanted and row not in found:
            at = found.setdefault(row, [])
        elif row:
            at.append(row)
    return found


def resolve_state(repo: Repo, head: str, word: str) -> str:
    """Return the commit of a job id or of a git revision.

    A job's state (by its id or the beginning of it), or any commit as git names it.
    """
    jobs: dict[str, str] = {}
    known = publishes(repo, head) if _HEX.fullmatch(word) else []
    for publish in known:
        if publish.job.startswith(word):
            jobs.setdefault(publish.job, publish.commit)
    commit = repo.resolve(f"{word}^{{commit}}")
    found = {*jobs.values(), *([commit] if commit else [])}
    if len(found) == 1:
        return found.pop()
    if not found:
        near = near_id(word, [name for p in known for name in (p.job, p.commit)])
        near = near or nearest(word, [ref.removeprefix("refs/heads/") for ref in repo.refs("refs/heads/")])
        fix = near or f"git -C {quoted(repo.path)} log --oneline"
        raise UserError(Problem("history.unknown", word, f"no job and no commit of {repo.path.name}", fix))
    names = [f"job {job}" for job in sorted(jobs)] + ([f"commit {commit}"] if commit else [])
    raise UserError(Problem("history.ambiguous", word, f"this could be {' or '.join(names)}", "give more of it"))


def _log(repo: Repo, revs: str, *options: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield (commit, parents, message) of each commit, newest first."""
    commits = repo.git("rev-list", *options, "--end-of-options", revs, "--").decode().split()
    for start in range(0, len(commits), _AT_ONCE):  # messages of records are long: never all of them in memory
        some = commits[start : start + _AT_ONCE]
        for commit, data in zip(some, list(repo.objects.read_many(some)), strict=True):
            head, _, message = (data or b"").partition(b"\n\n")
            parents = [line[7:].decode() for line in head.split(b"\n") if line.startswith(b"parent ")]
            yield commit, parents, os.fsdecode(message)
