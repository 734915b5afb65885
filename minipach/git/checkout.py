"""Bring a checkout along when its branch moves: only the paths that changed, never over somebody's work.

`move_branch` moves a checked-out branch. Its callers decide when: docs/architecture.md lists them.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from minipach.git.annex_keys import key_of_pointer
from minipach.git.checkout_files import PathChange, remove_path, staged_paths, write_paths
from minipach.git.clean_index import matching_tree
from minipach.git.plain_names import parents
from minipach.git.repo import UNFILTERED, Repo, annex
from minipach.git.tree_entries import GITLINK, SYMLINK, TreeEntry
from minipach.model.local_state import LocalState
from minipach.model.messages import SUBJECT
from minipach.support.git_objects import NO_OBJECT, blob_id

_SMALL = 1024 * 1024  # bytes
_SMALL_INDEX = 100_000  # bytes
_MERGE = "merge"  # in the journal: git itself moves the branch, after the files
_MANY = 200  # paths that are named to git


class InTheWay(Exception):
    """Uncommitted changes at paths that would be written."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        super().__init__(", ".join(paths))


def _journal(repo: Repo) -> Path:
    return LocalState.of(repo.common_dir).checkout_journal


def check_free(repo: Repo, old: str, new: str) -> None:
    """Raise InTheWay if a path that differs between the commits has uncommitted changes, staged ones included."""
    changes = _changes(repo, old, new)
    taken = staged_paths(repo, old)
    if taken is None:
        staged = repo.git("diff-index", "--cached", "-z", "--name-only", "--ignore-submodules=dirty", old)
        taken = {os.fsdecode(p) for p in staged.split(b"\0") if p}
    _verify(repo, changes, taken)


def _verify(repo: Repo, changes: list[PathChange], staged: set[str]) -> None:
    # what moves into a new dataset is still there, as whoever staged it left it
    into = {c.path for c in changes if c.moved or (c.new_mode == GITLINK and c.old == NO_OBJECT)}
    blocked = [c.path for c in changes if c.path in staged - into]
    found = _worktree_ids(repo, changes)
    blocked += [c.path for c in changes if found.get(c.path, NO_OBJECT) not in (c.old, c.new, NO_OBJECT)]
    if blocked:
        raise InTheWay(sorted(set(blocked)))


def move_branch(repo: Repo, ref: str, old: str, new: str, more: Sequence[str] = (), keep: Collection[str] = ()) -> None:
    """Move the checked-out branch in one transaction (with `more` update-ref lines), then its checkout.

    The paths in `keep` stay as they are in the checkout. Call `check_free` first. A kill in between is mended by
    `recover`. GitError if the branch has moved meanwhile.
    """
    journal = _journal(repo)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text(f"{old} {new}\n")
    try:
        repo.update_refs([f"update {ref} {new} {old}", *more])
    except BaseException:
        if repo.head() != new:
            journal.unlink(missing_ok=True)
        raise
    _apply(repo, [c for c in _changes(repo, old, new) if c.path not in keep])
    journal.unlink(missing_ok=True)


@contextlib.contextmanager
def taken_back(repo: Repo, here: str, new: str) -> Iterator[None]:
    """Note that git itself brings the checkout from the commit `here` to `new` and moves the branch last.

    If that is cut short, or fails, `recover` brings the checkout back. Files that differ are free, as the caller knows.
    """
    journal = _journal(repo)
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text(f"{new} {here} {_MERGE}\n")
    yield
    journal.unlink(missing_ok=True)


def is_cut_short(repo: Repo) -> bool:
    """Return whether a kill may have left the checkout by half: see `recover`."""
    return _journal(repo).is_file()


def recover(repo: Repo) -> tuple[str, ...]:
    """Finish a checkout that a kill cut short, or take back a merge of git, and return the paths that are left.

    These have been changed by somebody since.
    """
    journal = _journal(repo)
    if not journal.is_file():
        return ()
    parts = journal.read_text().split()
    left: tuple[str, ...] = ()
    if parts[2:] == [_MERGE]:
        if repo.head() == parts[1]:
            _end_merge(repo)
        parts = parts[:2]
    if len(parts) == 2 and repo.head() == parts[1]:
        changes = _changes(repo, parts[0], parts[1])
        try:
            _verify(repo, changes, _staged_since(repo, changes))
        except InTheWay as found:
            left = found.paths
        _apply(repo, [c for c in changes if c.path not in left])
    journal.unlink(missing_ok=True)
    return left


