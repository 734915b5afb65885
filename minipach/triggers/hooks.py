"""Git hooks that start a pass: install them in the repos of a project, report on them, remove them.

One hook, `reference-transaction`, hears all that moves a branch: commit, save, merge, pull, rebase, reset, update-ref,
and a push into the repository. In a bare repository that people push to, it is `post-receive`. The reasons are in
docs/design/triggers.md.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from minipach.git.repo import Repo, is_dataset
from minipach.git.settings import DROPPED
from minipach.git.shared_modes import current_mask
from minipach.project.problems import absent
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.triggers import bare_repos
from minipach.triggers.push_back import note_pushing

HOOK = "reference-transaction"
RECEIVED = "post-receive"  # the hook of a bare repository
SWITCH = "minipach.hooks"  # in the configuration of the clone: on, for the project; off, for one of its repos
KEPT = ".before-minipach"  # the ending of a hook that was there before
_MARK = b"# minipach hook, version "
_OWN_FOLDER = "minipach-hooks"
_FORMER = "minipach.formerHooksPath"


@dataclass(frozen=True, slots=True)
class HookState:
    """The hook of one repo. repo: its path in the project · state: installed, missing, off, outdated · path: the file.

    chained: the hook of the same name that runs first; None: there is none.
    """

    repo: str
    state: str
    path: Path
    chained: Path | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return it as documented for `minipach hooks status --json`."""
        return {
            "repo": self.repo,
            "state": self.state,
            "path": str(self.path),
            "chained": str(self.chained) if self.chained else None,
        }


def install(project: Project, repo: str | None = None) -> list[HookState]:
    """Install the hook in all repos of the project that are here, or in one; return those that changed.

    Raises:
        UserError: There is no such repo; a hook of another program can't be chained; a folder isn't writable.
    """
    chosen = _chosen(project, repo, new=True)
    if repo is None:
        project.repo.git("config", "--local", SWITCH, "on")
    project.local.folder.mkdir(parents=True, exist_ok=True)
    for path in chosen:
        if _is_bare(path):
            bare_repos.add(project, path)
        elif path:
            _unset(_repo(project, path), SWITCH)
    note_pushing(project)
    return list(_complete(project, chosen))


def complete(project: Project) -> list[HookState]:
    """Install the hook in repos that came to the project since `install`. Without `install`: do nothing."""
    if project.repo.config(SWITCH) != "on":
        return []
    return list(
        _complete(project, [p for p in _chosen(project, None) if not p or _is_bare(p) or not _is_off(project, p)])
    )


def remove(project: Project, repo: str | None = None) -> list[HookState]:
    """Remove the hook, and leave what was there before; return those that were removed.

    Removed from one repo, it stays away from it until `install` names the repo, or all.
    """
    found = []
    for path in _chosen(project, repo):
        there = _repo(project, path)
        before = _look(project, path)
        if _take_out(there, _hook_of(path)):
            found.append(before)
        if _is_bare(path):
            bare_repos.drop(project, path)
            continue
        _unset(there, SWITCH)
        if repo and path and project.repo.config(SWITCH) == "on":
            there.git("config", "--local", SWITCH, "off")
    if repo is None:
        _unset(project.repo, SWITCH)
    note_pushing(project)
    return found


def status(project: Project) -> list[HookState]:
    """Return the state of the hook in the project and each of its repos that is here."""
    return [_look(project, path) for path in _chosen(project, None)]


def _chosen(project: Project, repo: str | None, *, new: bool = False) -> list[str]:
    """Return the paths of the repos: relative in the project, absolute of bare repositories.

    new: it may be a bare repository that was not named before.
    """
    bare = [path for path in bare_repos.receiving(project) if os.path.isdir(path)]
    here = ["", *(path for path in project.repos if is_dataset(project.root / path)), *bare]
    if repo is None:
        return here
    outside = os.path.realpath(repo)
    if outside in bare or (new and not Path(outside).is_relative_to(project.root) and os.path.isdir(outside)):
        return [outside]
    path = os.path.relpath(os.path.join(project.root, repo), project.root)
    path = "" if path == "." else path
    if path not in here:
        raise UserError(absent(project, path) if path else Problem("hooks.no-repository", repo, "not a repository"))
    return [path]


def _is_bare(path: str) -> bool:
    return os.path.isabs(path)


def _hook_of(path: str) -> str:
    return RECEIVED if _is_bare(path) else HOOK


def _repo(project: Project, path: str) -> Repo:
    return Repo(project.root / path) if path else project.repo


def _is_off(project: Project, path: str) -> bool:
    return _repo(project, path).config(SWITCH) == "off"


def _unset(repo: Repo, key: str) -> None:
    repo.git("config", "--local", "--unset-all", key, ok=(0, 5))


def _look(project: Project, path: str) -> HookState:
    repo = _repo(project, path)
    folder = _folder(repo)
    name = _hook_of(path)
    file = folder / name
    kept = folder / f"{name}{KEPT}"
    chained = kept if os.path.lexists(kept) else None
    if path and not _is_bare(path) and _is_off(project, path):
        state = "off"
    elif not _is_ours(file):
        state = "missing"
    else:
        state = "installed" if file.read_bytes() == _text(project, name, folder) else "outdated"
    return HookState(path or ".", state, file, chained)


