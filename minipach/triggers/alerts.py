"""Alerts: one message when something has been wrong for a while, and one when that is over.

What is wrong is read from the project each time. `.git/minipach/alerts.json` only has since when, and who was sent
which message. So two processes that evaluate send nothing twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from minipach.model.states import FAILED, OPEN
from minipach.planning.clock_states import clock_views
from minipach.project.pauses import paused
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.publish.results_exchange import without_credentials
from minipach.records.job_history import as_they_are, open_ledger
from minipach.records.job_logs import log_tail
from minipach.scheduling.stalled import remarks
from minipach.support.errors import Problem, UserError
from minipach.support.files import write_whole
from minipach.support.text import printable, quoted
from minipach.support.validation import InvalidError, parse_object
from minipach.triggers.alert_channels import AlertMessage, Channel, NotSentError, configured_channels

AFTER = 600.0  # seconds that a state must hold
_TICKS = 2  # due ticks of a clock that are too many
_LINES = 20  # of a log
_LONGEST = 1000  # characters of a reason
SET_CHANNEL = "git config minipach.alert.command 'PROGRAM ARGUMENT', or webhook, mail, apprise"

log = logging.getLogger("minipach.alerts")


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong. key: stays the same while it is · what: a few words · look: the command to look."""

    key: str
    what: str
    reason: str = ""
    log: tuple[str, ...] = ()
    look: str = ""


@dataclass
class StoredCause:
    """A cause as it is stored. since: unix seconds · sent: channels that have the first message."""

    what: str
    since: float
    sent: list[str] = field(default_factory=list)


# --- what is wrong ---

_Source = Callable[[Project, float], Iterator[Cause]]


def _failed(project: Project, _now: float) -> Iterator[Cause]:
    """Yield the pipelines whose last job failed. One that runs again is still wrong, until it has succeeded."""
    if not project.local.database.is_file():
        return
    ledger = open_ledger(project)
    try:
        for path in project.order:
            name = project.name_of(path)
            rows = as_they_are(project, ledger.jobs(name, 10))
            ended = next((row for row in rows if row.state not in OPEN), None)
            bad = [one for one in ledger.attempts(ended.key) if one.kind in FAILED] if ended else []
            if ended is None or (ended.state not in ("failed", "error") and not bad):
                continue
            reason = f"job {ended.id[:12]}: {ended.state}"
            tail: tuple[str, ...] = ()
            if bad:
                more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
                reason = f"{bad[0].datum}{more}: {bad[0].message}"
                tail = tuple(log_tail(bad[0].log, _LINES))
            yield Cause(f"failed:{path}", f"{name} failed", reason, tail, f"minipach logs {quoted(name)}")
    finally:
        ledger.close()


def _passes(project: Project, _now: float) -> Iterator[Cause]:
    """Yield the problems of the last pass, and the pipelines that it had to leave out."""
    try:
        looked = parse_object(project.local.looked.read_bytes())
    except (OSError, InvalidError):
        return
    problems, left_out = looked.get("problems"), looked.get("left_out")
    for row in problems if isinstance(problems, list) else ():
        if isinstance(row, dict):
            where = str(row.get("location", ""))
            what = f"a pass reports a problem: {where}"
            yield Cause(f"pass:{row.get('code')}:{where}", what, str(row.get("text", "")), (), "minipach triggers")
    for name, why in left_out.items() if isinstance(left_out, dict) else ():
        if not str(why).startswith("paused"):
            yield Cause(f"left-out:{name}", f"{name} can't run", str(why), (), "minipach triggers")


def _stalled(project: Project, _now: float) -> Iterator[Cause]:
    """Yield sets that wait for a worker that is not there."""
    if found := list(remarks(project)):
        yield Cause("stalled:sets", "submitted work waits and will not run", "; ".join(found), (), "minipach top")


def _unanswered(project: Project, now: float) -> Iterator[Cause]:
    """Yield that no process makes the passes that were asked for."""
    try:
        age = now - project.local.heard.stat().st_mtime
    except FileNotFoundError:
        return
    if age > 60:
        reason = f"a trigger asked for a pass {age:.0f} s ago, and none has begun"
        yield Cause("unanswered", "no pass begins", reason, (), "minipach triggers")


