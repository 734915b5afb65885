"""Inputs that are installed in a pipeline's checkout (as `datalad rerun` does it) follow the branch's new links."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minipach.git.checkout import dirty_paths
from minipach.git.repo import GITLINK, GitError, Repo, is_dataset
from minipach.model.repo_layout import INPUTS


def follow_links(repo: Repo, sources: Mapping[str, Path], old: str, new: str) -> None:
    """Bring each installed input from the commit that `old` links to the one that `new` links.

    sources: the repos of the project by their folder under `inputs/`, which have the commits. What somebody has changed
    or checked out there is left as it is, and so is all if git refuses: minipach itself never needs these folders.
    """
    for slug, source in sources.items():
        path = INPUTS + slug
        if is_dataset(repo.path / path):
            links = [_link(repo, commit, path) for commit in (old, new)]
            if None not in links and links[0] != links[1]:
                _follow(Repo(repo.path / path), source, str(links[0]), str(links[1]))


def _link(repo: Repo, commit: str, path: str) -> str | None:
    entries = repo.ls_tree(commit, f":(top,literal){path}")
    return entries[0].sha if entries and entries[0].mode == GITLINK else None


def _follow(there: Repo, source: Path, old: str, new: str) -> None:
    try:
        if there.head() != old or dirty_paths(there):
            return
        # with what it knows of where contents are: git-annex records any remote's branch of that name
        branch = "+refs/heads/git-annex:refs/remotes/minipach/git-annex"
        fetch = ["fetch", "--quiet", "--no-tags", "--recurse-submodules=no", str(source), new]
        if not there.succeeds(*fetch, branch):
            there.git(*fetch)  # no annex
        if there.succeeds("merge-base", "--is-ancestor", old, new):
            there.git("merge", "--quiet", "--ff-only", new)  # stays on its branch, if it is on one
        else:
            there.git("checkout", "--quiet", "--detach", new)
    except GitError:
        return
