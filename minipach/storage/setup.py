"""A store for a whole project: set up in every repo, listed, checked, and taken away again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.repo import Repo, annex, has_annex, is_dataset, need_annex, need_identity, take_in_locations
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, RESULTS_BRANCH, STORE_SECTION
from minipach.project.lock import project_lock
from minipach.project.project import Project
from minipach.storage.special_remotes import (
    Contents,
    contents_missing,
    described,
    enable,
    has_remote,
    identity_in,
    is_usable,
    prove,
)
from minipach.storage.store import (
    Store,
    check_address,
    check_name,
    committed,
    confirm,
    confirmed_place,
    dataset_id,
    forget,
    is_confirmed,
    keep,
    store_of,
    stores,
)
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, quoted

Notify = Callable[[str], None]
_DEPENDS = "datalad-publish-depends"


@dataclass(frozen=True, slots=True)
class RepoState:
    """The state of a store in one repo. path: in the project, "." for the superdataset · missing: not there."""

    path: str
    enabled: bool
    missing: Contents

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach store list --json`."""
        return {
            "repo": self.path,
            "enabled": self.enabled,
            "missing": self.missing.number,
            "missing_bytes": self.missing.size,
        }


def add(project: Project, store: Store, notify: Notify) -> None:
    """Prove a store, write it into `.datalad/config` of the superdataset, and set it up in each repo.

    Does what is left to do where it was done in part, and enables in a clone what another clone has set up.

    Raises:
        UserError: The store can't be used, or its name is taken.
    """
    check_name(store.name)
    check_address(project, store)
    known = stores(project).get(store.name)
    if known not in (None, store):
        assert known is not None
        fix = f"choose another name, or minipach store remove {store.name} first"
        raise UserError(Problem("store.exists", store.name, f"a store of this name is at {known.place}", fix))
    need_identity(project.repo)
    for _, repo in repos(project):
        dataset_id(repo)  # before anything is set up
    prove(store, project.local.canaries, project.repo if is_confirmed(project.repo, store) else None)
    notify(f"{store.name}: {store.place} keeps, returns and removes an object")
    with _changing(project, notify):
        confirm(project.repo, store)
        for path, repo in repos(project):
            enable_in(repo, path, store, notify)
        if stores(project).get(store.name) != store:
            keep(project, store)
        if committed(project).get(store.name) != store:
            _commit(project, f"add the store {store.name}")


def enable_in(repo: Repo, path: str, store: Store, notify: Notify, top: Repo | None = None) -> None:
    """Set a store up in one repo, and have its git remotes depend on it. Raises UserError.

    top: the superdataset, which may have the credentials.
    """
    if enable(repo, store, top):
        notify(f"{path}: the remote {store.name} is set up")
    for remote in git_remotes(repo):
        key = f"remote.{remote}.{_DEPENDS}"
        if store.name not in os.fsdecode(repo.git("config", "--get-all", key, ok=(0, 1))).split():
            repo.git("config", "--local", "--add", key, store.name)


def enable_confirmed(project: Project, repo: Repo, path: str, store: Store, notify: Notify) -> None:
    """Set a store up in a repo that lacks it, if somebody has confirmed it in this clone. Raises UserError."""
    if is_confirmed(project.repo, store) and keeps_contents(repo) and not is_usable(repo, store):
        enable_in(repo, path, store, notify, project.repo)


def depends(repo: Repo, remote: str) -> list[str]:
    """Return the stores that a git remote depends on: `datalad push` fills them first."""
    found = os.fsdecode(repo.git("config", "--get-all", f"remote.{remote}.{_DEPENDS}", ok=(0, 1))).split()
    return list(dict.fromkeys(found))


def usable_stores(project: Project, repo: Repo) -> list[str]:
    """Return the stores of the project that are set up in a repo, and that somebody has confirmed in this clone."""
    known = stores(project).values()
    return [one.name for one in known if is_confirmed(project.repo, one) and is_usable(repo, one)]


def depend(project: Project, repo: Repo) -> None:
    """Have git remotes depend on the stores that depend on none: those that came after the stores."""
    for remote in git_remotes(repo):
        if not depends(repo, remote):
            for name in usable_stores(project, repo):
                repo.git("config", "--local", "--add", f"remote.{remote}.{_DEPENDS}", name)


def unconfirmed(project: Project) -> list[Store]:
    """Return the stores that came with the project and that nobody has confirmed in this clone."""
    return [store for store in stores(project).values() if not is_confirmed(project.repo, store)]


def unconfirmed_problem(project: Project, store: Store) -> Problem:
    """Return the problem of a store that nobody has confirmed in this clone."""
    before = confirmed_place(project.repo, store.name)
    moved = f", and was at {before} when it was confirmed" if before else ""
    problem = f"{store.place} came with the project and is not confirmed here{moved}"
    fix = f"minipach store add {store.name}, if you expect it; else minipach store remove {store.name} --here"
    return Problem("store.not-confirmed", store.name, problem, fix)


