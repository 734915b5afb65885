"""The watcher: a process that looks at the branches of a project's repos, and asks for a pass when one has moved.

It watches the files of refs, never the data. An event says only where to look; what moved follows from the refs and
`seen.json`. Events may get lost: a full look at all repos comes every few minutes, and after each overflow. Where
inotify hears nothing (network file systems, limits), the refs are read every few seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from minipach.git.git_error import GitError
from minipach.git.refs_on_disk import GitFolders, folders_of, read_tips
from minipach.git.repo import is_dataset
from minipach.model.local_state import LocalState
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.scheduling.events import Message, Reporter
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.files import write_whole
from minipach.support.mounts import silent_file_system
from minipach.support.text import many
from minipach.support.validation import parse_object
from minipach.triggers import bare_repos, passes
from minipach.triggers.alerts import evaluate_in_background
from minipach.triggers.drop_folder import DropFolder, DropOptions
from minipach.triggers.due_times import LINE, DueTimes
from minipach.triggers.inotify import Folders, FolderWatch, Unavailable, limit_problem
from minipach.triggers.seen_refs import Tips, moves, read_seen
from minipach.triggers.trigger import TriggerRow

_QUIET = 0.1  # seconds without an event after which it looks
_LONGEST = 1.0  # seconds after which it looks although events keep coming
_REAPED = 2.0  # seconds between looks at whether passes have ended
_AGAIN = 2.0  # seconds until a pass that was killed is started again; twice as long each time
_DROP = "\0"  # in place of a repo's path: the drop folder
_REFS = (b"HEAD", b"packed-refs", b"refs", b"reftable", b"commondir")  # entries of a git folder that matter


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The options of a watcher. look: seconds between full looks · interval: seconds between looks at polled repos ·
    poll: poll all repos.
    """

    look: float = 300.0
    interval: float = 5.0
    poll: bool = False


def watch_options(project: Project, *, look: float | None, poll: bool) -> WatchOptions:
    """Return the options as given, else as configured (`minipach.watch-look`, `watch-interval`, `watch-poll`).

    Raises:
        UserError: A setting can't be used.
    """
    default = WatchOptions()
    word = (local_setting(project.repo, "watch-poll") or "false").lower()
    if word not in ("true", "false"):
        raise bad_setting("watch-poll", f'"{word}" is neither true nor false', "true")
    return WatchOptions(
        look if look is not None else _seconds(project, "watch-look", default.look),
        _seconds(project, "watch-interval", default.interval),
        poll or word == "true",
    )


def _seconds(project: Project, name: str, default: float) -> float:
    value = local_setting(project.repo, name)
    if value is None:
        return default
    if not value.isdecimal() or not 1 <= int(value) <= 86400:
        raise bad_setting(name, f'"{value}" is not a number of seconds from 1 to 86400', str(int(default)))
    return float(value)


@dataclass
class _Watched:
    """One repo. folders: None: it isn't here · files: which folders are watched · polled: why it is polled, or ""."""

    folders: GitFolders | None = None
    files: tuple[tuple[str, int, int], ...] = ()
    watches: list[FolderWatch] = field(default_factory=list)
    polled: str = ""


