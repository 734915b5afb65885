"""`dag`, `diff`, `audit`: the whole at a glance, two states side by side, and whether results can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import FAILED, Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import GET, JOBS, JSON, PIPELINE, TARGETS
from minipach.cli.sections import LOOK, add
from minipach.cli.tables import state
from minipach.support.text import printable

if TYPE_CHECKING:
    from minipach.rerun.trial import Verdict
    from minipach.views.diff import Comparison, Paths

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
    from minipach.views.dag import as_dot, as_mermaid, as_text, read_dag
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
    drawn = {
        Format.text: lambda: as_text(found, lambda text, word: state(word, text)),
        Format.dot: lambda: as_dot(found),
        Format.mermaid: lambda: as_mermaid(found),
    }
    for line in drawn[form]():
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
    from minipach.views.diff import compare

    here: Here = context.obj
    project = here.project()
    found = compare(project, project.path_of(pipeline), old, new, patch=patch)
    if as_json:
        show_json({"schema": 1, **found.as_json()})
        return
    for line in _told(found):
        show(line)


def _told(found: Comparison) -> Iterator[str]:
    yield f"{found.pipeline}: {found.old[:10]} → {found.new[:10]}" + ("" if found else ": nothing differs")
    for i in found.inputs:
        where = f"{(i.old or 'absent')[:10]} → {(i.new or 'absent')[:10]}"
        counts = f": {_counts(i.paths)}" if i.paths is not None else "; its commits aren't both here"
        yield f"input {printable(i.repo)}: {where}{counts}"
        yield from _paths(i.paths, _FEW) if i.paths else ()
    for status, path in found.code:
        yield f"{ {'A': 'added', 'D': 'removed'}.get(status, 'changed') } {printable(path)}"
    for line in found.patch.splitlines():
        yield "  " + printable(line)
    for line in found.image:
        yield f"image {printable(line)}"
    if found.datums:
        kinds = [d.kind for d in found.datums]
        counted = [f"{kinds.count(k)} {k}" for k in ("added", "removed", "changed") if k in kinds]
        yield f"datums: {', '.join([*counted, f'{found.kept} as before'])}"
        lines = []
        for d in found.datums:
            ids = " → ".join(p.id[:10] for p in (d.old, d.new) if p)
            same = ", outputs identical" if d.outputs == "identical" else ""
            lines.append(f"  {_MARKS[d.kind]} {printable(d.name)}  {ids}{same}")
        yield from _cut(lines, _MANY)
    if found.outputs:
        yield f"outputs: {_counts(found.outputs)}"
        yield from _paths(found.outputs, _MANY)


_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def _counts(paths: Paths) -> str:
    parts = [f"{len(paths.added)} added", f"{len(paths.removed)} removed", f"{len(paths.changed)} changed"]
    parts += [f"{len(paths.moved)} renamed"] if paths.moved else []
    parts += [f"{len(paths.same)} stored again with equal content"] if paths.same else []
    return ", ".join(parts)


def _paths(paths: Paths, most: int) -> Iterator[str]:
    lines = [f"  {mark} {printable(p)}" for mark, kind in zip("+-~", _kinds(paths), strict=True) for p in kind]
    lines += [f"  = {printable(a)} → {printable(b)} (same content)" for a, b in paths.moved]
    lines += [f"  = {printable(p)} (same content)" for p in paths.same]
    yield from _cut(lines, most)


def _kinds(paths: Paths) -> tuple[Sequence[str], ...]:
    return paths.added, paths.removed, paths.changed


def _cut(lines: list[str], most: int) -> Iterator[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"  and {len(lines) - most} more; --json has all"


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

    def tell(verdict: Verdict) -> None:
        if not as_json:
            for line in _verdict(verdict):
                show(line)

    run(found, slots(project.repo, jobs), tell, get=get)
    if as_json:
        show_json({"schema": 1, **found.as_json()})
    else:
        good = sum(v.outcome == "reproducible" for v in found.verdicts)
        drew = f" (--seed {drawn} draws these again)" if wanted is not None else ""
        show(f"{good} of {len(found.verdicts)} reproducible bit for bit{drew}; contents were verified again")
    if not found.ok:
        raise typer.Exit(FAILED)


def _verdict(verdict: Verdict) -> Iterator[str]:
    message = f", {printable(verdict.message)}" if verdict.message else ""
    log = f"; {verdict.log}" if verdict.outcome == "failed" else ""
    word = state(verdict.outcome)
    yield f"{verdict.pipeline}: {printable(verdict.name)}: {word}{message}{log}"
    groups = (("differs", verdict.differ), ("is missing now", verdict.missing), ("is new", verdict.extra))
    yield from _cut([f"  {printable(path)} {what}" for what, paths in groups for path in paths], _MANY)
