"""1,000 datums of `cp`, from a cold start to published, beside `snakemake -c2` and `dvc repro`; then datums of 2 s.

All is real: files in a dataset, every datum run in the host's environment and on record, outputs in the annex and on
the branch. Snakemake copies the same files with one rule; DVC gets fewer stages, since it is slow, and is compared by
the datum. Aims on 2 cores: under 30 s; snakemake at least 4 times slower, DVC at least 20 times slower per datum; 200
datums of 2 s on 2 slots at most 1.06 times the ideal 200 s; under 6 KB in .git for a tiny datum; through Redis and RQ
with 2 warm processes at most 1.3 times the local time (a time in which the workers' processor time is not counted).
"""

from __future__ import annotations

import os
from pathlib import Path

from common import MINIPACH, BenchmarkError, Measured, call, conditions, measure, parser, table, workplace
from copies import names, new_copies, schedule, write_files
from peers import PINS, SNAKEFILE, environment

SLEEP = 'sleep 2; cp "$images" "$PFS/out/"\n'


def main() -> None:
    """Measure what was chosen and print the ratios."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--dvc-stages", type=int, default=300)
    options.add_argument("--long", type=int, default=200, help="datums of 2 s (0: none)")
    options.add_argument("--no-rq", dest="rq", action="store_false", help="leave out Redis/RQ")
    options.add_argument("--peers", nargs="*", choices=list(PINS), default=list(PINS))
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n", flush=True)
        project = new_copies(scratch / "ours", chosen.datums)
        ours = schedule(project, chosen.datums, "-j", "2")
        rows = [_row("minipach schedule -j 2", chosen.datums, ours, ours, chosen.datums)]
        if chosen.rq:
            theirs = _rq(scratch / "rq", chosen.datums)
            rows.append(_row("schedule --wait, RQ", chosen.datums, theirs, ours, chosen.datums))
        if "snakemake" in chosen.peers:
            theirs = _snakemake(environment("snakemake"), scratch / "snakemake", chosen.datums)
            rows.append(_row("snakemake -c2", chosen.datums, theirs, ours, chosen.datums))
        if "dvc" in chosen.peers:
            theirs = _dvc(environment("dvc"), scratch / "dvc", chosen.dvc_stages)
            rows.append(_row("dvc repro", chosen.dvc_stages, theirs, ours, chosen.datums))
        table(["cp", "datums", "seconds", "CPU", "ms per datum", "÷ ours"], rows)
        print(f"\n{_disk(project / 'edges', chosen.datums)}", flush=True)
        if chosen.long:
            _long(scratch / "long", chosen.long)


def _row(what: str, count: int, run: Measured, ours: Measured, our_count: int) -> list[str]:
    each, our_each = run.seconds / count, ours.seconds / our_count
    ratio = f"{each / our_each:.1f}x"
    return [what, f"{count:,}", f"{run.seconds:.1f}", f"{run.cpu:.1f}", f"{each * 1000:.0f}", ratio]


def _rq(root: Path, count: int) -> Measured:
    """A worker with two warm processes and a Redis of the project's own; both are there before the time is taken."""
    project = new_copies(root, count)
    call(*MINIPACH, "up", "-j", "2", cwd=project)
    try:
        return schedule(project, count, "--wait")
    finally:
        call(*MINIPACH, "down", cwd=project)


def _snakemake(program: Path, root: Path, count: int) -> Measured:
    write_files(root / "images", count)
    (root / "Snakefile").write_text(SNAKEFILE)
    run = measure([program, "-c2", "--quiet", "all"], root)
    if len(os.listdir(root / "out")) != count:
        raise BenchmarkError("snakemake did not make all outputs")
    return run


def _dvc(program: Path, root: Path, count: int) -> Measured:
    write_files(root / "images", count)
    lines = ["stages:"]
    for name in names(count):
        stem = name.removesuffix(".dat")
        lines += [
            f"  {stem}:",
            f"    cmd: cp images/{name} out/{name}",
            f"    deps: [images/{name}]",
            f"    outs: [out/{name}]",
        ]
    (root / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (root / "out").mkdir()
    call("git", "init", "--quiet", cwd=root)
    call(program, "init", "--quiet", cwd=root)
    call(program, "config", "core.analytics", "false", cwd=root)
    run = measure([program, "repro", "--quiet"], root)
    if len(os.listdir(root / "out")) < count:
        raise BenchmarkError("dvc did not make all outputs")
    return run


def _disk(repo: Path, count: int) -> str:
    """What a tiny datum takes in .git: git's objects once packed, and the contents and folders of the annex."""
    call("git", "gc", "--quiet", cwd=repo)
    objects = _bytes(repo / ".git" / "objects")
    annex = _bytes(repo / ".git" / "annex" / "objects")
    rest = _bytes(repo / ".git") - objects - annex
    return (
        f"in .git of the pipeline's repo after git gc, per datum: {objects / count / 1000:.2f} KB of git objects "
        f"(records, results branch, annex logs), {rest / count / 1000:.2f} KB of index and the rest; the outputs "
        f"themselves are {annex / count / 1000:.2f} KB (apparent sizes)"
    )


def _bytes(folder: Path) -> int:
    return sum(os.lstat(os.path.join(here, name)).st_size for here, _, names in os.walk(folder) for name in names)


def _long(root: Path, count: int) -> None:
    project = new_copies(root, count, SLEEP)
    run = schedule(project, count, "-j", "2")
    print(f"{count} datums of 2 s on 2 slots: {run.seconds:.1f} s, {run.seconds / count:.3f} times the ideal {count} s")


if __name__ == "__main__":
    main()
