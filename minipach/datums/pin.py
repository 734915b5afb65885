"""The commit that an input from a plain folder is pinned at: the last one that changed a file of the folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from minipach.git.repo import Repo, has_folder
from minipach.git.tree_entries import TREE
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import HOUSEKEEPING
from minipach.support.disk_cache import Cache


def pinned_commit(
    repo: Repo, folder: PlainFolder, tip: str, links: Iterable[str], cache: Cache | None = None
) -> str | None:
    """Return the last commit up to `tip` that changed a file of a folder; None: it has none.

    So the commits that change other files, such as those with results, do not move the input.

    Args:
        repo: The dataset that has the folder.
        folder: The folder.
        tip: A commit of the dataset.
        links: The paths of its subdatasets.
        cache: For the pin of before.
    """
    if folder.path and not has_folder(repo, tip, folder.path):
        return None
    pipelines = {f"{folder.prefix}{path}" for path in folder.pipelines}
    left_out = pipelines | {path for path in links if path.startswith(folder.prefix)}
    where = f"{repo.path}\0{folder.path}"
    key = [tip, sorted(left_out)]
    kept = cache.get("pin", where) if cache else None
    if kept is not None and kept[0] == key:
        return str(kept[1])
    found = _last_change(repo, folder, tip, left_out)
    # where a subdataset was a plain folder then, its files were part of this one
    datasets = sorted(left_out - pipelines)
    entries = repo.ls_tree(found, *(f":(top,literal){path}" for path in datasets)) if datasets else ()
    were_files = [entry.path for entry in entries if entry.mode == TREE]
    if were_files:
        found = _last_change(repo, folder, tip, left_out.difference(were_files))
    if cache:
        cache.put("pin", where, (key, found))
    return found


def _last_change(repo: Repo, folder: PlainFolder, tip: str, left_out: Set[str]) -> str:
    """Return the last commit that changed a file of a folder, or anything in it where it has had no file since."""
    outside = [f":(exclude,top,literal){path}" for path in sorted(left_out)]
    outside += [f":(exclude,top,glob){_as_glob(folder.prefix)}{name}" for name in (".git*", ".git*/**")]
    outside += [f":(exclude,top,literal){folder.prefix}{name}" for name in sorted(HOUSEKEEPING)]
    inside = f":(top,literal){folder.path}" if folder.path else ":(top)"
    for but in (outside, []):
        found = repo.line("rev-list", "--max-count=1", tip, "--", inside, *but)
        if found and (not folder.path or has_folder(repo, found, folder.path)):
            return found
    return tip


def _as_glob(path: str) -> str:
    """Return a path as a glob of git's that matches it alone."""
    return re.sub(r"([*?\[\\])", r"\\\1", path)
