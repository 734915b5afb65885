"""The library of templates: what there is, what a template asks for, and the pipeline that it makes.

For callers: `available` lists, `describe` reads one, `render` makes the draft of a pipeline. None of them writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minipach.project.project import Project
from minipach.spec.glob import GlobError, compile_glob
from minipach.support.errors import Problem, UserError, each_once, problems_json
from minipach.support.text import printable, suggest
from minipach.templates.draft import Draft
from minipach.templates.inputs import guess_glob, need_repo, only_repo
from minipach.templates.parameters import value_of_text
from minipach.templates.render import InputValue, as_draft
from minipach.templates.sources import TemplateSource, add_source, remove_source, sources
from minipach.templates.template import Template, read_template


@dataclass(frozen=True, slots=True)
class Listed:
    """A template in a list. problems: why it cannot be used; then there is no summary."""

    name: str
    version: str = ""
    summary: str = ""
    problems: tuple[Problem, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the row as documented for `--json`."""
        texts = {"name": self.name, "version": self.version, "summary": self.summary}
        return {**texts, "problems": problems_json(self.problems)}


def available(project: Project | None = None) -> list[Listed]:
    """Return all templates: those that come with minipach, then those of the user's own sources.

    Args:
        project: The project whose sources are listed; None: only those that come with minipach.
    """
    found: list[Listed] = []
    for source in sources(project):
        try:
            folders = source.folders()
        except UserError as error:
            found.append(Listed(source.name, problems=error.problems))
            continue
        found += [_listed(source, name, folder) for name, folder in sorted(folders.items())]
    return found


def add(project: Project, name: str, place: str, directory: Path) -> list[Listed]:
    """Add a source of templates, and return these.

    Args:
        project: The project in whose local configuration the source is kept.
        name: The first part of its templates' names: `NAME/TEMPLATE`.
        place: A folder, or an address of a git repository.
        directory: The folder that a relative folder is looked for in.

    Raises:
        UserError: The source cannot be read, or none of its templates can be used. Then nothing is added.
    """
    source = add_source(project, name, place, directory)
    found = [_listed(source, one, folder) for one, folder in sorted(source.folders().items())]
    if all(one.problems for one in found):
        remove_source(project, name)
        raise UserError(each_once(problem for one in found for problem in one.problems))
    return found


def describe(name: str, project: Project | None = None) -> Template:
    """Return a template by its name: `edges`, or `SOURCE/edges` for one of the user's own.

    Raises:
        UserError: There is no such template, or it cannot be used.
    """
    source, folder = _find(name, project)
    return read_template(name, source.files(folder), source.place(folder))


def template_names(project: Project | None = None) -> list[str]:
    """Return the names of all templates, also of those that cannot be used."""
    return [name for _, known in _names(project) for name in known]


def exists(name: str, project: Project | None = None) -> bool:
    """Return whether there is a template of this name."""
    return any(name in names for _, names in _names(project))


def render(
    project: Project,
    name: str,
    pipeline: str,
    values: Mapping[str, Any] | None = None,
    inputs: Sequence[str] = (),
) -> Draft:
    """Return the draft of a pipeline from a template. Writes nothing, and runs nothing.

    Args:
        project: The project.
        name: The template's name.
        pipeline: The path of the new pipeline in the project.
        values: Values of parameters, as JSON has them; the others have their defaults.
        inputs: For each input of the template in turn, `REPO` or `REPO:GLOB`, perhaps with `NAME=` before it.

    Raises:
        UserError: There is no such template or repo, or a value does not fit.
    """
    template = describe(name, project)
    found = inputs_of_template(project, template, inputs, pipeline)
    source, _ = _find(name, project)
    more = {"source": source.url if source.name else "", "commit": source.commit()}
    return as_draft(template, PurePosixPath(pipeline).name, values or {}, found, more)


def values_of_words(template: Template, words: Sequence[str]) -> dict[str, Any]:
    """Return the values that `--set NAME=VALUE` words mean. Raises UserError for a word without `=`."""
    properties = template.parameters.get("properties", {})
    found: dict[str, Any] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise UserError(
                Problem("template.bad-set", "--set", f'"{printable(word)[:60]}" has no "="', "write NAME=VALUE")
            )
        found[name] = value_of_text(text, properties[name]) if name in properties else text
    return found


def inputs_of_template(
    project: Project, template: Template, words: Sequence[str], pipeline: str
) -> dict[str, InputValue]:
    """Return the repo and the glob of each input of a template. Raises UserError."""
    names = [slot.name for slot in template.inputs]
    named: dict[str, str] = {}
    for word in words:
        name, sign, rest = word.partition("=")
        if sign and name in names:
            named[name] = rest
        elif free := next((name for name in names if name not in named), None):
            named[free] = word
        else:
            fix = f"give at most {len(names)}" if names else "leave out --input"
            message = f"{template.name} has no more inputs"
            raise UserError(Problem("template.no-input", f"--input {printable(word)[:60]}", message, fix))
    found: dict[str, InputValue] = {}
    for slot in template.inputs:
        word = named.get(slot.name) or (found and next(iter(found.values())).repo) or only_repo(project, pipeline)
        repo, colon, glob = word.partition(":")
        repo = repo.strip("/")
        need_repo(project, repo, pipeline)
        glob = glob if colon else slot.glob or guess_glob(project, repo)[0]
        try:
            compile_glob(glob)
        except GlobError as error:
            raise UserError(Problem("new.bad-glob", "--input", f'"{printable(word)[:60]}": {error}')) from None
        found[slot.name] = InputValue(repo, glob)
    return found


def _listed(source: TemplateSource, name: str, folder: str) -> Listed:
    try:
        template = read_template(name, source.files(folder), source.place(folder))
    except UserError as error:
        return Listed(name, problems=error.problems)
    return Listed(name, template.version, template.summary)


def _find(name: str, project: Project | None) -> tuple[TemplateSource, str]:
    for source, names in _names(project):
        if name in names:
            return source, names[name]
    for source in sources(project):
        if source.name and (name == source.name or name.startswith(f"{source.name}/")):
            source.folders()  # says why it cannot be read
    fix = suggest(name, template_names(project)) or "see minipach templates list"
    raise UserError(Problem("template.not-found", printable(name)[:80], "no template of this name", fix))


def _names(project: Project | None) -> list[tuple[TemplateSource, dict[str, str]]]:
    found = []
    for source in sources(project):
        try:
            found.append((source, source.folders()))
        except UserError:
            continue  # `available` and `_find` report it
    return found
