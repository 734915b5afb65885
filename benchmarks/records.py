"""One record for each result: what it costs, and whether it keeps its promise when other datums go.

All is real: N datums of `cp` run and are published; then the branch is set back to before its outputs and published
once more from the known results, which is the publish alone. Then one input is renamed, one changed and one deleted,
and `datalad rerun` repeats other datums at HEAD. Aims: a publish takes no more than a tenth of the whole run, and each
rerun ends with nothing to save.
"""

from __future__ import annotations

import json
from pathlib import Path

from common import MINIPACH, BenchmarkError, Measured, call, conditions, measure, parser, table, workplace
from copies import names, new_copies, schedule


def main() -> None:
    """Measure one project, and check its records."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--reruns", type=int, default=3, help="datums to repeat at HEAD after the changes")
    chosen = options.parse_args()
    count: int = chosen.datums
    with workplace(chosen) as scratch:
        print(conditions() + "\n", flush=True)
        project = new_copies(scratch / "study", count)
        edges = project / "edges"
        before = call("git", "rev-parse", "HEAD", cwd=edges).strip()
        rows: list[tuple[str, Measured]] = [("run and publish all", schedule(project, count, "-j", "2"))]
        tree, records = _tree(edges), _records(edges)
        if len(records) != count:
            raise BenchmarkError(f"{len(records)} records of {count} datums")
        call("git", "reset", "--quiet", "--hard", before, cwd=edges)
        rows.append(("publish all again, from known results", schedule(project, count)))
        if _tree(edges) != tree or set(_records(edges)) != set(records):
            raise BenchmarkError("the second publish is another one")
        rows.append(("one renamed, one changed, one deleted", _change(project, count)))
        rows += _reruns(edges, count, chosen.reruns)
        whole = rows[0][1]
        table(
            [f"{count:,} datums", "seconds", "CPU", "÷ first, wall", "CPU"],
            [
                [
                    what,
                    f"{run.seconds:.1f}",
                    f"{run.cpu:.1f}",
                    f"{run.seconds / whole.seconds:.3f}",
                    f"{run.cpu / whole.cpu:.3f}",
                ]
                for what, run in rows
            ],
        )


def _tree(edges: Path) -> list[str]:
    listed = call("git", "ls-tree", "-r", "HEAD", cwd=edges).splitlines()
    return [line for line in listed if line.endswith(".dat")]


def _records(edges: Path) -> dict[str, str]:
    """The newest record of each datum on the branch: its commit by the datum's name."""
    log = call("git", "log", "--format=%H%x01%B%x00", "--grep=DATALAD RUNCMD", cwd=edges)
    found: dict[str, str] = {}
    for entry in log.split("\0"):
        commit, _, message = entry.strip().partition("\1")
        if not message:
            continue
        body = message.partition("=== Do not change lines below ===\n")[2].partition("\n^^^")[0]
        for datum in json.loads(body)["minipach"]["datums"]:
            found.setdefault(datum["name"], commit)
    return found


def _change(project: Path, count: int) -> Measured:
    images, there = project / "images", names(count)
    call("git", "mv", there[0], "renamed.dat", cwd=images)
    call("git", "rm", "--quiet", there[count // 2], cwd=images)
    call("git", "rm", "--quiet", "--cached", there[-1], cwd=images)
    (images / there[-1]).unlink()
    (images / there[-1]).write_text("another content\n")
    call("git", "annex", "add", "--quiet", ".", cwd=images)
    call("git", "commit", "--quiet", "-m", "one renamed, one changed, one deleted", cwd=images)
    run = measure([*MINIPACH, "schedule"], project)
    if "2 run" not in run.err:
        raise BenchmarkError(f"not two datums: {run.err[-500:]}")
    return run


def _reruns(edges: Path, count: int, reruns: int) -> list[tuple[str, Measured]]:
    head, records = call("git", "rev-parse", "HEAD", cwd=edges), _records(edges)
    there = names(count)
    # neighbours of what went, which ran in one set with it
    others = [there[at] for at in (1, count // 2 + 1, count - 2, *range(2, reruns))][:reruns]
    rows = []
    for name in others:
        run = measure(["datalad", "rerun", records[name]], edges)
        if call("git", "rev-parse", "HEAD", cwd=edges) != head or call("git", "status", "--porcelain", cwd=edges):
            raise BenchmarkError(f"the rerun of {name} had something to save")
        rows.append((f"datalad rerun of {name} at HEAD", run))
    return rows


if __name__ == "__main__":
    main()
