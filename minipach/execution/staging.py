"""Staging: put just what a datum set matched into its slot, so that the source can't be changed from there."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.annex_checksums import Stamp, damaged, not_verified
from minipach.git.annex_errors import row_reason
from minipach.git.annex_keys import size_of
from minipach.git.annex_layout import is_plain, object_path
from minipach.git.content import classify
from minipach.git.near_contents import are_near, on_one_processor
from minipach.git.repo import Repo, annex, at_once, need_annex, take_in_locations
from minipach.git.tree_entries import GITLINK, SYMLINK
from minipach.model.repo_layout import CODE, INPUTS
from minipach.model.work_set import StagedFile
from minipach.support.errors import UserError
from minipach.support.files import clone_file, stays_inside
from minipach.support.text import quoted

LARGE = 1 << 20  # bytes: the launcher mounts what is at least as large, and copies the rest
LONG = 64 << 20  # bytes that are worth a thread, to verify them while the command runs
_IMAGES = ".datalad/environments/"


class StagingError(Exception):
    """An input could not be had: which, and why."""


class HopelessError(StagingError):
    """A staging error that trying again can't mend."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """Contents of a repository that are not verified yet.

    files, stamps, names: of each by its key; its file, how that looked when it was staged, and a name for messages.
    """

    repo: Path
    files: Mapping[str, Path]
    stamps: Mapping[str, Stamp]
    names: Mapping[str, str]


def stage(
    slot: Path,
    files: Sequence[StagedFile],
    *,
    share: bool,
    get: bool = True,
    fresh: bool = False,
    later: list[Unverified] | None = None,
) -> int:
    """Place the files below `slot`, and return the bytes that they hold.

    share: whether links to the source are safe, which is so only where the command gets them read-only: a hard link,
    or a symbolic one to a large content on another disk, which the launcher mounts; else a reflink where the file
    system can, or a copy · get: whether content that isn't here may be fetched into its
    dataset · fresh: whether contents are verified that were verified before (`git.annex_checksums`) · later: gets
    large contents that the caller has to verify before anything is made of what the command writes (None: all are
    verified here).
    Raises StagingError.
    """
    by_repo: dict[str, list[StagedFile]] = {}
    for file in files:
        by_repo.setdefault(file.repo, []).append(file)
    total = 0
    for path, group in by_repo.items():
        repo = Repo(Path(path))
        try:
            names = {f.key: f.dest.removeprefix(INPUTS) for f in group if f.key}
            contents = locate(repo, set(names), get=get, names=names, fresh=fresh, later=later if share else None)
            for file in group:
                total += _place(repo, slot / file.dest, file, contents, share=share)
        finally:
            repo.close()
    return total


def check_own(repo: Repo, base: str, image: str, *, get: bool = True, fresh: bool = False) -> None:
    """Verify the contents here of a pipeline's own annexed files and of its image. Raises StagingError.

    Args:
        repo: the pipeline's.
        base: the commit that its datums start from.
        image: the image's path in it. Other images are not looked at.
        get: whether what is not here is fetched, in the repo itself: the path of a remote that is relative leads from
            a slot elsewhere. The caller reports what is missing.
        fresh: as for `stage`.
    """
    names = _own_keys(repo, base, image)
    if not names:
        return
    where = (str(repo.common_dir), base, image)
    there = _own_places.get(where, {})
    if len(there) < len(names) or not all(path.exists() for path in there.values()):
        _need_annex(repo)
        there = _present(repo, set(names))
        absent = sorted(names.keys() - there.keys())
        if get and absent:
            _get(repo, absent)
            there |= _present(repo, absent)
    _own_places[where] = _verify(repo, there, lambda key: f"{names[key]} ({key})", get=get, fresh=fresh)


# what a warm process knows of the sets before: to ask git-annex again would take as long as a short datum
_own: dict[tuple[str, str, str], dict[str, str]] = {}
_one_reads = threading.Lock()  # an audit's threads share a repo, whose reader of objects gives one answer at a time
_own_places: dict[tuple[str, str, str], dict[str, Path]] = {}
_with_annex: set[Path] = set()


def _need_annex(repo: Repo) -> None:
    """Initialise git-annex where it is not. Raises HopelessError."""
    if repo.common_dir in _with_annex and (repo.common_dir / "annex").is_dir():
        return
    try:
        need_annex(repo)
    except UserError as error:
        raise HopelessError(str(error)) from None
    _with_annex.add(repo.common_dir)


def _own_keys(repo: Repo, base: str, image: str) -> dict[str, str]:
    """Return the keys of the annexed files at a base commit, with their paths."""
    where = (str(repo.common_dir), base, image)
    with _one_reads:
        if where not in _own:
            entries = [
                entry
                for entry in repo.ls_tree(base, recursive=True)
                if entry.path == image or entry.path.startswith(f"{image}/") or not entry.path.startswith(_IMAGES)
            ]
            kinds = classify(repo, entries)
            found = [(kinds[e.sha, e.mode == SYMLINK][2], e.path) for e in entries if e.mode != GITLINK]
            _own[where] = {key: path for key, path in found if key}
        return _own[where]


def locate(
    repo: Repo,
    keys: set[str],
    *,
    get: bool = True,
    names: Mapping[str, str] | None = None,
    fresh: bool = False,
    usual: bool = False,
    later: list[Unverified] | None = None,
) -> dict[str, Path]:
    """Return where the content of each key is, fetched first (if `get`) where it isn't here, or is damaged.

    names: of files by their key, for messages · fresh: as for `stage` · usual: whether contents can be at the usual
    place alone, as in a clone of our own · later: as for `stage`. Raises StagingError.
    """

    def of(key: str) -> str:
        return f"{names[key]} ({key})" if names and key in names else key

    if keys:
        _need_annex(repo)

    def sound(contents: dict[str, Path], *, get: bool) -> dict[str, Path]:
        put_off = _put_off(repo, contents, of) if later is not None and not fresh else None
        if put_off is None or later is None:
            return _verify(repo, contents, of, get=get, fresh=fresh)
        later.append(put_off)
        now = {key: path for key, path in contents.items() if key not in put_off.files}
        return {**put_off.files, **_verify(repo, now, of, get=get, fresh=fresh)}

    found = sound(_present(repo, keys, ask=not usual), get=get)
    absent = sorted(keys - found.keys())
    if absent and not get:
        raise StagingError(
            f"{repo.path}: content of {of(absent[0])} is not here; "
            f"git -C {quoted(repo.path)} annex get --key {absent[0]}, or --get for all that is needed"
        )
    if absent:
        _fetch(repo, absent, of)
        found |= sound(_present(repo, set(absent)), get=False)
        missing = [key for key in absent if key not in found]
        if missing:
            raise HopelessError(
                f"{repo.path}: content of {of(missing[0])} is not here and no remote has it; "
                f"git -C {quoted(repo.path)} annex whereis --key {missing[0]}"
            )
    return found


def _put_off(repo: Repo, contents: Mapping[str, Path], of: Callable[[str], str]) -> Unverified | None:
    """Return the contents that are to be verified while the command runs; None: there are none, or they are small."""
    if sum(size_of(key) or 0 for key in contents) < LONG:
        return None
    stamps = not_verified(repo, contents)
    if sum(size for size, _, _ in stamps.values()) < LONG:
        return None
    return Unverified(repo.path, {key: contents[key] for key in stamps}, stamps, {key: of(key) for key in stamps})


def _verify(
    repo: Repo, contents: dict[str, Path], of: Callable[[str], str], *, get: bool, fresh: bool
) -> dict[str, Path]:
    """Return the contents that match their keys; with `get`, damaged ones are fetched again if a copy is known.

    Raises HopelessError where that can't be done.
    """
    bad = damaged(repo, contents, fresh=fresh)
    for key in bad:
        fsck = f"git -C {quoted(repo.path)} annex fsck --key {quoted(key)}"
        if not get or not _is_elsewhere(repo, key):
            raise HopelessError(
                f"{repo.path}: content of {of(key)} is damaged, and this is the only copy known; {fsck}"
                if get
                else f"{repo.path}: content of {of(key)} is damaged; {fsck}"
            )
        # git-annex puts a bad file aside, and notes that it is not here
        annex(repo, "fsck", "--quiet", f"--key={key}", ok=(0, 1))
        if damaged(repo, _present(repo, [key]), fresh=True):
            raise HopelessError(f"{repo.path}: content of {of(key)} is damaged, and could not be moved aside; {fsck}")
    if not bad:
        return contents
    _fetch(repo, bad, of)
    again = _present(repo, bad)
    for key in damaged(repo, again):
        raise HopelessError(f"{repo.path}: content of {of(key)} is damaged at its source, too")
    return {**{key: path for key, path in contents.items() if key not in bad}, **again}


def _present(repo: Repo, keys: Iterable[str], *, ask: bool = True) -> dict[str, Path]:
    """Return where contents are. ask: whether git-annex is asked for those that are not at the usual place."""
    wanted = {k for k in keys if "\n" not in k}
    objects = repo.common_dir / "annex/objects"
    there = {key: objects / object_path(key) for key in wanted if is_plain(key)}
    there = {key: path for key, path in there.items() if path.exists()}
    ordered = sorted(wanted - there.keys())  # git-annex may have them elsewhere, as in a bare repository
    if not ordered or (not ask and all(is_plain(key) for key in ordered)):
        return there
    out = annex(repo, "contentlocation", "--batch", stdin="".join(f"{k}\n" for k in ordered).encode())
    lines = os.fsdecode(out).split("\n")
    base = repo.common_dir.parent if repo.common_dir.name == ".git" else repo.path
    return there | {key: Path(os.path.normpath(base / line)) for key, line in zip(ordered, lines, strict=False) if line}


def _fetch(repo: Repo, keys: Sequence[str], of: Callable[[str], str]) -> None:
    """Get contents by key from any remote that has them. Raises StagingError with git-annex's own words."""
    failed = _get(repo, keys)
    # perhaps a remote has them that git-annex hasn't heard of yet: in batch mode it records no fetched branch
    if failed:
        take_in_locations(repo)
        failed = _get(repo, sorted(failed))
    for key, why in failed.items():
        message = f"{repo.path}: git annex get {of(key)}: {why}"
        if _nobody_has(repo, key):
            raise HopelessError(f"{message}; no repository is known to have it")
        raise StagingError(message)