def _clocks(project: Project, now: float) -> Iterator[Cause]:
    """Yield the clocks that are behind. One of a paused pipeline waits because somebody wants it to."""
    sound = [path for path in project.order if not project.trouble([path])]
    for view in clock_views(project, int(now), sound):
        late = len(view.change.add) + len(view.change.blocked)
        if late >= _TICKS and not view.resume:
            look = f"minipach cron list {quoted(view.pipeline)}"
            yield Cause(
                f"clock:{view.path}:{view.input.name}", f"{view.pipeline} is behind", f"{late} ticks are due", (), look
            )


_SOURCES: Mapping[str, _Source] = {
    "failed": _failed,
    "pass": _passes,
    "left-out": lambda _project, _now: iter(()),  # comes with `pass`
    "stalled": _stalled,
    "unanswered": _unanswered,
    "clock": _clocks,
}


def causes(project: Project, now: float) -> tuple[dict[str, Cause], frozenset[str]]:
    """Return what is wrong now by key, and the kinds of causes that could not be found out."""
    found: dict[str, Cause] = {}
    unknown = set()
    for kind, source in _SOURCES.items():
        try:
            found |= {cause.key: cause for cause in source(project, now)}
        except (UserError, GitError, OSError, ValueError) as error:
            unknown.add(kind)
            log.warning("alerts: %s: %s", kind, printable(str(error))[:300])
    return found, frozenset(unknown)


# --- the messages ---


def evaluate(project: Project, *, now: float | None = None) -> None:
    """Send the messages that are due. Never raises: what prevents it is logged."""
    try:
        ways = configured_channels(project.repo)
        if ways:
            _evaluate(project, ways, after(project.repo), time.time() if now is None else now)
    except (UserError, GitError, OSError) as error:
        log.warning("alerts: %s", printable(str(error))[:300])


def evaluate_in_background(project: Project) -> None:
    """Do the same in a thread of its own: a channel may be slow."""
    threading.Thread(target=evaluate, args=(project,), name="alerts", daemon=True).start()


def after(repo: Repo) -> float:
    """Return the seconds that a state must hold. Raises UserError."""
    value = local_setting(repo, "alert.after")
    if value is None:
        return AFTER
    if not value.isdecimal() or len(value) > 9:
        raise bad_setting("alert.after", f'"{value[:20]}" is not a number of seconds', "600")
    return float(value)


def _evaluate(project: Project, ways: list[Channel], hold: float, now: float) -> None:
    state = project.local
    state.folder.mkdir(parents=True, exist_ok=True)
    with state.alerts_lock.open("a") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        held = _held(project)
        found, unknown = causes(project, now)
        for key, cause in found.items():
            one = held.setdefault(key, StoredCause(cause.what, now))
            one.since = min(one.since, now)  # the clock was set back
            if now - one.since >= hold:
                message = _begins(project, cause, one.since, now)
                _send(ways, message, [remedy.name for remedy in ways if remedy.name not in one.sent], one.sent.append)
        for key in [key for key in held if key not in found and key.partition(":")[0] not in unknown]:
            one = held[key]
            _send(ways, _over(project, key, one, now), list(one.sent), one.sent.remove)
            if not set(one.sent) & {remedy.name for remedy in ways}:
                del held[key]
        _keep(project, held)


def _send(ways: list[Channel], message: AlertMessage, names: list[str], done: Callable[[str], None]) -> None:
    """Send a message to the channels of these names; a channel that fails gets it at the next evaluation."""
    for remedy in ways:
        if remedy.name in names:
            try:
                remedy.send(message)
            except NotSentError as error:
                log.warning("alerts: %s: not sent: %s", remedy.name, printable(str(error))[:300])
            else:
                done(remedy.name)
                log.info("alerts: %s: sent: %s", remedy.name, message.title)


def _begins(project: Project, cause: Cause, since: float, now: float) -> AlertMessage:
    title = f"minipach: {_clean(cause.what)}, for {_age(now - since)}"
    look = f"minipach -C {quoted(project.root)} {cause.look.removeprefix('minipach ')}"
    reason, tail = _clean(cause.reason), [_clean(line) for line in cause.log]
    rows = [f"project: {project.root}", f"reason: {reason}", *(["log:"] if tail else []), *(f"    {t}" for t in tail)]
    data = _data(project, "begins", cause.key, cause.what, since) | {"reason": reason, "log": tail, "look": look}
    return AlertMessage(title, "\n".join([*rows, f"look: {look}"]), data)


