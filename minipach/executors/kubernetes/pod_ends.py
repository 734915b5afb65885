"""The ends of pods without a result: how they ended, and the last lines that they printed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.flight import Flight
from minipach.executors.kubernetes.manifest import WORKER
from minipach.executors.kubernetes.pod_state import cut, ending, pod_place
from minipach.records.job_logs import lost_log
from minipach.support.errors import UserError

_TAIL = 20  # lines of a lost pod's log that are kept
_LOGS = 50  # lost pods whose logs are fetched at a time
_EVENTS = 3  # of a pod, that are kept


def note_ends(client: Client, selector: str, flights: Sequence[Flight]) -> None:
    """Keep how pods ended, with their events, and the end of what they printed: Kubernetes forgets it soon."""
    try:
        pods = client.listed("pods", selector) if flights else []
    except UserError:
        return
    events: dict[str, list[str]] = {}
    for row in client.events() if pods else ():
        name = str((row.get("involvedObject") or {}).get("name"))
        events.setdefault(name, []).append(cut(f"{row.get('reason')}: {row.get('message')}"))
    by_place: dict[tuple[str, int | None], dict[str, Any]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod.get("metadata", {}).get("creationTimestamp"))):
        by_place[pod_place(pod)] = pod
    for number, flight in enumerate(flights):
        batch = flight.runs[-1]
        last = by_place.get((batch.name, batch.index_of(flight.work.id)))
        if last is None:
            flight.ends[batch.name] = flight.why
            continue
        name = str(last["metadata"]["name"])
        words = [f"pod {name}", ending(last), *events.get(name, ())[-_EVENTS:]]
        flight.ends[batch.name] = "; ".join(words)
        if number < _LOGS and not flight.work.chunk:
            with contextlib.suppress(UserError, OSError):
                said = client.ask("logs", f"--tail={_TAIL}", f"--container={WORKER}", name)
                there = Path(lost_log(flight.work.log, len(flight.runs)))
                there.parent.mkdir(parents=True, exist_ok=True)
                there.write_text(said)


def last_lines(client: Client, selector: str, flight: Flight) -> str:
    """Return the end of what the last pod of a set has printed, if the cluster still has it."""
    batch = flight.runs[-1]
    place = (batch.name, batch.index_of(flight.work.id))
    try:
        pods = [pod for pod in client.listed("pods", selector) if pod_place(pod) == place]
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        return client.ask("logs", f"--tail={_TAIL}", str(pods[-1]["metadata"]["name"])) if pods else ""
    except (UserError, KeyError):
        return ""
