"""The cost of one more datum in a pipeline's repo that holds 20,000 outputs, beside an empty one; aim: under 1.2.

The 20,000 outputs and their inputs are made up (fast-import, keys without content, in minipach's own formats); the
datums that are measured are real: a new file is committed, and `minipach schedule` runs and publishes it.
"""

from __future__ import annotations

from pathlib import Path

from common import (
    BenchmarkError,
    call,
    check_out,
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
from forge import import_files, publish_forged


def main() -> None:
    """Measure the three repos and print the ratios."""
    options = parser(__doc__ or "")
    options.add_argument("--outputs", type=int, default=20_000)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    few = max(1, chosen.outputs // 100)
    shapes = (
        ("an empty repo", 0, 1),
        (f"{chosen.outputs:,} outputs of {few:,} datums", few, 100),
        (f"{chosen.outputs:,} outputs of {chosen.outputs:,} datums", chosen.outputs, 1),
    )
    measured = []
    with workplace(chosen) as scratch:
        print(conditions())
        print("the outputs that are there are made up (fast-import); the datums measured are real\n", flush=True)
        for number, (_, datums, outputs) in enumerate(shapes):
            project = _build(scratch / f"project-{number}", datums, outputs)
            measured.append(_measure(project, chosen.repeats))
    rows = []
    for (what, _, _), times in zip(shapes, measured, strict=True):
        cells = [[f"{t:.2f}", f"{t / base:.2f}"] for t, base in zip(times, measured[0], strict=True)]
        rows.append([what, *(cell for pair in cells for cell in pair)])
    print(f"schedule -j 1, seconds and ratio; median of {chosen.repeats}, interpreter start included")
    table(["in", "one more", "ratio", "right after", "ratio", "nothing to do", "ratio"], rows)


def _build(root: Path, datums: int, outputs: int) -> Path:
    project = new_project(root, "images")
    if datums:
        import_files(project / "images", [f"img-{n:05d}.dat" for n in range(datums)])
        check_out(project / "images")
    new_pipeline(project, simple_spec("/*", 'minipach: {out: "{name}/"}\n' if outputs > 1 else ""))
    if datums:
        publish_forged(project, outputs=[f"part-{n:03d}.dat" for n in range(outputs)] if outputs > 1 else [])
        check_out(project / "edges")
    _one_more(project, "warm")
    return project


def _one_more(project: Path, name: str) -> float:
    images = project / "images"
    (images / f"{name}.dat").write_bytes(name.encode() * 1000)
    call("git", "annex", "add", "--quiet", f"{name}.dat", cwd=images)
    call("git", "commit", "--quiet", "-m", name, cwd=images)
    run = minipach(project, "schedule", "-j", "1")
    if "edges: 1 run" not in run.err:
        raise BenchmarkError(f"not one datum: {run.err}")
    return run.seconds


def _measure(project: Path, repeats: int) -> tuple[float, float, float]:
    """Seconds of a schedule with one new datum, of the next one, and of one more that has nothing to do either."""
    more: list[float] = []
    after: list[float] = []
    idle: list[float] = []
    for number in range(repeats):
        more.append(_one_more(project, f"new-{number}"))
        for times in (after, idle):
            run = minipach(project, "schedule")
            if "nothing to do" not in run.out:
                raise BenchmarkError(f"there was something to do: {run.out}{run.err}")
            times.append(run.seconds)
    return median(more), median(after), median(idle)


if __name__ == "__main__":
    main()
