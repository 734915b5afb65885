"""The overhead per datum: `minipach schedule -j 2`, one datum per set, beside a loop of `datalad containers-run`.

Both run the same commands in the same image through the same launcher: the loop takes them from the run records
that minipach made, each as a process of its own, as a person's loop would, in a clone of the pipeline's dataset at
the commit that minipach's workers start from. Aim: at least 4 times less.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from common import (
    BenchmarkError,
    Measured,
    call,
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

from minipach.git.repo import Repo
from minipach.model.launch_protocol import LAUNCH
from minipach.model.repo_layout import BASE_REF
from minipach.model.run_record import parse

_Cost = tuple[float, float]  # wall and CPU seconds per datum


def main() -> None:
    """Run both on the same work and print the ratio."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=30, help="datums for minipach")
    options.add_argument("--loop", type=int, default=10, help="of these, so many for the loop, which is slower")
    options.add_argument("--image", help="an image file or folder (default: the host environment)")
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions())
        print("the work: copy a file of 1 kB; " + (f"image {chosen.image}" if chosen.image else "no image") + "\n")
        ours, project = _minipach(scratch / "project", chosen.datums, chosen.image)
        found = _records(Repo(project / "edges"))
        theirs, bare = _loop(project, found[: chosen.loop])
    rows = [
        [f"minipach schedule -j 1, {chosen.datums} datums", *_cells(ours[1], bare[0], theirs, bare[0])],
        [f"minipach schedule -j 2, {chosen.datums} datums", *_cells(ours[2], bare[0] / 2, theirs, bare[0])],
        [f"loop of {min(chosen.loop, len(found))} datalad containers-run", *_cells(theirs, bare[0], theirs, bare[0])],
        ["the launcher and the command alone", f"{bare[0]:.2f}", "", "", "", f"{bare[1]:.2f}", ""],
    ]
    print("seconds per datum: wall time of the whole ÷ datums (start of the program and publishing included);")
    print("overhead: less the launcher and the command alone (at -j 2: half of it)")
    table(["what", "per datum", "loop ÷ this", "overhead", "loop ÷ this", "CPU", "loop ÷ this"], rows)


def _cells(ours: _Cost, bare: float, theirs: _Cost, their_bare: float) -> list[str]:
    overhead = ours[0] - bare
    return [
        f"{ours[0]:.2f}",
        f"{theirs[0] / ours[0]:.1f}x",
        f"{overhead:.2f}",
        f"{(theirs[0] - their_bare) / max(overhead, 1e-9):.1f}x",
        f"{ours[1]:.2f}",
        f"{theirs[1] / ours[1]:.1f}x",
    ]


def _minipach(root: Path, count: int, image: str | None) -> tuple[dict[int, _Cost], Path]:
    """Seconds per datum at -j 1 and -j 2, on two batches of new files, after a first datum that sets all up."""
    project = new_project(root, "images")
    spec = simple_spec("/*", "datum_set_spec: {number: 1}\n")
    if image:
        spec = spec.replace("{cmd:", "{image: " + str(Path(image).resolve()) + ", cmd:")
    _add(project / "images", ["first"])
    new_pipeline(project, spec)
    minipach(project, "schedule")
    found: dict[int, _Cost] = {}
    for at_once in (1, 2):
        _add(project / "images", [f"img-{at_once}-{n:04d}" for n in range(count)])
        run = minipach(project, "schedule", "-j", str(at_once))
        if f"edges: {count} run" not in run.err:
            raise BenchmarkError(f"not {count} datums: {run.err}")
        found[at_once] = (run.seconds / count, run.cpu / count)
    return found, project


def _add(repo: Path, names: list[str]) -> None:
    for name in names:
        (repo / f"{name}.dat").write_bytes((name + "\n").encode() * 64)
    call("git", "annex", "add", "--quiet", ".", cwd=repo)
    call("git", "commit", "--quiet", "-m", "new files", cwd=repo)


def _records(repo: Repo) -> list[dict[str, Any]]:
    """The run records of the last batch, one per datum."""
    messages = repo.git("log", "-z", "--format=%B", "--grep=^.DATALAD RUNCMD.").decode().split("\0")
    return [parse(message.strip("\n") + "\n")[1] for message in messages if message.strip()]


def _loop(project: Path, found: list[dict[str, Any]]) -> tuple[_Cost, _Cost]:
    """The cost per record of a loop of `datalad containers-run`, and of the launcher alone."""
    call("datalad", "clone", "edges", "loop", cwd=project)
    loop = project / "loop"
    base = Repo(project / "edges").line("rev-parse", BASE_REF)
    call("git", "fetch", "--quiet", "origin", BASE_REF, cwd=loop)
    call("git", "reset", "--quiet", "--hard", base, cwd=loop)
    call("datalad", "get", "-n", "inputs/images", cwd=loop)
    for record in found:
        call("datalad", "get", *record["inputs"], *record["extra_inputs"], cwd=loop)
    runs = []
    for record in found:
        inputs = [part for path in record["inputs"] for part in ("--input", path)]
        outputs = [part for path in record.get("outputs", []) for part in ("--output", path)]
        options = ["-n", "minipach", "-m", "x", *inputs, *outputs]
        runs.append(measure(["datalad", "containers-run", *options, _command(record)], loop))
    if len(_records(Repo(loop))) < len(found):
        raise BenchmarkError("the loop made fewer records than commands")
    call("git", "reset", "--quiet", "--hard", base, cwd=loop)
    alone = [measure(["sh", "-c", r["cmd"].replace("{{", "{").replace("}}", "}")], loop) for r in found]
    return _mean(runs), _mean(alone)


def _mean(runs: list[Measured]) -> _Cost:
    return sum(r.seconds for r in runs) / len(runs), sum(r.cpu for r in runs) / len(runs)


def _command(record: dict[str, Any]) -> str:
    """What the record runs in the container: its command less the launcher and the image."""
    words = shlex.split(record["cmd"])
    skip = len(LAUNCH.split()) + 1
    return shlex.join(words[skip:])


if __name__ == "__main__":
    main()
