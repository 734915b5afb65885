"""`exp`: experiments with the parameters of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, Here, guarded, need_place, say, show, show_json
from minipach.cli.options import JOBS, JSON
from minipach.cli.sections import OTHERS, RUN, Group, add
from minipach.cli.tables import show_table
from minipach.support.errors import Problem, UserError
from minipach.support.files import replace_file
from minipach.support.text import many

if TYPE_CHECKING:
    from minipach.experiments.metrics import MetricRow
    from minipach.experiments.points import Value

NAME = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Select the experiment.")]
_FAILURES = 5  # that are shown


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    family = typer.Typer(
        cls=Group,
        help="Run a pipeline with several values of its parameters.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    add(family, OTHERS, run)
    add(family, OTHERS, list_, name="list")
    add(family, OTHERS, show_, name="show")
    add(family, OTHERS, diff, apply, remove)
    app.add_typer(family, name="exp", rich_help_panel=RUN)


@guarded
def run(
    context: typer.Context,
    values: Annotated[
        list[str],
        typer.Option("-S", "--set", metavar="PIPELINE.PARAM=VALUES", help="Set values, by commas or range(...)."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="EXPERIMENT", help="Name it, or add points to it.")] = "",
    jobs: JOBS = None,
    as_json: JSON = False,
) -> None:
    """Run a pipeline for each combination of parameters.

    With parameters of several pipelines, those between them run, too. One of them takes from all the others.
    While an experiment runs, points that another process adds to it join the run. Datums that have a result do not
    run again. No branch and no working tree changes. Exit code 1: a datum failed.

    Example: minipach exp run -S edges.sigma=1,2,3 -S 'edges.low=range(0,1,0.25)'
    """
    from minipach.experiments.run import run_experiment

    here: Here = context.obj
    done = run_experiment(here.project(), values, name, say, jobs=jobs)
    for end in done.failed[:_FAILURES]:
        say(f"failed: {end.datum}: {end.message}; {end.log}")
    if as_json:
        counts = {"ran": done.ran, "known": done.known, "failed": len(done.failed)}
        show_json({"schema": 1, "name": done.experiment.name, "points": len(done.experiment.trials), **counts})
    else:
        left = f", {len(done.failed)} failed" if done.failed else ""
        how = " in the run of another process" if done.joined else ""
        show(f"{done.experiment.name}: {done.ran} computed{how}, {done.known} had a result{left}")
        show(f"next: minipach exp show {done.experiment.name}")
    if done.failed:
        raise typer.Exit(FAILED)


@guarded
def list_(context: typer.Context, as_json: JSON = False) -> None:
    """List the experiments of the project.

    Example: minipach exp list
    """
    from minipach.experiments.record import experiments

    here: Here = context.obj
    project = here.project()
    found = experiments(project)
    if as_json:
        rows = [
            {"name": e.name, "pipeline": e.pipeline, "created": e.created, "points": len(e.trials), "head": e.head}
            for e in found
        ]
        show_json({"schema": 1, "experiments": rows})
        return
    cells = [[e.name, project.name_of(e.pipeline), e.created, str(len(e.trials))] for e in found]
    show_table(["NAME", "PIPELINE", "CREATED", "POINTS"], cells, right="POINTS")


@guarded
def show_(
    context: typer.Context,
    name: NAME,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table in Markdown.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Print a bar for each point and metric.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write these bars to an SVG image.")] = None,
    as_json: JSON = False,
) -> None:
    """Show the parameters of an experiment beside its metrics.

    `minipach: {metrics: [metrics.json]}` in the spec names the outputs. Of several datums, the mean counts.

    Example: minipach exp show exp-1 --plot
    """
    from minipach.experiments import plot as charts
    from minipach.experiments.metrics import rows
    from minipach.experiments.record import find

    here: Here = context.obj
    project = here.project()
    found = rows(project, find(project, name))
    for note in dict.fromkeys(note for row in found for note in row.notes):
        say(f"note: {note}")
    if (plot or svg) and not charts.charted(found):
        fix = "name outputs with numbers in `minipach: {metrics: [...]}`"
        raise UserError(Problem("exp.no-metrics", name, "no metric is a number", fix))
    if svg is not None:
        need_place(here.directory / svg).write_text(charts.svg(found, name))
        say(f"wrote {svg}")
    if as_json:
        show_json({"schema": 1, "name": name, "points": [row.as_json() for row in found]})
        return
    if plot:
        for bar in charts.text(found):
            show(bar)
        return
    titles, cells = _table(found)
    if not markdown:
        show_table([title.upper() for title in titles], cells, right=" ".join(t.upper() for t in titles))
        return
    for line in (titles, ["---:"] * len(titles), *cells):
        show(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |")


def _table(found: list[MetricRow]) -> tuple[list[str], list[list[str]]]:
    from minipach.experiments.points import shown as written

    params = list(dict.fromkeys(chain for row in found for chain in row.params))
    metrics = list(dict.fromkeys(name for row in found for name in row.metrics))
    titles = ["point", *params, "done", *metrics]
    cells = []
    for row in found:
        values = [_number(row.metrics.get(name, "-")) for name in metrics]
        given = [written(row.params[chain]) if chain in row.params else "-" for chain in params]
        cells.append([str(row.number), *given, f"{row.done}/{row.datums}", *values])
    return titles, cells


def _number(value: float | Value) -> str:
    from minipach.experiments.points import shown as written

    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else written(value)


@guarded
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="EXPERIMENT:POINT", help="Select a point by its number.")],
    new: Annotated[str, typer.Argument(metavar="EXPERIMENT:POINT", help="Select the point to compare with it.")],
    as_json: JSON = False,
) -> None:
    """Compare the parameters and metrics of two points.

    Example: minipach exp diff exp-1:1 exp-1:3
    """
    here: Here = context.obj
    both = [_row(here, word) for word in (old, new)]
    rows = []
    for kind in ("params", "metrics"):
        left, right = (dict(getattr(row, kind)) for row in both)
        rows += [(kind, n, left.get(n), right.get(n)) for n in {**left, **right} if left.get(n) != right.get(n)]
    if as_json:
        show_json({"schema": 1, "changes": [{"kind": k, "name": n, "old": a, "new": b} for k, n, a, b in rows]})
        return
    cells = [[k.removesuffix("s"), n, *("-" if v is None else _number(v) for v in (a, b))] for k, n, a, b in rows]
    show_table(["KIND", "NAME", "OLD", "NEW"], cells)


def _row(here: Here, word: str) -> MetricRow:
    from minipach.experiments.metrics import rows
    from minipach.experiments.record import find

    name, _, number = word.partition(":")
    project = here.project()
    experiment = find(project, name)
    trial = experiment.trial(number)
    return rows(project, experiment)[experiment.trials.index(trial)]


@guarded
def apply(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="EXPERIMENT:POINT", help="Select a point by its number.")],
) -> None:
    """Write the parameters of a point to params.yml.

    Commits nothing. The next `minipach schedule` after a commit publishes the results of the point; none runs again.

    Example: minipach exp apply exp-1:2
    """
    from minipach.experiments.points import of_pipeline
    from minipach.experiments.record import find
    from minipach.experiments.write_params import with_point

    here: Here = context.obj
    project = here.project()
    name, _, number = point.partition(":")
    experiment = find(project, name)
    file = project.root / "params.yml"
    params = experiment.trial(number).params
    main = project.name_of(experiment.pipeline)
    names = dict.fromkeys(chain.partition(":")[0] if ":" in chain else main for chain in params)
    text = with_point(file, {one: of_pipeline(params, one, main) for one in names})
    replace_file(file, text.encode())
    show("wrote params.yml")
    show(f"next: git -C {project.root} add params.yml, commit it, and minipach schedule")


@guarded
def remove(context: typer.Context, name: NAME) -> None:
    """Remove an experiment. Its results stay stored.

    `minipach results gc --drop` removes results that nothing else needs.

    Example: minipach exp remove exp-1
    """
    from minipach.experiments.record import find
    from minipach.experiments.record import remove as drop

    here: Here = context.obj
    project = here.project()
    experiment = find(project, name)
    drop(project, experiment, say)
    show(f"removed {name} ({many(len(experiment.trials), 'point')})")
