"""The dependencies of pipelines: their order, and cycles. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Set
from graphlib import CycleError, TopologicalSorter

Graph = Mapping[str, Set[str]]
"""For each pipeline those that it takes from; all of them are keys."""


def in_order(graph: Graph) -> tuple[str, ...]:
    """Return the pipelines, each after those that it takes from.

    What is part of a circle comes as if it had no such input.
    """
    try:
        return _sorted(graph)
    except CycleError:
        behind = {path: reached(graph, [path]) for path in graph}
        return _sorted({path: {up for up in ups if path not in behind[up]} for path, ups in graph.items()})


def _sorted(graph: Graph) -> tuple[str, ...]:
    return tuple(TopologicalSorter({path: sorted(graph[path]) for path in sorted(graph)}).static_order())


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Return the cycles in which pipelines wait for each other, each member for the next and the last for the first.

    Not all that there are (there can be very many), but every input that is part of one is in one of these.
    """
    try:
        _sorted(graph)
        return []
    except CycleError:
        pass
    found: list[tuple[str, ...]] = []
    reported: set[tuple[str, str]] = set()
    for path in sorted(graph):
        for up in sorted(graph[path]):
            back = _way(graph, up, path) if (path, up) not in reported else None
            if back is None:
                continue
            first = back.index(min(back))
            circle = back[first:] + back[:first]
            reported.update(zip(circle, circle[1:] + circle[:1], strict=True))
            found.append(circle)
    return sorted(found)


def _way(graph: Graph, start: str, end: str) -> tuple[str, ...] | None:
    """Return a shortest way from `start` to `end` over what each takes from; both are part of it."""
    came: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here == end:
            fix: list[str] = []
            step: str | None = here
            while step is not None:
                fix.append(step)
                step = came[step]
            return tuple(reversed(fix))
        for up in sorted(graph[here]):
            if up not in came:
                came[up] = here
                queue.append(up)
    return None


def reached(graph: Graph, starts: Iterable[str]) -> set[str]:
    """Return the given ones and all that they take from, at any distance."""
    found = set(starts)
    queue = list(found)
    while queue:
        fresh = graph[queue.pop()] - found
        found |= fresh
        queue += fresh
    return found


def turned(graph: Graph) -> dict[str, set[str]]:
    """Return the graph the other way round: for each those that take from it."""
    found: dict[str, set[str]] = {path: set() for path in graph}
    for path, ups in graph.items():
        for up in ups:
            found[up].add(path)
    return found