def _is_elsewhere(repo: Repo, key: str) -> bool:
    """Return whether git-annex knows of a copy that is not this one."""
    take_in_locations(repo)
    said = annex(repo, "whereis", "--json", f"--key={key}", ok=(0, 1))
    rows = [json.loads(line) for line in said.splitlines()]
    return any(not copy.get("here") for row in rows for kind in ("whereis", "untrusted") for copy in row.get(kind, ()))


def _nobody_has(repo: Repo, key: str) -> bool:
    """Return whether git-annex knows of no copy at all, be it one that can't be reached now."""
    said = annex(repo, "whereis", "--json", f"--key={key}", ok=(0, 1))
    rows = [json.loads(line) for line in said.splitlines()]
    return bool(rows) and not any(row.get("whereis") or row.get("untrusted") for row in rows)


def _get(repo: Repo, keys: Sequence[str]) -> dict[str, str]:
    """Return one go at it: why of those that could not be had."""
    request = "".join(f"{k}\n" for k in keys).encode()
    near = are_near(repo, keys)
    jobs = () if near else at_once(repo, len(keys))
    with on_one_processor() if near else contextlib.nullcontext():
        # exit code 1 says that some could not be had
        out = annex(repo, "get", "--json", "--json-error-messages", *jobs, "--batch-keys", stdin=request, ok=(0, 1))
    rows = [json.loads(line) for line in out.splitlines() if line.strip()]  # empty: it came meanwhile
    return {str(row.get("key")): row_reason(row) or "no reason given" for row in rows if not row.get("success", True)}


