"""The time that a hook adds to a command of the user, and the time from a save to the start of its datum."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from common import (
    BenchmarkError,
    call,
    conditions,
    measure,
    median,
    minipach,
    new_pipeline,
    new_project,
    parser,
    table,
    workplace,
)

from minipach.triggers.hooks import HOOK

_SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/step.sh]}\n'
_STARTED = 'date +%s.%N > "$PFS/out/$(basename "$images")"\n'
_PATIENCE = 300  # seconds


def wait(project: Path) -> None:
    """Wait until each change that a hook saw is answered."""
    deadline = time.monotonic() + _PATIENCE
    while any((project / ".git/minipach" / name).exists() for name in ("heard", "heard.taken", "waiting")):
        if time.monotonic() > deadline:
            raise BenchmarkError((project / ".git/minipach/passes.log").read_text())
        time.sleep(0.05)


def hook_times(project: Path, repeats: int) -> dict[str, list[float]]:
    """Return the times of the hook as git starts it: with nothing to start, and with a pass to start."""
    repo = project / "images"
    head = call("git", "rev-parse", "HEAD", cwd=repo).strip()
    lines = f"{'0' * 40} {head} HEAD\n{'0' * 40} {head} refs/heads/master\n"
    found: dict[str, list[float]] = {"hook, starts a pass": [], "hook, a pass waits": [], "hook, before a change": []}
    for _ in range(repeats):
        for name, state in (
            ("hook, starts a pass", "committed"),
            ("hook, a pass waits", "committed"),
            ("hook, before a change", "prepared"),
        ):
            began = time.perf_counter()
            subprocess.run([f".git/hooks/{HOOK}", state], cwd=repo, input=lines.encode(), check=True)
            found[name].append(time.perf_counter() - began)
        wait(project)
    return found


def command_times(project: Path, repeats: int) -> dict[str, list[float]]:
    """Return the times of `git commit` and `datalad save`, with the hook and without, by turns."""
    repo = project / "images"
    found: dict[str, list[float]] = {}
    for number in range(repeats):
        for hooked in (True, False):
            minipach(project, "hooks", "install" if hooked else "remove")
            which = "with the hook" if hooked else "without"
            done = measure(["git", "commit", "-q", "--allow-empty", "-m", "x"], repo)
            found.setdefault(f"git commit, {which}", []).append(done.seconds)
            wait(project)
            (repo / f"save-{number}-{hooked}").write_text(f"{number} {hooked}")
            done = measure(["datalad", "save", "-d", ".", "-r", "-m", "x"], project)
            found.setdefault(f"datalad save -r, {which}", []).append(done.seconds)
            wait(project)
    minipach(project, "hooks", "install")
    return found


def latencies(project: Path, repeats: int) -> list[float]:
    """Return the seconds from the end of a `datalad save` to the start of the command of its datum."""
    found = []
    for number in range(repeats):
        (project / "images" / f"latency-{number}").write_text(f"{number}")
        call("datalad", "save", "-d", ".", "-r", "-m", "x", cwd=project)
        saved = time.time()
        wait(project)
        found.append(float((project / "edges" / f"latency-{number}").read_text()) - saved)
    return found


def main() -> None:
    """Build a project, measure, print."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n")
        os.environ["MINIPACH_JOBS"] = "1"
        project = new_project(scratch / "project", "images")
        new_pipeline(project, _SPEC, script=_STARTED)
        (project / "images" / "first").write_text("first")
        call("datalad", "save", "-d", ".", "-r", "-m", "x", cwd=project)
        minipach(project, "schedule")
        minipach(project, "hooks", "install")
        times = hook_times(project, chosen.repeats) | command_times(project, chosen.repeats)
        times["from the end of a save to the start of its datum"] = latencies(project, chosen.repeats)
        rows = [[n, *(f"{v * 1000:.1f}" for v in (median(t), min(t), max(t)))] for n, t in times.items()]
        print(f"milliseconds, {chosen.repeats} times each")
        table(["what", "median", "min", "max"], rows)


if __name__ == "__main__":
    main()
