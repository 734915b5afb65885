"""The drop folder: new files that match a pattern are saved once they have been quiet for some seconds.

Only here a data tree is watched. git says which files are new; an event only says when to ask it.
"""

from __future__ import annotations

import fnmatch
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from minipach.git.git_error import GitError
from minipach.git.repo import Repo, is_dataset
from minipach.project.project import Project
from minipach.project.unfinished_uploads import is_unfinished
from minipach.spec.glob import Glob, GlobError, compile_glob
from minipach.support.errors import Problem, UserError
from minipach.support.files import stays_inside
from minipach.support.mounts import silent_file_system
from minipach.support.text import many, quoted
from minipach.triggers.inotify import Folders, FolderWatch, Unavailable, limit_problem
from minipach.triggers.open_files import open_for_writing
from minipach.triggers.save_files import start_saving

_SCAN = 1.0  # seconds between two scans at least
_MOST = 10_000  # files in one save
_LONGEST = 300.0  # seconds until a save that failed is tried again, at most


@dataclass(frozen=True, slots=True)
class DropOptions:
    """The options of the drop folder. patterns: globs over paths in the project · excludes: over paths, or names if
    they have no slash · quiet: seconds without a change.
    """

    patterns: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    quiet: float = 5.0


@dataclass(slots=True)
class _Pending:
    """A new file. mark: what changes when it is written to · since: when it was seen to have changed last."""

    mark: tuple[int, int, int, int]
    since: float


@dataclass
class _Watched:
    watches: dict[str, tuple[int, FolderWatch]] = field(default_factory=dict)  # folder -> inode, watch
    polled: str = ""


