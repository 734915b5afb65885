"""What `minipach plan` costs on big repos: first, unchanged, after small changes; joins and groups at N and 2N.

Repos are generated: git fast-import, symlinks with made-up SHA256E keys, work trees left empty (a plan reads commits
alone). Peak memory is that of the largest process of the command, as the kernel tells it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from common import (
    LIST,
    BenchmarkError,
    Measured,
    conditions,
    minipach,
    new_pipeline,
    new_project,
    parser,
    simple_spec,
    table,
    workplace,
)
from forge import folders, import_files, publish_forged

Rows = list[list[str]]


def main() -> None:
    """Build each repo, measure its plans, print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--files", type=int, default=100_000, help="files of the big repo")
    options.add_argument("--only", metavar="PART", nargs="*", choices=list(PARTS), default=[], help="only these parts")
    options.add_argument("--huge", action="store_true", help="also 10 times the files as 100,000 datums (some minutes)")
    chosen = options.parse_args()
    rows: Rows = []
    with workplace(chosen) as scratch:
        print(conditions())
        print("repos: git fast-import, made-up SHA256E keys, nothing checked out\n", flush=True)
        for name, part in PARTS.items():
            if name in chosen.only or (not chosen.only and (name != "huge" or chosen.huge)):
                rows += part(scratch, chosen)
    print()
    table(["work", "seconds", "CPU", "peak MB", "aim"], rows)


def row(work: str, run: Measured, aim: str = "", expect: dict[str, int] | None = None) -> list[str]:
    """One line of the table; BenchmarkError if the plan isn't the one that was to be measured."""
    if expect is not None and run.out.strip():
        first = run.out.splitlines()[0]
        wanted = ", ".join(f"{n} {action}" for action, n in expect.items()) or "nothing to do"
        if first != f"edges: {wanted}":
            raise BenchmarkError(f"{work}: planned {first!r}, wanted {wanted!r}")
    line = [work, f"{run.seconds:.2f}", f"{run.cpu:.2f}", f"{run.peak:.0f}", aim]
    print("  ".join(line), flush=True)
    return line


def _project(scratch: Path, name: str, glob: str, paths: Iterable[str], script: str = LIST) -> Path:
    project = new_project(scratch / name, "images")
    import_files(project / "images", paths)
    new_pipeline(project, simple_spec(glob, 'minipach: {out: "{name}/"}\n'), script=script)
    return project


def _life(project: Path, what: str, datums: int, change: Callable[[], None], aims: tuple[str, str, str]) -> Rows:
    """First, again, all published, and after a change of three datums."""
    rows = [
        row(f"{what}: first plan", minipach(project, "plan"), aims[0], {"run": datums}),
        row(f"{what}: again, nothing published", minipach(project, "plan"), aims[1], {"run": datums}),
    ]
    publish_forged(project, outputs=["listing"])
    rows.append(row(f"{what}: all published, first plan after", minipach(project, "plan"), "", {}))
    rows.append(row(f"{what}: again, all current", minipach(project, "plan"), aims[1], {}))
    change()
    expect = {"run": 2, "current": datums - 2, "remove": 1}
    rows.append(row(f"{what}: one changed, one added, one removed", minipach(project, "plan"), aims[2], expect))
    return rows


def directories(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """Files in folders of ten, a datum each."""
    count = chosen.files // 10
    project = _project(scratch, "directories", "/*", folders(count, 10))

    def change() -> None:
        images = project / "images"
        import_files(images, ["sub-00003/f5.dat", "sub-new/f0.dat"], salt="!", removed=["sub-00007"])

    what = f"{chosen.files:,} files, {count:,} folder datums"
    return _life(project, what, count, change, ("8 s, 600 MB", "1.5 s", "2 s"))


def files(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """A datum per file."""
    count = chosen.files // 100
    project = _project(scratch, "files", "/*/*", folders(count, 100))

    def change() -> None:
        images = project / "images"
        import_files(images, ["sub-00003/f5.dat", "sub-00004/new.dat"], salt="!", removed=["sub-00007/f7.dat"])

    what = f"{chosen.files:,} files, {chosen.files:,} file datums"
    return _life(project, what, count * 100, change, ("12 s, 800 MB", "1.5 s", "2 s"))


def huge(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """Ten times the files, ten to a datum."""
    count = chosen.files // 100
    paths = (f"site-{n:04d}/sub-{m:03d}/f{k}.dat" for n in range(count) for m in range(100) for k in range(10))
    project = _project(scratch, "huge", "/*/*", paths)
    what = f"{chosen.files * 10:,} files, {chosen.files:,} folder datums"
    expect = {"run": count * 100}
    return [
        row(f"{what}: first plan", minipach(project, "plan"), "90 s, 4 GB", expect),
        row(f"{what}: again", minipach(project, "plan"), "10 s, 4 GB", expect),
    ]


def joins(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """Two repos of N/2 folders each, joined by the folder's name; N and 2N."""
    rows: Rows = []
    times: list[float] = []
    for count in (chosen.files // 4, chosen.files // 2):
        project = new_project(scratch / f"join-{count}", "t1", "t2")
        for repo in ("t1", "t2"):
            import_files(project / repo, folders(count, 1), salt=repo)
        members = ", ".join(f'{{pfs: {{repo: {r}, glob: "/(*)", join_on: "$1"}}}}' for r in ("t1", "t2"))
        new_pipeline(project, f"input: {{join: [{members}]}}\ntransform: {{cmd: [sh, code/step.sh]}}\n", script=LIST)
        what = f"join of two repos of {count:,} folders"
        rows += _datums_and_plan(project, what, count, times)
    return [*rows, *_growth("join", times)]


def groups(scratch: Path, chosen: argparse.Namespace) -> Rows:
    """N files in 1,000 groups; N and 2N."""
    rows: Rows = []
    times: list[float] = []
    for count in (chosen.files // 2, chosen.files):
        keys = min(1000, count)
        project = new_project(scratch / f"group-{count}", "images")
        import_files(
            project / "images", (f"day-{m:03d}/k{k:04d}.dat" for m in range(count // keys) for k in range(keys))
        )
        spec = 'input: {group: [{pfs: {repo: images, glob: "/*/(*).dat", group_by: "$1"}}]}\n'
        new_pipeline(project, spec + "transform: {cmd: [sh, code/step.sh]}\n", script=LIST)
        rows += _datums_and_plan(project, f"group of {count:,} files in {keys:,} keys", keys, times)
    return [*rows, *_growth("group", times)]


def _datums_and_plan(project: Path, what: str, count: int, times: list[float]) -> Rows:
    plan = minipach(project, "plan")
    again = minipach(project, "plan")
    listed = minipach(project, "datums", "edges", "--json")
    if len(json.loads(listed.out)["datums"]) != count:
        raise BenchmarkError(f"{what}: {len(json.loads(listed.out)['datums'])} datums")
    times.append(plan.seconds)
    return [row(f"{what}: first plan", plan, "", {"run": count}), row(f"{what}: again", again, "", {"run": count})]


def _growth(what: str, times: list[float]) -> Rows:
    return [[f"{what}: first plan, 2N / N", f"{times[1] / times[0]:.2f}x", "", "", "2.0x"]]


PARTS = {"directories": directories, "files": files, "joins": joins, "groups": groups, "huge": huge}

if __name__ == "__main__":
    main()
