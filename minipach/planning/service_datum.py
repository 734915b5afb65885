"""The plan of a service: no datum runs in jobs, and it serves one."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from minipach.model.datum import Datum
from minipach.model.pipeline import Pipeline
from minipach.support.errors import Problem
from minipach.support.text import many

NOTE = "no datum runs in jobs; minipach services"


def left_outputs(pipeline: Pipeline, published: Sized) -> Problem | None:
    """Return the note that the branch has outputs of datums that ran before it was a service; None if it has none."""
    if pipeline.service is None or not len(published):
        return None
    message = f"outputs of {many(len(published), 'datum')} from before it was a service stay on its branch"
    return Problem("service.old-outputs", pipeline.at("service"), message)


def service_problems(pipeline: Pipeline, datums: Sequence[Datum]) -> tuple[Problem, ...]:
    """Return what is wrong with the datums of a service: it serves one."""
    if len(datums) < 2:
        return ()
    message = f"a service has one datum, and here are {len(datums)}"
    return (Problem("service.several-datums", pipeline.at("input"), message, "write glob: /, or group the inputs"),)
