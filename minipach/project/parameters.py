"""Parameters of pipelines: `params.yml` in the project, a mapping of parameters for each pipeline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipach.git.repo import Repo
from minipach.project.spec_file import content_of, decoded
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

PARAMETERS = "params.yml"


@dataclass(frozen=True)
class Parameters:
    """The parameters of a project. by_pipeline: by the name or the path of a pipeline · problems: of the file."""

    by_pipeline: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def of(self, name: str, path: str) -> Mapping[str, Any]:
        """Return the parameters of a pipeline. UserError if the file is broken, or they are no mapping."""
        if self.problems:
            raise UserError(self.problems)
        found = self.by_pipeline.get(path, self.by_pipeline.get(name, {}))
        if not isinstance(found, Mapping):
            fix = f"write them below it, as in {name}: {{lr: 0.1}}"
            raise UserError(Problem("params.no-mapping", f"{PARAMETERS}: {name}", "needs names and values", fix))
        return found


def committed_parameters(repo: Repo) -> Parameters:
    """Return the parameters in the last commit of a project."""
    if repo.head() is None:
        return Parameters()
    try:
        data = content_of(repo, PARAMETERS, repo.objects.read(f"HEAD:{PARAMETERS}"), PARAMETERS)
    except UserError as error:
        return Parameters(problems=error.problems)
    return _parsed(data)


def working_parameters(root: Path) -> Parameters:
    """Return the parameters as they are in the working tree."""
    file = root / PARAMETERS
    try:
        data = file.read_bytes() if os.path.lexists(file) else None
    except OSError as error:
        why = Problem("spec.content-missing", PARAMETERS, error.strerror or str(error), f"datalad get {PARAMETERS}")
        return Parameters(problems=(why,))
    return _parsed(data)


def uncommitted_parameters(root: Path, repo: Repo) -> Problem | None:
    """Return the note that `params.yml` has changes which no commit has; None if it has none."""
    file = root / PARAMETERS
    if not file.is_file() or file.is_symlink():
        return None
    try:
        blob = repo.objects.read(f"HEAD:{PARAMETERS}") if repo.head() else None
        if content_of(repo, PARAMETERS, blob, PARAMETERS) == file.read_bytes():
            return None
    except UserError:  # annexed, and not here
        return None
    place = quoted(root)
    fix = f"git -C {place} add {PARAMETERS} && git -C {place} commit -m 'set parameters'"
    return Problem("params.not-committed", PARAMETERS, "its uncommitted changes are not used", fix)


def _parsed(data: bytes | None) -> Parameters:
    if data is None or not data.strip():
        return Parameters()
    from minipach.spec.yaml_reader import read_yaml  # takes longer to import than an unchanged plan takes

    try:
        document = read_yaml(decoded(data, PARAMETERS))
    except UserError as error:
        return Parameters(problems=error.problems)
    if document.problems:
        rows = sorted(document.problems, key=lambda found: (found[0], str(found[1])))
        return Parameters(problems=tuple(p.within(f"{PARAMETERS}:{m.line}:{m.column}") for m, p in rows))
    if not isinstance(document.data, dict):
        fix = "write a name of a pipeline, and its parameters below it"
        return Parameters(problems=(Problem("params.no-mapping", PARAMETERS, "needs names and values", fix),))
    return Parameters(document.data)
