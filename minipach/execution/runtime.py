"""The container runtime that the launcher takes on this machine, asked once for each image.

The runtimes themselves are classes in `execution/scripts/launch`, listed in `RUNTIMES`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from minipach.git.repo import child_environment
from minipach.model.launch_protocol import POD_FOLDER
from minipach.model.repo_layout import LAUNCHER


@dataclass(frozen=True, slots=True)
class Chosen:
    """The launcher's answer.

    name: of the runtime ("": none works) · read_only: whether inputs are protected under it.
    """

    name: str = ""
    read_only: bool = False


def needs_image() -> bool:
    """Return whether the image's content has to be here; a cluster may run the image itself."""
    return not os.environ.get(POD_FOLDER)


_known: dict[tuple[Path, str, str], Chosen] = {}


def chosen_runtime(slot: Path, image: str) -> Chosen:
    """Return the runtime for an image. A worker asks once for each: annexed content never changes in place."""
    if not needs_image():
        return Chosen("pod", read_only=True)
    try:
        content = os.path.realpath(slot / image, strict=True)
    except OSError:  # an image that isn't here has nothing to be remembered by
        return Chosen()
    where = (slot.parent, image, content)
    found = _known.get(where) or _ask(slot, image)
    if found.name:
        _known[where] = found
    return found


def _ask(slot: Path, image: str) -> Chosen:
    done = subprocess.run(
        ["sh", LAUNCHER, "--runtime", image],
        cwd=slot,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    with contextlib.suppress(ValueError):
        name, protection = done.stdout.split()
        if done.returncode == 0:
            return Chosen(name, protection == "read-only")
    return Chosen()