def _complete(project: Project, paths: Iterable[str]) -> Iterator[HookState]:
    for path in paths:
        repo = _repo(project, path)
        try:
            changed = _put_in(project, repo, _hook_of(path))
        except OSError as error:
            where, what = str(error.filename or repo.path), path or "the project"
            message = f"{error.strerror}; no hook was installed in {what}"
            fix = "make the folder writable, and run minipach hooks install"
            raise UserError(Problem("hooks.not-writable", where, message, fix)) from None
        if changed:
            yield _look(project, path)


def _put_in(project: Project, repo: Repo, name: str) -> bool:
    """Write the hook; return whether anything changed."""
    changed = _redirect(repo, name)
    folder = _folder(repo)
    folder.mkdir(parents=True, exist_ok=True)
    file, kept = folder / name, folder / f"{name}{KEPT}"
    text = _text(project, name, folder)
    if _is_ours(file):
        if file.read_bytes() == text and os.access(file, os.X_OK):
            return changed
    elif os.path.lexists(file):
        if os.path.lexists(kept):
            message = f"another program has replaced the hook, and {kept.name} is there too"
            fix = "remove one of them, and run minipach hooks install"
            raise UserError(Problem("hooks.replaced", str(file), message, fix))
        file.rename(kept)
    temporary = folder / f".{name}.{os.getpid()}"
    temporary.write_bytes(text)
    temporary.chmod(0o777 & ~current_mask())
    temporary.replace(file)
    return True


def _take_out(repo: Repo, name: str) -> bool:
    """Remove the hook and all that came with it; return whether there was anything."""
    folder = _folder(repo)
    file, kept = folder / name, folder / f"{name}{KEPT}"
    found = False
    ours = [path for path in folder.glob(f"{name}*") if _is_ours(path)]  # also where another program has renamed it
    for path in ours:
        path.unlink()
        found = True
    if found and os.path.lexists(kept) and not os.path.lexists(file):
        kept.rename(ours[0])
    return _undo_redirect(repo) or found


def _is_ours(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _MARK in stream.read(200)
    except OSError:
        return False


def _text(project: Project, name: str, folder: Path) -> bytes:
    """Return the hook of this name as this project needs it: paths are relative where both move together."""
    together = Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(project.root))

    def place(path: Path) -> str:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(folder)) if together else str(path)

    values = {
        "NAME": name,
        "ROOT": place(project.root),
        "STATE": place(project.local.folder),
        "PYTHON": sys.executable,
        "DETACH": shutil.which("setsid") or shutil.which("nohup") or "nohup",
    }
    text = (Path(__file__).parent / "hook").read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", shlex.quote(value), 1)
    return os.fsencode(text.replace("@DROPPED@", " ".join(sorted(DROPPED))))


def _folder(repo: Repo) -> Path:
    """Return the folder where git looks for the hooks of a repo."""
    given = repo.config_of_user("core.hooksPath")
    if given is None:
        return repo.common_dir / "hooks"
    return repo.path / os.path.expanduser(given)


def _redirect(repo: Repo, hook: str) -> bool:
    """Give the repo a hooks folder of its own, with links, if its hooks come from one that others use too.

    Returns whether anything changed.
    """
    own = repo.common_dir / _OWN_FOLDER
    source = _source(repo, own, hook)
    if source is None:
        return False
    changed = False
    if repo.config_of_user("core.hooksPath") != str(own):
        former = repo.git("config", "--local", "--get", "core.hooksPath", ok=(0, 1))
        if former:
            repo.git("config", "--local", _FORMER, os.fsdecode(former).rstrip("\n"))
        own.mkdir(exist_ok=True)
        repo.git("config", "--local", "core.hooksPath", str(own))
        changed = True
    wanted = {name + (KEPT if name == hook else ""): source / name for name in _names(source)}
    for entry in own.iterdir():
        if entry.is_symlink() and wanted.get(entry.name) != Path(os.readlink(entry)):
            entry.unlink()
    for name, target in wanted.items():
        if not os.path.lexists(own / name):
            (own / name).symlink_to(target)
            changed = True
    return changed


def _source(repo: Repo, own: Path, hook: str) -> Path | None:
    """Return the folder that the hooks of a repo come from, if the hook can't be put there; None: it can.

    It can't where other repositories use the folder too, or where git tracks it.
    """
    former = repo.config(_FORMER)
    values = repo.git("config", "--get-all", "core.hooksPath", ok=(0, 1))
    others = [value for value in os.fsdecode(values).splitlines() if value != str(own)]
    given = former if former is not None else (others[-1] if others else None)
    if given is None:
        return None
    folder = repo.path / os.path.expanduser(given)
    real = Path(os.path.realpath(folder))
    if real.is_relative_to(repo.common_dir):
        return None
    if real.is_relative_to(os.path.realpath(repo.path)) and repo.succeeds("check-ignore", "-q", str(folder / hook)):
        return None
    return folder


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _undo_redirect(repo: Repo) -> bool:
    own = repo.common_dir / _OWN_FOLDER
    if not own.is_dir():
        return False
    former = repo.config(_FORMER)
    if repo.git("config", "--local", "--get", "core.hooksPath", ok=(0, 1)).decode().rstrip("\n") == str(own):
        if former is None:
            _unset(repo, "core.hooksPath")
        else:
            repo.git("config", "--local", "core.hooksPath", former)
    _unset(repo, _FORMER)
    for entry in own.iterdir():
        if entry.is_symlink() or _is_ours(entry):
            entry.unlink()
    with contextlib.suppress(OSError):  # something of somebody else's is in it
        own.rmdir()
    return True
