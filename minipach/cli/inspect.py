"""`dag`, `diff`, `audit`: the whole at a glance, two states side by side, and whether results can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import GET, JOBS, JSON, PIPELINE, TARGETS
from minipach.cli.sections import LOOK, add
from minipach.cli.tables import GrowingTable, show_table

if TYPE_CHECKING:
    from minipach.rerun.repeated_run import Verdict
    from minipach.views.diff import Comparison, PathChanges

_FEW = 5  # paths of an input that moved
_MANY = 50  # datums and outputs, to read; --json has all


class Format(StrEnum):
    """The output format of `dag`."""

    text = "text"
    dot = "dot"
    mermaid = "mermaid"
    svg = "svg"


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, LOOK, dag, diff, audit)


@guarded
def dag(
    context: typer.Context,
    form: Annotated[Format, typer.Option("--format", help="Set the output format.")] = Format.text,
    as_json: JSON = False,
) -> None:
    """Draw the graph of pipelines and repositories.

    Example: minipach dag --format svg > dag.svg
    """
    from minipach.views.dag import as_dot, as_mermaid, as_rows, read_dag
    from minipach.views.dag_svg import as_svg

    here: Here = context.obj
    found = read_dag(here.project())
    for remark in found.remarks:
        say(remark)
    if as_json:
        show_json({"schema": 1, **found.as_json()})
        return
    if form is Format.svg:
        show_exactly(as_svg(found).rstrip("\n"))
        return
    if form is Format.text:
        show_table(["REPO", "STATE", "DATUMS", "INPUT"], list(as_rows(found)), tree=True)
        return
    for line in as_dot(found) if form is Format.dot else as_mermaid(found):
        show(line)


@guarded
def diff(
    context: typer.Context,
    pipeline: PIPELINE,
    old: Annotated[
        str | None,
        typer.Argument(metavar="OLD", help="Select a commit or job id. [default: commit before the last publish]"),
    ] = None,
    new: Annotated[str | None, typer.Argument(metavar="NEW", help="Select a commit or job id. [default: HEAD]")] = None,
    patch: Annotated[bool, typer.Option("--patch", help="Show changed lines of spec.yml and code/.")] = False,
    as_json: JSON = False,
) -> None:
    """Compare two states of a pipeline.

    Compares inputs, spec and code, image, datums, and outputs by content.

    Example: minipach diff edges, or minipach diff edges HEAD~3 --patch
    """
    from minipach.views.diff import compare_states

    here: Here = context.obj
    project = here.project()
    found = compare_states(project, project.path_of(pipeline), old, new, patch=patch)
    if as_json:
        show_json({"schema": 1, **found.as_json()})
        return
    _show_comparison(found)


def _show_comparison(found: Comparison) -> None:
    show(f"{found.pipeline}: {found.old[:10]} → {found.new[:10]}" + ("" if found else ": nothing differs"))
    moved = []
    for i in found.inputs:
        files = _counts(i.paths) if i.paths is not None else "its commits aren't both here"
        moved.append([i.repo, (i.old or "-")[:10], (i.new or "-")[:10], files])
    _titled("inputs", ["INPUT", "OLD", "NEW", "FILES"], moved)
    inputs = [[i.repo, *row] for i in found.inputs if i.paths for row in _cut(_rows(i.paths), _FEW)]
    _titled("files of inputs", ["INPUT", "CHANGE", "FILE"], inputs)
    code = [[{"A": "added", "D": "removed"}.get(status, "changed"), path] for status, path in found.code]
    _titled("spec and code", ["CHANGE", "FILE"], code)
    for line in found.patch.splitlines():
        show("  " + line)
    _titled("image", ["IMAGE"], [[line] for line in found.image])
    if found.datums:
        kinds = [d.kind for d in found.datums]
        counted = [f"{kinds.count(k)} {k}" for k in ("added", "removed", "changed") if k in kinds]
        rows = [
            [
                d.kind,
                d.old.id[:10] if d.old else "-",
                d.new.id[:10] if d.new else "-",
                d.outputs or "-",
                d.name,
            ]
            for d in found.datums
        ]
        summary = f"datums: {', '.join([*counted, f'{found.kept} as before'])}"
        _titled(summary, ["CHANGE", "OLD", "NEW", "OUTPUTS", "DATUM"], list(_cut(rows, _MANY)))
    if found.outputs:
        _titled(f"outputs: {_counts(found.outputs)}", ["CHANGE", "OUTPUT"], list(_cut(_rows(found.outputs), _MANY)))


def _titled(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table below its title, if it has rows."""
    if rows:
        show()
        show(title)
        show_table(columns, rows)


