"""`adopt`: the targets of a Makefile become pipelines, one step after the other."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from minipach.cli.common import Here, guarded, say, show, show_exactly, show_json
from minipach.cli.options import JSON
from minipach.cli.sections import WRITE, add
from minipach.project.project import find_project
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from minipach.model.pipeline import BrokenSpec, Pipeline
    from minipach.templates.adopt import Adoption, AdoptionStep

_SHOWN = 5  # datums


def register(app: typer.Typer) -> None:
    """Add this family's commands."""
    add(app, WRITE, adopt)


@guarded
def adopt(
    context: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help="Make pipelines of these targets. [default: all that have a recipe]"),
    ] = None,
    makefile: Annotated[str, typer.Option("--makefile", metavar="FILE", help="Read this Makefile.")] = "Makefile",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write all pipelines without a question.")] = False,
    save: Annotated[bool, typer.Option("--commit", help="Commit each pipeline that is written.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the steps, and write nothing.")] = False,
    as_json: JSON = False,
) -> None:
    """Turn the targets of a Makefile into pipelines, step by step.

    Targets of one pattern rule are the datums of one pipeline. Shows each step: the spec, the files and the datums.
    Writes it after a question at the terminal, or with --yes. make reads the Makefile in a sandbox. Moves and
    overwrites nothing; existing outputs stay. Runs nothing.

    Example: minipach adopt outputs/report.txt --dry-run
    """
    from minipach.templates.adopt import adoption

    here: Here = context.obj
    found = adoption(here.project(), here.directory / makefile)
    chosen = found.targets(targets or ())
    asks = not (yes or dry_run or as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    agreed = _asked if asks else lambda _: yes and not dry_run
    walk = _Walk(found, agreed, save=save, quiet=as_json)
    for target in chosen:
        walk.go(target, shown_counts=not asks)
    if not walk.shown and any(target not in found.before for target in targets or ()):
        raise UserError(_refusal(sentence) for sentence in found.skipped)
    steps = _next(walk.written, committed=save)
    if as_json:
        done = {"committed": save and bool(walk.written), "next": steps}
        show_json({"schema": 1, "steps": walk.rows, "left_out": found.skipped, **done})
        return
    for sentence in found.skipped:
        say(f"not adopted: {printable(sentence)}")
    if not walk.rows and not walk.written:
        show("no step is left")
    elif not (walk.written or asks):
        show("nothing was written; add --yes to write all steps, or name targets")
    for line in steps:
        show(f"next: {line}")


def _refusal(sentence: str) -> Problem:
    """Return the problem of a target that can't be adopted, from the sentence that names it with the reason."""
    target, _, why = sentence.partition(": ")
    return Problem("adopt.no-step", target, why, "name a target that makes a file from committed ones")


def _asked(step: AdoptionStep) -> bool:
    """Return whether a person at the terminal wants a step to be written."""
    return typer.confirm(f"Write {step.pipeline}?", default=False)


@dataclass
class _Walk:
    """The steps of an adoption as they are shown and written.

    Args:
        found: The targets, and what was made of them.
        agreed: Returns whether a step is written.
        save: Whether each pipeline is committed.
        quiet: Whether nothing is shown.
        rows: The steps, as JSON data.
        written: The pipelines that were written.
        given: Those that were shown and not written.
        shown: The number of steps so far.
    """

    found: Adoption
    agreed: Callable[[AdoptionStep], bool]
    save: bool
    quiet: bool
    rows: list[dict[str, object]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    given: dict[str, Pipeline | BrokenSpec] = field(default_factory=dict)
    shown: int = 0

    def go(self, target: str, *, shown_counts: bool) -> None:
        """Go a step. shown_counts: whether later steps read from it though it is not written."""
        from minipach.templates.adopt import first_look
        from minipach.templates.draft import to_yaml

        step = self.found.step(target)
        if step is None:
            return
        self.shown += 1
        datums, why = first_look(self.found.project, step, self.given)
        if not self.quiet:
            _show(step, f"step {self.shown}", datums, why)
        files = self._write(step) if self.agreed(step) else []
        if not files and not shown_counts:
            self.given.pop(step.pipeline)  # what comes after it reads what there is
            return
        self.found.note(target, step.pipeline)
        names = {"target": target, "pipeline": step.pipeline, "spec": to_yaml(step.draft), "files": files}
        more = {"datums": len(datums), "first": datums[:_SHOWN], "unknown": why, "stays": step.stays}
        notes = {"guesses": step.draft.sentences(), "left_out": list(step.draft.left_out)}
        self.rows.append({**names, **more, **notes})

    def _write(self, step: AdoptionStep) -> list[str]:
        """Write the files of a step, and return their paths in the project."""
        from minipach.templates.create import commit, write

        files = write(self.found.project, step.pipeline, step.draft)
        if self.save:
            commit(self.found.project, step.pipeline, files)
        self.written.append(step.pipeline)
        self.found.project = find_project(self.found.project.root)
        self.given.pop(step.pipeline)
        if not self.quiet:
            for file in files:
                show(f"wrote {printable(file)}")
        return files


def _show(step: AdoptionStep, title: str, datums: list[str], why: str) -> None:
    from minipach.templates.draft import to_yaml

    show(f"{title}: {printable(step.target)} -> {step.pipeline}")
    show_exactly("".join(f"  {line}\n" for line in to_yaml(step.draft).splitlines()).rstrip("\n"))
    files = ["spec.yml", *(file.path for file in step.draft.files)]
    show(f"  files: {', '.join(f'{step.pipeline}/{name}' for name in files)}")
    shown = ", ".join(map(printable, datums[:_SHOWN])) + (", ..." if len(datums) > _SHOWN else "")
    show(f"  datums: {why or f'{len(datums)}: {shown}'}")
    for sentence in step.draft.left_out:
        say(f"  left out: {printable(sentence)}")
    if step.stays:
        show(f"  {printable(step.stays)} stays as it is; the result will be {step.pipeline}/{printable(step.target)}")


def _next(written: list[str], *, committed: bool) -> list[str]:
    """Return the commands that follow."""
    if not written:
        return []
    names, what = " ".join(map(quoted, written)), many(len(written), "pipeline")
    commit = f"git add {names} && git commit -m {quoted(f'add {what}')}"
    return [*([] if committed else [commit]), "minipach schedule"]
