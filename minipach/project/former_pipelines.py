"""Repos that were pipelines: what they published is there, their spec.yml isn't, and so they count as data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from minipach.git.repo import Repo, is_dataset
from minipach.model.repo_layout import SPEC, SPECS, STATE
from minipach.support.errors import Problem
from minipach.support.text import quoted

_RENAMED = re.compile(r"spec\.(ya?ml|json).*", re.IGNORECASE)


def reported(root: Path, repos: Iterable[str], pipelines: Collection[str]) -> Iterator[Problem]:
    """Yield a line for each of these repos that was a pipeline and is none now, with the way back.

    To take such a repo as data is everybody's right: one that holds no state any more is not spoken of.
    """
    for path in repos:
        where = root / path
        # of the files that lie there most repos have none: git is asked of the others
        if path in pipelines or not (where / STATE).is_dir() or not is_dataset(where):
            continue
        repo = Repo(where)
        if repo.resolve(f"HEAD:{STATE}") is not None:
            here, save = f"git -C {quoted(where)}", f"datalad save -d {quoted(where)}"
            yield Problem(
                "pipeline.without-spec",
                path,
                f"a pipeline's results without its {SPEC}, so it is treated as data",
                f"restore it: {_way_back(repo, here)} && {save}; or make it data: {here} rm -rq {STATE} && {save}",
            )


def _way_back(repo: Repo, here: str) -> str:
    renamed = [name for name in repo.names("HEAD") if _RENAMED.fullmatch(name)]
    if len(renamed) == 1:
        return f"{here} mv {quoted(renamed[0])} {SPEC}"
    commit = repo.line("log", "-1", "--format=%h", "--diff-filter=D", "--", *SPECS)
    return f"{here} checkout {commit or '<commit>'}~ -- {SPEC}"
