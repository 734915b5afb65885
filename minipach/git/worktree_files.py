"""A small worktree, written without a process: what `git worktree add` and git-annex make of it.

git-annex replaces the file `.git` of a worktree by a link to the folder that git has for it, and links its own
folder into that one. Git itself writes a worktree where it would convert a file.

Source: https://git-scm.com/docs/gitrepository-layout (worktrees) and https://git-scm.com/docs/git-worktree (refs)
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.index_file import write_index
from minipach.git.plain_attributes import convert_nothing, has_pointer, has_usual_attributes, system_attributes
from minipach.git.plain_names import are_plain
from minipach.git.plain_settings import is_plain
from minipach.git.ref_files import UnsureError, git_folder
from minipach.git.repo import Repo
from minipach.git.tree_entries import EXECUTABLE, GITLINK, SYMLINK, TreeEntry

_MOST = 200  # files
_LARGE = 8 << 20  # bytes of all files
_AGE = 10.0  # seconds that new files pretend to be old: git looks into those that are as young as its index


def write_worktree(main: Repo, path: Path, base: str, branch: str) -> bool:
    """Make a worktree of a commit, with a branch of its own; False: git must do it, and nothing was made.

    main: the repository · path: of the worktree, which does not exist · branch: below `refs/worktree`, its HEAD.
    Raises OSError.
    """
    try:
        folder = git_folder(main.path)
    except UnsureError:
        return False
    settings = main.settings()
    if not _is_usual(folder, settings) or not main.objects.alive:
        return False
    entries = main.ls_tree(base, recursive=True)
    files = [entry for entry in entries if entry.mode != GITLINK]
    if len(files) > _MOST or not are_plain(entries):
        return False
    contents = list(main.objects.read_many([entry.sha for entry in files]))
    found = {entry.path: data for entry, data in zip(files, contents, strict=True) if data is not None}
    if len(found) < len(files) or not _stay_as_they_are(found):
        return False
    _write(path, entries, found)
    admin = folder / "worktrees" / path.name
    ref = admin / branch
    ref.parent.mkdir(parents=True)
    ref.write_text(f"{base}\n")
    (admin / "commondir").write_text("../..\n")
    (admin / "gitdir").write_text(f"{path / '.git'}\n")
    (admin / "HEAD").write_text(f"ref: {branch}\n")
    (admin / "annex").symlink_to("../../annex")
    write_index(admin, path, entries)
    (path / ".git").symlink_to(os.path.relpath(admin, path))
    return True


def _is_usual(folder: Path, settings: Mapping[str, str]) -> bool:
    return (
        is_plain(settings)
        and "annex.uuid" in settings
        and (folder / "annex").is_dir()
        and not any(key.startswith("extensions.") for key in settings)
        and "false" not in (settings.get("core.filemode"), settings.get("core.symlinks"))
        and has_usual_attributes(folder)
        and settings.get("core.ignorecase", "false") == "false"
        and not any(map(os.path.exists, system_attributes(child_environment()["PATH"])))
    )


def _stay_as_they_are(files: Mapping[str, bytes]) -> bool:
    """Return whether git and git-annex would write these files as they are stored."""
    if sum(map(len, files.values())) > _LARGE or has_pointer(files.values()):
        return False
    rules = [data for path, data in files.items() if path.rpartition("/")[2] == ".gitattributes"]
    return convert_nothing(rules)


def _write(path: Path, entries: Sequence[TreeEntry], files: Mapping[str, bytes]) -> None:
    path.mkdir()
    past = time.time() - _AGE
    for entry in entries:
        there = path / entry.path
        if entry.mode == GITLINK:
            there.mkdir(parents=True)
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == SYMLINK:
            os.symlink(files[entry.path], os.fsencode(there))
        else:
            mode = 0o777 if entry.mode == EXECUTABLE else 0o666
            with open(os.open(there, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(files[entry.path])
        os.utime(there, (past, past), follow_symlinks=False)
