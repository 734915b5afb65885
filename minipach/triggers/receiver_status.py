"""The state of the receiver in `serve.json`: its last events by sender, as `minipach triggers` shows them.

The receiver itself is in `receiver`, and its process in `server`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from minipach.model.local_state import LocalState
from minipach.project.lock import has_open
from minipach.project.project import Project
from minipach.support.validation import InvalidError, is_text, parse_object, texts
from minipach.triggers.trigger import TriggerRow


def keep(state: LocalState, forges: Sequence[str], last: Mapping[str, Mapping[str, str]]) -> None:
    """Write down what was received, for `minipach triggers`."""
    data = {"schema": 1, "pid": os.getpid(), "forges": forges, "events": last}
    temporary = state.serve.with_name(f"serve.json.{os.getpid()}")
    temporary.write_text(json.dumps(data))
    temporary.replace(state.serve)


def serves(project: Project) -> bool:
    """Return whether a receiver runs for this project."""
    try:
        pid = parse_object(project.local.serve.read_bytes())["pid"]
    except (OSError, InvalidError, KeyError):
        return False
    return type(pid) is int and 0 < pid < 2**31 and has_open(pid, project.local.serving)


def received_events(project: Project) -> list[TriggerRow]:
    """Return the lines of `minipach triggers`: one for each sender."""
    try:
        data = parse_object(project.local.serve.read_bytes())
        forges, events = texts(data["forges"]), data["events"]
    except (OSError, InvalidError, KeyError):
        return []
    runs = serves(project)
    found = []
    for forge in dict.fromkeys([*forges, *(events if isinstance(events, dict) else ())]):
        row = events.get(forge) if isinstance(events, dict) else None
        row = {k: v for k, v in row.items() if is_text(v)} if isinstance(row, dict) else {}
        why = f"refused {row['refused']}: {row.get('refused_what', '')}" if row.get("refused") else ""
        following = "an event starts a pass" if runs else "minipach serve"
        state = "runs" if runs else "off"
        found.append(TriggerRow("receiver", forge, state, row.get("heard"), None, following, why))
    return found
