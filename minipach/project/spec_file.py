"""The text of a pipeline's spec: as committed, as annexed, or as it lies in a folder that is no dataset yet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from minipach.git.annex_keys import MAX_POINTER, key_of_link, key_of_pointer
from minipach.git.repo import Repo, annex
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import FOLDER, SPEC, SPECS
from minipach.support.disk_cache import Cache
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

# Names that people give a spec, and that are not read.
_MISNAMED = (
    "Spec.yml",
    "Spec.yaml",
    "Spec.json",
    "SPEC.yml",
    "SPEC.YML",
    "spec.jsonnet",
    "spec.yml.txt",
    "spec.yaml.txt",
)
_KEYS = [
    re.compile(rf"""(?:^|[{{,])\s*["']?{key}["']?\s*:""".encode(), re.MULTILINE) for key in ("transform", "inputs?")
]


def known_specs(repo: Repo, cache: Cache) -> list[str]:
    """Return the same as `committed_specs`: from the cache, if the last commit is the one that was looked at last."""
    head = repo.head()
    kept = cache.get("committed-specs", str(repo.path)) if head else None
    if kept is not None and kept[0] == head:
        return list(kept[1])
    found = committed_specs(repo)
    if head and all(name == SPEC for name in found):  # of others, an annexed content decides that may come and go
        cache.put("committed-specs", str(repo.path), (head, found))
    return found


def committed_specs(repo: Repo) -> list[str]:
    """Return the names of the specs that the last commit has."""
    # one process, also where there is no commit yet
    names = (*SPECS, FOLDER)
    out = os.fsdecode(repo.git("ls-tree", "-z", "--full-tree", "--name-only", "HEAD", "--", *names, ok=(0, 128)))
    there = out.split("\0")
    found = [name for name in SPECS if name in there]
    return [n for n in found if n == SPEC or FOLDER in there or _is_ours(repo.objects.read(f"HEAD:{n}"), repo.path / n)]


def lying_specs(folder: Path) -> list[str]:
    """Return the names of the specs in a folder."""
    found = [name for name in SPECS if is_spec(folder / name)]
    return [n for n in found if n == SPEC or (folder / FOLDER).is_dir() or file_looks_like_ours(folder / n)]


def is_spec(file: Path) -> bool:
    """Return whether a spec lies there: a file, or git-annex's link to one, whose content may be elsewhere."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def file_looks_like_ours(file: Path) -> bool:
    """Return whether a file of a spec's name is one: the names are not rare."""
    return file.is_file() and _looks_like_ours(file.read_bytes())


def _is_ours(blob: bytes | None, file: Path) -> bool:
    """Return the same of what is committed; of what is annexed, by its content if that is here."""
    if blob is None or key_of_link(blob) or key_of_pointer(blob):
        return file_looks_like_ours(file)
    return _looks_like_ours(blob)


def _looks_like_ours(text: bytes) -> bool:
    return all(key.search(text) for key in _KEYS)


def one_spec(folder: str, names: Sequence[str]) -> str:
    """Return the only name. UserError if there are several. folder: as messages call it."""
    if len(names) > 1:
        raise UserError(
            Problem(
                "spec.several-files",
                str(folder),
                f"{' and '.join(names)}, but a pipeline has one spec",
                "remove or rename the others",
            )
        )
    return names[0] if names else SPEC


def misnamed(folder: Path) -> Iterator[str]:
    """Yield the names in a folder that are meant to be a spec's, most likely, and are not read."""
    found = [name for name in _MISNAMED if os.path.lexists(folder / name)]
    if found:
        there = set(os.listdir(folder))  # some file systems take Spec.yml for spec.yml
        yield from (name for name in found if name in there)


def read_text(folder: Path, source: str, cache: Cache, *, is_dataset: bool, reader: Repo | None = None) -> str:
    """Return the committed spec of a dataset, or the file of a folder that is no dataset yet.

    Args:
        folder: The pipeline's folder.
        source: The path of the spec in the project.
        cache: The project's, which keeps what the last commit has.
        is_dataset: Whether the folder is a dataset already.
        reader: Its repository, if the caller has it open.

    Raises:
        UserError: The content is not here, or no commit of the dataset has the spec.
    """
    text: bytes | None = None
    name = source.rpartition("/")[2]
    if is_dataset:
        repo = reader or Repo(folder)
        try:
            text = content_of(repo, source, _committed(repo, name, cache), name)
        finally:
            if reader is None:
                repo.close()
        if text is None and not _is_being_adopted(folder):
            raise UserError(
                Problem(
                    "spec.not-committed",
                    source,
                    "no commit has it, so it does not run",
                    f"datalad save -d {quoted(folder)}",
                )
            )
    if text is None:
        text = _lying_there(folder / name, source)
    return decoded(text, source)


def _committed(repo: Repo, name: str, cache: Cache) -> bytes | None:
    head, where = repo.head(), str(repo.path / name)
    kept = cache.get("committed-spec", where) if head else None
    if kept is not None and kept[0] == head:
        return bytes(kept[1])
    blob = repo.objects.read(f"HEAD:{name}")
    if head and blob is not None:
        cache.put("committed-spec", where, (head, blob))
    return blob


def working_text(folder: Path, source: str) -> str | None:
    """Return the spec in the working tree; None if there is none, or its content is not here.

    Raises:
        UserError: It is no UTF-8 text.
    """
    file = folder / source.rpartition("/")[2]
    try:
        return decoded(_lying_there(file, source), source)
    except UserError:
        if file.is_file() and not key_of_pointer(file.read_bytes()[: MAX_POINTER + 1]):
            raise
        return None


def _is_being_adopted(folder: Path) -> bool:
    """Return whether a schedule was killed while it made this folder a dataset: the next one finishes that."""
    return LocalState.in_root(folder).working.is_file()


def _lying_there(file: Path, source: str) -> bytes:
    try:
        text = file.read_bytes()
    except FileNotFoundError:  # a link, which leads nowhere
        text = None
    if text is None or (len(text) <= MAX_POINTER and key_of_pointer(text)):
        raise UserError(
            Problem(
                "spec.content-missing", source, "its content is annexed and not here", f"datalad get {quoted(file)}"
            )
        )
    return text


def decoded(text: bytes, source: str) -> str:
    """Return the text of a spec's bytes. UserError."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            Problem("spec.not-utf8", source, f"not UTF-8 text (byte {error.start + 1})", "save it as UTF-8")
        ) from None


def content_of(repo: Repo, source: str, blob: bytes | None, name: str) -> bytes | None:
    """Return the text behind a blob.

    Its annexed content, if that is what it names (a plain `datalad create` annexes all).
    """
    if blob is None or len(blob) > MAX_POINTER or b"\n" in blob.strip():
        return blob
    key = key_of_pointer(blob) or key_of_link(blob)  # a pointer ends with a line break, which is no part of the key
    if key is None or " " in key:
        return blob
    location = annex(repo, "contentlocation", key, ok=(0, 1)).rstrip(b"\n")
    if not location:
        raise UserError(
            Problem(
                "spec.content-missing",
                source,
                "its content is annexed and not here",
                f"datalad get {quoted(repo.path / name)}",
            )
        )
    return (repo.path / os.fsdecode(location)).read_bytes()
