"""Inputs that are installed in a pipeline's checkout (as `datalad rerun` does it) follow the branch's new links."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minipach.git import crash_cleanup
from minipach.git.checkout import InTheWay, dirty_paths, taken_back
from minipach.git.git_error import GitError
from minipach.git.merging import merge, settle
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import GITLINK
from minipach.model import run_record
from minipach.model.repo_layout import INPUTS
from minipach.project.project import Project
from minipach.support.errors import UserError


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


def follow_branches(project: Project, before: Mapping[str, str]) -> None:
    """Bring the installed inputs of pipelines to what their branches link, after these came from a remote.

    Args:
        project: The project as it was before. Its repos have moved, those with inputs, too.
        before: The commit that each pipeline had checked out, by its path.
    """
    try:
        pipelines = project.pipelines
    except UserError:  # a spec can't be read: then nobody knows its inputs
        return
    for path, old in before.items():
        pipeline = pipelines.get(path)
        repo = Repo(project.root / path)
        try:
            new = repo.head()
            if pipeline is not None and new is not None and new != old:
                slugs = run_record.slugs(pipeline).items()
                follow_links(repo, {slug: project.dataset_of(source) for (source, _), slug in slugs}, old, new)
        finally:
            repo.close()


def heads(project: Project) -> dict[str, str]:
    """Return the commit that each pipeline has checked out, by its path."""
    paths = [place.path for place in project.places if is_dataset(project.root / place.path)]
    found = {path: Repo(project.root / path).head() for path in paths}
    return {path: head for path, head in found.items() if head is not None}


def _link(repo: Repo, commit: str, path: str) -> str | None:
    entries = repo.ls_tree(commit, f":(top,literal){path}")
    return entries[0].sha if entries and entries[0].mode == GITLINK else None


def _follow(there: Repo, source: Path, old: str, new: str) -> None:
    try:
        settle(there)
        if there.head() != old or dirty_paths(there):
            return
        # with what it knows of where contents are: git-annex records any remote's branch of that name
        branch = "+refs/heads/git-annex:refs/remotes/minipach/git-annex"
        fetch = ["fetch", "--quiet", "--no-tags", "--recurse-submodules=no", str(source), new]
        if not there.succeeds(*fetch, branch):
            there.git(*fetch)  # no annex
        if there.succeeds("merge-base", "--is-ancestor", old, new):
            merge(there, new)  # stays on its branch, if it is on one
        else:
            with crash_cleanup.cleared(there), taken_back(there, old, new):
                there.git("checkout", "--quiet", "--detach", new)
    except (GitError, InTheWay):
        return
