"""The states of services, which their supervisor writes: a JSON file for each in `.git/minipach/services`."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from minipach.model.local_state import LocalState
from minipach.model.pipeline import Pipeline
from minipach.support.errors import Problem, UserError
from minipach.support.files import write_whole
from minipach.support.validation import InvalidError, conforms, parse_object

_TRIES = 5  # to get the lock
_PAUSE = 0.05  # seconds between them

ServiceWord = Literal["serving", "updating", "starting", "crashed", "waiting", "stopped", "blocked"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service.

    path: of its pipeline · datum: the id of the datum that is served, "" for none · coming: of the one that starts ·
    address: where it answers · since: when it began to serve, in seconds of the epoch; 0: it does not · restarts: how
    often its program has ended by itself · why: what keeps it from serving, or how it ended last · host: the
    executor whose cluster runs it, as last seen; "": this machine does.
    """

    path: str
    state: ServiceWord
    datum: str = ""
    coming: str = ""
    address: str = ""
    since: float = 0.0
    restarts: int = 0
    why: str = ""
    host: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object, also of `minipach services --json`."""
        return asdict(self)


def name_of(path: str) -> str:
    """Return the name of a service's files: its path may have slashes, or be long."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def log_of(local: LocalState, path: str) -> Path:
    """Return the log of a service."""
    return local.services / f"{name_of(path)}.log"


def write_state(local: LocalState, state: ServiceState) -> None:
    """Write down how a service is."""
    local.services.mkdir(parents=True, exist_ok=True)
    write_whole(local.services / f"{name_of(state.path)}.json", json.dumps({"schema": 1, **state.as_json()}))


def read_state(local: LocalState, path: str) -> ServiceState:
    """Return how a service is. Without a supervisor none runs, whatever the file says."""
    is_stopped = is_stopped_by_hand(local, path)
    try:
        data = parse_object((local.services / f"{name_of(path)}.json").read_bytes())
        found = ServiceState(**{name: data[name] for name in ServiceState.__dataclass_fields__})
        if not conforms(found, ServiceState) or found.path != path:
            found = ServiceState(path, "stopped")
    except (OSError, InvalidError, KeyError, TypeError):
        found = ServiceState(path, "stopped")
    if found.host:
        return found
    if supervisor(local) is None:
        return ServiceState(path, "stopped", restarts=found.restarts, why="" if is_stopped else found.why)
    if found.state == "stopped" and not is_stopped:
        return ServiceState(path, "waiting")
    return found


def stop_by_hand(local: LocalState, path: str, *, stopped: bool) -> None:
    """Note that a service is to be stopped, or no longer; it stays so when the supervisor starts again."""
    mark = local.services / f"{name_of(path)}.stopped"
    local.services.mkdir(parents=True, exist_ok=True)
    if stopped:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def is_stopped_by_hand(local: LocalState, path: str) -> bool:
    """Return whether a service is to be stopped."""
    return (local.services / f"{name_of(path)}.stopped").exists()


def supervisor(local: LocalState) -> int | None:
    """Return the process id of the supervisor that runs; None: none does."""
    try:
        with local.supervising.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(20).strip()
                return int(text) if text.isdecimal() else 0
    except OSError:
        return None
    return None


class Supervising:
    """The lock of a supervisor: it lives as long as the process."""

    def __init__(self, local: LocalState) -> None:
        """Raises UserError where another supervisor has it."""
        local.supervising.parent.mkdir(parents=True, exist_ok=True)
        self._file = local.supervising.open("a+")
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left:  # somebody may only be asking whether there is one
                    time.sleep(_PAUSE)
                    continue
                self._file.close()
                message = f"process {supervisor(local) or '?'} supervises the services of this project"
                raise UserError(Problem("service.supervised", "services", message, "minipach services stop")) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Give it up."""
        self._file.close()


def service_line(local: LocalState, pipeline: Pipeline) -> str:
    """Return the line of `minipach status` about a service."""
    state = read_state(local, pipeline.path)
    where = f" at {state.address}" if state.address else ""
    why = f" ({state.why})" if state.why else ""
    fix = f"; minipach services start {pipeline.name}" if state.state == "stopped" else ""
    return f"service {state.state}{where}{why}{fix}"
