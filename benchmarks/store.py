"""The time of results through two workers, with and without a shared filesystem, and the pushes of the latter.

Without one, each worker has clones of its own, and contents go to an S3 server (SeaweedFS) on this machine. Two kinds
of work are measured: `cp` of files of 5 kB, and the edges of photographs (`examples/photographs`), a datum each.

The peer is git-annex alone: two repositories at once get half of the inputs each from the folder where they are, and
copy half of the outputs each to the same server. That much, at least, comes on top of work with a shared filesystem.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common import (
    MINIPACH,
    BenchmarkError,
    Measured,
    call,
    conditions,
    measure,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)

from minipach.git.repo import Repo, at_once
from minipach.model.local_state import LocalState
from minipach.model.repo_layout import DATALAD_CONFIG
from minipach.storage.special_remotes import enable
from minipach.storage.store import Store, stores_in

_WORKERS = 2


def copies(folder: Path, datums: int) -> Path:
    """A project with so many contents of 5 kB, and a pipeline that copies each."""
    project = new_project(folder, "images")
    for n in range(datums):
        (project / "images" / f"{n:05}.dat").write_bytes(os.urandom(5000))
    call("datalad", "save", "-d", ".", "-r", cwd=project)
    new_pipeline(project, simple_spec("/*"))
    return project


def photographs(folder: Path, datums: int) -> Path:
    """A project with so many photographs, which differ in their last rows, and the pipeline of the example."""
    import cv2

    found = Path(*importlib.util.find_spec("skimage").submodule_search_locations, "data")
    pictures = [cv2.imread(str(path)) for path in sorted(found.glob("*.[jp][pn]g")) if path.stat().st_size > 50_000]
    project = new_project(folder, "images")
    for n in range(datums):
        picture = pictures[n % len(pictures)]
        cv2.imwrite(str(project / "images" / f"{n:05}.jpg"), picture[: len(picture) - n // len(pictures)])
    call("datalad", "save", "-d", ".", "-r", cwd=project)
    edges = Path(__file__).resolve().parents[1] / "examples/photographs/edges"
    new_pipeline(project, (edges / "spec.yml").read_text())
    shutil.copy(edges / "code/edges.py", project / "edges/code/edges.py")
    call("datalad", "save", "-d", ".", "-r", cwd=project)
    return project


@contextlib.contextmanager
def clones(project: Path, scratch: Path, number: int, traces: Path) -> Iterator[None]:
    """Run workers with clones of their own that send contents to the store."""
    redis = call("git", "config", "minipach.redis", cwd=project).strip()
    scratch.mkdir()
    shutil.copy(project / ".git/minipach/redis/password", scratch / "password")  # as on another machine
    env = {"MINIPACH_REDIS": redis, "MINIPACH_REDIS_PASSWORD_FILE": str(scratch / "password")}
    env["GIT_TRACE2_EVENT"] = str(traces)
    access, secret = (project / ".git/minipach/store/key").read_text().split()
    env |= {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    started = []
    try:
        for n in range(number):
            there = scratch / f"worker{n}"
            there.mkdir()
            with (scratch / f"worker{n}.log").open("wb") as log:
                words = ("-C", str(there), "worker", "-j", "1", "--clone", f"file://{project}", "--store", "local")
                started.append(subprocess.Popen([*MINIPACH, *words], env={**os.environ, **env}, stdout=log, stderr=log))
        deadline = time.monotonic() + 120
        while any(b"contents go to" not in (scratch / f"worker{n}.log").read_bytes() for n in range(number)):
            if time.monotonic() > deadline or any(one.poll() is not None for one in started):
                raise BenchmarkError((scratch / "worker0.log").read_text())
            time.sleep(0.2)
        yield
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait()


def schedule(project: Path, datums: int) -> Measured:
    """A `minipach schedule --wait` that ran all datums."""
    done = measure(["timeout", "1200", *MINIPACH, "schedule", "--wait", "--json"], project)
    (report,) = json.loads(done.out)["pipelines"]
    if report["counts"]["ran"] != datums:
        raise BenchmarkError(f"not all datums ran: {report}")
    return done


def commands(traces: Path) -> Counter[str]:
    """The git processes of the workers, by command (git's own trace: one file for each process)."""
    found: Counter[str] = Counter()
    for file in traces.iterdir():
        for line in file.read_text().splitlines():
            row: Mapping[str, str] = json.loads(line)
            if row.get("event") == "cmd_name":
                found[row["name"]] += 1
    return found


@dataclass(frozen=True)
class Alone:
    """git-annex without minipach. seconds: wall time · get, copy, server: CPU seconds of each part."""

    seconds: float
    get: float
    copy: float
    server: float


def annex_alone(shared: Path, apart: Path, folder: Path) -> Alone:
    """The least that the contents of a project cost git-annex: to get all inputs, and to copy all outputs to the store.

    Args:
        shared: The project that has all contents.
        apart: The project with the S3 server, which runs.
        folder: Where to make the repositories.
    """
    folder.mkdir()
    (store,) = stores_in(Repo(apart), "--file", str(apart / DATALAD_CONFIG)).values()
    access, secret = (LocalState.in_root(apart).store / "key").read_text().split()
    env = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    requests = {name: _keys(shared / name, folder) for name in ("images", "edges")}
    for n in range(_WORKERS):
        for name in requests:
            call("git", "clone", "--quiet", "--no-checkout", shared / name, folder / f"{name}{n}", cwd=folder)
            call("git", "annex", "init", "--quiet", cwd=folder / f"{name}{n}")
        _prepare(folder / f"edges{n}", store, Repo(apart), requests["edges"][n])

    def transfer(n: int) -> tuple[Measured, Measured]:
        got = _batch(folder / f"images{n}", requests["images"][n], "get")
        jobs = at_once(Repo(folder / f"edges{n}"), len(requests["edges"][n].read_bytes().splitlines()), store.transfers)
        return got, _batch(folder / f"edges{n}", requests["edges"][n], "copy", "--to", store.name, *jobs, env=env)

    pid = int((LocalState.in_root(apart).store / "store.pid").read_text())
    before, started = _cpu(pid), time.perf_counter()
    with ThreadPoolExecutor(_WORKERS) as pool:
        parts = list(pool.map(transfer, range(_WORKERS)))
    seconds, server = time.perf_counter() - started, _cpu(pid) - before
    return Alone(seconds, sum(got.cpu for got, _ in parts), sum(copied.cpu for _, copied in parts), server)


def _keys(repo: Path, folder: Path) -> list[Path]:
    """The annexed contents of a repo, in a file for each worker."""
    keys = sorted(set(call("git", "annex", "find", "--format=${key}\\n", cwd=repo).splitlines()))
    files = [folder / f"{repo.name}{n}.keys" for n in range(_WORKERS)]
    for n, file in enumerate(files):
        file.write_text("".join(f"{key}\n" for key in keys[n::_WORKERS]))
    return files


def _prepare(path: Path, store: Store, top: Repo, request: Path) -> None:
    """Get outputs into a repository, and set the store up in it, with a place of its own there."""
    repo = Repo(path)
    repo.git("config", "datalad.dataset.id", f"alone-{path.name}")
    enable(repo, store, top)
    _batch(path, request, "get")


def _batch(path: Path, request: Path, *words: str, env: Mapping[str, str] | None = None) -> Measured:
    """A command of git-annex for the contents that a file names."""
    whole = ["sh", "-c", 'keys=$1; shift; exec git annex --quiet "$@" --batch-keys < "$keys"', "-", request, *words]
    return measure(whole, path, env=env)


def _cpu(pid: int) -> float:
    """The CPU seconds that a running process has taken so far, as Linux tells them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(make: Callable[[Path, int], Path], folder: Path, datums: int) -> list[str]:
    """The figures of one kind of work, as the rows of the table have them."""
    folder.mkdir()
    shared = make(folder / "shared", datums)
    measure([*MINIPACH, "up", "-j", "2"], shared)
    try:
        one = schedule(shared, datums)
    finally:
        measure([*MINIPACH, "down"], shared)
    apart = make(folder / "apart", datums)
    measure([*MINIPACH, "up", "-j", "0", "--store"], apart)
    traces = folder / "traces"
    traces.mkdir()
    try:
        with clones(apart, folder / "scratch", _WORKERS, traces):
            two = schedule(apart, datums)
        alone = annex_alone(shared, apart, folder / "alone")
    finally:
        measure([*MINIPACH, "down"], apart)
    counted = commands(traces)
    ratio = two.seconds / one.seconds
    times = [f"{one.seconds:.1f} s", f"{two.seconds:.1f} s", f"{ratio:.2f}"]
    least = one.seconds + alone.seconds
    peer = [
        f"{alone.seconds:.1f} s",
        f"{alone.get:.1f}, {alone.copy:.1f} and {alone.server:.1f} CPU s",
        f"{least / one.seconds:.2f}",
        f"{(two.seconds - one.seconds) / alone.seconds:.2f} times",
    ]
    return [str(datums), *times, *peer, str(counted["push"]), str(sum(counted.values()))]


def main() -> None:
    """Measure both kinds of work, and print a table."""
    made = parser(__doc__ or "")
    made.add_argument("--datums", type=int, default=1000, help="of cp; 0: none")
    made.add_argument("--photographs", type=int, default=250, help="whose edges are drawn; 0: none")
    options = made.parse_args()
    kinds = [("cp", copies, options.datums), ("edges", photographs, options.photographs)]
    with workplace(options) as folder:
        found = [compare(make, folder / name, datums) for name, make, datums in kinds if datums]
        print(conditions() + "\n")
        rows = ["datums", "with a shared filesystem", "with clones and an S3 store", "ratio"]
        rows += ["git-annex alone: the same contents", "git-annex alone: get, copy, S3 server"]
        rows += ["the ratio if git-annex's time were all", "what clones add, to git-annex alone"]
        rows += ["pushes of the workers", "git processes of the workers"]
        names = [name for name, _, datums in kinds if datums]
        table(["through two workers", *names], list(zip(rows, *found, strict=True)))


if __name__ == "__main__":
    main()