def _end_merge(repo: Repo) -> None:
    """End a merge of ours that waits for its commit: git forgets it, with index and files as before."""
    message = repo.path / repo.line("rev-parse", "--git-path", "MERGE_MSG")
    if repo.resolve("MERGE_HEAD") and message.is_file() and message.read_text(errors="replace").startswith(SUBJECT):
        repo.git("merge", "--abort", ok=(0, 128))


def _staged_since(repo: Repo, changes: list[PathChange]) -> set[str]:
    """Return paths where the index holds neither side of a change: somebody staged something there."""
    staged = {e.path: e.sha for e in index_entries(repo)}
    return {c.path for c in changes if staged.get(c.path, NO_OBJECT) not in (c.old, c.new)}


def index_entries(repo: Repo, *paths: str) -> list[TreeEntry]:
    """Return what the index holds at the given paths (all, if none is given); unmerged paths come more than once."""
    if len(paths) > _MANY:  # more than the arguments of a process can be: all are read, and these chosen
        wanted = set(paths)
        return [e for e in index_entries(repo) if e.path in wanted or not wanted.isdisjoint(parents(e.path))]
    out = repo.git("ls-files", "-s", "-z", *(["--", *(f":(top,literal){p}" for p in paths)] if paths else []))
    found = []
    for row in out.split(b"\0"):
        if row:
            meta, _, path = row.partition(b"\t")
            mode, sha, _ = meta.decode().split()
            found.append(TreeEntry(mode, sha, os.fsdecode(path)))
    return found


def _changes(repo: Repo, old: str, new: str) -> list[PathChange]:
    small = repo.small_changes(old, new)
    if small is None:
        return list(_changes_between(str(repo.path), old, new))
    none = TreeEntry("000000", NO_OBJECT, "")
    rows = ((path, one or none, two or none) for path, one, two in small)
    return _with_moves([PathChange(path, one.mode, two.mode, one.sha, two.sha) for path, one, two in rows])


@functools.lru_cache(maxsize=1)  # who asks whether they are free asks again to make them
def _changes_between(top: str, old: str, new: str) -> list[PathChange]:
    out = Repo(Path(top)).git("diff-tree", "-r", "-z", "--no-renames", old, new).split(b"\0")
    found = []
    for meta, path in zip(out[::2], out[1::2], strict=False):
        old_mode, new_mode, old_sha, new_sha, _ = meta.decode().lstrip(":").split()
        found.append(PathChange(os.fsdecode(path), old_mode, new_mode, old_sha, new_sha))
    return _with_moves(found)


def _with_moves(found: list[PathChange]) -> list[PathChange]:
    """Return the changes, with those noted whose folder becomes a dataset of its own."""
    datasets = {c.path for c in found if c.new_mode == GITLINK and c.old == NO_OBJECT}
    if datasets:
        found = [replace(c, moved=c.new == NO_OBJECT and not datasets.isdisjoint(parents(c.path))) for c in found]
    return found


def _worktree_ids(repo: Repo, changes: list[PathChange]) -> dict[str, str]:
    """Return what lies at each path, as git would store it (`clean` filters applied); absent paths are left out."""
    files: list[str] = []
    found: dict[str, str] = {}
    going = {c.path for c in changes if c.new == NO_OBJECT}
    for change in changes:
        if change.moved or GITLINK in (change.old_mode, change.new_mode):
            continue  # an input's folder: uninstalled, or somebody's own checkout, which git leaves alone too
        there = repo.path / change.path
        if _behind_something(repo.path, change.path, going):
            found[change.path] = "behind a link or a file"
        elif there.is_symlink():
            target = os.fsencode(os.readlink(there))
            found[change.path] = blob_id(target)
        elif there.is_file():
            # as it lies there, it often is what git stores: asking git means git-annex's filter, which can take seconds
            raw = blob_id(there.read_bytes()) if there.stat().st_size <= _SMALL else ""
            if raw in (change.old, change.new):
                found[change.path] = raw
            else:
                files.append(change.path)
        elif there.is_dir() and any(names for _, _, names in os.walk(there)):
            inside = {c.path for c in changes if c.path.startswith(change.path + "/")}
            if not all(_listed(repo.path, there, inside)):
                found[change.path] = "a folder"
    if files:
        # git takes a line that begins with a quote for a quoted name, and drops a carriage return at its end
        plain = [f for f in files if "\n" not in f and not f.startswith('"') and not f.endswith("\r")]
        request = b"".join(os.fsencode(f) + b"\n" for f in plain)
        ids = repo.line("hash-object", "--stdin-paths", stdin=request).split()
        found.update(zip(plain, ids, strict=True))
        for name in set(files) - set(plain):
            found[name] = repo.line("hash-object", "--", name)
    return found


