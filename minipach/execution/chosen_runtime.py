"""The container runtime that the launcher takes on this machine, asked once for each image.

Nothing is decided here: `pick_runtime` in `execution/launcher/runtimes.py` chooses one of `CANDIDATES`. Each runtime is
a file beside that one. What `doctor` says of them is in `environment/runtime_probe.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment, user_path
from minipach.model.launch_protocol import POD_FOLDER
from minipach.model.repo_layout import LAUNCHER

_SMALL = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Chosen:
    """The launcher's answer.

    name: of the runtime ("": none works) · read_only: whether inputs are protected under it.
    """

    name: str = ""
    read_only: bool = False


_known: dict[tuple[str | int, ...], Chosen] = {}


def needs_image() -> bool:
    """Return whether the image's content has to be here; a cluster may run the image itself."""
    return not os.environ.get(POD_FOLDER)


def chosen_runtime(slot: Path, image: str) -> Chosen:
    """Return the runtime for an image. A worker asks once for each: what it looks at is in the key."""
    if not needs_image():
        return Chosen("pod", read_only=True)
    try:
        asked = (os.environ.get("MINIPACH_RUNTIME", ""), user_path(), os.stat(slot).st_dev, image)
        where = (*asked, _digest(slot / LAUNCHER), _content(slot / image))
    except OSError:  # an image that isn't here has nothing to be remembered by
        return Chosen()
    found = _known.get(where) or _ask(slot, image)
    if found.name:
        _known[where] = found
    return found


def _content(path: Path) -> str:
    """Return what an image is known by: its annexed content's place, or the bytes of a small file."""
    there = os.path.realpath(path, strict=True)
    return _digest(Path(there)) if os.path.isfile(there) and os.path.getsize(there) <= _SMALL else there


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes()).hexdigest()


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
