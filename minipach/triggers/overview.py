"""The triggers of a project: what was heard, when a pass looked, what comes next, and why nothing was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.project.pauses import paused
from minipach.project.project import Project
from minipach.scheduling.stalled import remarks
from minipach.support.validation import parse_object
from minipach.triggers import hooks, watcher
from minipach.triggers.bucket_inputs import bucket_triggers
from minipach.triggers.hooks import HookState
from minipach.triggers.manual_ticks import clock_triggers
from minipach.triggers.passes import is_held, is_waiting, modified
from minipach.triggers.receiver_status import received_events, serves
from minipach.triggers.trigger import TriggerRow

# Each kind of trigger beside the hooks: a function that returns what it has to say. It only reads, and is quick.
SOURCES: tuple[Callable[[Project], Iterable[TriggerRow]], ...] = (
    watcher.lines,
    received_events,
    bucket_triggers,
    clock_triggers,
)


@dataclass(frozen=True, slots=True)
class Overview:
    """The triggers of a project. All times are UTC, in ISO 8601.

    last_heard: when a hook last wrote a line; None: never, or unknown · unanswered: lines that no pass has taken yet ·
    following: what comes next, a sentence · looked: as `looked.json`; None: no pass yet · paused: names, each with the
    command that resumes it · others: the triggers that are no hooks ·
    waits: why submitted work does not run, with the fix.
    """

    hooks: tuple[HookState, ...]
    last_heard: str | None
    unanswered: int
    following: str
    looked: dict[str, Any] | None
    paused: dict[str, str]
    others: tuple[TriggerRow, ...] = ()
    waits: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as documented for `minipach triggers --json`."""
        return {
            "schema": 1,
            "hooks": [hook.as_json() for hook in self.hooks],
            "last_heard": self.last_heard,
            "unanswered": self.unanswered,
            "next": self.following,
            "looked": self.looked,
            "paused": self.paused,
            "triggers": [trigger.as_json() for trigger in self.others],
            "waits": list(self.waits),
        }


def overview(project: Project) -> Overview:
    """Return the state of the triggers. Reads only."""
    state = project.local
    looked = _json(state.looked)
    unanswered = _lines(state.heard)
    heard = modified(state.heard) or (looked or {}).get("last_heard")
    waits = paused(project)
    installed = tuple(hooks.status(project))
    others = tuple(trigger for source in SOURCES for trigger in source(project))
    if not (runs := is_held(state.watching) or serves(project)):
        others = tuple(_without_daemon(trigger) for trigger in others)
    hears = runs or any(hook.state in ("installed", "outdated") for hook in installed)
    return Overview(
        installed,
        heard if isinstance(heard, str) else None,
        unanswered,
        _following(project, unanswered, hears=hears),
        looked,
        {project.name_of(path): fix for path, fix in waits.items()},
        others,
        tuple(remarks(project)),
    )


def _without_daemon(trigger: TriggerRow) -> TriggerRow:
    """Return the line of a clock as it is where no process runs that wakes at due times."""
    if trigger.kind != "cron" or trigger.state not in ("due", "waits") or trigger.why:
        return trigger
    return replace(trigger, why="neither watch nor serve runs; the next pass adds what is due")


def _following(project: Project, unanswered: int, *, hears: bool) -> str:
    state = project.local
    runs = is_held(state.answering)
    if unanswered and is_waiting(state):
        return "a pass begins when the one that runs has ended" if runs else "a pass is about to begin"
    if runs:
        return "a pass runs; minipach jobs"
    if unanswered or state.taken.exists():
        return "no process answers what was heard (it was killed); minipach hooks run"
    if not hears:
        return "nothing: no hook is installed, and neither watch nor serve runs; minipach hooks install"
    return "a pass begins when a trigger hears something"


def _lines(file: Path) -> int:
    try:
        return len(file.read_bytes().splitlines())
    except FileNotFoundError:
        return 0


def _json(file: Path) -> dict[str, Any] | None:
    try:
        return parse_object(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
