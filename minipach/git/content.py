"""The kinds of blobs in a tree: plain files, links, or annexed content, each with its content id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from minipach.git.annex_keys import MAX_POINTER, content_id, key_of_link, key_of_pointer
from minipach.git.loose_objects import loose_sizes
from minipach.git.repo import Repo
from minipach.git.tree_entries import GITLINK, SYMLINK, TreeEntry

Content = tuple[Literal["annex", "git", "link"], str, str | None]


def classify(repo: Repo, entries: Iterable[TreeEntry]) -> dict[tuple[str, bool], Content]:
    """Return (kind, content id, key) of each blob, by (blob id, is it a symlink).

    Symlinks and small blobs are read in one `cat-file --batch`; a small blob may be an unlocked file's pointer.
    """
    wanted = {(e.sha, e.mode == SYMLINK) for e in entries if e.mode != GITLINK}
    links = sorted(sha for sha, link in wanted if link)
    plain = sorted(sha for sha, link in wanted if not link)
    found: dict[tuple[str, bool], Content] = {}
    for sha, target in zip(links, repo.objects.read_many(links), strict=True):
        key = key_of_link(target or b"")
        found[sha, True] = ("annex", content_id(key), key) if key else ("link", f"link:{sha}", None)
    small = _small(repo, plain)
    for sha, blob in zip(small, repo.objects.read_many(small), strict=True):
        key = key_of_pointer(blob or b"")
        if key:
            found[sha, False] = ("annex", content_id(key), key)
    for sha in plain:
        found.setdefault((sha, False), ("git", f"git:{sha}", None))
    return found


def _small(repo: Repo, blobs: list[str]) -> list[str]:
    if not blobs:
        return []
    found = loose_sizes(repo.common_dir, blobs)
    asked = [blob for blob in blobs if blob not in found]
    if asked:
        stdin = "".join(f"{blob}\n" for blob in asked).encode()
        sizes = repo.git("cat-file", "--batch-check=%(objectsize)", stdin=stdin).split(b"\n")
        found |= {b: int(s) for b, s in zip(asked, sizes, strict=False) if s.isdigit()}
    return [blob for blob in blobs if found.get(blob, MAX_POINTER + 1) <= MAX_POINTER]
