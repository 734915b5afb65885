"""Causes of failures outside of the datum's identity: limits, settings, and other datums. Pure.

A job database keeps it as text: `time=60`; `disk=1000`; `memory=1000,request=1000,retry=2`; `processes?=64`, where the
limit may be the cause; `settings:<hash>`, of those that say what a command sees; `beside=<id>:<hash>`, where another
datum's output was in the way. "" is none of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minipach.model.failures import FINAL
from minipach.model.launch_protocol import COMMON_SIZES
from minipach.support.text import byte_count, many

if TYPE_CHECKING:
    from minipach.model.work_set import Needs, WorkSet

PROCESSES = 4096  # of a datum, unless there is a limit; the launcher has the same
KINDS = ("time", "memory", "disk", "file-size", "processes")  # of limits that a command can hit
OF_MEMORY = ("memory", "request", "retry")  # each of them gives a command more
# limits that only the command itself may notice: of its system calls, and of the children that it has
_UNSEEN = ("processes", "file-size", *OF_MEMORY)
_COMPARED = {*KINDS, *OF_MEMORY}
_BESIDE = "beside="
_SEEN = ("-E", "-R", "-N")  # options of the launcher that settings give
_LIMIT = re.compile(r"([a-z-]+)(\??)=([0-9]+(?:\.[0-9]+)?)")
_SETTINGS = re.compile(r"settings:([0-9a-f]{16})$")
_DEFAULTS = {"processes": float(PROCESSES), "retry": 1.0}


@dataclass(frozen=True, slots=True)
class Outside:
    """The limits of a pipeline's datums, and the place of their outputs: they are not in the identity.

    out: as in the spec · limits: by kind; none is no limit. `request` is the memory that a machine is asked for,
    `retry` how many times as much a try gets after one that was out of memory · seen: see `seen_by`.
    """

    limits: Mapping[str, float]
    out: str
    seen: str = ""


def limits_of(timeout: float | None, options: Sequence[str], needs: Needs, more_memory: float) -> dict[str, float]:
    """Return the limits of a datum, by kind. options: of the launcher; the last one of a kind counts."""
    found = {**_DEFAULTS, "retry": more_memory}
    at = 0
    while at < len(options):
        if options[at] == "-L" and at + 1 < len(options):
            kind, _, size = options[at + 1].partition("=")
            if size.isdecimal():
                found[kind] = float(size)
        at += COMMON_SIZES.get(options[at], 1)
    if timeout is not None:
        found["time"] = float(timeout)
    if needs.memory:
        found["request"] = float(needs.memory)
    return found


def seen_by(options: Sequence[str]) -> str:
    """Return a hash of what the settings let a command see: variables, paths of the host, the network."""
    found: set[tuple[str, str]] = set()
    at = 0
    while at < len(options):
        if options[at] in _SEEN:
            found.add((options[at], " ".join(options[at + 1 : at + COMMON_SIZES[options[at]]])))
        at += COMMON_SIZES.get(options[at], 1)
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()[:16]


def limits_of_set(work: WorkSet) -> dict[str, float]:
    """Return the limits that a set was submitted with, before any raise of its memory."""
    found = limits_of(work.timeout, work.head, work.needs, work.more_memory)
    if work.raised:
        for kind in ("memory", "request"):
            if kind in found:
                found[kind] = float(round(found[kind] / work.more_memory**work.raised))
    return found


def beside(datum_id: str, name: str, own: str, out: str) -> str:
    """Return what is kept of a datum whose output was in the way of another. own: the name of that one."""
    text = json.dumps([name, own, out])  # names may hold anything
    return f"{_BESIDE}{datum_id}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def at_limits(hit: str, code: int, limits: Mapping[str, float], seen: str = "") -> str:
    """Return what is kept of a datum that failed with these limits.

    hit: the kind of the limit, as the worker says ("": it knows of none) · code: the exit code · seen: see `seen_by`.
    """
    kinds: tuple[str, ...]
    if hit:
        kinds, mark = (OF_MEMORY if hit == "memory" else (hit,)), ""
    else:
        kinds, mark = (() if code in FINAL else _UNSEEN), "?"
        if not limits.keys() & {"memory", "request"}:
            kinds = tuple(kind for kind in kinds if kind not in OF_MEMORY)
    found = [f"{kind}{mark}={_number(limits[kind])}" for kind in kinds if kind in limits]
    return ",".join([*found, *([f"settings:{seen}"] if seen and not hit else [])])


def outlived(kept: str, name: str, now: Outside, names: Mapping[str, Set[str]]) -> str:
    """Return why a failure no longer counts; "" if it does.

    kept: what the job database has of it · name: of the datum · names: of the datums of now, by id.
    """
    if kept.startswith(_BESIDE):
        datum_id = kept.removeprefix(_BESIDE).partition(":")[0]
        there = any(beside(datum_id, other, name, now.out) == kept for other in names.get(datum_id, ()))
        return "" if there else "the datum whose output was in its way is gone or has changed: runs again"
    for kind, mark, text in _LIMIT.findall(kept):
        was, limit = float(text), now.limits.get(kind)
        if kind not in _COMPARED or (limit is None and kind == "request"):
            continue  # of a later version; or a machine gives what it likes
        if limit is None or round(limit, 3) > was:  # as it was kept
            how = "failed with a limit of" if mark else "failed at the limit of"
            before, then = _shown(kind, was), "gone" if limit is None else _shown(kind, limit)
            if before == then:  # sizes that differ little
                before, then = f"{was:.0f} B", f"{limit:.0f} B"
            return f"{how} {before}{_WHAT.get(kind, '')}, which is {then} now: runs again"
    seen = _SETTINGS.search(kept)
    if seen and seen[1] != now.seen:
        return "failed with other settings of what commands see (pass-env, host-paths, network): runs again"
    return ""


_WHAT = {
    "memory": " of memory",
    "request": " of requested memory",
    "retry": " the memory (retry.memory)",
    "disk": " of disk",
    "file-size": " for a file",
}


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _shown(kind: str, value: float) -> str:
    if kind == "time":
        return f"{_number(value)} s"
    if kind == "retry":
        return f"{_number(value)}x"
    if kind == "processes":
        return many(int(value), "process", "processes")
    return byte_count(value)