def _over(project: Project, key: str, one: StoredCause, now: float) -> AlertMessage:
    title = f"minipach: over: {_clean(one.what)}"
    text = f"project: {project.root}\nit took {_age(now - one.since)}"
    if resume := _pause_of(project, key):
        text += f"\nit counts no more because the pipeline is paused; {resume}"
    return AlertMessage(title, text, _data(project, "over", key, one.what, one.since))


def _pause_of(project: Project, key: str) -> str:
    """Return the command that resumes the pipeline whose clock is meant; "" if it is not paused."""
    kind, _, rest = key.partition(":")
    return paused(project).get(rest.rpartition(":")[0], "") if kind == "clock" else ""


def _data(project: Project, state: str, key: str, what: str, since: float) -> dict[str, Any]:
    began = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
    found = {"schema": 1, "project": str(project.root), "state": state, "cause": _clean(key), "what": _clean(what)}
    return {**found, "since": began}


def _clean(text: str) -> str:
    return printable(without_credentials(text))[:_LONGEST]


def _age(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def try_all(project: Project) -> list[tuple[str, str]]:
    """Send a test message to each channel; return the channels, each with what went wrong, or "".

    Raises:
        UserError: No channel is set, or a setting can't be used.
    """
    ways = configured_channels(project.repo)
    if not ways:
        raise UserError(Problem("alert.no-channel", "alerts", "no channel is set", SET_CHANNEL))
    after(project.repo)
    text = f"project: {project.root}\nthis is a test; nothing is wrong"
    message = AlertMessage("minipach: test", text, _data(project, "test", "test", "test", time.time()))
    found = []
    for remedy in ways:
        try:
            remedy.send(message)
            found.append((remedy.name, ""))
        except NotSentError as error:
            found.append((remedy.name, str(error)))
    return found


@dataclass(frozen=True, slots=True)
class AlertState:
    """The causes of the present, and what is stored about alerts.

    rows: each cause with what is stored of it; a new one holds since now · unknown: kinds that could not be found
    out, whose rows are those of the last evaluation · channels: names of those that are set · evaluated: when
    messages were last considered (unix seconds); None: never · paused: names of paused pipelines, each with the
    command that resumes it. The clocks of these raise no alert · fresh: keys of causes that no evaluation has found
    yet, so that nothing says since when they hold.
    """

    rows: tuple[tuple[Cause, StoredCause], ...]
    unknown: frozenset[str]
    channels: tuple[str, ...]
    evaluated: float | None
    paused: Mapping[str, str]
    fresh: frozenset[str] = frozenset()


def standing(project: Project, *, now: float | None = None) -> AlertState:
    """Return what is wrong now. Sends and stores nothing.

    Raises:
        UserError: A setting can't be used.
    """
    ways = tuple(remedy.name for remedy in configured_channels(project.repo))
    after(project.repo)
    now = time.time() if now is None else now
    held = active(project)
    found, unknown = causes(project, now)
    rows = [(cause, held.get(key) or StoredCause(cause.what, now)) for key, cause in found.items()]
    rows += [
        (Cause(key, one.what), one)
        for key, one in held.items()
        if key not in found and key.partition(":")[0] in unknown
    ]
    waits = {project.name_of(path): resume for path, resume in paused(project).items()}
    fresh = frozenset(found.keys() - held.keys())
    return AlertState(tuple(rows), unknown, ways, _evaluated(project), waits, fresh)


def _evaluated(project: Project) -> float | None:
    try:
        return project.local.alerts.stat().st_mtime
    except FileNotFoundError:
        return None


def active(project: Project) -> dict[str, StoredCause]:
    """Return what was wrong at the last evaluation, by key."""
    return _held(project)


def _held(project: Project) -> dict[str, StoredCause]:
    try:
        rows = parse_object(project.local.alerts.read_bytes())["causes"]
        return {
            str(key): StoredCause(str(row["what"]), float(row["since"]), [str(name) for name in row["sent"]])
            for key, row in rows.items()
        }
    except (OSError, InvalidError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _keep(project: Project, held: Mapping[str, StoredCause]) -> None:
    rows = {key: {"what": one.what, "since": one.since, "sent": one.sent} for key, one in held.items()}
    write_whole(project.local.alerts, json.dumps({"schema": 1, "causes": rows}))
