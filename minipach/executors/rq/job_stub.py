"""The function that our RQ jobs name, for RQ's own tools to show."""

from __future__ import annotations


def run(*_ids: str) -> None:
    """Refuse: a set needs its project around it, and warm processes; nothing that Redis holds is run as code."""
    raise RuntimeError("this queue is for `minipach worker`, not for `rq worker`; its jobs hold ids, and no code")
