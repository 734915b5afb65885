"""Triggers that are dropped, doubled, late or in another order, and processes that are killed: the same results."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from minipach.git.repo import Repo
from minipach.project.project import Project
from minipach.scheduling.events import Event
from minipach.triggers import bare_repos, passes
from minipach.triggers.passes import answer_requests
from minipach.triggers.watcher import Watcher, WatchOptions
from tests.fixtures.passes import Kept, wait_until_quiet
from tests.fixtures.projects import MINIPACH, Study
from tests.fixtures.receivers import serving, signed

_FILES = st.sampled_from(["a", "b", "c"])
_LINES = (  # one of each kind of trigger, about what is old or is not there
    "refs/heads/master 0123456789 somewhere",
    "github: push lab/images refs/heads/main",
    "s3: ObjectCreated images/a",
    "watch images refs/heads/master",
    "clock a tick is due",
    "serve: looks",
    "images: somebody else pushed to origin meanwhile",
    "nonsense",
)
_DAILY = """\
input: {cron: {name: tick, spec: '@daily', start: 2020-01-01}}
transform: {cmd: [sh, -c, 'cp $tick /pfs/out/']}
minipach: {schedule: {end: 2020-01-03}}
"""
_TICK = "2020-01-02T00:00:00Z"


class Killed(BaseException):
    """The end of a pass at some event, as a kill would make it."""


class Fatal(Kept):
    """A reporter that ends the pass at one of its events."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def report(self, event: Event) -> None:
        """Keep an event; at the chosen one, end the pass."""
        super().report(event)
        if len(self.events) > self._at:
            raise Killed


class Triggers(RuleBasedStateMachine):
    """Changes of data, and triggers that have nothing to do with them. A watcher's last look makes all good."""

    @initialize()
    def begin(self) -> None:
        """Make two projects: one with triggers, and one in which `schedule` runs once, at the end."""
        self.folder = tempfile.TemporaryDirectory(prefix="minipach-triggers.")
        self.studies = [Study.create(Path(self.folder.name) / name) for name in ("triggered", "by-hand")]
        for study in self.studies:
            study.copier()
            study.copier("more", repo="edges")
            study.put("images/begin", "begin")
            study.pipeline("daily", _DAILY)
            study.ok("datalad", "create", "-d", ".", "labels")
            study.put("labels/begin", "begin")
            study.copier("names", repo="labels")
            bare = study.root.with_suffix(".git")
            study.ok("git", "clone", "-q", "--bare", "labels", str(bare))
            study.git("labels", "remote", "add", "store", str(bare))
            study.ok("git", "clone", "-q", str(bare), str(self.clone_of(study)))
            Project(study.root).local.folder.mkdir(exist_ok=True)
        self.study = self.studies[0]
        bare_repos.add(Project(self.study.root), str(self.study.root.with_suffix(".git")))

    def clone_of(self, study: Study) -> Path:
        """Return the clone from which a person pushes to the bare repository of `labels`."""
        return study.root.with_suffix(".clone")

    @rule(file=_FILES, content=st.sampled_from(["1", "2", "3"]))
    def save(self, file: str, content: str) -> None:
        """Save a file. Nobody hears it."""
        for study in self.studies:
            study.put(f"images/{file}", content)

    @rule(file=_FILES)
    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        for study in self.studies:
            if (study.root / "images" / file).is_symlink():
                study.remove(f"images/{file}")

    @rule(steps=st.integers(1, 2))
    def reset(self, steps: int) -> None:
        """Have a data repo go back to an earlier commit."""
        for study in self.studies:
            if int(study.git("images", "rev-list", "--count", "HEAD")) > steps + 2:
                study.git("images", "reset", "-q", "--hard", f"HEAD~{steps}")

    @rule(file=_FILES, content=st.sampled_from(["1", "2"]))
    def push(self, file: str, content: str) -> None:
        """Push a file to the bare repository. Nobody hears it."""
        for study in self.studies:
            clone = self.clone_of(study)
            (clone / file).write_text(content)
            study.ok("git", "add", file, cwd=clone)
            study.ok("git", "commit", "-q", "--allow-empty", "-m", file, cwd=clone)
            study.ok("git", "push", "-q", "origin", "HEAD", cwd=clone)

    @rule(lines=st.lists(st.sampled_from(_LINES), min_size=1, max_size=3), times=st.integers(1, 2))
    def hear(self, lines: list[str], times: int) -> None:
        """Write lines of triggers of any kind, also several times."""
        with Project(self.study.root).local.heard.open("a") as file:
            file.writelines(f"{line}\n" for line in lines * times)

    @rule()
    def make_pass(self) -> None:
        """Make the pass that was asked for, if one was."""
        answer_requests(self.study.root, Kept())

    @rule(at=st.integers(0, 8))
    def make_pass_that_is_killed(self, at: int) -> None:
        """Make a pass that ends at one of its first events."""
        with contextlib.suppress(Killed):
            answer_requests(self.study.root, Fatal(at))

    @rule()
    def watch(self) -> None:
        """Have a watcher start, look at all, and end. It writes lines as it would, and starts no process."""

        def hear(project: Project, line: str) -> None:
            with project.local.heard.open("a") as file:
                file.write(f"{line}\n")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(passes, "ask_for_pass", hear)
            patch.setattr(passes, "start_pass", lambda project: hear(project, "again"))
            watcher = Watcher(Project(self.study.root), WatchOptions(3600, 3600), Kept())
            watcher.end()
            watcher.run()

    def teardown(self) -> None:
        """Compare both projects after a watcher's look and its pass."""
        if not hasattr(self, "study"):
            return
        try:
            self.watch()
            self.make_pass()
            self.watch()
            assert not Project(self.study.root).local.heard.exists()  # the pass's own commits start none
            self.studies[1].git("labels", "pull", "-q", "--ff-only", "store", "HEAD")
            self.studies[1].schedule()
            for pipeline in ("edges", "more", "names", "daily"):
                first, second = (study.outputs(pipeline) for study in self.studies)
                assert (pipeline, first) == (pipeline, second)
                assert first.keys() & {"begin", _TICK}, pipeline
        finally:
            Repo(self.study.root).close()
            subprocess.run(["chmod", "-R", "u+w", self.folder.name], check=False)
            self.folder.cleanup()


