"""The list of a pipeline's own files on its branch: what is no output, though it is at no reserved name.

Only the file `.minipach/files` is read here. Which files are own ones is decided in `records.own_files`.
"""

from __future__ import annotations

import os

from minipach.git.repo import Repo
from minipach.model.repo_layout import OWN_FILES


def listed_own(repo: Repo, treeish: str) -> frozenset[str] | None:
    """Return what a pipeline's branch lists as the pipeline's own files: no output, though at no reserved name.

    None where nothing is listed, before the first publish.
    """
    data = repo.objects.read(f"{treeish}:{OWN_FILES}")
    return None if data is None else frozenset(os.fsdecode(line) for line in data.split(b"\n") if line)