def remove(project: Project, name: str, notify: Notify) -> None:
    """Take a store out of the project and of this clone. Its objects stay.

    Raises:
        UserError: A content of the project, at any commit, is nowhere else as far as this clone knows.
    """
    with _changing(project, notify):
        store = committed(project).get(name) or store_of(project, name)  # the commit is what comes last
        for path, repo in repos(project):
            if only := _only_there(repo, store):
                fix = f"git -C {quoted(repo.path)} annex get --from={name} --all, or keep the store"
                if not is_usable(repo, store):
                    fix = f"minipach store add {name}, then {fix}"
                raise UserError(Problem("store.only-copy", path, f"{many(only, 'content')} are in {name} alone", fix))
        for _, repo in repos(project):
            if described(repo, identity_in(repo, store)) is not None:
                # else git-annex would enable it in each new clone, and block all that such a clone sends
                annex(repo, "configremote", name, "autoenable=false", ok=(0, 1))
        _remove_here(project, store, notify)
        forget(project, name)
        if name in committed(project):
            _commit(project, f"remove the store {name}")


def remove_here(project: Project, name: str, notify: Notify) -> None:
    """Take a store out of this clone alone. git-annex sends nothing while a clone has a store that is not confirmed.

    Raises:
        UserError: There is no such store.
    """
    with _changing(project, notify):
        _remove_here(project, store_of(project, name), notify)


@contextlib.contextmanager
def _changing(project: Project, notify: Notify) -> Iterator[None]:
    """Hold the project's lock, since schedules commit to the superdataset, too, and clear up what a kill left there."""
    with project_lock(project.local.lock, wait=True, notify=notify, without=()), crash_cleanup.cleared(project.repo):
        yield


def _remove_here(project: Project, store: Store, notify: Notify) -> None:
    name = store.name
    for path, repo in repos(project):
        if has_remote(repo, store) and name not in git_remotes(repo):  # anybody can give a store the name of a remote
            repo.git("remote", "remove", name)
            notify(f"{path}: the remote {name} is removed")
        for remote in git_remotes(repo):
            repo.git("config", "--local", "--unset-all", f"remote.{remote}.{_DEPENDS}", f"^{name}$", ok=(0, 5))
    project.repo.git("config", "--local", "--unset", f"{STORE_SECTION}.{name}.confirmed", ok=(0, 5))


def states(project: Project, store: Store) -> list[RepoState]:
    """Return what a store has of each repo, as far as this clone knows."""
    found = []
    for path, repo in repos(project):
        enabled = is_confirmed(project.repo, store) and is_usable(repo, store)
        missing = contents_missing(repo, store, branches(repo)) if enabled else Contents(0, 0)
        found.append(RepoState(path, enabled, missing))
    return found


def check(project: Project, name: str) -> list[RepoState]:
    """Prove a store again, and return what it has. Raises UserError."""
    store = store_of(project, name)
    if not is_confirmed(project.repo, store):
        raise UserError(unconfirmed_problem(project, store))
    prove(store, project.local.canaries, project.repo)
    return states(project, store)


def repos(project: Project) -> Iterator[tuple[str, Repo]]:
    """Yield the installed repos of a project that have an annex, nested ones first, the superdataset (".") last."""
    for path in sorted(project.repos, key=lambda path: (-path.count("/"), path)):
        if is_dataset(project.root / path) and keeps_contents(repo := Repo(project.root / path)):
            yield path, repo
            repo.close()
    if keeps_contents(project.repo):
        yield ".", project.repo


def keeps_contents(repo: Repo) -> bool:
    """Return whether a repo has an annex, which is initialised where a plain `git clone` left that out."""
    if not has_annex(repo) and any(ref.endswith("/git-annex") for ref in repo.refs("refs/remotes/")):
        need_annex(repo)
    return has_annex(repo)


def git_remotes(repo: Repo) -> list[str]:
    """Return the remotes with a git repository, which special remotes have none of."""
    names = repo.line("remote").splitlines()
    return [name for name in names if repo.config(f"remote.{name}.url") is not None]


def branches(repo: Repo) -> list[str]:
    """Return the branches whose contents people need: the one checked out, and the results."""
    found = [branch] if (branch := repo.branch()) else ["HEAD"]
    found = found if repo.head() else []
    return [*found, *([RESULTS_BRANCH] if repo.resolve(RESULTS_BRANCH) else [])]


def _only_there(repo: Repo, store: Store) -> int:
    """Return how many contents a store alone has, whether this clone has its remote or not."""
    take_in_locations(repo)
    identity = identity_in(repo, store)
    if described(repo, identity) is None:
        return 0
    return len(annex(repo, "findkeys", f"--in={identity}", "--not", "--copies=2").split())


def _commit(project: Project, what: str) -> None:
    repo = Repo(project.root, own=True)
    repo.git("commit", "--quiet", "-m", f"{SUBJECT}{what}", "--", DATALAD_CONFIG)