@pytest.mark.slow
def test_one_story_of_lost_triggers() -> None:
    machine = Triggers()
    machine.begin()
    machine.save("a", "1")
    machine.watch()
    machine.make_pass_that_is_killed(3)
    machine.push("a", "1")
    machine.hear(list(_LINES), 2)
    machine.make_pass()
    machine.push("b", "1")
    machine.reset(1)
    machine.save("b", "2")
    machine.teardown()


@pytest.mark.soak
def test_any_story_of_lost_triggers() -> None:
    settings = hypothesis.settings(
        max_examples=10,
        stateful_step_count=12,
        deadline=None,
        phases=[hypothesis.Phase.generate],  # a step takes seconds
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Triggers, settings=settings)


def processes_of(study: Study) -> list[int]:
    """Return the processes of passes that work in a project."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                here = Path(os.readlink(folder / "cwd")) == study.root
                if here and b"hooks\0run" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


def start_watcher(study: Study) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*MINIPACH, "watch", "--look", "2"], cwd=study.root, stderr=subprocess.DEVNULL)


def until_it_watches(study: Study, watcher: subprocess.Popen[bytes]) -> None:
    """Wait until a watcher that was just started has looked: only then it answers a signal in its own way."""
    file = Project(study.root).local.watch
    deadline = time.monotonic() + 60
    while not file.exists() or json.loads(file.read_text())["pid"] != watcher.pid:
        assert watcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.soak
@pytest.mark.parametrize("kills", [25])
def test_killed_watchers_and_passes_lose_nothing(study: Study, kills: int) -> None:
    study.copier()
    choose = random.Random(kills)
    watcher = start_watcher(study)
    try:
        for number in range(kills):
            study.put(f"images/{number}", f"{number}")
            time.sleep(choose.uniform(0, 3))
            if choose.random() < 0.5:
                watcher.kill()
                watcher.wait()
                watcher = start_watcher(study)
            for pid in processes_of(study):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 300
        while not all((study.root / "edges" / str(number)).is_symlink() for number in range(kills)):
            assert time.monotonic() < deadline, Project(study.root).local.passes_log.read_text()[-2000:]
            time.sleep(0.2)
        wait_until_quiet(study)
        assert study.outputs("edges").keys() == {str(number) for number in range(kills)}
        assert study.plan()["edges"]["counts"]["run"] == 0
        until_it_watches(study, watcher)
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(60) == 0
    finally:
        watcher.kill()
        watcher.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.timeout(5400)  # 200 events on a busy machine
@pytest.mark.parametrize("events", [pytest.param(5, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.soak)])
def test_killed_receivers_watchers_and_passes_lose_nothing(study: Study, tmp_path: Path, events: int) -> None:
    """Commits, of which some are followed by an event. Receiver, watcher and passes are killed at any moment."""
    study.copier()
    choose = random.Random(events)
    watcher = start_watcher(study)
    receiver = contextlib.ExitStack()
    found = receiver.enter_context(serving(study, tmp_path / "log"))
    kills = dict.fromkeys(("receiver", "watcher", "pass"), 0)
    try:
        for number in range(events):
            study.put(f"images/{number}", f"{number}")
            if choose.random() < 0.7:
                headers, body = signed("github", str(number))
                for _ in range(choose.choice((1, 1, 2))):
                    assert found.client.post(f"{found.url}/hooks/github", content=body, headers=headers).is_success
            time.sleep(choose.uniform(0, 1))
            victims = [name for name in kills if choose.random() < 0.25] or (
                ["receiver", "watcher"] if not number else []
            )
            if "pass" in victims:
                for pid in processes_of(study):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        kills["pass"] += 1
            if "watcher" in victims:
                kill(watcher)
                watcher = start_watcher(study)
            if "receiver" in victims:
                receiver.close()  # `serving` ends it by SIGKILL
                found = receiver.enter_context(serving(study, tmp_path / "log"))
            for name in ("watcher", "receiver"):
                kills[name] += name in victims
        deadline = time.monotonic() + 600
        while not all((study.root / "edges" / str(number)).is_symlink() for number in range(events)):
            assert time.monotonic() < deadline, Project(study.root).local.passes_log.read_text()[-2000:]
            time.sleep(0.2)
        wait_until_quiet(study)
    finally:
        kill(watcher)
        receiver.close()
    assert kills["receiver"] and kills["watcher"] and (kills["pass"] or events < 20), kills
    assert study.outputs("edges").keys() == {str(number) for number in range(events)}
    assert study.plan()["edges"]["counts"]["run"] == 0
    rows = study.git("edges", "log", "--first-parent", "-m", "--no-renames", "--format=", "--name-status").splitlines()
    moved = [row.split("\t") for row in rows if row]
    changes = sorted(path for _, path in moved if path.isdecimal())
    assert changes == sorted(str(number) for number in range(events))  # each result is published once
    for repo in ("edges", "."):
        trees = study.git(repo, "log", "--first-parent", "--format=%T").split()
        assert all(new != old for new, old in pairwise(trees)), "a commit that changes nothing"
