"""The cost of a whole DAG: independent pipelines at once, one change among subdatasets, objects per schedule."""

from __future__ import annotations

import argparse
from pathlib import Path

from common import (
    COPY,
    BenchmarkError,
    Measured,
    call,
    conditions,
    median,
    minipach,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)

from minipach.git.repo import Repo

SLEEP = 'sleep 10\ncp "$images" "$PFS/out/"\n'
Rows = list[list[str]]


def main() -> None:
    """Build each project, measure, print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--only", metavar="PART", nargs="*", choices=list(PARTS), default=[], help="only these parts")
    options.add_argument("--subdatasets", type=int, default=300)
    options.add_argument("--schedules", type=int, default=300, help="of one file each")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions(), flush=True)
        print()
        rows = [row for name, part in PARTS.items() if name in (chosen.only or PARTS) for row in part(scratch, chosen)]
        table(["work", "measured", "aim"], rows)


def pairs(scratch: Path, _chosen: argparse.Namespace) -> Rows:
    """Two independent pipelines of one datum of 10 s; median of 3."""
    project = new_project(scratch / "pairs", "images")
    for name in ("one", "two"):
        new_pipeline(project, simple_spec("/*"), name, script=SLEEP)
    times: list[Measured] = []
    for n in range(3):
        for old in (project / "images").glob("*.dat"):
            old.unlink()
        (project / "images" / f"{n}.dat").write_text(f"picture {n}\n")
        call("datalad", "save", "-d", ".", "-r", cwd=project)
        times.append(_published(minipach(project, "schedule", "-j", "2"), "two: published (1 computed"))
    wall, cpu = median([run.seconds for run in times]), median([run.cpu for run in times])
    return [["two pipelines of one datum of 10 s, -j 2", f"{wall:.1f} s, {cpu:.1f} CPU s", "13 s"]]


def subdatasets(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """One changed file in one of many subdatasets of an input."""
    project = new_project(scratch / "subdatasets", "images")
    images = Repo(project / "images")
    modules = []
    for n in range(chosen.subdatasets):
        subject = Repo(images.path / f"sub-{n:03d}")
        subject.path.mkdir()
        subject.git("init", "--quiet")
        _add_file(subject, f"subject {n}\n")
        modules.append(f'[submodule "sub-{n:03d}"]\n\tpath = sub-{n:03d}\n\turl = ./sub-{n:03d}\n')
    (images.path / ".gitmodules").write_text("".join(modules))
    images.git("add", "--", ".")
    images.git("commit", "--quiet", "-m", "subjects")
    project_repo = Repo(project)
    project_repo.git("commit", "--quiet", "-am", "subjects")
    new_pipeline(project, simple_spec("/*"), script=COPY)
    first = minipach(project, "plan")
    again = minipach(project, "plan")
    changed = []
    for n in range(3):
        _add_file(Repo(images.path / f"sub-{n:03d}"), "another\n")
        images.git("commit", "--quiet", "-am", "one changed")
        changed.append(minipach(project, "plan"))
    what = f"{chosen.subdatasets} subdatasets: plan"
    return [
        [f"{what}, the first", f"{first.cpu:.2f} CPU s", ""],
        [f"{what}, unchanged", f"{again.cpu:.2f} CPU s", ""],
        [f"{what}, one changed", f"{median([run.cpu for run in changed]):.2f} CPU s", "0.6 CPU s"],
    ]


def _add_file(repo: Repo, text: str) -> None:
    (repo.path / "scan.dat").write_text(text)
    repo.git("add", "--", ".")
    repo.git("commit", "--quiet", "-m", "a scan")


def history(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """Schedules of one new file each: the objects that each leaves, and its time at the beginning and the end."""
    project = new_project(scratch / "history", "images")
    new_pipeline(project, simple_spec("/*"), script=COPY)
    before = _objects(project)
    times = []
    for n in range(chosen.schedules):
        (project / "images" / f"{n:04d}.dat").write_text(f"picture {n}\n")
        call("datalad", "save", "-d", ".", "-r", cwd=project)
        times.append(_published(minipach(project, "schedule"), "edges: published (1 computed").cpu)
    after = _objects(project)
    loose, size = ((new - old) / chosen.schedules for old, new in zip(before, after, strict=True))
    few = max(1, chosen.schedules // 10)
    first, last = median(times[:few]), median(times[-few:])
    return [
        [f"{chosen.schedules} schedules of one file: loose objects of each", f"{loose:.1f}", "14.5"],
        [f"{chosen.schedules} schedules of one file: disk of each", f"{size:.0f} kB", "74 kB"],
        [f"CPU time of a schedule, the first and the last {few}", f"{first:.2f} s, {last:.2f} s", "the same"],
    ]


def _objects(project: Path) -> tuple[int, int]:
    """The loose objects of the pipeline's repo and the superdataset, and the kB of all their objects."""
    loose = size = 0
    for repo in (project, project / "edges"):
        rows = dict(line.split(": ") for line in call("git", "count-objects", "-v", cwd=repo).splitlines())
        loose += int(rows["count"])
        size += int(rows["size"]) + int(rows["size-pack"])
    return loose, size


def _published(done: Measured, what: str) -> Measured:
    if what not in done.out + done.err:
        raise BenchmarkError(f"it did something else: {done.out[-500:]}{done.err[-500:]}")
    return done


PARTS = {"pairs": pairs, "subdatasets": subdatasets, "history": history}

if __name__ == "__main__":
    main()