def _counts(paths: PathChanges) -> str:
    parts = [f"{len(paths.added)} added", f"{len(paths.removed)} removed", f"{len(paths.changed)} changed"]
    parts += [f"{len(paths.moved)} renamed"] if paths.moved else []
    parts += [f"{len(paths.same)} stored again with equal content"] if paths.same else []
    return ", ".join(parts)


def _rows(paths: PathChanges) -> list[list[str]]:
    """Return the kind of change and the path of each file."""
    kinds = (("added", paths.added), ("removed", paths.removed), ("changed", paths.changed))
    rows = [[kind, path] for kind, found in kinds for path in found]
    rows += [["renamed", f"{old} → {new} (same content)"] for old, new in paths.moved]
    return rows + [["same", f"{path} (same content)"] for path in paths.same]


def _cut(rows: list[list[str]], most: int) -> Iterator[list[str]]:
    """Yield the first rows, and one that says how many more there are."""
    yield from rows[:most]
    if len(rows) > most:
        yield ["...", *[""] * (len(rows[0]) - 2), f"and {len(rows) - most} more; --json has all"]


@guarded
def audit(
    context: typer.Context,
    what: TARGETS = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            metavar="N",
            help="Draw N datums of each pipeline. [default: 5; all datums that are named]",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Audit all datums instead of a sample.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="S", help="Draw the sample of an earlier audit again. [default: random]"),
    ] = None,
    jobs: JOBS = None,
    get: GET = False,
    as_json: JSON = False,
) -> None:
    """Run published datums again and compare the outputs.

    Runs in a scratch directory and changes nothing that is published. Verifies the checksums of all contents that a
    datum reads. Exit code 0: all outputs are identical. 1: some outputs differ. 2: there is nothing to audit.

    Example: minipach audit edges --sample 10, or minipach audit 'edges:sub-*'
    """
    import random

    from minipach.project.settings import slots
    from minipach.project.targets import parse_targets
    from minipach.rerun.audit import DEFAULT_SAMPLE, prepare, run
    from minipach.support.errors import Problem, UserError

    if everything and sample is not None:
        raise UserError(
            Problem("option.conflict", "", "--all and --sample exclude each other", "leave one of them out")
        )
    here: Here = context.obj
    project = here.project()
    targets = parse_targets(project, what or [], downstream=False)
    project.need(targets.order)
    named = bool(what) and all(targets.limits(path) for path in targets.order)
    wanted = None if everything or (named and sample is None) else sample or DEFAULT_SAMPLE
    drawn = seed if seed is not None else random.SystemRandom().randrange(2**32)
    found = prepare(project, targets, sample=wanted, seed=drawn)
    for remark in found.remarks:
        say(remark)
    for skipped in found.skipped:
        say(f"{skipped.pipeline}: {skipped.name}: left out, {skipped.reason}")

    table = GrowingTable(
        ["STATE", "PIPELINE", "DATUM", "MESSAGE"],
        [["reproducible", trial.pipeline, trial.name] for trial in found.trials],
    )

    def notify(verdict: Verdict) -> None:
        if not as_json:
            table.add([verdict.outcome, verdict.pipeline, verdict.name, _message(verdict)])

    run(found, slots(project.repo, jobs), notify, get=get)
    if as_json:
        show_json({"schema": 1, **found.as_json()})
    else:
        paths = [[v.pipeline, v.name, change, path] for v in found.verdicts for change, path in _differences(v)]
        _titled("outputs that differ", ["PIPELINE", "DATUM", "CHANGE", "OUTPUT"], paths)
        show()
        good = sum(v.outcome == "reproducible" for v in found.verdicts)
        drew = f" (--seed {drawn} draws these again)" if wanted is not None else ""
        show(f"{good} of {len(found.verdicts)} reproducible bit for bit{drew}; contents were verified again")
    if not found.ok:
        raise typer.Exit(FAILED)


def _message(verdict: Verdict) -> str:
    log = f"; {verdict.log}" if verdict.outcome == "failed" else ""
    return (verdict.message or "-") + log


def _differences(verdict: Verdict) -> Iterator[list[str]]:
    groups = (("changed", verdict.differ), ("removed", verdict.missing), ("added", verdict.extra))
    yield from _cut([[change, path] for change, paths in groups for path in paths], _MANY)