class Watcher:
    """The watcher of one project. `run` returns when `end` was called."""

    def __init__(
        self, project: Project, options: WatchOptions, reporter: Reporter, drop: DropOptions | None = None
    ) -> None:
        self._root = project.root
        self._state = project.local
        self._project = project
        self._options = options
        self._reporter = reporter
        self._events: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # paths of repos; None: look at all
        self._ended = threading.Event()
        self._folders = Folders(self._overflow)
        self._repos: dict[str, _Watched] = {}
        self._known: dict[str, Mapping[str, str]] = {}  # the branches as it saw them last
        self._children: list[subprocess.Popen[bytes]] = []
        self._again = _AGAIN
        self._restart: float | None = None  # when to start a pass again that was killed
        self._problems: dict[str, Problem] = {}
        self._lock: IO[str] | None = None
        self._since = _now()
        self._heard: str | None = None
        self._looked: str | None = None
        self._why = ""
        self._next_look = 0.0
        self._due_times = DueTimes(project)
        self._gone = False
        self._first: list[str] | None = []  # what the first look found, to be said after what is watched
        self._drop = None
        if drop is not None:
            self._drop = DropFolder(
                project,
                drop,
                lambda: self._events.put(_DROP),
                self._say,
                self._trouble,
                poll=options.poll,
                interval=options.interval,
            )

    # --- for other threads and signal handlers ---

    def end(self) -> None:
        """Have `run` return soon."""
        self._ended.set()
        self._events.put(None)

    def _overflow(self) -> None:
        self._events.put(None)

    # --- the loop ---

    def run(self) -> None:
        """Watch until `end` is called. Passes that run by then continue.

        Raises:
            UserError: Another watcher watches this project.
        """
        self._take_lock()
        try:
            self._look_at_all()
            first, self._first = self._first or [], None
            for line in (f"watching {many(len(self._repos), 'repo')}{self._polled_line()}", *first):
                self._say(line)
            next_poll = time.monotonic() + self._options.interval
            while not self._ended.is_set():
                dirty, everything = self._wait(next_poll)
                if self._ended.is_set():
                    break
                now = time.monotonic()
                self._reap()
                if self._due_times.is_due() and not self._gone:
                    self._ask([], LINE)
                if everything or now >= self._next_look:
                    self._look_at_all()
                elif dirty:
                    self._rearm(dirty)
                    self._look(dirty)
                if self._drop is not None and not self._gone and self._drop.work(self._project, self._folders):
                    self._note()
                if now >= next_poll:
                    self._poll()
                    next_poll = time.monotonic() + self._options.interval
        finally:
            self._folders.close()
            self._note()
            if self._lock is not None:
                self._lock.close()

    def _wait(self, next_poll: float) -> tuple[set[str], bool]:
        """Wait for events or until something is due. Return the repos with events, and whether to look at all."""
        dirty: set[str] = set()
        try:
            event = self._events.get(timeout=max(0.0, self._due(next_poll) - time.monotonic()))
        except queue.Empty:
            return dirty, False
        begin, everything = time.monotonic(), False
        while True:
            if event is None:
                everything = True
            elif event != _DROP:
                dirty.add(event)
            elif self._drop is not None:
                self._drop.touched()
                if not dirty:
                    return dirty, everything
            left = _LONGEST - (time.monotonic() - begin)
            if self._ended.is_set() or left <= 0:
                break
            try:
                event = self._events.get(timeout=min(_QUIET, left))
            except queue.Empty:
                break
        return dirty, everything

    def _due(self, next_poll: float) -> float:
        times = [self._next_look]
        if self._gone or any(repo.polled or repo.folders is None for repo in self._repos.values()):
            times.append(next_poll)
        if self._children:
            times.append(time.monotonic() + _REAPED)
        if self._restart is not None:
            times.append(self._restart)
        if self._drop is not None and not self._gone and (due := self._drop.due()) is not None:
            times.append(due)
        if (left := self._due_times.seconds()) is not None:
            times.append(time.monotonic() + left)
        return min(times)

    # --- looking ---

    def _look_at_all(self) -> None:
        """List the repos again, watch what is new, and look at all of them."""
        evaluate_in_background(self._project)
        self._next_look = time.monotonic() + self._options.look
        if not self._is_here():
            return
        if self._folders.broken:
            self._folders = Folders(self._overflow)
            self._repos.clear()
            if self._drop is not None:
                self._drop.forget()
        if self._drop is not None:
            self._drop.touched()
        self._project = Project(self._root)
        try:
            paths = {"", *self._project.repos}
            self._trouble("repos", None)
        except GitError as error:
            self._trouble("repos", Problem("watch.unreadable", ".gitmodules", error.stderr or str(error), "git status"))
            paths = {"", *self._repos}
        for path in self._repos.keys() - paths:
            self._unwatch(self._repos.pop(path))
        for path in sorted(paths):
            self._arm(path)
        self._look(sorted(paths), full=True)
        self._look_at_bare_repos()
        self._due_times.read(again=True)

    def _look_at_bare_repos(self) -> None:
        """Ask for a pass if somebody has pushed to a bare repository, and its hook was not heard."""
        try:
            found = list(bare_repos.ahead(self._project))
        except GitError as error:
            what = error.stderr or str(error)
            self._trouble("bare", Problem("watch.unreadable", "bare repositories", what, "git fsck"))
            return
        self._trouble("bare", None)
        if found:
            self._heard = _now()
            self._ask(found)

    def _is_here(self) -> bool:
        """Return whether the project is here; take its lock again if it has come back."""
        here = is_dataset(self._root)
        if here and self._gone:
            self._say("the project is here again")
            self._take_lock()
        elif not here and not self._gone:
            self._say(f"{self._root}: the project is gone; waiting for it")
            for repo in self._repos.values():
                self._unwatch(repo)
            self._repos.clear()
            self._known.clear()
            if self._drop is not None:
                self._drop.forget()
        self._gone = not here
        return here

    def _look(self, paths: Iterable[str], *, full: bool = False) -> None:
        """Ask for a pass if a branch has moved since this watcher, or the last pass, looked at it."""
        if not self._is_here():
            return
        paths = list(paths)
        now = {path: tips for path in paths if (tips := read_tips(self._root / path)) is not None}
        known = {path: self._known[path] for path in paths if path in self._known}
        found = list(moves(self._project, known, {path: now[path] for path in known if path in now}))
        if full or len(known) < len(paths):
            seen = read_seen(self._state)
            before: Tips = seen.tips if seen else {}
            fresh = [path for path in paths if full or path not in known]
            earlier = before if full else {path: before[path] for path in fresh if path in before}
            new = {path: now[path] for path in fresh if path in now}
            found = list(dict.fromkeys([*found, *moves(self._project, earlier, new)]))
        changed = [path for path in paths if self._known.get(path) != now.get(path)]
        for path in paths:
            if path in now:
                self._known[path] = now[path]
            else:
                self._known.pop(path, None)
        self._looked = _now()
        if found:
            self._heard = self._looked
            self._ask(found)
        elif full and self._is_left():
            self._start("an earlier pass did not end")
        elif changed or not self._why:
            self._why = "no branch has moved, except by minipach"
        self._note()
        if not full and any(path == "" or (self._root / path / ".gitmodules").exists() for path in changed):
            self._list_again()

    def _list_again(self) -> None:
        """Look at all repos if there are others now."""
        try:
            if self._repos.keys() != {"", *Project(self._root).repos}:
                self._events.put(None)
        except GitError:  # the next full look reports it
            return

    def _is_left(self) -> bool:
        """Return whether lines were heard that no process answers."""
        return (self._state.heard.exists() or self._state.taken.exists()) and not self._is_answered()

    def _is_answered(self) -> bool:
        return passes.is_waiting(self._state) or passes.is_held(self._state.answering)

    def _ask(self, found: list[str], line: str = "") -> None:
        """Ask for a pass. found: what has moved · line: what is heard if nothing has."""
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        what = f"{found[0]}{more}" if found else line
        try:
            child = passes.ask_for_pass(self._project, line or f"watch {what}")
        except OSError as error:
            fix = f"make {self._state.folder} writable"
            self._trouble("ask", Problem("watch.no-pass", str(self._root), f"no pass could be started: {error}", fix))
            self._known.clear()
            return
        self._trouble("ask", None)
        self._keep(child)
        self._why = "a pass was asked for" if child else "a pass that waits answers it"
        line = f"heard {what}: {self._why}"
        if self._first is None:
            self._say(line)
        else:
            self._first.append(line)

    def _start(self, why: str) -> None:
        try:
            child = passes.start_pass(self._project)
        except OSError:
            return  # the next look tries again
        self._keep(child)
        self._say(f"{why}: a pass begins")

    def _keep(self, child: subprocess.Popen[bytes] | None) -> None:
        if child is not None:
            self._children.append(child)

    def _reap(self) -> None:
        """Collect passes that have ended; start one again that was killed."""
        for child in [child for child in self._children if child.poll() is not None]:
            self._children.remove(child)
            if child.returncode < 0:
                self._restart = time.monotonic() + self._again
                self._again = min(self._again * 2, self._options.look)
            else:
                self._again = _AGAIN
            self._due_times.read()
        if self._restart is not None and time.monotonic() >= self._restart:
            self._restart = None
            if not self._gone and self._is_left():
                self._start("a pass was killed")

    def _poll(self) -> None:
        """Look at the repos that are polled, and whether those that are away have come back."""
        if self._gone:
            if is_dataset(self._root):
                self._look_at_all()
            return
        back = [path for path, repo in self._repos.items() if repo.folders is None and folders_of(self._root / path)]
        for path in back:
            self._arm(path)
        polled = [path for path, repo in self._repos.items() if repo.polled]
        changed = [path for path in polled if self._known.get(path) != read_tips(self._root / path)]
        if changed or back:
            self._look(sorted({*changed, *back}))

    # --- watching ---

    def _rearm(self, paths: Iterable[str]) -> None:
        for path in paths:
            if path in self._repos:
                self._arm(path)

    def _arm(self, path: str) -> None:
        """Watch the refs of a repo, unless exactly these folders are watched already."""
        repo = self._repos.setdefault(path, _Watched())
        try:
            folders = folders_of(self._root / path)
            files = _files(self._root / path, folders) if folders else ()
        except OSError:
            folders, files = None, ()
        if folders is not None and files == repo.files and (repo.watches or repo.polled):
            return
        self._unwatch(repo)
        repo.folders, repo.files, repo.polled = folders, files, ""
        if folders is None:
            return
        kind = silent_file_system(folders.common) or silent_file_system(folders.own)
        if self._options.poll or kind:
            repo.polled = kind or "asked for"
            return
        try:
            for name, _device, _inode in files:
                repo.watches.append(self._add(Path(name), path, folders))
        except Unavailable as error:
            self._unwatch(repo)
            repo.polled = error.why
            if error.full:
                message, fix = limit_problem(error.why)
                self._trouble("limit", Problem("watch.limit", "inotify", f"{message}; repos are polled instead", fix))

    def _add(self, folder: Path, path: str, folders: GitFolders) -> FolderWatch:
        def heard(_name: bytes) -> None:
            self._events.put(path)

        git = folder in (folders.own, folders.common)
        return self._folders.add(folder, heard, names=_REFS if git else None, itself=folder == self._root / path)

    def _unwatch(self, repo: _Watched) -> None:
        for watch in repo.watches:
            watch.end()
        repo.watches, repo.files, repo.folders, repo.polled = [], (), None, ""

    # --- the lock, and what is reported ---

    def _take_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
        self._state.folder.mkdir(exist_ok=True)
        self._lock = self._state.watching.open("a")
        try:
            fcntl.flock(self._lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = (read_watch(self._state) or {}).get("pid")
            fix = f"kill {pid}" if isinstance(pid, int) else "stop it"
            message = "another watcher watches this project"
            raise UserError(Problem("watch.runs-already", str(self._root), message, fix)) from None

    def _say(self, text: str) -> None:
        self._reporter.report(Message(text))

    def _trouble(self, key: str, problem: Problem | None) -> None:
        """Report a problem once. None: it is solved."""
        if problem is None:
            self._problems.pop(key, None)
        elif self._problems.get(key) != problem:
            self._problems[key] = problem
            self._say(str(problem))

    def _polled_line(self) -> str:
        reasons = sorted({repo.polled for repo in self._repos.values() if repo.polled})
        count = sum(bool(repo.polled) for repo in self._repos.values())
        return f", {count} by polling ({', '.join(reasons)})" if count else ""

    def _note(self) -> None:
        """Store what `minipach triggers` shows."""
        if self._gone or not self._state.folder.is_dir():
            return
        left = max(0.0, self._next_look - time.monotonic())
        data = {
            "schema": 1,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": self._since,
            "heard": self._heard,
            "looked": self._looked,
            "next": (datetime.now(UTC) + timedelta(seconds=left)).isoformat(timespec="seconds"),
            "why": self._why,
            "repos": len(self._repos),
            "polled": {path or ".": repo.polled for path, repo in self._repos.items() if repo.polled},
            "away": sorted(path for path, repo in self._repos.items() if repo.folders is None),
            "drop": self._drop.as_json() if self._drop is not None else None,
            "problems": problems_json(self._problems.values()),
        }
        try:
            write_whole(self._state.watch, json.dumps(data))
        except OSError as error:  # a full disk: the watcher continues
            self._say(f"{self._state.watch}: {error.strerror}")


def _files(top: Path, folders: GitFolders) -> tuple[tuple[str, int, int], ...]:
    """Return the folders to watch for a repo, with device and inode: they change if a folder is replaced."""
    wanted = [top, folders.own, folders.common, *_branch_folders(folders.heads)]
    if folders.reftable.is_dir():
        wanted.append(folders.reftable)
    found = []
    for folder in dict.fromkeys(wanted):
        stat = os.stat(folder)
        found.append((str(folder), stat.st_dev, stat.st_ino))
    return tuple(found)


def _branch_folders(heads: Path) -> list[Path]:
    if not heads.is_dir():
        return []
    return [heads, *sorted(Path(where, name) for where, names, _ in os.walk(heads) for name in names)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_watch(state: LocalState) -> dict[str, Any] | None:
    """Return what the last watcher stored; None: there was none."""
    try:
        return parse_object(state.watch.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def lines(project: Project) -> Iterator[TriggerRow]:
    """Yield the line of the watcher for `minipach triggers`, if there ever was one."""
    stored = read_watch(project.local)
    if stored is None:
        return
    text = {key: value if isinstance(value := stored.get(key), str) else None for key in ("heard", "looked", "next")}
    problems = [str(p.get("text")) for p in stored.get("problems") or () if isinstance(p, dict)]
    why = "; ".join([*problems, *([str(stored["why"])] if stored.get("why") else [])])
    if not passes.is_held(project.local.watching):
        yield TriggerRow("watcher", "", "ended", text["heard"], text["looked"], "nothing; minipach watch", "")
        return
    polled, drop = stored.get("polled"), stored.get("drop")
    following = f"a look at all repos at {text['next']}" + (f", {len(polled)} by polling" if polled else "")
    yield TriggerRow("watcher", "", "runs", text["heard"], text["looked"], following, why)
    if isinstance(drop, dict):
        waiting = drop.get("waiting")
        following = f"{many(waiting, 'file')} not complete yet" if isinstance(waiting, int) and waiting else "new files"
        last = drop.get("last")
        names = ", ".join(map(str, drop.get("patterns") or ()))
        yield TriggerRow("folder", names, "runs", last if isinstance(last, str) else None, text["looked"], following)
