"""The kinds of recipes from which images are built, known by the name of the file."""

from __future__ import annotations

import posixpath
import re
from typing import Literal

RecipeKind = Literal["python", "conda", "dockerfile", "apptainer"]
NAMES = "requirements.txt, pyproject.toml, uv.lock, environment.yml, pixi.lock, Dockerfile, Containerfile or NAME.def"
_KINDS: tuple[tuple[RecipeKind, re.Pattern[str]], ...] = (
    ("python", re.compile(r"requirements[\w.-]*\.txt|[\w.-]+\.requirements\.txt|pyproject\.toml|uv\.lock")),
    ("conda", re.compile(r"(?:[\w.-]+\.)?environment[\w.-]*\.ya?ml|pixi\.lock")),
    ("dockerfile", re.compile(r"(?:Dockerfile|Containerfile)(?:\.[\w.-]+)?|[\w.-]+\.(?:Dockerfile|Containerfile)")),
    ("apptainer", re.compile(r"[\w.-]+\.def")),
)


def kind_of(path: str) -> RecipeKind | None:
    """Return the kind of recipe that a file is by its name, or None."""
    name = posixpath.basename(path)
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), None)
