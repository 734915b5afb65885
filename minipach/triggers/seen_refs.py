"""The branches of a project as the last pass saw them: what moved since then is what the next pass is for.

A pass stores the branches when it begins to read git, with those that the pass before saw. Only a pass that ends
removes the latter. So the commits of a pass that was killed belong to the next one. The file is `seen.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minipach.git.own_moves import is_own_move
from minipach.git.refs_on_disk import folders_of, read_tips
from minipach.model.local_state import LocalState
from minipach.project.project import Project
from minipach.support.files import write_whole
from minipach.support.validation import parse_object

Tips = Mapping[str, Mapping[str, str]]  # repo ("": the superdataset) -> ref -> commit


@dataclass(frozen=True, slots=True)
class SeenRefs:
    """tips: as the last pass saw them · since: as an earlier pass saw them, if the last one did not end."""

    tips: Tips
    since: Tips | None

    @property
    def done(self) -> Tips:
        """The branches for which all is done."""
        return self.tips if self.since is None else self.since


def tips_of(project: Project) -> Tips:
    """Return the branches of the project and of all its repos that are here."""
    found = ((path, read_tips(project.root / path)) for path in ("", *project.repos))
    return {path: tips for path, tips in found if tips is not None}


def read_seen(state: LocalState) -> SeenRefs | None:
    """Return what is stored; None: no pass has looked yet, or it can't be read."""
    try:
        data = parse_object(state.seen.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    tips, since = _tips(data.get("tips")), _tips(data.get("since"))
    return SeenRefs(tips, since) if tips is not None and data.get("schema") == 1 else None


def begin_pass(state: LocalState, now: Tips) -> Tips | None:
    """Store the branches that a pass sees. Return those of the last pass that ended; None: there was none."""
    seen = read_seen(state)
    done = seen.done if seen else None
    _write(state, SeenRefs(now, done if done is not None else {}))
    return done


def end_pass(state: LocalState, now: Tips) -> None:
    """Note that all is done for these branches."""
    _write(state, SeenRefs(now, None))


def _write(state: LocalState, seen: SeenRefs) -> None:
    write_whole(state.seen, json.dumps({"schema": 1, "tips": seen.tips, "since": seen.since}))


def _tips(value: object) -> Tips | None:
    if not isinstance(value, dict):
        return None
    return {
        str(repo): {str(ref): str(commit) for ref, commit in refs.items()}
        for repo, refs in value.items()
        if isinstance(refs, dict)
    }


def moves(project: Project, before: Tips | None, now: Tips) -> Iterator[str]:
    """Yield `REPO REF` for each branch that somebody else than minipach has moved, made or removed."""
    old = before or {}
    for repo in sorted(old.keys() | now.keys()):
        if repo not in now:
            yield f"{repo or '.'} is gone"
            continue
        refs, earlier = now[repo], old.get(repo, {})
        for ref in sorted(refs.keys() | earlier.keys()):
            if earlier.get(ref) != refs.get(ref) and not _is_own(project, repo, earlier.get(ref), refs.get(ref)):
                yield f"{repo or '.'} {ref}"


def with_own_moves(project: Project, before: Tips) -> Tips:
    """Return branches as they were before, but those that minipach has moved since as they are now."""
    found = {path: dict(refs) for path, refs in before.items()}
    for path, refs in tips_of(Project(project.root)).items():
        earlier = before.get(path, {})
        for ref, commit in refs.items():
            if earlier.get(ref) != commit and _is_own(project, path, earlier.get(ref), commit):
                found.setdefault(path, {})[ref] = commit
    return found


def _is_own(project: Project, repo: str, old: str | None, new: str | None) -> bool:
    if new is None:
        return False
    if new.startswith("ref: "):
        return old is None  # of a repo that is new: its branches decide
    folders = folders_of(project.root / repo)
    return folders is not None and is_own_move(folders.common, old, new)
