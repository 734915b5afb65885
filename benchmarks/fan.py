"""The cost of a pipeline: CPU time and git processes of a schedule of 100 pipelines of 3 datums over one repo."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from common import (
    COPY,
    MINIPACH,
    BenchmarkError,
    Measured,
    call,
    conditions,
    measure,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)

RULE = """
rule step{n}:
    input: "images/{{name}}.dat"
    output: "out{n}/{{name}}.dat"
    shell: "cp {{input}} {{output}}"
"""


def fan(root: Path, pipelines: int, datums: int) -> Path:
    """A project with so many pipelines over one repo, none of which has run."""
    project = new_project(root, "images")
    for n in range(datums):
        (project / "images" / f"{n}.dat").write_text(f"picture {n}\n")
    call("datalad", "save", "-d", ".", "-r", cwd=project)
    for n in range(pipelines):
        folder = project / f"step{n:03d}"
        (folder / "code").mkdir(parents=True)
        (folder / "spec.yml").write_text(simple_spec("/*"))
        (folder / "code" / "step.sh").write_text(COPY)
    return project


def schedule(project: Path, *, nothing: bool = False) -> Measured:
    """A `minipach schedule`, of which is known whether it has something to do."""
    done = measure([*MINIPACH, "schedule", "-j", "2"], project)
    if ("nothing to do" in done.out) != nothing:
        raise BenchmarkError(f"it did something else: {done.out[-500:]}{done.err[-500:]}")
    return done


def gits(project: Path, *, nothing: bool = False) -> Counter[str]:
    """The git processes of a `minipach schedule`, by command (git's own trace: one file for each process)."""
    with tempfile.TemporaryDirectory() as folder:
        done = measure([*MINIPACH, "schedule", "-j", "2"], project, env={"GIT_TRACE2_EVENT": folder})
        if ("nothing to do" in done.out) != nothing:
            raise BenchmarkError(f"it did something else: {done.out[-500:]}{done.err[-500:]}")
        names: Counter[str] = Counter()
        for path in Path(folder).iterdir():
            text = path.read_text(errors="replace")
            names[text.partition('"cmd_name","')[2] and text.partition('"name":"')[2].partition('"')[0]] += 1
        return names


def snakemake(folder: Path, pipelines: int, datums: int) -> tuple[Measured, Measured]:
    """The same fan of rules: the first run, and one with nothing to do."""
    (folder / "images").mkdir(parents=True)
    for n in range(datums):
        (folder / "images" / f"{n}.dat").write_text(f"picture {n}\n")
    wanted = [f"out{n}/{d}.dat" for n in range(pipelines) for d in range(datums)]
    rules = "".join(RULE.format(n=n) for n in range(pipelines))
    (folder / "Snakefile").write_text(f"rule all:\n    input: {wanted!r}\n{rules}")
    command = ["snakemake", "-c2", "--quiet"]
    return measure(command, folder), measure(command, folder)


def main() -> None:
    """Build the projects, measure, print."""
    options = parser(__doc__ or "")
    options.add_argument("--pipelines", type=int, default=100)
    options.add_argument("--datums", type=int, default=3)
    options.add_argument(
        "--counted", type=int, default=100, help="pipelines of the project whose git processes are counted"
    )
    options.add_argument("--names", action="store_true", help="print the git processes by command")
    chosen = options.parse_args()
    count, each = chosen.pipelines, chosen.datums
    with workplace(chosen) as scratch:
        print(conditions())
        print()
        project = fan(scratch / "project", count, each)
        first, second = schedule(project), schedule(project, nothing=True)
        least = min((second, *(schedule(project, nothing=True) for _ in range(2))), key=lambda done: done.cpu)
        small = fan(scratch / "counted", chosen.counted, each)
        first_gits = gits(small)
        schedule(small, nothing=True)  # which keeps what it has looked up
        noop_gits = gits(small, nothing=True)
        rows = [
            [
                name,
                f"{run.cpu:.1f}",
                f"{run.seconds:.1f}",
                f"{1000 * run.cpu / count:.0f}",
                f"{n.total() / chosen.counted:.1f}",
            ]
            for name, run, n in (("first", first, first_gits), ("nothing to do", least, noop_gits))
        ]
        if shutil.which("snakemake"):
            peers = snakemake(scratch / "snakemake", count, each)
            for name, run, ours in (("first", peers[0], first), ("nothing to do", peers[1], least)):
                ratio = f"{name}, snakemake ({ours.cpu / run.cpu:.1f} times its CPU time)"
                rows.append([ratio, f"{run.cpu:.1f}", f"{run.seconds:.1f}", f"{1000 * run.cpu / count:.0f}", ""])
        print(f"{count} pipelines of {each} datums (git processes: {chosen.counted} pipelines)")
        table(["schedule", "CPU s", "wall s", "CPU ms per pipeline", "git processes per pipeline"], rows)
        if chosen.names:
            for name, found in (("first", first_gits), ("nothing to do", noop_gits)):
                print(name, dict(found.most_common()))


if __name__ == "__main__":
    main()
