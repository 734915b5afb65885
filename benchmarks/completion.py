"""The time of one Tab: the whole process of a completion, for each kind of word; aim: under 0.2 s."""

from __future__ import annotations

import sys
from pathlib import Path

from common import (
    BenchmarkError,
    call,
    check_out,
    conditions,
    measure,
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

from minipach.cli.completion import VARIABLE

KINDS = {
    "commands": "minipach s",
    "options": "minipach plan --",
    "pipelines": "minipach plan ",
    "datums": "minipach plan edges:",
    "jobs": "minipach logs job --job ",
    "remotes": "minipach push ",
    "containers": "minipach new --image ",
    "stores": "minipach store check ",
    "repos": "minipach hooks install --repo ",
}


def build(project: Path, datums: int, pipelines: int) -> None:
    """A pipeline with datums, jobs, a remote, a store and a container; more pipelines in plain folders."""
    new_project(project, "images")
    import_files(project / "images", [f"img-{n:05d}.dat" for n in range(datums)])
    check_out(project / "images")
    new_pipeline(project, simple_spec("/*"))
    publish_forged(project)
    check_out(project / "edges")
    for number in range(pipelines - 1):
        folder = project / f"step-{number:03d}"
        folder.mkdir()
        (folder / "spec.yml").write_text(simple_spec("/"))
    call("datalad", "create", "-d", ".", "few", cwd=project)
    (project / "few/real.txt").write_text("one datum that runs: a job\n")
    call("datalad", "save", "-d", "few", cwd=project)
    new_pipeline(project, simple_spec("/").replace("images", "few"), "job", "true\n")
    minipach(project, "schedule", "job")
    for key in ("minipach-store.lab.kind", "datalad.containers.box.image"):
        call("git", "config", "--file", ".datalad/config", key, "x", cwd=project)
    call("git", "remote", "add", "colleague", "/nowhere", cwd=project)


def main() -> None:
    """Build the project, measure, print."""
    options = parser(__doc__ or "")
    options.add_argument("--datums", type=int, default=1000)
    options.add_argument("--pipelines", type=int, default=50)
    options.add_argument("--repeats", type=int, default=15)
    chosen = options.parse_args()
    program = Path(sys.executable).with_name("minipach")
    with workplace(chosen) as scratch:
        print(conditions())
        project = scratch / "project"
        build(project, chosen.datums, chosen.pipelines)
        rows = []
        for kind, line in KINDS.items():
            runs = [measure([program, line], project, env={VARIABLE: "bash"}) for _ in range(chosen.repeats)]
            words = len(runs[0].out.splitlines()) - 1
            if words < 1:
                raise BenchmarkError(f"{kind}: no word is offered")
            times = [run.seconds for run in runs]
            cpu = [run.cpu for run in runs]
            rows.append([kind, str(words), *(f"{value:.3f}" for value in (median(cpu), median(times), max(times)))])
        print(f"{chosen.datums} datums, {chosen.pipelines} pipelines; seconds, {chosen.repeats} runs each")
        table(["kind", "words", "CPU", "median", "max"], rows)


if __name__ == "__main__":
    main()
