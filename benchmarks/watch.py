"""The cost of an idle watcher for many large repos, and many saves in a row while it runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import (
    MINIPACH,
    BenchmarkError,
    call,
    conditions,
    measure,
    minipach,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)
from forge import import_files

_STATE = Path(".git", "minipach")
_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 3600  # seconds


@dataclass(frozen=True)
class Use:
    """The resources of a process until now. cpu: seconds, ended children included · memory: MB (2**20), resident."""

    cpu: float
    memory: float


def use_of(pid: int) -> Use:
    """Return what the kernel has of a process."""
    words = Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
    ticks = sum(int(word) for word in words[11:15])
    return Use(ticks / _TICK, int(words[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


def wait(project: Path) -> None:
    """Wait until all that was heard is answered."""
    deadline = time.monotonic() + _PATIENCE
    while any((project / _STATE / name).exists() for name in ("heard", "heard.taken", "waiting")):
        if time.monotonic() > deadline:
            raise BenchmarkError((project / _STATE / "passes.log").read_text()[-2000:])
        time.sleep(0.1)


@contextlib.contextmanager
def watching(project: Path, look: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a watcher, and wait until it has looked at all repos."""
    log = project / _STATE / "watch.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*MINIPACH, "watch", "--look", str(look)], cwd=project, stdout=out, stderr=out)
    try:
        while not re.search(r"^watching ", log.read_text(), re.M):
            if process.poll() is not None:
                raise BenchmarkError(log.read_text())
            time.sleep(0.05)
        wait(project)
        time.sleep(3)  # it collects the pass that its start may have made
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def many_repos(project: Path, repos: int, files: int) -> None:
    """Register repos of so many files. One is made; the others share its objects and its index by links."""
    first = project / "repo-0"
    call("datalad", "create", "-d", ".", "repo-0", cwd=project)
    import_files(first, (f"{n // 1000:03d}/{n:06d}.dat" for n in range(files)))
    call("git", "read-tree", "HEAD", cwd=first)
    names = [f"repo-{n}" for n in range(repos)]
    for name in names[1:]:
        git = project / name / ".git"
        call("git", "init", "-q", str(project / name), cwd=project)
        (git / "objects/info/alternates").write_text(f"{first}/.git/objects\n")
        for what in ("HEAD", "config"):
            (git / what).write_bytes((first / ".git" / what).read_bytes())
        os.link(first / ".git/index", git / "index")
        refs = call("git", "for-each-ref", "--format=create %(refname) %(objectname)", cwd=first)
        subprocess.run(["git", "update-ref", "--stdin"], cwd=project / name, input=refs.encode(), check=True)
    commit = call("git", "rev-parse", "HEAD", cwd=first).strip()
    modules = [f'[submodule "{name}"]\n\tpath = {name}\n\turl = ./{name}\n' for name in names]
    (project / ".gitmodules").write_text("".join(modules))
    index = "".join(f"160000 {commit}\t{name}\n" for name in names)
    subprocess.run(["git", "update-index", "--add", "--index-info"], cwd=project, input=index.encode(), check=True)
    call("git", "add", ".gitmodules", cwd=project)
    call("git", "commit", "-q", "-m", "repos", cwd=project)


