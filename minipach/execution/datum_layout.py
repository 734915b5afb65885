"""A datum laid out in a slot, and the command that runs it there without DataLad: for trials and services."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from minipach.execution.chosen_runtime import chosen_runtime
from minipach.execution.staging import check_own, stage
from minipach.git.repo import annex
from minipach.git.worktrees import Slot
from minipach.model import launch_protocol
from minipach.model.repo_layout import CODE
from minipach.model.work_set import WorkSet


def lay_out(work: WorkSet, slot: Slot, *, get: bool = False, fresh: bool = False) -> None:
    """Make a slot ready for a datum, as a worker would. Raises StagingError.

    get: fetch what isn't here; else it is an error, since it would put objects into the input's annex unasked · fresh:
    verify all contents again.
    """
    slot.reset(work.base)
    if get:
        needed = [path for path in (work.image, CODE) if os.path.lexists(slot.path / path)]
        annex(slot.repo, "get", "--quiet", "--", *needed, ok=(0, 1))  # who needs a missing content reports it
    share = chosen_runtime(slot.path, work.image).read_only
    check_own(slot.main, work.base, work.image, get=get, fresh=fresh)
    stage(slot.path, work.files, share=share, get=get, fresh=fresh)


def command_line(work: WorkSet) -> list[str]:
    """Return the command as datalad would run it: braces single again, its words apart."""
    plain = work.command().replace("{{", "{").replace("}}", "}")
    return [*shlex.split(launch_protocol.LAUNCH), work.image, *shlex.split(plain)]


def has_network(head: Sequence[str]) -> bool:
    """Return whether a command has a network, by the options that its head gives to the launcher."""
    return ("-N",) not in _options(head)


def with_network(head: Sequence[str]) -> tuple[str, ...]:
    """Return the head of a command that has a network."""
    return tuple(word for option in _options(head) if option != ("-N",) for word in option)


def _options(head: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the options, each with its values; a value may look like an option."""
    found, at = [], 0
    while at < len(head):
        size = launch_protocol.COMMON_SIZES[head[at]]
        found.append(tuple(head[at : at + size]))
        at += size
    return found
