"""Whether a pipeline's spec of now is the one that was read: a pass may last for hours."""

from __future__ import annotations

from dataclasses import replace

from minipach.git.repo import Repo
from minipach.model.pipeline import Metadata, Pipeline, with_holders
from minipach.project.project import Project
from minipach.project.spec_cache import read_spec
from minipach.project.spec_file import read_text
from minipach.support.errors import UserError
from minipach.support.git_objects import blob_id


def is_spec_of_now(project: Project, path: str, reader: Repo | None = None) -> bool:
    """Return whether the last commit of a pipeline has the spec that was read, but for texts for people.

    Args:
        project: The project as it was read, maybe hours ago.
        path: The path of a pipeline that is a dataset.
        reader: Its repository, if the caller has it open.

    Raises:
        UserError: No commit has the spec any more.
    """
    if path in project.given:
        return True  # it is no committed one
    spec = next(place.spec for place in project.places if place.path == path)
    text = read_text(project.root / path, f"{path}/{spec}", project.cache, is_dataset=True, reader=reader)
    before = project.pipelines[path]
    if blob_id(text.encode()) == before.blob:
        return True
    name = project.name_of(path)
    try:
        params = project.parameters_for(text, path)
        now = read_spec(text, source=before.source, folder=name, cache=project.cache, params=params)
    except UserError:
        return False  # it can't be read any more
    if not now.identity:
        now = replace(now, identity=project.identity)
    return _compared(now) == _compared(before)


def _compared(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline as its spec has it, without what has an effect on no datum and on no publish."""
    plain = with_holders(pipeline.input, lambda _: None)
    return replace(pipeline, input=plain, description="", metadata=Metadata(), notes=())