def idle(project: Path, seconds: float) -> tuple[Use, float]:
    """Return the watcher's CPU seconds in an hour and its memory; and the CPU seconds of one look at all repos."""
    (project / _STATE).mkdir(exist_ok=True)
    (project / _STATE / "heard").write_text("x\n")
    minipach(project, "hooks", "run")
    looks = 0.0
    with watching(project, 86400) as process:
        before = use_of(process.pid)
        time.sleep(seconds)
        quiet = use_of(process.pid)
    rest = (quiet.cpu - before.cpu) / seconds
    with watching(project, 2) as process:
        before, began = use_of(process.pid), time.monotonic()
        time.sleep(seconds)
        after, took = use_of(process.pid), time.monotonic() - began
        looks = (after.cpu - before.cpu - rest * took) / (took // 2)
    return Use(rest * 3600 + looks * 12, after.memory), looks


def saves(project: Path, count: int) -> list[list[str]]:
    """Commit files in a row while a watcher runs; return rows for the table."""
    log = project / _STATE / "passes.log"
    latency = []
    with watching(project, 300) as process:
        for number in range(5):
            (project / "images" / f"one-{number}").write_text(f"{number}")
            call("git", "-C", "images", "add", ".", cwd=project)
            call("git", "-C", "images", "commit", "-q", "-m", "x", cwd=project)
            saved = time.time()
            while not (project / "edges" / f"one-{number}").exists():
                time.sleep(0.05)
            wait(project)
            latency.append(float((project / "edges" / f"one-{number}").read_text()) - saved)
        before, passes = use_of(process.pid), log.read_text().count("a pass, asked for by")
        began = time.monotonic()
        for number in range(count):
            (project / "images" / f"file-{number}").write_text(f"{number}")
            call("git", "-C", "images", "add", f"file-{number}", cwd=project)
            call("git", "-C", "images", "commit", "-q", "-m", "x", cwd=project)
        saved = time.monotonic() - began
        deadline = time.monotonic() + _PATIENCE
        while not all((project / "edges" / f"file-{number}").exists() for number in range(count)):
            if time.monotonic() > deadline:
                raise BenchmarkError(log.read_text()[-2000:])
            time.sleep(0.2)
        done = time.monotonic() - began
        wait(project)
        after = use_of(process.pid)
    made = log.read_text().count("a pass, asked for by") - passes
    left = json.loads(minipach(project, "plan", "--json").out)
    if any(one["counts"].get("run") for one in left["pipelines"]):
        raise BenchmarkError(f"not everything was processed: {left}")
    latency.sort()
    return [
        ["from a commit to the start of its datum, median of 5", f"{latency[2]:.2f} s"],
        [f"{count} commits", f"{saved:.0f} s"],
        ["all results published after", f"{done:.0f} s"],
        ["passes", f"{made}"],
        ["commits for each pass", f"{count / made:.1f}"],
        ["memory of the watcher before", f"{before.memory:.1f} MB"],
        ["memory of the watcher after", f"{after.memory:.1f} MB"],
        ["CPU of the watcher and its passes, for each commit", f"{(after.cpu - before.cpu) / count * 1000:.1f} ms"],
    ]


def main() -> None:
    """Build the projects, measure, print."""
    options = parser(__doc__ or "")
    options.add_argument("--repos", type=int, default=100)
    options.add_argument("--files", type=int, default=100_000, help="in each repo")
    options.add_argument("--seconds", type=float, default=60, help="how long to look at an idle watcher")
    options.add_argument("--saves", type=int, default=500)
    options.add_argument("--only", choices=["idle", "saves"])
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n")
        if chosen.only != "saves":
            idle_part(scratch, chosen.repos, chosen.files, chosen.seconds)
        if chosen.only != "idle":
            saves_part(scratch, chosen.saves)


def idle_part(scratch: Path, repos: int, files: int, seconds: float) -> None:
    """Measure watchers of a small and of a large project that nobody changes."""
    found = {}
    for number, size in ((1, 10), (repos, files)):
        project = new_project(scratch / f"project-{number}")
        many_repos(project, number, size)
        found[f"{number} repos of {size} files"] = idle(project, seconds)
    status = measure(["git", "submodule", "--quiet", "foreach", "git ls-files --stage | wc -l"], project)
    (small, _), (large, look) = found.values()
    rows = [[n, f"{u.cpu:.1f}", f"{one * 1000:.0f}", f"{u.memory:.1f}"] for n, (u, one) in found.items()]
    table(["idle watcher", "CPU s an hour", "CPU ms a look", "memory MB"], rows)
    print(f"\nratio: CPU {large.cpu / max(small.cpu, 0.01):.1f}, memory {large.memory / small.memory:.2f}")
    print(f"reading the index of each repo once: {status.cpu:.1f} s CPU, {status.cpu / max(look, 0.001):.0f} looks\n")


def saves_part(scratch: Path, count: int) -> None:
    """Measure many commits in a row beside a watcher."""
    project = new_project(scratch / "saves", "images")
    new_pipeline(project, simple_spec("/*"), script='date +%s.%N > "$PFS/out/$(basename "$images")"\n')
    (project / "images" / "first").write_text("first")
    call("datalad", "save", "-d", ".", "-r", "-m", "x", cwd=project)
    minipach(project, "schedule")
    table(["saves with a watcher", ""], saves(project, count))


if __name__ == "__main__":
    main()
