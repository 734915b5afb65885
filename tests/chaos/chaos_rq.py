"""Chaos on Redis: workers, their processes, passes, schedulers and Redis are killed at random while datums run.

Meanwhile input files are renamed, deleted and added, and edits are left that no commit has.

    python -m tests.chaos.chaos_rq --datums 300 --kills 40 --seed 7

At the end each datum must be published exactly once, and nothing be left over; prints a summary.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from minipach.project.project import find_project
from minipach.records import pending_work
from tests.chaos.edits import NEUTRAL, NEUTRAL_SCRIPT, Edits
from tests.fixtures.leftovers import WAIT, Process, leftovers, processes
from tests.fixtures.projects import MINIPACH, PATIENCE, Study
from tests.fixtures.redis_servers import Redis, Workers

# Each run leaves a line; a second one of the same datum was for nothing.
SCRIPT = """
name=$(basename "$images")
echo run >>"$MARKS/$name"
sleep 0.3
cp "$images" "$PFS/out/$name"
"""
EDGES = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh], env: {MARKS: "@"}}
datum_set_spec: {number: 2}
"""
MONTAGE = 'input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh, code/gather.sh]}\n'
GATHER = 'cat "$PFS"/edges/* >"$PFS/out/all.txt"\n'
_MORE = 6  # datums that come when all are done before all kills are


@dataclass
class Summary:
    """What happened. datums: the names that there were · wasted: runs of datums beyond the first of each."""

    seed: int
    datums: int = 0
    runs: int = 0
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def wasted(self) -> int:
        return self.runs - self.datums

    @property
    def verdict(self) -> str:
        return f"PROBLEMS: {self.problems}" if self.problems else "all well"

    def __str__(self) -> str:
        kills, edits = (", ".join(f"{n} {what}" for what, n in sorted(c.items())) for c in (self.kills, self.edits))
        return (
            f"chaos on RQ, seed {self.seed}: {self.datums} datums in {self.seconds:.0f} s; "
            f"{sum(self.kills.values())} kills ({kills}), Redis flushed once; edits: {edits}; "
            f"{self.runs} runs, {self.wasted} of them wasted; {self.verdict}"
        )


