"""Summaries and tables as plain types for the cache on disk, and back. Pure."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from minipach.planning.status import PipelineStatus
from minipach.support.errors import Problem
from minipach.views.dag import Dag, Edge, Node
from minipach.views.datum_table import DatumRow, DatumTable


def pack_summary(summary: Any) -> Any:
    """Return a graph with the states of its pipelines as plain types."""
    dag = summary.dag
    rows = [(s.name, s.state, s.counts, s.details, _packed(s.problems)) for s in summary.status]
    return [astuple(n) for n in dag.nodes], [astuple(e) for e in dag.edges], dag.remarks, rows


def unpack_summary(kept: Any) -> tuple[Dag, tuple[PipelineStatus, ...]]:
    """Return the graph and the states."""
    nodes, edges, remarks, rows = kept
    dag = Dag(tuple(Node(*n) for n in nodes), tuple(Edge(*e) for e in edges), tuple(remarks))
    status = tuple(
        PipelineStatus(name, state, counts, details, _problems(p)) for name, state, counts, details, p in rows
    )
    return dag, status


def pack_table(table: DatumTable) -> Any:
    """Return a table as plain types, its rows by columns."""
    columns = tuple(map(list, zip(*table.rows, strict=True)))
    return table.pipeline, columns, table.waits, _packed(table.problems), table.hints, table.cost


def unpack_table(kept: Any) -> DatumTable:
    """Return the table."""
    pipeline, columns, waits, problems, hints, cost = kept
    rows = tuple(map(DatumRow._make, zip(*columns, strict=True)))
    return DatumTable(pipeline, rows, waits, _problems(problems), hints, cost)


def _packed(problems: tuple[Problem, ...]) -> list[tuple[Any, ...]]:
    return [astuple(problem) for problem in problems]


def _problems(kept: list[tuple[Any, ...]]) -> tuple[Problem, ...]:
    return tuple(Problem(*fields) for fields in kept)