def _behind_something(root: Path, path: str, going: Collection[str]) -> bool:
    """Return whether a folder above the path is really a link or a file, and not one that goes with these changes."""
    for folder in parents(path):
        there = root / folder
        if (there.is_symlink() or there.is_file()) and folder not in going:
            return True
    return False


def _listed(root: Path, folder: Path, known: set[str]) -> list[bool]:
    return [
        os.path.relpath(os.path.join(here, name), root) in known for here, _, names in os.walk(folder) for name in names
    ]


def _apply(repo: Repo, changes: list[PathChange]) -> None:
    """Set index and work tree to the new side of the changes."""
    if not changes or write_paths(repo, changes):
        return
    # removals first: a path may give way to a folder of the same name, or the other way round
    info = b"".join(
        (f"0 {NO_OBJECT}\t" if c.new == NO_OBJECT else f"{c.new_mode} {c.new}\t").encode() + os.fsencode(c.path) + b"\0"
        for c in sorted(changes, key=lambda c: c.new != NO_OBJECT)
    )
    # unfiltered here too: git looks again at files that are as young as the index when it writes that
    repo.git(*UNFILTERED, "update-index", "-z", "--index-info", stdin=info)
    for change in changes:
        if change.new == NO_OBJECT and change.old_mode != GITLINK and not change.moved:
            remove_path(repo.path, change.path)
        elif change.new_mode == GITLINK:
            (repo.path / change.path).mkdir(parents=True, exist_ok=True)
    written = [c for c in changes if c.new != NO_OBJECT and c.new_mode != GITLINK]
    if repo.config("core.sparseCheckout") == "true":
        _write_sparsely(repo, written)
        return
    unlocked = _unlocked(repo, written)
    # only unlocked files need git-annex's filter, which looks through the whole index each time it starts
    for filters, chosen in ((UNFILTERED, [c for c in written if c not in unlocked]), ((), unlocked)):
        if chosen:
            names = b"".join(os.fsencode(c.path) + b"\0" for c in chosen)
            repo.git(*filters, "checkout-index", "--force", "--index", "-z", "--stdin", stdin=names)
    if unlocked:
        annex(repo, "smudge", "--update")  # as git-annex's hooks do: the filter alone leaves pointers


def _write_sparsely(repo: Repo, changes: Sequence[PathChange]) -> None:
    """Write those of the paths that the user's sparse checkout contains; the others stay absent."""
    if not changes:
        return
    for change in changes:
        there = repo.path / change.path
        if there.is_symlink() or there.is_file():
            there.unlink()
    names = b"".join(os.fsencode(c.path) + b"\0" for c in changes)
    repo.git(*UNFILTERED, "update-index", "--skip-worktree", "-z", "--stdin", stdin=names)
    repo.git("sparse-checkout", "reapply")
    if _unlocked(repo, changes):
        annex(repo, "smudge", "--update")


def _unlocked(repo: Repo, changes: Sequence[PathChange]) -> list[PathChange]:
    """Return those whose new content is the pointer of an unlocked annexed file."""
    files = [c for c in changes if c.new_mode != SYMLINK]
    blobs = repo.objects.read_many([c.new for c in files])
    return [c for c, blob in zip(files, blobs, strict=True) if key_of_pointer(blob or b"")]


def dirty_paths(repo: Repo, *below: str) -> list[str]:
    """Return paths with uncommitted changes, untracked files but no ignored ones, below these folders or all."""
    command = [
        "status",
        "--porcelain",
        "-z",
        "--untracked-files=normal",
        "--ignore-submodules=dirty",
        "--no-renames",
        *(["--", *(f":(literal,top){b}" for b in below)] if below else []),
    ]
    if not below and _is_clean(repo):
        return []
    # First without git-annex's filter, which after each run looks through the whole index (3 s for 20,000 files):
    # without it a file may look changed that isn't, never the reverse. Never with a lock: the user's own commit would
    # fail, and `git annex add` would leave its file out and exit with 0.
    unlocked = {"GIT_OPTIONAL_LOCKS": "0"}
    out = repo.git(*UNFILTERED, *command, env=unlocked)
    if out:
        out = repo.git(*command, env=unlocked)
    # a path may come twice: staged, and as a folder that has taken its place
    return list(dict.fromkeys(os.fsdecode(row[3:]) for row in out.split(b"\0") if row))


def _is_clean(repo: Repo) -> bool:
    """Return whether a small working tree is surely as its commit has it."""
    found = matching_tree(repo.path, _SMALL_INDEX)
    return found is not None and repo.resolve(f"{found[0]}^{{tree}}") == found[1]
