"""The watcher: it hears what moves a branch, and nothing else; what it misses, the next look finds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.model.local_state import LocalState
from minipach.project.project import Project
from minipach.triggers import inotify, passes, watcher
from minipach.triggers.passes import answer_requests
from minipach.triggers.seen_refs import begin_pass, end_pass, moves, read_seen, tips_of
from minipach.triggers.watcher import Watcher, WatchOptions, read_watch, watch_options
from tests.fixtures.passes import Kept, wait_until_quiet
from tests.fixtures.projects import MINIPACH, Study
from tests.fixtures.refusals import refused

_NEVER = 3600.0  # seconds


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What watchers ask for, in place of passes."""
    found: list[str] = []
    monkeypatch.setattr(passes, "ask_for_pass", lambda project, line: found.append(line))
    monkeypatch.setattr(passes, "start_pass", lambda project: found.append("start"))
    return found


@contextmanager
def watching(study: Study, *, look: float = _NEVER, interval: float = 0.05, poll: bool = False) -> Iterator[Kept]:
    """Run a watcher in a thread, from after its first look on."""
    kept = Kept()
    found = Watcher(Project(study.root), WatchOptions(look, interval, poll), kept)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            found.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(lambda: errors or any("watching " in str(event) for event in kept.events))
        yield kept
    finally:
        found.end()
        thread.join(60)
    assert not thread.is_alive() and not errors


def all_seen(study: Study) -> LocalState:
    """Have all branches be seen by a pass."""
    project = Project(study.root)
    project.local.folder.mkdir(exist_ok=True)
    end_pass(project.local, tips_of(project))
    return project.local


def commit(study: Study, repo: str, message: str = "x") -> None:
    study.git(repo, "commit", "-q", "--allow-empty", "-m", message)


@pytest.mark.parametrize("poll", [False, True])
def test_hears_what_moves_a_branch(study: Study, asked: list[str], poll: bool) -> None:
    all_seen(study)
    with watching(study, poll=poll):
        assert asked == []
        for number, change in enumerate(
            (
                lambda: commit(study, "images"),
                lambda: commit(study, "."),
                lambda: study.git("images", "branch", "a/b/new"),
                lambda: study.git("images", "update-ref", "refs/heads/a/b/new", "HEAD~1"),
                lambda: study.git("images", "checkout", "-q", "a/b/new"),
                lambda: study.git("images", "checkout", "-q", "--detach"),
                lambda: commit(study, "images"),
                lambda: study.git("images", "branch", "-D", "a/b/new"),
            )
        ):
            change()
            wait_for(lambda count=number: len(asked) > count)
            assert len(asked) == number + 1


def test_data_and_other_refs_are_not_heard(study: Study, asked: list[str]) -> None:
    state = all_seen(study)
    with watching(study):
        (study.root / "images/new").write_text("x")
        study.git("images", "add", "new")
        study.git("images", "tag", "v1")
        study.git("images", "update-ref", "refs/heads/synced/master", "HEAD")
        study.git("images", "update-ref", "refs/heads/minipach", "HEAD")
        study.git("images", "pack-refs", "--all")
        repo = Repo(study.root / "images")
        head = repo.head() or ""
        new = repo.commit_tree(repo.line("rev-parse", "HEAD^{tree}"), "ours", [head])
        repo.update_refs([f"update {repo.line('symbolic-ref', 'HEAD')} {new} {head}"])
        wait_for(lambda: "except by minipach" in str((read_watch(state) or {}).get("why")))
        assert asked == []
        commit(study, "images")  # on top of ours
        wait_for(lambda: asked)


def test_first_look_finds_what_moved_while_nobody_watched(study: Study, asked: list[str]) -> None:
    all_seen(study)
    commit(study, "images")
    with watching(study):
        assert len(asked) == 1 and asked[0].startswith("watch images refs/heads/")


