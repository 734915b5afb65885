"""Planning beside peers: `minipach plan`, `snakemake -n` and `dvc status` / `dvc repro --dry`, first and unchanged.

One small file per job, one command per file that copies it. Snakemake and DVC come from PyPI into environments of the
benchmark's own, made at the first run below the user's cache folder. DVC gets fewer stages, since it is slow: only
what was measured is printed, and each line says for how many jobs. Aim: at least 5 times faster than snakemake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common import (
    BenchmarkError,
    Measured,
    call,
    check_out,
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
from forge import publish_forged

PINS = {"snakemake": "snakemake==9.27.1", "dvc": "dvc==3.67.1", "redun": "redun==0.44.1"}
SNAKEFILE = """\
NAMES = glob_wildcards("images/{n}.dat").n
rule all:
    input: expand("out/{n}.dat", n=NAMES)
rule step:
    input: "images/{n}.dat"
    output: "out/{n}.dat"
    shell: "cp {input} {output}"
"""
Rows = list[list[str]]


def main() -> None:
    """Measure all, each in a folder of its own, and print the ratios."""
    options = parser(__doc__ or "")
    options.add_argument("--jobs", type=int, default=10_000)
    options.add_argument("--dvc-jobs", type=int, default=500)
    options.add_argument("--peers", nargs="*", choices=["snakemake", "dvc"], default=["snakemake", "dvc"])
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions())
        programs = {name: environment(name) for name in chosen.peers}
        print(", ".join(PINS[name] for name in programs) + "\n", flush=True)
        ours = _minipach(scratch / "ours", chosen.jobs)
        rows = [_row("minipach plan", chosen.jobs, ours, ours)]
        if "snakemake" in programs:
            theirs = _snakemake(programs["snakemake"], scratch / "snakemake", chosen.jobs)
            rows.append(_row("snakemake -n", chosen.jobs, theirs, ours))
        if "dvc" in programs:
            few = _minipach(scratch / "few", chosen.dvc_jobs)
            rows.append(_row("minipach plan", chosen.dvc_jobs, few, few))
            for command, theirs in _dvc(programs["dvc"], scratch / "dvc", chosen.dvc_jobs).items():
                rows.append(_row(command, chosen.dvc_jobs, theirs, few))
    print("seconds of wall and CPU time; unchanged: all outputs are there and current; ÷: that by minipach's")
    table(["command", "jobs", "first", "÷", "CPU", "÷", "unchanged", "÷", "CPU", "÷", "peak MB"], rows)


def _row(what: str, jobs: int, runs: tuple[Measured, Measured], ours: tuple[Measured, Measured]) -> list[str]:
    cells = [what, f"{jobs:,}"]
    for run, own in zip(runs, ours, strict=True):
        cells += [
            f"{run.seconds:.2f}",
            f"{run.seconds / own.seconds:.1f}x",
            f"{run.cpu:.2f}",
            f"{run.cpu / own.cpu:.1f}x",
        ]
    return [*cells, f"{max(run.peak for run in runs):.0f}"]


def environment(name: str) -> Path:
    """The program of a peer, in a virtual environment of this benchmark's own; made if it isn't there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minipach-benchmarks"
    folder = cache / PINS[name].replace("==", "-")
    program = folder / "bin" / name
    if not (folder / "complete").exists():
        print(f"installing {PINS[name]} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, PINS[name]], check=True)
        (folder / "complete").touch()
    measure([program, "--version"], Path("/"))  # once for its byte code
    return program


def _files(folder: Path, jobs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(jobs):
        (folder / f"img-{number:05d}.dat").write_text(f"{number}\n")


def _minipach(root: Path, jobs: int) -> tuple[Measured, Measured]:
    """Here the files are real, and kept in git; first, and after made-up outputs made all of them current."""
    project = new_project(root, "images")
    images = project / "images"
    _files(images, jobs)
    call("git", "-c", "annex.largefiles=nothing", "add", "--", ".", cwd=images)
    call("git", "commit", "--quiet", "--no-verify", "-m", "files", cwd=images)
    new_pipeline(project, simple_spec("/*"))
    first = minipach(project, "plan")
    publish_forged(project)
    check_out(project / "edges")
    minipach(project, "plan")
    again = minipach(project, "plan")
    if f"{jobs} run" not in first.out or "nothing to do" not in again.out:
        raise BenchmarkError(f"not the plans that were to be measured: {first.out[:200]}{again.out[:200]}")
    return first, again


def _snakemake(program: Path, root: Path, jobs: int) -> tuple[Measured, Measured]:
    """A rule over all files; `--touch` marks the outputs as made, as after a real run."""
    _files(root / "images", jobs)
    (root / "Snakefile").write_text(SNAKEFILE)
    first = measure([program, "-n", "--quiet"], root)
    (root / "out").mkdir()
    _files(root / "out", jobs)
    measure([program, "--touch", "--quiet", "--cores", "1"], root)
    measure([program, "-n"], root)
    again = measure([program, "-n"], root)
    if "othing to be done" not in again.out + again.err:
        raise BenchmarkError(f"snakemake had something to do: {(again.out + again.err)[-500:]}")
    return first, again


def _dvc(program: Path, root: Path, jobs: int) -> dict[str, tuple[Measured, Measured]]:
    """A matrix stage over all files; `dvc commit` records the outputs, as after a real run."""
    _files(root / "images", jobs)
    names = ", ".join(f"img-{n:05d}" for n in range(jobs))
    item = "${item}"
    (root / "dvc.yaml").write_text(
        f"stages:\n  step:\n    foreach: [{names}]\n    do:\n"
        f"      cmd: cp images/{item}.dat out/{item}.dat\n"
        f'      deps: ["images/{item}.dat"]\n      outs: ["out/{item}.dat"]\n'
    )
    call("git", "init", "--quiet", cwd=root)
    quiet = {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root / "site")}
    measure([program, "init", "--quiet"], root, env=quiet)
    commands: dict[str, list[str | Path]] = {
        "dvc status": [program, "status"],
        "dvc repro --dry": [program, "repro", "--dry"],
    }
    first = {name: measure(command, root, env=quiet) for name, command in commands.items()}
    _files(root / "out", jobs)
    measure([program, "commit", "--force", "--quiet"], root, env=quiet)
    again = {}
    for name, command in commands.items():
        measure(command, root, env=quiet)
        again[name] = measure(command, root, env=quiet)
        if "up to date" not in again[name].out:
            raise BenchmarkError(f"{name} had something to do: {again[name].out[-500:]}")
    return {name: (first[name], again[name]) for name in commands}


if __name__ == "__main__":
    main()