def _place(repo: Repo, target: Path, file: StagedFile, contents: dict[str, Path], *, share: bool) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        to = os.fsdecode(repo.objects.read(file.blob) or b"")
        if not stays_inside(file.path, to):
            raise HopelessError(f"{file.dest}: a symbolic link that leads out of its repo ({to}); refused")
        os.symlink(to, target)
        return 0
    if file.kind == "git":
        data = repo.objects.read(file.blob)
        if data is None:
            raise HopelessError(f"{repo.path}: git object {file.blob} is missing; git fsck")
        target.write_bytes(data)
    else:
        source = contents[file.key or ""]
        # a copy where git's mode is another one than the content's, which all its links share; a content that was added
        # as an executable, and locked, is one in this annex alone
        if file.executable or source.stat().st_mode & 0o111 or not share or not _link(source, target):
            clone_file(source, target)
    if file.executable:
        os.chmod(target, 0o755)
    return target.stat().st_size


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, one without hard links, or a file that is another user's
        if source.stat().st_size < LARGE:
            return False
        os.symlink(os.path.abspath(source), target)
    return True


_Seen = tuple[int, int, int, int] | None  # inode, bytes, mode, time of the last change in ns; None: absent


@dataclass(frozen=True, slots=True)
class Untouched:
    """Files as they were at one moment. Without a container and bubblewrap a set's inputs and code are copies in its
    slot: the source is safe, but one datum of the set could change what the next one reads."""

    slot: Path
    seen: dict[str, _Seen]

    @classmethod
    def now(cls, slot: Path, inputs: Iterable[str]) -> Untouched:
        """Return the inputs (paths from the slot) and what there is in `code/`."""
        code = [os.path.relpath(p, slot) for p in (slot / CODE).rglob("*") if not p.is_dir()]
        return cls(slot, {path: _look(slot / path) for path in (*inputs, *code)})

    def changed(self) -> str | None:
        """Return the first file that is another now; new files beside them, such as byte code, are not looked for."""
        return next((path for path, was in self.seen.items() if _look(self.slot / path) != was), None)


def _look(path: Path) -> _Seen:
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mode, info.st_mtime_ns
