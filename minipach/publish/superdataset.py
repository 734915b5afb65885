"""One superdataset commit with the new gitlinks: the snapshot of the whole DAG."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from minipach.git.checkout import index_entries, move_branch
from minipach.git.repo import Repo, private_index
from minipach.git.tree_entries import GITLINK
from minipach.project.project import Project


def holder_heads(project: Project) -> dict[str, str | None]:
    """Return the commits of the superdataset (""), and of other datasets that hold repos."""
    found = {project.holder_of(path) for path in project.repos} | {""}
    return {holder: Repo(project.root / holder).head() for holder in found}


def commit_gitlinks(
    project: Project,
    commits: Mapping[str, str],
    message: str | Callable[[Collection[str]], str],
    began: Mapping[str, str | None] | None = None,
) -> str | None:
    """Record the commits of repos (by path) in the datasets that hold them, up to the superdataset.

    Returns the superdataset's new commit, or None if all gitlinks were right already. Whatever else is staged or
    changed there is left as it is. message: a text, or a function that makes it of the paths whose commits are
    recorded · began: `holder_heads`, before the commits were read. What another schedule has recorded since then
    stays, if it is newer.
    """
    pending = dict(commits)
    new: str | None = None
    holders = sorted({project.holder_of(path) for path in pending}, key=len, reverse=True)
    done: set[str] = set()
    while holders:
        holder = holders.pop(0)
        if holder in done:
            continue
        done.add(holder)
        prefix = holder + "/" if holder else ""
        inside = {p.removeprefix(prefix): c for p, c in pending.items() if project.holder_of(p) == holder}
        repo = Repo(project.root / holder)
        before = (began or {}).get(holder)
        if before and before != repo.head():
            inside = {p: c for p, c in inside.items() if not _is_behind(repo, before, p, c)}
        commit = _commit_in(repo, inside, message, prefix)
        if holder == "":
            new = commit
        elif commit is not None:
            pending[holder] = commit
            holders = sorted({*holders, project.holder_of(holder)}, key=len, reverse=True)
            done.discard(project.holder_of(holder))
    return new


def _is_behind(repo: Repo, before: str, path: str, commit: str) -> bool:
    """Return whether somebody has recorded a descendant of a commit since `before`."""
    recorded, now = repo.resolve(f"{before}:{path}"), repo.resolve(f"HEAD:{path}")
    if now is None or now in (recorded, commit):
        return False
    return Repo(repo.path / path).succeeds("merge-base", "--is-ancestor", commit, now)


def _commit_in(
    repo: Repo, commits: Mapping[str, str], message: str | Callable[[Collection[str]], str], prefix: str
) -> str | None:
    head = repo.head()
    if head is None:
        return None
    now = {e.path: e for e in repo.ls_tree(head, *(f":(top,literal){p}" for p in commits))}
    changed = {
        path: sha for path, sha in commits.items() if path in now and now[path].mode == GITLINK and now[path].sha != sha
    }
    if not changed:
        return None
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        repo.git("update-index", "-z", "--index-info", stdin=_info(changed), env=env)
        tree = repo.line("write-tree", env=env)
    text = message if isinstance(message, str) else message([prefix + path for path in changed])
    commit = repo.commit_tree(tree, text, [head])
    branch = repo.branch()
    staged = {e.path: e for e in index_entries(repo, *changed)}
    theirs = {p for p in changed if staged.get(p) != now[p]}
    move_branch(repo, f"refs/heads/{branch}" if branch else "HEAD", head, commit, keep=theirs)
    return commit


def _info(links: Mapping[str, str]) -> bytes:
    return b"".join(f"{GITLINK} {sha}\t{path}\0".encode() for path, sha in links.items())
