"""The rule of branch triggers: which commit of a branch an input reads. Pure.

The commits of a branch are looked at one after the other, oldest first. Those that are not released yet are counted.
When the condition holds, all of them are released. So the state that an input reads follows from the history, the spec
and the present. Nothing else is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.model.clock import tick_name
from minipach.model.pipeline import BranchTrigger
from minipach.spec.cron_line import local_time, parse_line
from minipach.support.text import byte_count, many


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit of a branch. when: its date, in seconds since 1970 · size: the bytes of all files in it."""

    sha: str
    when: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Released:
    """The result of the rule.

    sha: the commit that was released last; None: the one before the first commit given · commits, size: what is not
    released yet · following: when a cron line releases it (None: no cron line, nothing to release, or it has been due
    and waits for the other conditions).
    """

    sha: str | None
    commits: int = 0
    size: int = 0
    following: int | None = None
    is_due: bool = False


def released(trigger: BranchTrigger, revisions: Sequence[Revision], base_size: int, now: int) -> Released:
    """Return the newest commit that a trigger has released, and what the later ones wait for.

    Args:
        trigger: The condition.
        revisions: The commits since one that is released, oldest first.
        base_size: The size of that one; 0 where the branch begins with the first of them.
        now: The present, in seconds since 1970.
    """
    line = parse_line(trigger.cron_spec) if trigger.cron_spec else None
    sha: str | None = None
    waiting = 0  # commits that are not released
    due: int | None = None  # the first time of the cron line since the oldest of them
    when = 0
    for index, revision in enumerate(revisions):
        when = max(when, revision.when)  # clocks differ: a commit is no older than the one before it
        waiting += 1
        if line is not None and waiting == 1:
            due = line.following(when - 1, 0)
        size = revision.size - base_size
        later = max(revisions[index + 1].when, when) if index + 1 < len(revisions) else None
        fires = _holds(trigger, waiting, size, due is not None and due <= min(when, now))
        if not fires and due is not None and when < due <= now and (later is None or due < later):
            fires = _holds(trigger, waiting, size, True)
        if fires:
            sha, waiting, base_size, due = revision.sha, 0, revision.size, None
    size = (revisions[-1].size if revisions else base_size) - base_size
    if not waiting:
        return Released(sha)
    is_due = due is not None and due <= now
    return Released(sha, waiting, size, None if is_due else due, is_due)


def _holds(trigger: BranchTrigger, commits: int, size: int, due: bool) -> bool:
    conditions = []
    if trigger.commits:
        conditions.append(commits >= trigger.commits)
    if trigger.size:
        conditions.append(size >= trigger.size)
    if trigger.cron_spec:
        conditions.append(due)
    return all(conditions) if trigger.all else any(conditions)


@dataclass(frozen=True, slots=True)
class Deferral:
    """An input whose newest commits are not released yet.

    head: the branch's commit · never: no commit has been released so far, so that the input is empty.
    """

    input: str
    repo: str
    trigger: BranchTrigger
    head: str
    state: Released
    never: bool = False

    @property
    def text(self) -> str:
        """The conditions: `3 of 10 commits, 0.4 of 1 GB, next at 03:00 Europe/Berlin`."""
        trigger, state = self.trigger, self.state
        parts = []
        if trigger.commits:
            parts.append(f"{state.commits} of {many(trigger.commits, 'commit')}")
        if trigger.size:
            parts.append(_sizes(state.size, trigger.size))
        if trigger.cron_spec:
            zone = parse_line(trigger.cron_spec).zone
            if state.following is not None:
                parts.append(f"next at {local_time(state.following, zone):%Y-%m-%d %H:%M} {zone}")
            elif state.is_due:
                parts.append("the time has come")
        return ", ".join(parts) + (" (all of them needed)" if trigger.all and len(parts) > 1 else "")

    def as_json(self) -> dict[str, Any]:
        """Return it as documented for `minipach plan --json`."""
        trigger, state = self.trigger, self.state
        return {
            "input": self.input,
            "repo": self.repo,
            "branch": trigger.branch,
            "commits": state.commits,
            "commits_needed": trigger.commits or None,
            "size": state.size,
            "size_needed": trigger.size or None,
            "next": tick_name(state.following) if state.following is not None else None,
            "all": trigger.all,
            "text": self.text,
        }


def _sizes(have: int, need: int) -> str:
    """Return two sizes in the unit of the second: `0.4 of 1 GB`."""
    number, unit = byte_count(need).split(" ")
    factor = need / float(number)
    return f"{have / factor:.1f} of {number.removesuffix('.0')} {unit}"
