"""What the branch of a pipeline's repo is made of: its house (the reserved names, less the state), and its outputs."""

from __future__ import annotations

import os

from minipach.git.repo import Repo, TreeEntry
from minipach.model.repo_layout import STATE, reserved_in_pipeline


def house_entries(repo: Repo, commit: str) -> list[TreeEntry]:
    """The files and gitlinks below the reserved names, less the state. Of the outputs only their names are read."""
    names = [name for name in repo.names(commit) if reserved_in_pipeline(name)]
    found = repo.ls_tree(commit, *(f":(top,literal){n}" for n in names), recursive=True) if names else []
    return [e for e in found if not e.path.startswith(STATE + "/")]


def output_paths(repo: Repo, commit: str) -> list[str]:
    """The paths of everything else."""
    out = os.fsdecode(repo.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit))
    return [p for p in out.split("\0") if p and not reserved_in_pipeline(p.split("/", 1)[0])]
