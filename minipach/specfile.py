"""The text of a pipeline's spec: as committed, as annexed, or as it lies in a folder that is no dataset yet."""

from __future__ import annotations

import os
from pathlib import Path

from minipach.errors import UserError
from minipach.git import Repo, annex
from minipach.keys import MAX_POINTER, key_of_link, key_of_pointer
from minipach.wording import quoted

SPEC = "spec.yml"


def read_text(folder: Path, source: str, *, is_dataset: bool) -> str:
    """Return the committed spec of a dataset, or the file of a folder that is no dataset yet.

    Args:
        folder: The pipeline's folder.
        source: The name of the spec in messages.
        is_dataset: Whether the folder is a dataset already.

    Raises:
        UserError: The content is not here, or no commit of the dataset has the spec.
    """
    text: bytes | None = None
    if is_dataset:
        repo = Repo(folder)
        try:
            text = _content(repo, source, repo.objects.read(f"HEAD:{SPEC}"))
        finally:
            repo.close()
        if text is None and not _is_being_adopted(folder):
            raise UserError(f"{source}: no commit has it, so it does not run; datalad save -d {quoted(folder)}")
    if text is None:
        text = _lying_there(folder / SPEC, source)
    return decoded(text, source)


def working_text(folder: Path, source: str) -> str | None:
    """Return the spec in the working tree; None if there is none, or its content is not here.

    Raises:
        UserError: It is no UTF-8 text.
    """
    try:
        return decoded(_lying_there(folder / SPEC, source), source)
    except UserError:
        if (folder / SPEC).is_file() and not key_of_pointer((folder / SPEC).read_bytes()[: MAX_POINTER + 1]):
            raise
        return None


def _is_being_adopted(folder: Path) -> bool:
    """Whether a schedule was killed while it made this folder a dataset: the next one finishes that."""
    return (folder / ".git" / "minipach" / "working").is_file()


def _lying_there(file: Path, source: str) -> bytes:
    try:
        text = file.read_bytes()
    except FileNotFoundError:  # a link, which leads nowhere
        text = None
    if text is None or (len(text) <= MAX_POINTER and key_of_pointer(text)):
        raise UserError(f"{source}: its content is annexed and not here; datalad get {quoted(file)}")
    return text


def decoded(text: bytes, source: str) -> str:
    """The text of a spec's bytes. UserError."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _content(repo: Repo, source: str, blob: bytes | None) -> bytes | None:
    """The text behind a blob: its annexed content, if that is what it names (a plain `datalad create` annexes all)."""
    if blob is None or len(blob) > MAX_POINTER or b"\n" in blob.strip():
        return blob
    key = key_of_pointer(blob) or key_of_link(blob)  # a pointer ends with a line break, which is no part of the key
    if key is None or " " in key:
        return blob
    location = annex(repo, "contentlocation", key, ok=(0, 1)).rstrip(b"\n")
    if not location:
        raise UserError(f"{source}: its content is annexed and not here; datalad get {quoted(repo.path / SPEC)}")
    return (repo.path / os.fsdecode(location)).read_bytes()
