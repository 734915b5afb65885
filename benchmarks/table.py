"""So many datums of `cp`, beside the floor and peers, in one table: `xargs -P2`, `make -j2`, snakemake and redun.

All copy the same small files, one process for each, from nothing made to all there, in turn. minipach also commits each
output with a record, and runs it in a sandbox: the floor shows what that costs. More than 1,000 files are in folders of
1,000. Aims on 2 cores: at 300 datums 4 times the speed of snakemake, at 1,000 8 times; a datum of 100,000 takes at most
1.3 times the time of one of 1,000, in less than 1 GB of memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from common import (
    COPY,
    MINIPACH,
    BenchmarkError,
    Measured,
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
from peers import environment

_FOLDER = 1000  # files
_SNAKEFILE = """\
NAMES = glob_wildcards("images/{n}.dat").n
rule all:
    input: expand("out/{n}.dat", n=NAMES)
rule step:
    input: "images/{n}.dat"
    output: "out/{n}.dat"
    shell: "cp {input} {output}"
"""
_MAKEFILE = """\
FILES := $(patsubst images/%,out/%,$(wildcard images/*/*.dat))
all: $(FILES)
out/%.dat: images/%.dat
\tcp $< $@
"""
_REDUN = """\
import glob
from redun import File, task
redun_namespace = "copies"
@task(script=True)
def copy(path):
    target = path.replace("images/", "out/", 1)
    return f"cp {path} {target}"
@task()
def main():
    return [copy(path) for path in sorted(glob.glob("images/*/*.dat"))]
"""
_PEERS = ("xargs", "make", "snakemake", "redun")


def main() -> None:
    """Measure each size and print a table."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, nargs="+", default=[300, 1000], help="up to 100000")
    options.add_argument("--runs", type=int, default=3, help="of each; the middle one is shown")
    options.add_argument("--peers", nargs="*", choices=_PEERS, default=["xargs", "make", "snakemake"])
    options.add_argument("--most", type=int, default=1000, help="datums of snakemake and redun: more are left out")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n", flush=True)
        rows = []
        for count in chosen.datums:
            runs: dict[str, list[Measured]] = {}
            for number in range(chosen.runs):  # in turn: a machine may be slower for some minutes
                for name, run in _tools(chosen.peers, count, chosen.most).items():
                    here = scratch / f"{name}-{count}-{number}"
                    runs.setdefault(name, []).append(run(here, count))
            rows += _rows(count, runs)
        table(["cp", "datums", "seconds", "CPU s", "CPU ms per datum", "peak MB", "CPU ÷ ours", "time ÷ ours"], rows)


def _tools(peers: Sequence[str], count: int, most: int) -> dict[str, Callable[[Path, int], Measured]]:
    known = {"xargs": _xargs, "make": _make, "snakemake": _snakemake, "redun": _redun}
    slow = ("snakemake", "redun") if count > most else ()
    return {"minipach": _minipach, **{name: known[name] for name in peers if name not in slow}}


def _rows(count: int, runs: dict[str, list[Measured]]) -> list[list[str]]:
    def middle(name: str) -> tuple[float, float]:
        return median([run.cpu for run in runs[name]]), median([run.seconds for run in runs[name]])

    own_cpu, own_seconds = middle("minipach")
    found = []
    for name, several in runs.items():
        cpu, seconds = middle(name)
        peak = max(run.peak for run in several)
        each = 1000 * cpu / count
        cells = [f"{seconds:.1f}", f"{cpu:.1f}", f"{each:.1f}", f"{peak:.0f}"]
        found.append([name, f"{count:,}", *cells, f"{cpu / own_cpu:.2f}", f"{seconds / own_seconds:.2f}"])
    return found


def _files(root: Path, count: int, *, copies: bool = False) -> None:
    for number in range(count):
        folder = root / "images" / f"{number // _FOLDER:03d}"
        if number % _FOLDER == 0:
            folder.mkdir(parents=True)
            if copies:
                (root / "out" / folder.name).mkdir(parents=True)
        (folder / f"img-{number:06d}.dat").write_text(f"{number}\n")


def _check(root: Path, count: int) -> None:
    made = sum(1 for _ in (root / "out").glob("*/*.dat"))
    if made != count:
        raise BenchmarkError(f"{root.name}: {made} of {count} outputs")


def _minipach(root: Path, count: int) -> Measured:
    project = new_project(root, "images")
    _files(project, count)
    call("git", "annex", "add", "--quiet", ".", cwd=project / "images")
    call("git", "commit", "--quiet", "-m", "files", cwd=project / "images")
    new_pipeline(project, simple_spec("/(*)/*", 'minipach: {out: "{1}/"}\n'), script=COPY)
    done = measure([*MINIPACH, "schedule", "-j", "2"], project)
    there = call("git", "ls-tree", "-r", "--name-only", "HEAD", cwd=project / "edges").split()
    if sum(name.endswith(".dat") for name in there) != count:
        raise BenchmarkError(f"not all outputs are on the branch: {done.err[-500:]}")
    return done


def _xargs(root: Path, count: int) -> Measured:
    _files(root, count, copies=True)
    names = "".join(f"{path.relative_to(root / 'images')}\n" for path in sorted((root / "images").glob("*/*.dat")))
    (root / "names").write_text(names)
    done = measure(["xargs", "-P2", "-I{}", "-a", "names", "cp", "images/{}", "out/{}"], root)
    _check(root, count)
    return done


def _make(root: Path, count: int) -> Measured:
    _files(root, count, copies=True)
    (root / "Makefile").write_text(_MAKEFILE)
    done = measure(["make", "-j2", "--silent"], root)
    _check(root, count)
    return done


def _snakemake(root: Path, count: int) -> Measured:
    _files(root, count)
    (root / "Snakefile").write_text(_SNAKEFILE)
    program = shutil.which("snakemake") or environment("snakemake")
    done = measure([program, "-c2", "--quiet", "all"], root)
    _check(root, count)
    return done


def _redun(root: Path, count: int) -> Measured:
    _files(root, count, copies=True)
    (root / "workflow.py").write_text(_REDUN)
    program = shutil.which("redun") or environment("redun")
    done = measure([program, "run", "workflow.py", "main"], root)
    _check(root, count)
    return done


if __name__ == "__main__":
    main()
