"""The registration of new datasets in the one that holds them: one commit of gitlinks and `.gitmodules`."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from minipach.git.checkout import InTheWay, check_free, move_branch
from minipach.git.repo import Repo, annex, private_index
from minipach.git.tree_entries import FILE, GITLINK, TreeEntry
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

# a path that `.gitmodules` has as it is
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_ID_LINES = re.compile(rb'\[datalad "dataset"\]\n\tid = ([0-9a-f-]{36})\n')
_MANY = 1000  # folders on one command line


def registered_below(project: Project, paths: Sequence[str]) -> set[str]:
    """Return those of the folders that a dataset has as subdatasets in its last commit."""
    head = project.repo.head()
    found: set[str] = set()
    for start in range(0, len(paths) if head else 0, _MANY):
        entries = project.repo.ls_tree(head or "", *(f":(top,literal){p}" for p in paths[start : start + _MANY]))
        found |= {entry.path for entry in entries if entry.mode == GITLINK}
    return found


def register_datasets(project: Project, tracked: Mapping[str, list[TreeEntry]]) -> None:
    """Make one superdataset commit: add gitlinks and `.gitmodules`, remove the files that were tracked there.

    tracked: those files, by the path of the new dataset.
    """
    repo = project.repo
    head = repo.head()
    assert head is not None
    modules = repo.hash_blob(_with_modules(repo, head, tracked))
    gone = [entry for entries in tracked.values() for entry in entries]
    rows = [f"0 {'0' * 40}\t{e.path}" for e in gone]
    rows += [f"{GITLINK} {Repo(project.root / path).head()}\t{path}" for path in tracked]
    rows += [f"{FILE} {modules}\t.gitmodules"]
    info = b"".join(os.fsencode(row) + b"\0" for row in rows)
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        repo.git("update-index", "-z", "--index-info", stdin=info, env=env)
        tree = repo.line("write-tree", env=env)
    paths = sorted(tracked)
    title = f"{paths[0]} becomes a dataset" if len(paths) == 1 else f"{len(paths)} folders become datasets"
    parts = [f"{SUBJECT}{title}"]
    parts += ["\n".join(paths)] if len(paths) > 1 else []
    parts += [f"Tracked there now, and no longer here: {many(len(gone), 'file')}."] if gone else []
    new = repo.commit_tree(tree, "\n\n".join(parts) + "\n", [head])
    branch = repo.branch()
    try:
        check_free(repo, head, new)
    except InTheWay as error:
        raise UserError(
            Problem(
                "repo.uncommitted-changes",
                str(repo.path),
                f"uncommitted changes are in the way ({error})",
                "commit or undo them",
            )
        ) from None
    _show_index_to_annex(repo)
    move_branch(repo, f"refs/heads/{branch}" if branch else "HEAD", head, new)


def _with_modules(repo: Repo, head: str, paths: Iterable[str]) -> bytes:
    """Return `.gitmodules` with these datasets."""
    text = repo.objects.read(f"{head}:.gitmodules") or b""
    plain: list[str] = []
    with tempfile.NamedTemporaryFile(dir=repo.common_dir, prefix="minipach-modules.") as file:
        file.write(text)
        file.flush()
        for path in paths:
            rows = {"path": path, "url": f"./{path}", "datalad-id": _dataset_id(repo.path / path)}
            # a plain new section needs no process to be written
            if _PLAIN.fullmatch(path) and f'[submodule "{path}"]'.encode() not in text:
                lines = "".join(f"\t{key} = {value}\n" for key, value in rows.items() if value)
                plain.append(f'[submodule "{path}"]\n{lines}')
                continue
            for key, value in rows.items():
                if value:
                    repo.git("config", "--file", file.name, f"submodule.{path}.{key}", value)
        text = Path(file.name).read_bytes()
    if plain and text and not text.endswith(b"\n"):
        text += b"\n"
    return text + "".join(plain).encode()


def _dataset_id(folder: Path) -> str | None:
    config = folder / DATALAD_CONFIG
    with contextlib.suppress(OSError):
        if found := _ID_LINES.fullmatch(config.read_bytes()):
            return found[1].decode()
    return Repo(folder).config("datalad.dataset.id", str(config))


def _show_index_to_annex(repo: Repo) -> None:
    """Have git-annex look at the index while a folder's files are still in it.

    Its database says which files show a key, and when the key is dropped it makes pointers of them, whoever has them
    by then. `git annex add` enters a file there, but that a file is gone git-annex learns only by comparing the index
    to the one that it saw last: what came and went between two looks stays in the database for good.
    """
    if (repo.common_dir / "annex").is_dir():
        # any question about a key's files makes it look; many other commands don't
        annex(repo, "whereused", "--key=MD5E-s0--d41d8cd98f00b204e9800998ecf8427e", ok=(0, 1))
