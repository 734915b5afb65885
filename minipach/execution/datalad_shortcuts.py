"""Answers to questions of `datalad run` that are known in a slot, which save a dozen processes.

A slot has no subdatasets installed, so their state can't change while a command runs. Its HEAD is a ref of its own,
which is read from its file. The inputs of every record
(scripts, code, image) are mostly here, so that there is nothing to get. All other questions of datalad go to git.

Large outputs, and many, go into the annex by a faster way (`git.annex_intake`) before `git annex add` sees the others.

Files that git ignores (by `.gitignore`, `.git/info/exclude` or the user's own rules) are outputs like any other. So
datalad saves them, too.

No hook runs for a slot's commit, neither of the repo nor of the user: the result is committed again when it is
published. The hook of git-annex mends links that were moved; none were.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minipach.git.annex_intake import take_in
from minipach.git.annex_keys import MAX_POINTER, key_of_pointer
from minipach.git.ref_files import read_own_head
from minipach.git.repo import Repo
from minipach.model.repo_layout import SLOT_BRANCH, reserved_in_pipeline
from minipach.support.cpu_affinity import on_one_processor

_SUBMODULES = ["submodule", "status", "--recursive"]
_BRANCH = ["symbolic-ref", "HEAD"]
_NOT_IGNORED = {"--exclude-standard", "-o"}  # how datalad looks for new files
_NO_HOOKS = ["-c", f"core.hooksPath={os.devnull}"]
_IGNORED = ["ls-files", "-z", "-o", "-i", "--exclude-standard"]


@contextmanager
def shortcuts(repo: Any, root: Path, inputs: Sequence[str], place: int = 0) -> Iterator[None]:
    """Let datalad run in a slot without asking for what is known, and save all, past rules and hooks.

    repo: datalad's object for the slot · root: the slot · inputs: paths in it that datalad would get · place: a
    number that distinguishes this slot from those beside it.
    """
    from datalad.core.local import run

    call_git, prepare, hexsha = repo.call_git, run.prepare_inputs, repo.get_hexsha
    call_annex, call_plainly = repo._call_annex_records, repo._call_git

    def quick_call_git(args: Sequence[str], *more: Any, **options: Any) -> Any:
        if list(args) == _SUBMODULES:
            return ""
        if list(args) == _BRANCH and read_own_head(root, SLOT_BRANCH):
            return f"{SLOT_BRANCH}\n"
        found = call_git(args, *more, **options)
        if set(args) >= _NOT_IGNORED:
            ignored = call_git(_IGNORED, *more, **options).split("\0")
            found += "".join(p + "\0" for p in ignored if p and not reserved_in_pipeline(p.split("/", 1)[0]))
        return found

    def quick_hexsha(commitish: str | None = None, short: bool = False) -> Any:
        known = read_own_head(root, SLOT_BRANCH) if commitish in (None, "HEAD") and not short else None
        return known or hexsha(commitish, short)

    def adding_all(args: Sequence[str], *more: Any, **options: Any) -> Any:
        if args[0] != "add":
            return call_annex(args, *more, **options)
        files = [os.path.relpath(os.path.join(root, file), root) for file in options["files"]]
        with on_one_processor(place):
            taken = take_in(Repo(root, own=True), files)
        rows = [{"command": "add", "success": True, "file": file, "key": key} for file, key in taken.items()]
        options["files"] = [file for file in files if file not in taken]
        if not options["files"]:
            return rows
        with on_one_processor(place):
            return [*rows, *call_annex([*args, "--no-check-gitignore"], *more, **options)]

    def committing_quietly(args: Sequence[str], *more: Any, **options: Any) -> Any:
        return call_plainly([*(_NO_HOOKS if args[0] == "commit" else []), *args], *more, **options)

    def quick_prepare(*args: Any, **options: Any) -> Any:
        return iter(()) if all_here(root, inputs) else prepare(*args, **options)

    repo.call_git, repo._call_annex_records, run.prepare_inputs = quick_call_git, adding_all, quick_prepare
    repo._call_git, repo.get_hexsha = committing_quietly, quick_hexsha
    try:
        yield
    finally:
        del repo.call_git, repo._call_annex_records, repo._call_git, repo.get_hexsha
        run.prepare_inputs = prepare


def all_here(root: Path, paths: Iterable[str]) -> bool:
    """Return whether all these files and folders, with all that is in them, have their content here."""
    return all(_is_here(root / path) for path in paths)


def _is_here(path: Path) -> bool:
    if path.is_symlink() or not path.exists():
        return path.exists()
    if path.is_dir():
        return all(_is_here(entry) for entry in path.iterdir())
    if path.stat().st_size > MAX_POINTER:
        return True
    return not os.access(path, os.R_OK) or key_of_pointer(path.read_bytes()) is None
