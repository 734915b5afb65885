"""The time of a `minipach schedule` that has nothing to do, for 1,000 datums; aim: under 1 s with interpreter start."""

from __future__ import annotations

from common import (
    BenchmarkError,
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
    """Build the state, measure, print."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    with workplace(chosen) as scratch:
        print(conditions())
        print("state: annexed files with made-up keys (fast-import); results and outputs made up, none computed\n")
        project = new_project(scratch / "project", "images")
        import_files(project / "images", [f"img-{n:05d}.dat" for n in range(chosen.datums)])
        check_out(project / "images")
        new_pipeline(project, simple_spec("/*"))
        publish_forged(project)
        check_out(project / "edges")
        minipach(project, "schedule")  # the superdataset's commit, and what is cached
        rows = []
        floor = [minipach(project, "--version").seconds for _ in range(chosen.repeats)]
        for name, command in (("plan", ["plan"]), ("status", ["status"]), ("schedule", ["schedule", "-j", "2"])):
            runs = [minipach(project, *command) for _ in range(chosen.repeats)]
            if name != "status" and "nothing to do" not in runs[-1].out:
                raise BenchmarkError(f"{name} had something to do: {runs[-1].out}{runs[-1].err}")
            times = [r.seconds for r in runs]
            rows.append([f"minipach {name}", f"{median(times):.2f}", f"{min(times):.2f}", f"{max(times):.2f}"])
        rows.append(["minipach --version", f"{median(floor):.2f}", f"{min(floor):.2f}", f"{max(floor):.2f}"])
        print(f"{chosen.datums} datums, nothing to do; seconds, {chosen.repeats} runs each")
        table(["command", "median", "min", "max"], rows)


if __name__ == "__main__":
    main()
