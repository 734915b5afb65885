"""The link of a console that runs: kept in a file that only its owner may read."""

from __future__ import annotations

import contextlib
import json
import os
import secrets

from minipach.model.local_state import LocalState
from minipach.support.validation import InvalidError, parse_object


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


def keep(local: LocalState, link: str) -> None:
    """Note the link and this process. Nobody else may read it: who has the link sees the project."""
    local.folder.mkdir(parents=True, exist_ok=True)
    temporary = local.console.with_name(f"{local.console.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "w") as file:
        json.dump({"schema": 1, "pid": os.getpid(), "folder": str(local.folder), "link": link}, file)
    temporary.replace(local.console)


def forget(local: LocalState, link: str) -> None:
    """Remove the note, unless it is of another console by now."""
    if _read(local)[1] == link:
        local.console.unlink(missing_ok=True)


def running(local: LocalState) -> str | None:
    """Return the link of the console that runs for a project on this machine; None: there is none."""
    pid, link = _read(local)
    if not link or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return None  # it is another user's by now, or was never ours
    return link


def _read(local: LocalState) -> tuple[int, str]:
    try:
        data = parse_object(local.console.read_bytes())
        if data["folder"] != str(local.folder):
            return 0, ""  # a copy of a project has a copy of the note
        return int(data["pid"]), str(data["link"])
    except (OSError, InvalidError, KeyError, TypeError, ValueError):
        return 0, ""