class Chaos:
    """A project with workers that are killed. tag: in the environment of all its processes."""

    def __init__(self, root: Path, server: Redis, datums: int, workers: int, kills: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.summary = Summary(seed)
        self.server = server
        self.kills = kills
        self.tag = f"MINIPACH_CHAOS={root}"
        os.environ["MINIPACH_CHAOS"] = str(root)
        os.environ["MINIPACH_RUNTIME"] = "none"  # so that commands can leave marks outside of /pfs
        self.marks = root / "marks"
        self.marks.mkdir(parents=True)
        self.study = Study.create(root / "study")
        self.study.pipeline("edges", EDGES.replace("@", str(self.marks)), run=SCRIPT)
        self.study.pipeline("montage", MONTAGE, gather=GATHER)
        self.study.pipeline("neutral", NEUTRAL, run=NEUTRAL_SCRIPT)
        self.edits = Edits(self.study, self.random)
        self.workers = Workers(self.study, server)
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.add(datums)
        self.count = workers

    def add(self, count: int) -> None:
        """More files in the input."""
        self.edits.take_back()
        self.edits.add(count)

    def run(self) -> Summary:
        """Everything, and a look at what it has come to."""
        started = time.monotonic()
        try:
            self.attend()
            while sum(self.summary.kills.values()) < self.kills:
                time.sleep(self.random.uniform(0.3, 1.7))
                if self.random.random() < 0.3:
                    self.edits.make()
                self.strike()
                self.attend()
                self.go_on()
            self.edits.take_back()
            while not self.busy():
                self.go_on()
                time.sleep(0.2)
            self.server.client().flushall()
            self.finish()
            self.summary.seconds = time.monotonic() - started
        finally:
            if self.scheduler is not None and self.scheduler.poll() is None:
                self.scheduler.terminate()
                self.scheduler.wait()
            self.workers.stop()
        self.look()
        return self.summary

    def go_on(self) -> None:
        """When all is done: more."""
        ended = self.scheduler is not None and self.scheduler.poll() == 0
        if ended and not pending_work.exists(find_project(self.study.root)):
            self.add(_MORE)
            self.schedule()

    def busy(self) -> bool:
        return any(state in ("queued", "started") for state in self.workers.jobs().values())

    def attend(self) -> None:
        """Start what isn't there, as a person or a service manager would."""
        if self.server.process is None:
            self.server.start()
        self.workers.all = [w for w in self.workers.all if w.poll() is None]
        while len(self.workers.all) < self.count:
            self.spawn_worker()
        ended = self.scheduler is not None and self.scheduler.poll() == 0
        if self.scheduler is None or not (ended or self.scheduler.poll() is None):
            self.schedule()

    def schedule(self) -> None:
        """Sometimes it follows; sometimes it leaves the rest to the workers."""
        self.scheduler = self.start("schedule", *self.random.choice([[], ["--wait"]]))

    def spawn_worker(self) -> None:
        """Without waiting for it."""
        self.workers.all.append(self.start("worker", "-j", "1"))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.workers.log.open("ab") as log:
            return subprocess.Popen(
                [*MINIPACH, *arguments],
                cwd=self.study.root,
                env={**self.workers.env, "MINIPACH_EXECUTOR": "rq"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def strike(self) -> None:
        """Kill something."""
        what = self.random.choice(["worker", "worker", "process", "process", "pass", "pass", "scheduler", "redis"])
        if what == "redis":
            self.server.kill()
            time.sleep(self.random.uniform(0.0, 1.5))
        elif what == "scheduler":
            assert self.scheduler is not None
            if self.scheduler.poll() is not None:
                self.schedule()
                return
            self.scheduler.kill()
            self.scheduler.wait()
        elif what == "worker":
            worker = self.random.choice(self.workers.all)
            worker.kill()
            worker.wait()
        else:
            word = "minipach.executors.rq.child" if what == "process" else "go-on"
            if what == "pass":  # they are short: have one made, and kill it somewhere in its middle
                self.workers.board.request_pass()
                time.sleep(self.random.uniform(0.5, 2.0))
            deadline = time.monotonic() + 1.0
            while not (found := [p.pid for p in processes(self.tag, self.study.root) if word in p.args]):
                if time.monotonic() > deadline:
                    return
            try:
                os.kill(self.random.choice(sorted(found)), signal.SIGKILL)
            except ProcessLookupError:
                return
        self.summary.kills[what] += 1

    def finish(self) -> None:
        """Nothing is killed any more: wait until all is done, by workers alone if the scheduler has been killed."""
        deadline = time.monotonic() + PATIENCE
        project = find_project(self.study.root)
        if self.scheduler is not None:
            self.scheduler.wait(PATIENCE)
        self.schedule()  # of what was edited since the last one began
        while pending_work.exists(project) or (self.scheduler is not None and self.scheduler.poll() is None):
            if time.monotonic() > deadline:
                self.summary.problems.append(f"not done after {PATIENCE:.0f} s: {self.workers.jobs()}")
                return
            time.sleep(0.2)

    def look(self) -> None:
        """Everything once, and nothing else."""
        problems = self.summary.problems
        problems += self.edits.problems("edges", "neutral")
        self.summary.edits = self.edits.done
        report = self.study.plan()
        if any(p["counts"].get("run") for p in report.values()):
            problems.append(f"not current: {report}")
        whole = "".join(content for _, content in sorted(self.edits.files.items()))
        if self.study.read("montage/all.txt").decode() != whole:
            problems.append("montage has not all of edges")
        for path in self.marks.iterdir():
            self.summary.datums += 1
            self.summary.runs += path.read_text().count("run")
        self.orphans()

    def orphans(self) -> None:
        """Processes, slots, refs, locks, jobs. What is a killed worker's goes with the next pass: so one is made."""
        os.environ.pop("MINIPACH_EXECUTOR", None)
        self.study.schedule()
        problems = self.summary.problems
        deadline = time.monotonic() + WAIT
        while (running := self.running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if running:
            problems.append(f"still running: {running}")
        if left := leftovers(self.study):
            problems.append(f"left over: {left[:8]}")
        if jobs := self.workers.jobs():
            problems.append(f"jobs in Redis: {jobs}")

    def running(self) -> list[Process]:
        """All that was started and still runs."""
        found = [p for p in processes(self.tag, self.study.root) if p.pid != os.getpid()]
        ours = ("redis-server", "warm_minipach.py")  # the tests' own: they stay
        return [p for p in found if not any(name in word for word in p.args[:3] for name in ours)]


def chaos(root: Path, *, datums: int, workers: int, kills: int, seed: int) -> Summary:
    """Run it all in an empty folder."""
    before = dict(os.environ)
    try:
        with Redis() as server:
            return Chaos(root, server, datums, workers, kills, seed).run()
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    for name, default in (("datums", 300), ("workers", 4), ("kills", 30), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos.", ignore_cleanup_errors=True) as folder:
        summary = chaos(Path(folder, "it"), **vars(options))
    print(summary)
    sys.exit(bool(summary.problems))


if __name__ == "__main__":
    main()
