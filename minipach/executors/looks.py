"""How an executor tells what goes on: its workers, and what waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Worker:
    """What runs sets. has: slots, GPUs and the like, in words · runs: what it runs, each with its seconds so far."""

    name: str
    has: str
    runs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Sets that wait: how many, of what kind, and why. in_vain: nobody is there who could ever run them."""

    sets: int
    kind: str
    why: str
    in_vain: bool = False
