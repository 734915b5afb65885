"""A stage of a `dvc.yaml`, read as the file that it is: plain YAML, no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from minipach.project.spec_file import decoded
from minipach.spec.yaml_reader import Mark, read_yaml
from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest
from minipach.templates.stage_draft import Stage

_CARRIED = {"cmd", "deps", "outs", "wdir", "desc"}
_OUTPUTS = ("outs", "metrics", "plots")


def read_stage(file: Path, name: str) -> tuple[Stage, tuple[str, ...]]:
    """Return a stage of a `dvc.yaml`, and what of it is left out.

    Args:
        file: The `dvc.yaml`.
        name: The stage; "" where there is one only.

    Raises:
        UserError: The file is no `dvc.yaml`, or has no such stage.
    """
    data = _loaded(file)
    stages = data.get("stages")
    if not isinstance(stages, dict) or not stages:
        raise UserError(Problem("new.no-stage", str(file), "no `stages`", "write `stages:` and a stage below it"))
    if not name and len(stages) == 1:
        name = str(next(iter(stages)))
    stage = stages.get(name)
    if not isinstance(stage, dict):
        what = f'no stage "{name}"' if name else "several stages"
        raise UserError(
            Problem("new.no-stage", str(file), what, f"{suggest(name, map(str, stages))}; write {file.name}:STAGE")
        )
    if "foreach" in stage or "matrix" in stage:
        fix = "write one pipeline whose glob matches what the loop lists"
        raise UserError(Problem("new.stage-loop", f"{file}: {name}", "the stage is a loop (`foreach`, `matrix`)", fix))
    commands = stage.get("cmd")
    lines = [commands] if isinstance(commands, str) else commands
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines) or not lines:
        raise UserError(Problem("new.no-command", f"{file}: {name}", "no `cmd`", "write its `cmd`"))
    if any("${" in line for line in lines):
        fix = "put the value in its place, or read it from a file that is a dependency"
        raise UserError(
            Problem("new.stage-variable", f"{file}: {name}", "`cmd` has a variable of DVC's (`${...}`)", fix)
        )
    left_out = [f"{key}: no counterpart" for key in stage if key not in {*_CARRIED, *_OUTPUTS, "params", "frozen"}]
    if "params" in stage:
        left_out.append("params: a parameter is read from its file; add the file to the command's code")
    if stage.get("frozen"):
        left_out.append("frozen: minipach pause NAME leaves a pipeline out")
    writes = [path for key in _OUTPUTS for path in _paths(stage.get(key))]
    folder = file.parent / str(stage.get("wdir") or ".")
    reads = [*_paths(stage.get("deps")), *(path for path in _params(stage) if (folder / path).is_file())]
    return Stage(f"{file.name}:{name}", folder, reads, writes, lines), tuple(left_out)


def _loaded(file: Path) -> Mapping[str, Any]:
    text = decoded(file.read_bytes(), str(file))
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        # what is no YAML for a spec is said there; a tag of a program or a deep nesting is none either
        marks = [(m, p) for m, p in read_yaml(text).problems if p.code in ("spec.not-yaml", "spec.yaml-tag")]
        mark, problem = marks[0] if marks else (Mark(1, 1), Problem("new.not-yaml", "", "not YAML", "check the file"))
        place = f"{file}:{mark.line}:{mark.column}"
        raise UserError(Problem("new.not-yaml", place, problem.message, problem.fix)) from None
    if not isinstance(data, dict):
        raise UserError(Problem("new.not-yaml", str(file), "no mapping", "write `stages:` and a stage below it"))
    return data


def _paths(value: object) -> list[str]:
    """Return the paths in a list of DVC's: text, or a mapping with the path as its key."""
    rows = value if isinstance(value, list) else []
    return [
        str(next(iter(row))) if isinstance(row, dict) else str(row)
        for row in rows
        if isinstance(row, str | dict) and row
    ]


def _params(stage: Mapping[str, Any]) -> list[str]:
    """Return the parameter files of a stage: `params.yaml`, or those that are named."""
    rows = stage.get("params")
    if not isinstance(rows, list) or not rows:
        return []
    named = [str(key) for row in rows if isinstance(row, dict) for key in row]
    return [*(["params.yaml"] if any(isinstance(row, str) for row in rows) else []), *named]
