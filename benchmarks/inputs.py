"""One datum with a large file: read once, and written once, beside the same command alone; and the disk that it takes.

A `schedule` has a cost that does not depend on size; the rows of a file of one byte show it, for the first schedule of
a project and for later ones. What the size costs is the rest. The first run of a content also verifies it against its
key; later runs on the machine do not. For the row "again, with its checksum", the notes of what was verified are
deleted before each run. It is computed beside the command, so the row shows the longer of both. The row of a checksum
alone is the least that an output can cost.
Aims: read, 1.05 times the command alone and no extra disk; written, 2 times the command alone, no second copy.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common import (
    MINIPACH,
    BenchmarkError,
    call,
    conditions,
    measure,
    median,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)

_HEAD = ("seconds", "CPU s", "less fixed ÷ alone", "the same, CPU", "extra MB at most", "MB that stay")
_BLOCK = 512  # bytes, of st_blocks
_READ = 'cat "$images" | wc -c > "$PFS/out/size"\n'
# each run writes another content, so that none is there already
_WRITE = """cat "$images" > /dev/null
od -An -N8 -tx1 /dev/urandom > "$PFS/out/big"
dd if=/dev/zero bs=1M count={count} status=none >> "$PFS/out/big"
"""


@dataclass(frozen=True)
class Cost:
    """Cost of a run: wall seconds, CPU seconds, and megabytes (10**6) of disk: the most at a time, and what stays."""

    seconds: float
    cpu: float
    peak: float = 0.0
    left: float = 0.0


def main() -> None:
    """Measure reading and writing, and print a table for each."""
    options = parser(__doc__ or "")
    options.add_argument("--megabytes", type=int, default=1000, help="size of the file")
    options.add_argument("--runs", type=int, default=3, help="of each; the middle one is shown")
    options.add_argument("--runtime", help="a container runtime (MINIPACH_RUNTIME)")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + f"\none datum, a file of {chosen.megabytes} MB, each the middle of {chosen.runs}\n")
        env = {"MINIPACH_RUNTIME": chosen.runtime} if chosen.runtime else {}
        _read(scratch / "read", chosen.megabytes, chosen.runs, env)
        print()
        _write(scratch / "write", chosen.megabytes, chosen.runs, env)


def _read(root: Path, megabytes: int, runs: int, env: Mapping[str, str]) -> None:
    file = root / "alone" / "big.dat"
    _alone(root, _READ, megabytes)  # the file is made
    empty = _project(root / "empty", 0, _READ)
    full = _project(root / "full", megabytes, _READ)
    hash_name = _hash_of(full / "images" / "big.dat")
    begun = _schedule(empty, env)
    first = _schedule(full, env)
    alone, checksum, nothing, again, anew = _in_turn(
        runs,
        lambda: _alone(root, _READ, megabytes),
        lambda: _checksum(file, hash_name),
        lambda: _schedule(empty, env, "--force"),
        lambda: _schedule(full, env, "--force"),
        lambda: _unverified(full, env),
    )
    disk = _with_disk(full, env)
    rows = [
        _row("the command alone", alone, alone),
        _row(f"its checksum alone, {hash_name}", checksum, alone),
        _row("a file of one byte, the first time", begun, alone),
        _row("the first time, verified", first, alone, begun),
        _row("a file of one byte, again", nothing, alone),
        _row("again, with its checksum", anew, alone, nothing),
        _row("again", replace(again, peak=disk.peak, left=disk.left), alone, nothing),
    ]
    table(["read once", *_HEAD], rows)


def _write(root: Path, megabytes: int, runs: int, env: Mapping[str, str]) -> None:
    few, many = (_WRITE.format(count=count) for count in (0, megabytes * 10**6 // 2**20))
    empty, full = _project(root / "empty", 0, few), _project(root / "full", 0, many)
    _schedule(empty, env)
    disk = _with_disk(full, env, force=False)  # all that it writes is new
    alone, checksum, nothing, again = _in_turn(
        runs,
        lambda: _alone(root, many, 0),
        lambda: _checksum(root / "alone" / "out" / "big", _hash_of(full / "edges" / "big")),
        lambda: _schedule(empty, env, "--force"),
        lambda: _written(full, env),
    )
    rows = [
        _row("the command alone", alone, alone),
        _row("its checksum alone", checksum, alone),
        _row("a file of no bytes, again", nothing, alone),
        _row("again", replace(again, peak=disk.peak, left=disk.left), alone, nothing),
    ]
    table(["written", *_HEAD], rows)


def _in_turn(runs: int, *works: Callable[[], Cost]) -> list[Cost]:
    """The middle cost of each work. They run in turn, since the load of a machine changes."""
    rounds = [[work() for work in works] for _ in range(runs)]
    return [_middle(costs) for costs in zip(*rounds, strict=True)]


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(median([cost.seconds for cost in costs]), median([cost.cpu for cost in costs]))


def _row(what: str, cost: Cost, alone: Cost, nothing: Cost | None = None) -> Sequence[str]:
    disk = [f"{cost.peak:.0f}", f"{cost.left:.0f}"] if cost.peak else ["", ""]
    rest = ["", ""]
    if nothing is not None:
        wall, cpu = max(0.0, cost.seconds - nothing.seconds), max(0.0, cost.cpu - nothing.cpu)
        rest = [f"{wall / alone.seconds:.2f}", f"{cpu / max(alone.cpu, 0.001):.2f}"]
    return [what, f"{cost.seconds:.2f}", f"{cost.cpu:.2f}", *rest, *disk]


def _unverified(project: Path, env: Mapping[str, str]) -> Cost:
    """A run whose input has to be verified."""
    for notes in (project / "images" / ".git" / "minipach").glob("verified.sqlite*"):
        notes.unlink()
    return _schedule(project, env, "--force")


def _written(project: Path, env: Mapping[str, str]) -> Cost:
    """A run whose output is new; the output of the run before is dropped first."""
    call("git", "annex", "drop", "--quiet", "--force", "--all", cwd=project / "edges")
    return _schedule(project, env, "--force")


def _checksum(file: Path, name: str) -> Cost:
    """One checksum of a file by OpenSSL, as minipach computes it."""
    code = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb'), sys.argv[2])"
    done = measure([sys.executable, "-c", code, file, name], file.parent)
    return Cost(done.seconds, done.cpu)


def _hash_of(link: Path) -> str:
    """The hash in the key of an annexed file: datalad's datasets have MD5E keys, minipach's pipelines SHA256E ones."""
    return Path(os.readlink(link)).name.partition("-")[0].removesuffix("E").lower()


def _alone(root: Path, script: str, megabytes: int) -> Cost:
    """The cost of the command by itself, its input and output on the same disk as those of minipach."""
    out = root / "alone" / "out"
    out.mkdir(parents=True, exist_ok=True)
    file = _file(root / "alone" / "big.dat", megabytes)
    for old in out.iterdir():
        old.unlink()
    done = measure(["sh", "-c", script], root, env={"images": str(file), "PFS": str(root / "alone")})
    return Cost(done.seconds, done.cpu)


def _file(path: Path, megabytes: int) -> Path:
    if not path.exists():
        with path.open("wb") as file:
            for start in range(0, max(megabytes, 1), 10):
                file.write(os.urandom(min(10, megabytes - start) * 10**6 if megabytes else 1))
    return path


def _project(root: Path, megabytes: int, script: str) -> Path:
    root.parent.mkdir(parents=True, exist_ok=True)
    project = new_project(root, "images")
    _file(project / "images" / "big.dat", megabytes)
    call("git", "annex", "add", "--quiet", ".", cwd=project / "images")
    call("git", "commit", "--quiet", "-m", "files", cwd=project / "images")
    new_pipeline(project, simple_spec("/*"), script=script)
    return project


def _schedule(project: Path, env: Mapping[str, str], *options: str) -> Cost:
    done = measure([*MINIPACH, "schedule", *options], project, env=env)
    if "edges: 1 run" not in done.err:
        raise BenchmarkError(f"not one datum: {done.err[-500:]}")
    return Cost(done.seconds, done.cpu)


def _with_disk(project: Path, env: Mapping[str, str], *, force: bool = True) -> Cost:
    """A run whose disk is looked at meanwhile, so that its time means little."""
    before, most, ended = _used(project), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, _used(project))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = _schedule(project, env, *(["--force"] if force else []))
    finally:
        ended.set()
        watcher.join()
    return Cost(found.seconds, found.cpu, (max(most, _used(project)) - before) / 1e6, (_used(project) - before) / 1e6)


def _used(folder: Path) -> int:
    """Bytes on disk below a folder; a file of several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                info = os.lstat(os.path.join(here, name))
            except OSError:
                continue  # gone meanwhile
            seen[info.st_dev, info.st_ino] = info.st_blocks * _BLOCK
    return sum(seen.values())


if __name__ == "__main__":
    main()
