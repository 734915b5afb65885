"""The recipe of conda-forge and the formula of Homebrew for a release: templates, filled in from pyproject.toml."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# distributions whose packages have another name on conda-forge
_CONDA_NAMES = {"redis": "redis-py", "tzdata": "python-tzdata"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*)((?:[<>=!~]=?[\w.*]+,?)*)")


def dependencies() -> list[tuple[str, str]]:
    """Return what the package requires: name and bounds, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for line in project["dependencies"]:
        match = _REQUIREMENT.fullmatch(line)
        if not match:
            raise SystemExit(f"pyproject.toml: {line!r} has no form that the recipes take")
        found.append((match[1], match[2]))
    return found


def for_conda(name: str) -> str:
    """Return the name of a distribution on conda-forge."""
    return _CONDA_NAMES.get(name, name.lower())


def python_min() -> str:
    """Return the oldest Python that the package takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["requires-python"]).removeprefix(">=")


def addresses() -> dict[str, str]:
    """Return where the release is: `RELEASE_ADDRESS` (of the sdist) and `RELEASE_HOMEPAGE` of the environment.
    `@VERSION@` in an address stands for the version.

    What is not set keeps its place in the files: whoever submits them fills it in.
    """
    names = ("ADDRESS", "HOMEPAGE")
    return {f"@{name}@": os.environ.get(f"RELEASE_{name}") or f"@{name}@" for name in names}


def _filled(text: str, version: str, digest: str) -> str:
    for place, value in {**addresses(), "@VERSION@": version, "@SHA256@": digest}.items():
        text = text.replace(place, value)
    return text


def recipe(version: str, digest: str) -> str:
    """Return the text of recipe.yaml. digest: the SHA-256 of the sdist."""
    rows = "".join(f"    - {' '.join(filter(None, (for_conda(name), bounds)))}\n" for name, bounds in dependencies())
    text = (ROOT / "packaging" / "recipe.yaml").read_text()
    text = text.replace("@DEPENDENCIES@\n", rows + "\n").replace("@PYTHON@", python_min())
    return _filled(text, version, digest)


def formula(version: str, digest: str) -> str:
    """Return the text of minipach.rb."""
    return _filled((ROOT / "packaging" / "minipach.rb").read_text(), version, digest)


def write(version: str, sdist: Path, folder: Path) -> list[Path]:
    """Write both files for a release. Returns their paths."""
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    found = []
    for name, text in (("recipe.yaml", recipe(version, digest)), ("minipach.rb", formula(version, digest))):
        (folder / name).write_text(text)
        found.append(folder / name)
    return found
