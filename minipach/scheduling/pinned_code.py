"""Shared code in a pipeline's own repository: its blobs, and the contents of its annexed files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from minipach.git.annex_keys import relocate
from minipach.git.repo import Repo, annex
from minipach.git.tree_entries import SYMLINK, TreeEntry
from minipach.model.repo_layout import PINNED_CODE
from minipach.records.own_files import Shared
from minipach.support.errors import Problem, UserError


def pin_shared_code(repo: Repo, shared: Mapping[str, Shared]) -> list[TreeEntry]:
    """Copy shared files into a repository, and return their entries below `.minipach/code`.

    Raises UserError where the content of an annexed file can't be had.
    """
    found = []
    for source, files in _by_repo(shared):
        inner = Repo(source)
        try:
            _copy_blobs(inner, repo, sorted({one.entry.blob for one in files.values()}))
            _copy_contents(inner, repo, {one.entry.key for one in files.values() if one.entry.key})
        finally:
            inner.close()
        for path, one in files.items():
            place = f"{PINNED_CODE}/{path}"
            blob = one.entry.blob
            if one.mode == SYMLINK and one.entry.kind == "annex":
                blob = repo.hash_blob(relocate(repo.objects.read(blob) or b"", place.count("/")))
            found.append(TreeEntry(one.mode, blob, place))
    return found


def _by_repo(shared: Mapping[str, Shared]) -> Iterator[tuple[Path, dict[str, Shared]]]:
    for source in sorted({one.repo for one in shared.values()}):
        yield source, {path: one for path, one in shared.items() if one.repo == source}


def _copy_blobs(source: Repo, repo: Repo, blobs: list[str]) -> None:
    pack = source.git("pack-objects", "--stdout", "-q", stdin="".join(f"{blob}\n" for blob in blobs).encode())
    repo.git("unpack-objects", "-q", stdin=pack)


def _copy_contents(source: Repo, repo: Repo, keys: set[str]) -> None:
    absent = {key for key in keys if not annex(repo, "contentlocation", key, ok=(0, 1)).strip()}
    if not absent:
        return
    from minipach.execution.staging import StagingError, locate  # which imports the base, which pins

    if repo.resolve("refs/heads/git-annex") is None:
        raise UserError(
            Problem(
                "code.needs-dataset",
                str(source.path),
                "annexed files of shared code need a dataset here",
                "minipach schedule",
            )
        )
    try:
        contents = locate(source, absent)
    except StagingError as error:
        raise UserError(Problem("code.content-missing", "", str(error))) from None
    for key, content in contents.items():
        fd, copy = tempfile.mkstemp(dir=repo.common_dir, prefix="minipach-content.")
        os.close(fd)
        shutil.copyfile(content, copy)
        annex(repo, "setkey", key, copy)
