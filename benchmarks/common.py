"""What the benchmarks share: projects in scratch folders, measured commands, plain tables."""

from __future__ import annotations

import argparse
import compileall
import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import minipach as minipach_package
from minipach.git.child_environment import child_environment
from minipach.git.repo import Repo
from minipach.project.adoption import adopt
from minipach.project.project import Project, find_project

MINIPACH = (sys.executable, "-m", "minipach")
_IDENTITY = {
    "GIT_AUTHOR_NAME": "A Benchmark",
    "GIT_AUTHOR_EMAIL": "benchmark@example.org",
    "GIT_COMMITTER_NAME": "A Benchmark",
    "GIT_COMMITTER_EMAIL": "benchmark@example.org",
    "DATALAD_LOG_LEVEL": "error",
    "DATALAD_UI_PROGRESSBAR": "none",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "USER": os.environ.get("USER", "root"),  # charliecloud refuses to start without it
}
COPY = 'cp "$images" "$PFS/out/"\n'
LIST = 'ls "$images" > "$PFS/out/listing"\n'


class BenchmarkError(Exception):
    """A measured command did not do what was to be measured: its number would mean nothing."""


@dataclass(frozen=True)
class Measured:
    """A finished command.

    seconds: wall time from start to exit · cpu: seconds, its children's included · peak: MB (2**20) of its largest
    process. Linux counts the peak from that of the process that started it: 60 MB is the least that can show.
    """

    seconds: float
    cpu: float
    peak: float
    code: int
    out: str
    err: str


def measure(
    command: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None, code: int = 0
) -> Measured:
    """Run a command and take its time and memory; BenchmarkError unless it exits with `code`.

    The memory is what the kernel tells when the process is reaped (`wait4`): the largest of it and its children.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(os.fsdecode(stream.read()))
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB on Linux
    peak, cpu = usage.ru_maxrss / scale, usage.ru_utime + usage.ru_stime
    done = Measured(seconds, cpu, peak, process.returncode, texts[0], texts[1])
    if done.code != code:
        raise BenchmarkError(f"{list(command)}: exit {done.code}, wanted {code}\n{done.out[-2000:]}{done.err[-2000:]}")
    return done


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command that is not measured; its stdout."""
    return measure(command, cwd).out


def minipach(project: Path, *arguments: str) -> Measured:
    """`minipach ARGUMENTS` in a project, measured; interpreter start included."""
    return measure([*MINIPACH, *arguments], project)


@contextlib.contextmanager
def workplace(options: argparse.Namespace) -> Iterator[Path]:
    """A scratch folder with an environment of its own (git identity, no personal configuration)."""
    os.environ.update(child_environment(_IDENTITY))
    for name in [n for n in os.environ if n.startswith("MINIPACH_")]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="minipach-bench.", dir=options.scratch))
    # pip compiles what it installs: a checkout that is measured beside installed peers needs its byte code, too
    compileall.compile_dir(Path(minipach_package.__file__).parent, quiet=1)
    try:
        yield folder
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            call("chmod", "-R", "u+w", folder, cwd=Path("/"))
            shutil.rmtree(folder, ignore_errors=True)


def parser(doc: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--scratch", metavar="DIR", help="where to build the projects (default: the temporary folder)")
    made.add_argument("--keep", action="store_true", help="leave the projects there")
    return made


def new_project(root: Path, *repos: str) -> Path:
    """`minipach init` and a dataset for each name."""
    call(*MINIPACH, "init", root, cwd=root.parent)
    for repo in repos:
        call("datalad", "create", "-d", ".", repo, cwd=root)
    return root


def new_pipeline(root: Path, spec: str, name: str = "edges", script: str = COPY) -> Project:
    """A pipeline's folder, made a dataset of the project as the first `schedule` would make it."""
    folder = root / name
    (folder / "code").mkdir(parents=True)
    (folder / "spec.yml").write_text(spec)
    (folder / "code" / "step.sh").write_text(script)
    project = find_project(root)
    adopt(project, next(p for p in project.places if p.path == name))
    return find_project(root)


def simple_spec(glob: str, more: str = "") -> str:
    """A pipeline over the repo `images`, its command in `code/step.sh`."""
    return f'input: {{pfs: {{repo: images, glob: "{glob}"}}}}\ntransform: {{cmd: [sh, code/step.sh]}}\n{more}'


def check_out(repo: Path) -> None:
    """Bring the work tree to the branch's state, after plumbing moved the branch."""
    Repo(repo).git("reset", "--quiet", "--hard")


def median(values: Sequence[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def conditions() -> str:
    """The machine and the versions, in a few lines."""
    versions = []
    for name in ("minipach", "datalad", "datalad-container", "git-annex"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    versions.append(call("git", "--version", cwd=Path("/")).strip().replace("git version", "git"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f} at the start; "
        f"Python {platform.python_version()}\n{', '.join(versions)}\n"
        f"{time.strftime('%Y-%m-%d')}; wall times, files in the page cache"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * w for w in widths], *rows]:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), flush=True)