class DropFolder:
    """The drop folder of one project. The watcher calls `work` when something happened or is due."""

    def __init__(
        self,
        project: Project,
        options: DropOptions,
        wake: Callable[[], None],
        say: Callable[[str], None],
        trouble: Callable[[str, Problem | None], None],
        *,
        poll: bool,
        interval: float,
    ) -> None:
        """Check the options.

        Args:
            project: The project.
            options: The patterns, and when a file is complete.
            wake: Has the watcher call `work` soon; called in another thread.
            say: Reports a line.
            trouble: Reports a problem under a key; None: it is solved.
            poll: Whether to scan every `interval` seconds.
            interval: Seconds.

        Raises:
            UserError: A pattern can't be used.
        """
        self._root = project.root
        self._options = options
        for pattern in options.patterns:
            _check_place(project, pattern)
        self._globs = [_selection(project, pattern) for pattern in options.patterns]
        self._excludes = [(_compiled("--exclude", p) if "/" in p else None, p) for p in options.excludes]
        self._wake, self._say, self._trouble = wake, say, trouble
        self._poll, self._interval = poll, interval
        self._tops = _tops(self._globs)
        for top in self._tops:
            _check(project, top)
        self._watched: dict[str, _Watched] = {top: _Watched() for top in self._tops}
        self._pending: dict[str, _Pending] = {}
        self._touched = True
        self._scanned = 0.0
        self._child: tuple[subprocess.Popen[bytes], list[str], IO[bytes]] | None = None
        self._again = 0.0
        self._pause = 0.0
        self._saved = 0
        self._last: str | None = None

    # --- for the watcher ---

    def due(self) -> float | None:
        """Return when `work` has something to do without an event."""
        times = []
        if self._child is not None:
            times.append(time.monotonic() + 0.2)
        elif self._pending:
            first = min(item.since for item in self._pending.values())
            times.append(max(first + self._options.quiet, self._again))
        if self._touched:
            times.append(self._scanned + _SCAN)
        if any(watched.polled for watched in self._watched.values()):
            times.append(self._scanned + self._interval)
        return min(times, default=None)

    def touched(self) -> None:
        """Have the next `work` scan the folders."""
        self._touched = True

    def work(self, project: Project, folders: Folders) -> bool:
        """Look for new files, and save those that are complete. Return whether a save has ended."""
        ended = self._collect()
        now = time.monotonic()
        polled = any(watched.polled for watched in self._watched.values())
        if (self._touched and now >= self._scanned + _SCAN) or (polled and now >= self._scanned + self._interval):
            self._touched, self._scanned = False, now
            self._watch(folders)
            self._scan(project)
        if self._child is None and now >= self._again:
            self._save()
        return ended

    def forget(self) -> None:
        """Watch nothing any more; the next `work` begins again."""
        for watched in self._watched.values():
            for _, watch in watched.watches.values():
                watch.end()
            watched.watches.clear()
        self._pending.clear()
        self._touched = True

    def as_json(self) -> dict[str, Any]:
        """Return what `minipach triggers` shows."""
        return {
            "patterns": list(self._options.patterns),
            "waiting": len(self._pending),
            "saved": self._saved,
            "last": self._last,
            "polled": sorted({watched.polled for watched in self._watched.values() if watched.polled}),
        }

    # --- new files ---

    def _scan(self, project: Project) -> None:
        found: dict[str, _Pending] = {}
        now = time.monotonic()
        bad = outside = None
        for path in self._new_files(project):
            if not _can_be_input(path):
                bad = bad or path
                continue
            if _leads_out(self._root, path, project.holder_of(path)):
                outside = outside or path
                continue
            mark = _mark(self._root / path)
            if mark is not None:
                before = self._pending.get(path)
                found[path] = before if before is not None and before.mark == mark else _Pending(mark, now)
        self._pending = found
        message = "the name has a line break or is not UTF-8; it is not saved, because no pipeline could take it"
        problem = None if bad is None else Problem("watch.bad-name", repr(os.fsencode(bad)), message, "rename it")
        self._trouble("name", problem)
        message = "a symbolic link that leads out of its repo; it is not saved, because no pipeline could take it"
        problem = None if outside is None else Problem("watch.link", outside, message, "copy the file itself")
        self._trouble("link", problem)

    def _new_files(self, project: Project) -> Iterator[str]:
        """Yield the files that match and that git does not know, as paths in the project."""
        try:
            repos = ["", *project.repos]
            pipelines = set(project.order)
        except (UserError, GitError):
            return
        foreign = None
        for repo in repos:
            prefix = f"{repo}/" if repo else ""
            for top in self._tops:
                inside = _inside(repo, top)
                if inside is None or repo in pipelines or not is_dataset(self._root / repo):
                    continue
                arguments = ["--", f":(top,literal){inside}"] if inside else []
                try:
                    out = Repo(self._root / repo).git("ls-files", "-z", "--others", "--exclude-standard", *arguments)
                except GitError:
                    continue  # it is just being replaced; the next scan finds it
                for name in out.split(b"\0"):
                    path = prefix + os.fsdecode(name)
                    if name.endswith(b"/") and project.holder_of(path.rstrip("/")) == repo:
                        foreign = foreign or path
                    elif name and project.holder_of(path) == repo and self._matches(path):
                        yield path
        message = "a repo that is not registered in the project; its files are not saved"
        problem = None if foreign is None else Problem("watch.foreign-repo", foreign, message, _register(foreign))
        self._trouble("foreign", problem)

    def _matches(self, path: str) -> bool:
        parts = path.split("/")
        if any(part.startswith(".") for part in parts) or is_unfinished(self._root / path):
            return False
        for glob, pattern in self._excludes:
            if glob is not None and glob.match(f"/{path}") is not None:
                return False
            if glob is None and any(fnmatch.fnmatchcase(part, pattern) for part in parts):
                return False
        return any(glob.match(f"/{path}") is not None for glob in self._globs)

    # --- saving ---

    def _save(self) -> None:
        now = time.monotonic()
        ready = []
        for path, item in list(self._pending.items()):
            if now < item.since + self._options.quiet:
                continue
            mark = _mark(self._root / path)
            if mark is None:
                del self._pending[path]
            elif mark != item.mark:
                self._pending[path] = _Pending(mark, now)
            else:
                ready.append(path)
        ready = ready[:_MOST]
        real = {os.fsencode(os.path.realpath(self._root / path)): path for path in ready}
        for busy in open_for_writing(real.keys()) if ready else ():
            path = real[busy]
            self._pending[path].since = now
            ready.remove(path)
        if not ready:
            return
        try:
            log = tempfile.TemporaryFile()  # noqa: SIM115
            self._child = (start_saving(self._root, ready, log.fileno()), ready, log)
        except OSError as error:
            self._failed(str(error))

    def _collect(self) -> bool:
        """See what became of the save that runs. Return whether it has ended."""
        if self._child is None or self._child[0].poll() is None:
            return False
        process, paths, log = self._child
        self._child = None
        self._touched = True
        with log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
        if process.returncode == 0:
            for path in paths:
                self._pending.pop(path, None)
            self._saved += len(paths)
            self._last = datetime.now(UTC).isoformat(timespec="seconds")
            self._pause = 0.0
            self._trouble("save", None)
            self._say(f"saved {many(len(paths), 'new file')}")
        else:
            self._failed(lines[-1] if lines else f"exit code {process.returncode}")
        return True

    def _failed(self, why: str) -> None:
        self._pause = min(max(self._pause * 2, self._options.quiet), _LONGEST)
        self._again = time.monotonic() + self._pause
        self._trouble("save", Problem("watch.not-saved", "drop folder", why))

    # --- watching ---

    def _watch(self, folders: Folders) -> None:
        for top, watched in self._watched.items():
            folder = self._root / top
            kind = "asked for" if self._poll else silent_file_system(folder)
            watched.polled = kind or ("" if folder.is_dir() else "not there")
            wanted = {} if watched.polled else dict(_folders_in(folder))
            for name in [n for n, (inode, _) in watched.watches.items() if wanted.get(n) != inode]:
                watched.watches.pop(name)[1].end()
            try:
                for name, inode in wanted.items():
                    if name not in watched.watches:
                        watched.watches[name] = (inode, folders.add(Path(name), self._heard))
                        self._touched = True  # what came before the watch did
            except Unavailable as error:
                watched.polled = error.why
                if error.full:
                    message, fix = limit_problem(error.why)
                    problem = Problem("watch.limit", "inotify", f"{message}; the drop folder is polled instead", fix)
                    self._trouble("limit", problem)

    def _heard(self, _name: bytes) -> None:
        self._wake()


