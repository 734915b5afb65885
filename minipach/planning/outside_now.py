"""The limits of a pipeline's datums now, by its spec and the settings. Reads only."""

from __future__ import annotations

from minipach.datums.launch_command import limit_options
from minipach.model.outside import Outside, limits_of, seen_by
from minipach.model.pipeline import Pipeline
from minipach.model.work_set import Needs
from minipach.project.project import Project
from minipach.project.settings import launcher_options
from minipach.support.errors import UserError


def outside_now(project: Project, pipeline: Pipeline | None) -> Outside | None:
    """Return the limits of a pipeline, the place of its outputs, and what its command sees by the settings.

    None where they can't be known. A setting that can't be used is for `schedule` to report.
    """
    if pipeline is None:
        return None
    try:
        settings = launcher_options(project.repo, in_container=pipeline.transform.image is not None)
    except UserError:
        return None
    options = (*settings, *limit_options(pipeline), *(() if pipeline.network else ("-N",)))
    limits = limits_of(pipeline.datum_timeout, options, Needs.of(pipeline), pipeline.more_memory)
    return Outside(limits, pipeline.out, seen_by(options))
