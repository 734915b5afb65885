"""The parameters of a point, written into `params.yml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from minipach.experiments.points import Point, nested, shown
from minipach.project.parameters import working_parameters
from minipach.spec.template import merged
from minipach.spec.yaml_reader import Number
from minipach.support.errors import Problem, UserError


def with_point(file: Path, by_pipeline: Mapping[str, Point]) -> str:
    """Return the text of `params.yml` with the parameters of a point, by pipeline.

    Raises:
        UserError: The file is broken, or has comments, which would be lost.
    """
    before = working_parameters(file.parent)
    if before.problems:
        raise UserError(before.problems)
    if file.is_symlink():
        raise UserError(Problem("exp.cannot-write", file.name, "annexed or a link", f"datalad unlock {file.name}"))
    if file.exists() and any(line.lstrip().startswith("#") for line in file.read_text().splitlines()):
        wanted = ", ".join(
            f"{pipeline}.{chain}: {shown(value)}"
            for pipeline, point in by_pipeline.items()
            for chain, value in point.items()
        )
        raise UserError(Problem("exp.cannot-write", file.name, "its comments would be lost", f"set {wanted} yourself"))
    new = {pipeline: _plain(nested(point)) for pipeline, point in by_pipeline.items()}
    found = merged(_plain(before.by_pipeline), new)
    return yaml.dump(found, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")  # as YAML writes it, too


class _Text(str):
    """A number as it was written."""


class _Dumper(yaml.SafeDumper):
    """A writer that leaves numbers as they were written."""


def _as_written(dumper: yaml.SafeDumper, value: _Text) -> yaml.ScalarNode:
    return yaml.ScalarNode(f"tag:yaml.org,2002:{'float' if '.' in value else 'int'}", str(value))


_Dumper.add_representer(_Text, _as_written)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    text = value.text if isinstance(value, Number) else value
    return _Text(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else text
