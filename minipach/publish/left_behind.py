"""Results that a plain `git push` or `datalad push` has left behind: it sends branches, and not those of results."""

from __future__ import annotations

from minipach.git.repo import Repo, is_dataset
from minipach.model.repo_layout import RESULTS, RESULTS_BRANCH
from minipach.project.project import Project
from minipach.support.errors import Problem

_REMOTES = "refs/remotes/"


def left_behind(project: Project) -> list[Problem]:
    """Return a remark for each remote that has the outputs of a pipeline and not its results, as far as is known here.

    Nothing is broken by that: whoever clones the project computes these results again.
    """
    found = []
    for path in project.order:
        pipeline = project.pipelines.get(path)
        if pipeline is None or not is_dataset(project.root / path):
            continue
        repo = Repo(project.root / path)
        try:
            found += [_remark(path, remote) for remote in _lacking(repo, pipeline.output_branch)]
        finally:
            repo.close()
    return found


def _lacking(repo: Repo, output_branch: str | None) -> list[str]:
    """Return the remotes that have the branch as it is here, and lack results that are here."""
    refs = repo.refs("refs/")
    results = refs.get(RESULTS_BRANCH)
    branch = output_branch or repo.branch()
    here = refs.get(f"refs/heads/{branch}")
    if results is None or here is None:
        return []
    end = f"/{branch}"
    having = [
        ref.removeprefix(_REMOTES).removesuffix(end)
        for ref, sha in refs.items()
        if ref.startswith(_REMOTES) and ref.endswith(end) and sha == here
    ]
    found = []
    for remote in having:
        there = refs.get(f"{_REMOTES}{remote}/{RESULTS}")
        if there != results and not (there and repo.succeeds("merge-base", "--is-ancestor", results, there)):
            found.append(remote)
    return found


def _remark(path: str, remote: str) -> Problem:
    problem = f"its branch is on {remote}, and some of its results are not"
    return Problem("push.results-left", path, problem, f"minipach push {remote}")