def test_lost_events_are_made_good(study: Study, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are dropped here: one look follows the overflow, another one the clock."""
    folders: list[inotify.Folders] = []
    real = inotify.Folders

    class Deaf(real):  # type: ignore[misc, valid-type]
        def __init__(self, overflow: Callable[[], None]) -> None:
            super().__init__(overflow)
            self.overflowed = overflow
            folders.append(self)

        def add(self, folder: Path, heard: object, **_more: object) -> inotify.FolderWatch:
            return super().add(folder, lambda name: None)

    monkeypatch.setattr(watcher, "Folders", Deaf)
    all_seen(study)
    with watching(study):
        commit(study, "images")
        folders[0].overflowed()
        wait_for(lambda: len(asked) == 1)
    all_seen(study)
    with watching(study, look=0.3):
        commit(study, "images")
        wait_for(lambda: len(asked) == 2)


def test_kernel_queue_that_overflows(study: Study, asked: list[str]) -> None:
    """watchdog hands the overflow on."""
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

    heard: list[str] = []
    folders = inotify.Folders(lambda: heard.append("overflow"))
    folders.add(study.root, lambda name: None)
    assert folders._fd is not None and not folders.broken
    folders._fd.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
    assert heard == ["overflow"]
    folders.close()


def test_repos_come_go_and_are_replaced(study: Study, asked: list[str], tmp_path: Path) -> None:
    state = all_seen(study)
    with watching(study):
        images = study.root / "images"
        shutil.copytree(images, tmp_path / "copy", symlinks=True)
        images.rename(tmp_path / "moved")
        wait_for(lambda: asked == ["watch images is gone"])
        (tmp_path / "copy").rename(images)
        wait_for(lambda: (read_watch(state) or {}).get("away") == [])
        commit(study, "images")
        wait_for(lambda: any(line.startswith("watch images refs/heads/") for line in asked))
        before = len(asked)
        study.ok("datalad", "create", "-d", ".", "labels")
        wait_for(lambda: (read_watch(state) or {}).get("repos") == 3)
        wait_for(lambda: len(asked) > before)
        before = len(asked)
        commit(study, "labels")
        wait_for(lambda: len(asked) > before)


def test_project_that_vanishes_and_returns(study: Study, asked: list[str], tmp_path: Path) -> None:
    all_seen(study)
    with watching(study) as kept:
        study.root.rename(tmp_path / "away")
        wait_for(lambda: any("the project is gone" in str(event) for event in kept.events))
        assert not study.root.exists()
        (tmp_path / "away").rename(study.root)
        wait_for(lambda: any("is here again" in str(event) for event in kept.events))
        before = len(asked)
        commit(study, "images")
        wait_for(lambda: len(asked) > before)


@pytest.mark.parametrize(("number", "name"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")])
def test_limit_of_inotify_is_one_line_and_polling(
    study: Study, asked: list[str], monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    from watchdog.observers import inotify_c

    if number == errno.ENOSPC:
        monkeypatch.setattr(inotify_c, "inotify_add_watch", lambda *_: -1)
    else:
        monkeypatch.setattr(inotify_c, "inotify_init", lambda: -1)
    monkeypatch.setattr(inotify_c.ctypes, "get_errno", lambda: number)
    state = all_seen(study)
    with watching(study) as kept:
        told = [str(event) for event in kept.events if "sysctl" in str(event)]
        assert len(told) == 1 and f"fs.inotify.{name}=" in told[0] and "polled" in told[0]
        stored = read_watch(state)
        assert stored is not None and stored["polled"].keys() == {".", "images"}
        commit(study, "images")
        wait_for(lambda: asked)
    assert study.minipach("triggers", "--json").json["triggers"][0]["state"] == "ended"


def test_two_watchers(study: Study, asked: list[str]) -> None:
    state = all_seen(study)
    with watching(study):
        other = Watcher(Project(study.root), WatchOptions(), Kept())
        with refused("watch.runs-already", None, f"kill {os.getpid()}"):
            other.run()
        shown = study.minipach("triggers", "--json").json["triggers"]
        assert [(line["kind"], line["state"]) for line in shown] == [("watcher", "runs")]
    assert not passes.is_held(state.watching)


def test_lines_that_nobody_answers_start_a_pass(study: Study, asked: list[str]) -> None:
    state = all_seen(study)
    state.taken.write_text("a line of a pass that was killed\n")
    with watching(study):
        assert asked == ["start"]


def test_what_is_watched_is_said_first(study: Study, asked: list[str]) -> None:
    all_seen(study)
    commit(study, "images")
    with watching(study) as kept:
        wait_for(lambda: len(kept.events) > 1)
    first, second = (str(event) for event in kept.events[:2])
    assert "watching 2 repos" in first and "heard images" in second


def test_settings(study: Study) -> None:
    project = Project(study.root)
    assert watch_options(project, look=None, poll=False) == WatchOptions()
    study.git(".", "config", "minipach.watch-look", "60")
    study.git(".", "config", "minipach.watch-poll", "true")
    assert watch_options(project, look=None, poll=False) == WatchOptions(60.0, 5.0, True)
    for name, value in (("watch-look", "0"), ("watch-interval", "x"), ("watch-poll", "perhaps")):
        study.git(".", "config", f"minipach.{name}", value)
        done = study.minipach("watch")
        assert done.code == 2 and done.err.count("\n") == 1 and f"minipach.{name}" in done.err
        study.git(".", "config", "--unset", f"minipach.{name}")


def test_what_passes_have_seen(study: Study) -> None:
    project = Project(study.root)
    project.local.folder.mkdir()
    first = tips_of(project)
    assert begin_pass(project.local, first) is None
    commit(study, "images")
    second = tips_of(project)
    assert list(moves(project, first, second)) == [f"images {study.git('images', 'symbolic-ref', 'HEAD')}"]
    assert begin_pass(project.local, second) == {}  # the first pass was killed
    end_pass(project.local, second)
    assert begin_pass(project.local, second) == second
    project.local.seen.write_text("{nonsense")
    assert read_seen(project.local) is None


def test_pass_stores_what_it_saw_and_moved(study: Study) -> None:
    study.copier()
    study.put("images/a", "a")
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    state.heard.write_text("x\n")
    assert answer_requests(study.root, Kept()) is not None
    seen = read_seen(state)
    project = Project(study.root)
    assert seen is not None and seen.since is None and seen.tips == tips_of(project)
    assert "edges" in seen.tips


def start_watcher(study: Study) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([*MINIPACH, "watch"], cwd=study.root, stderr=subprocess.PIPE)
    assert process.stderr is not None
    while b"watching" not in process.stderr.readline():
        assert process.poll() is None
    return process


@pytest.mark.slow
def test_save_is_enough_with_hooks_and_without(study: Study) -> None:
    study.copier()
    state = Project(study.root).local
    process = start_watcher(study)
    try:
        for hooked in (False, True):
            if hooked:
                study.ok(sys.executable, "-m", "minipach", "hooks", "install")
            before = int(study.git(".", "rev-list", "--count", "HEAD"))
            study.put(f"images/{hooked}", "x")
            wait_for(
                lambda name=str(hooked): (
                    name in (study.outputs("edges") if (study.root / "edges/.git").exists() else ())
                )
            )
            wait_until_quiet(study)
            stored = json.loads(state.looked.read_text())
            assert stored["problems"] == []
            assert int(study.git(".", "rev-list", "--count", "HEAD")) - before <= 3
        passes_before = state.passes_log.read_text().count("a pass, asked for by")
        time.sleep(2)  # what would start by itself would do so now
        wait_until_quiet(study)
        assert state.passes_log.read_text().count("a pass, asked for by") == passes_before
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_due_tick_asks_for_a_pass_once(study: Study, asked: list[str]) -> None:
    study.pipeline("report", "input: {cron: {name: tick, spec: '@every 1s'}}\ntransform: {cmd: [x]}\n")
    study.ok("git", "add", ".")
    study.ok("git", "commit", "-qm", "report")
    all_seen(study)
    with watching(study):
        wait_for(lambda: "clock a tick is due" in asked)
    assert asked.count("clock a tick is due") == 1


@pytest.mark.slow
def test_a_clock_runs_with_the_watcher_alone(study: Study) -> None:
    study.pipeline(
        "report",
        "input: {cron: {name: tick, spec: '@every 1s', overwrite: true}}\n"
        "transform: {cmd: [sh, -c, 'cp $tick /pfs/out/']}\n",
    )

    def ticks() -> list[str]:
        folder = study.root / "report"
        return [name for name in os.listdir(folder) if name.startswith("2")]

    with watching(study):
        wait_for(ticks)
        first = ticks()
        wait_for(lambda: ticks() not in ([], first))
    wait_until_quiet(study)
    assert study.minipach("jobs", "report", "-n", "1", "--json").json["jobs"][0]["cause"] == "clock"
