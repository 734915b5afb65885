"""1,000 datums of `cp`, from a cold start to published, beside `snakemake -c2` and `dvc repro`; then datums of 2 s.

All is real: files in a dataset, every datum run in the host's environment and on record, outputs in the annex and on
the branch. Snakemake copies the same files with one rule; DVC gets fewer stages, since it is slow, and is compared by
the datum. Aims on 2 cores: under 30 s; snakemake at least 4 times slower, DVC at least 20 times slower per datum; 200
datums of 2 s on 2 slots at most 1.06 times the ideal 200 s; under 6 KB in .git for a tiny datum; through Redis and RQ
with 2 warm processes at most 1.3 times the local time (a time in which the workers' processor time is not counted).

All but DVC run three times, in turn, and the middle one is shown.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from common import MINIPACH, BenchmarkError, Measured, call, conditions, measure, parser, table, workplace
from copies import names, new_copies, schedule, write_files
from peers import SNAKEFILE, environment

SLEEP = 'sleep 2; cp "$images" "$PFS/out/"\n'


def main() -> None:
    """Measure what was chosen and print the ratios."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--dvc-stages", type=int, default=300)
    options.add_argument("--runs", type=int, default=3, help="of all but DVC; the middle one is shown")
    options.add_argument("--long", type=int, default=200, help="datums of 2 s (0: none)")
    options.add_argument("--no-rq", dest="rq", action="store_false", help="leave out Redis/RQ")
    options.add_argument("--peers", nargs="*", choices=["snakemake", "dvc"], default=["snakemake", "dvc"])
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions() + "\n", flush=True)
        ours, theirs, snakemake = [], [], []
        for number in range(chosen.runs):  # in turn: a machine may be slower for some minutes
            here = scratch / str(number)
            here.mkdir()
            project = new_copies(here / "ours", chosen.datums)
            ours.append(schedule(project, chosen.datums, "-j", "2"))
            if chosen.rq:
                theirs.append(_rq(here / "rq", chosen.datums))
            if "snakemake" in chosen.peers:
                snakemake.append(_snakemake(environment("snakemake"), here / "snakemake", chosen.datums))
        middle = _middle(ours).seconds / chosen.datums
        rows = [_row("minipach schedule -j 2", chosen.datums, ours, middle)]
        rows += [_row("schedule --wait, RQ", chosen.datums, theirs, middle)] if theirs else []
        rows += [_row("snakemake -c2", chosen.datums, snakemake, middle)] if snakemake else []
        if "dvc" in chosen.peers:
            dvc = [_dvc(environment("dvc"), scratch / "dvc", chosen.dvc_stages)]
            rows.append(_row("dvc repro", chosen.dvc_stages, dvc, middle))
        table(["cp", "datums", "seconds", "of", "CPU", "ms per datum", "÷ ours"], rows)
        if snakemake:
            each = ", ".join(f"{peer.seconds / own.seconds:.1f}x" for own, peer in zip(ours, snakemake, strict=True))
            print(f"\nsnakemake ÷ ours, run by run: {each}")
        print(f"\n{_disk(project / 'edges', chosen.datums)}", flush=True)
        if chosen.long:
            _long(scratch / "long", chosen.long)


def _middle(runs: Sequence[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _row(what: str, count: int, runs: Sequence[Measured], our_each: float) -> list[str]:
    run = _middle(runs)
    each = run.seconds / count
    of = f"{min(r.seconds for r in runs):.1f} to {max(r.seconds for r in runs):.1f}" if len(runs) > 1 else ""
    return [
        what,
        f"{count:,}",
        f"{run.seconds:.1f}",
        of,
        f"{run.cpu:.1f}",
        f"{each * 1000:.0f}",
        f"{each / our_each:.1f}x",
    ]


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
