"""The repo of ticks of a clock, as it is committed. Reads only."""

from __future__ import annotations

from minipach.git.repo import Repo, is_dataset
from minipach.model.clock import tick_of
from minipach.model.repo_layout import TICK_ASKED, TICK_BACKFILLED, TICK_BEGAN, TICK_MANUAL, TICK_SKIPPED, TICKS
from minipach.model.ticks import Ticks
from minipach.project.project import Project


def read_ticks(project: Project, path: str) -> Ticks:
    """Return the ticks that are committed in the branch that is checked out; none where there is no such repo."""
    where = project.root / path
    if not is_dataset(where):
        return Ticks()
    repo = Repo(where)
    head = repo.head()
    if head is None:
        return Ticks()
    folders: dict[str, set[int]] = {}
    for entry in repo.ls_tree(head, recursive=True):
        folder, _, name = entry.path.rpartition("/")
        tick = tick_of(name)
        if tick is not None:
            folders.setdefault(folder, set()).add(tick)

    def found(folder: str) -> frozenset[int]:
        return frozenset(folders.get(folder, ()))

    return Ticks(
        found(""),
        found(TICK_SKIPPED),
        found(TICK_MANUAL),
        found(TICK_BACKFILLED),
        found(TICK_ASKED),
        min(found(TICK_BEGAN), default=None),
    )


def skip_reasons(project: Project, path: str) -> dict[int, str]:
    """Return the skipped ticks of a repo, each with the reason (one line)."""
    where = project.root / path
    if not is_dataset(where) or (head := Repo(where).head()) is None:
        return {}
    repo = Repo(where)
    entries = repo.ls_tree(head, f":(top,literal){TICK_SKIPPED}", recursive=True)
    texts = repo.objects.read_many([entry.sha for entry in entries])
    found: dict[int, str] = {}
    for entry, text in zip(entries, texts, strict=True):
        tick = tick_of(entry.path.rpartition("/")[2])
        if tick is not None:
            lines = (text or b"").decode("utf-8", "replace").strip().splitlines()
            found[tick] = lines[0] if lines else ""
    repo.close()
    return found


def is_tick_repo(repo: Repo) -> bool:
    """Return whether a repo was made for ticks. Ticks are never added to another one."""
    head = repo.head()
    return head is not None and repo.resolve(f"{head}:{TICKS}") is not None