def _can_be_input(path: str) -> bool:
    """Return whether a pipeline can take a file: one bad name in a repo stops all that take from it."""
    try:
        return b"\n" not in path.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _compiled(option: str, pattern: str) -> Glob:
    try:
        return compile_glob(pattern)
    except GlobError as error:
        raise UserError(
            Problem("watch.bad-pattern", f"{option} {pattern}", str(error), "correct the pattern")
        ) from None


def _selection(project: Project, pattern: str) -> Glob:
    """Return the glob of `--save`. A folder's name stands for all below it."""
    glob = _compiled("--save", pattern)
    plain = glob.prefix and glob.match(glob.prefix) is not None
    if plain and (project.root / glob.prefix.strip("/")).is_dir():
        return _compiled("--save", f"{pattern.rstrip('/')}/**")
    return glob


def _tops(globs: Sequence[Glob]) -> tuple[str, ...]:
    """Return the folders that hold all that can match, none inside another."""
    found = {glob.prefix.strip("/") for glob in globs}
    return tuple(sorted(top for top in found if not any(top != other and _inside(other, top) for other in found)))


def _inside(repo: str, top: str) -> str | None:
    """Return the part of a folder that a repo holds, as a path in it; None: none of it. "": all of the repo."""
    if repo == top or not top or repo.startswith(f"{top}/"):
        return ""
    if not repo:
        return top
    return top.removeprefix(f"{repo}/") if top.startswith(f"{repo}/") else None


def _check_place(project: Project, pattern: str) -> None:
    """Raise UserError if a pattern names a place outside of the project."""
    where = f"--save {pattern}"
    if os.path.isabs(pattern):
        inside = os.path.relpath(pattern, project.root)
        known = not inside.startswith("..")
        fix = f"write {quoted(inside)}" if known else "name a folder of the project, such as 'images/incoming/**'"
        problem = "a pattern begins at the project, not at /" if known else "the folder is outside of this project"
        raise UserError(Problem("watch.outside", where, problem, fix))
    if ".." in pattern.split("/"):
        fix = "name a folder of the project, without `..`"
        raise UserError(Problem("watch.outside", where, "the pattern leads out of a folder", fix))


def _check(project: Project, top: str) -> None:
    where = f"--save {top}"
    if not top:
        fix = "begin the pattern with a folder, such as 'images/incoming/**'"
        raise UserError(Problem("watch.bad-pattern", "--save", "the pattern covers the whole project", fix))
    if not (project.root / top).is_dir():
        remedy = f"mkdir -p {quoted(project.root / top)}"
        raise UserError(Problem("watch.no-folder", where, "no such folder in this project", remedy))
    if os.path.realpath(project.root / top) != os.path.join(os.path.realpath(project.root), top):
        raise UserError(Problem("watch.is-a-link", where, "the path has a link", "name the real folder"))
    for path in project.order:
        if _inside(path, top) is not None and not path.startswith(f"{top}/"):
            problem = f"the folder belongs to the pipeline {project.name_of(path)}; only minipach adds files there"
            raise UserError(Problem("watch.is-a-pipeline", where, problem, "name a folder of a repo of data"))
    for step in (top, *(str(parent) for parent in PurePosixPath(top).parents)):
        if step != "." and is_dataset(project.root / step) and step not in project.repos:
            problem = f"{step} is a repo that is not registered in the project"
            raise UserError(Problem("watch.foreign-repo", where, problem, _register(step)))


def _register(path: str) -> str:
    """Return the command that registers a repo in the project."""
    return f"datalad save -d . {quoted(path.rstrip('/'))}"


def _leads_out(root: Path, path: str, holder: str) -> bool:
    """Return whether a file is a symbolic link to a place outside of its repo; git-annex's own links are not."""
    try:
        target = os.readlink(root / path)
    except OSError:
        return False
    return not stays_inside(path.removeprefix(f"{holder}/") if holder else path, target)


def _mark(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.lstat(file)
    except OSError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _folders_in(top: Path) -> Iterator[tuple[str, int]]:
    """Yield a folder and all below it, without hidden ones, with their inodes."""
    ahead = [str(top)]
    while ahead:
        folder = ahead.pop()
        try:
            yield folder, os.stat(folder).st_ino
            with os.scandir(folder) as entries:
                ahead += [e.path for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
