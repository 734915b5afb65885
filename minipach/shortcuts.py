"""What `datalad run` asks git and git-annex in a dozen processes, and what is known of a slot without asking.

A slot has no subdatasets installed, so that what they are at can't change while a command runs; and what every record
names as input (scripts, code, image) is mostly here, so that there is nothing to get. Where datalad asks in another
way, or something is not here, it asks as ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minipach.keys import MAX_POINTER, key_of_pointer

_SUBMODULES = ["submodule", "status", "--recursive"]


@contextmanager
def shortcuts(repo: Any, root: Path, inputs: Sequence[str]) -> Iterator[None]:
    """Within this, datalad runs in a slot without asking for what is known.

    repo: datalad's object for the slot · root: the slot · inputs: paths in it that datalad would get.
    """
    from datalad.core.local import run

    call_git, prepare = repo.call_git, run.prepare_inputs

    def quick_call_git(args: Sequence[str], *more: Any, **options: Any) -> Any:
        return "" if list(args) == _SUBMODULES else call_git(args, *more, **options)

    def quick_prepare(*args: Any, **options: Any) -> Any:
        return iter(()) if all_here(root, inputs) else prepare(*args, **options)

    repo.call_git, run.prepare_inputs = quick_call_git, quick_prepare
    try:
        yield
    finally:
        del repo.call_git
        run.prepare_inputs = prepare


def all_here(root: Path, paths: Iterable[str]) -> bool:
    """Whether all these files and folders, with all that is in them, have their content here."""
    return all(_is_here(root / path) for path in paths)


def _is_here(path: Path) -> bool:
    if path.is_symlink() or not path.exists():
        return path.exists()
    if path.is_dir():
        return all(_is_here(entry) for entry in path.iterdir())
    if path.stat().st_size > MAX_POINTER:
        return True
    return not os.access(path, os.R_OK) or key_of_pointer(path.read_bytes()) is None
