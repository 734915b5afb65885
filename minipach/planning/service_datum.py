"""The plan of a service: no datum runs in jobs, and it serves one."""

from __future__ import annotations

from collections.abc import Sequence

from minipach.model.datum import Datum
from minipach.model.pipeline import Pipeline
from minipach.support.errors import Problem

NOTE = "no datum runs in jobs; minipach services"


def service_problems(pipeline: Pipeline, datums: Sequence[Datum]) -> tuple[Problem, ...]:
    """Return what is wrong with the datums of a service: it serves one."""
    if len(datums) < 2:
        return ()
    message = f"a service has one datum, and here are {len(datums)}"
    return (Problem("service.several-datums", pipeline.at("input"), message, "write glob: /, or group the inputs"),)
