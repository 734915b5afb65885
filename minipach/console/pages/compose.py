"""The page of a spec that is edited or made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minipach.console import compose as form
from minipach.console import template_form
from minipach.console.pages.page import Asked, Page
from minipach.git.repo import is_dataset
from minipach.model.repo_layout import SPEC
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.text import quoted
from minipach.templates.edit import NEW, SpecPreview, SpecText, preview
from minipach.views.dag import Node, read_dag
from minipach.views.dag_svg import as_svg


def compose(asked: Asked) -> Page:
    """Return the page of a spec that is edited or made: a form, the YAML, and what its datums would do."""
    project = asked.reading.project()
    if not asked.can_act:
        raise UserError(Problem("console.read-only", "compose", "the console only shows", "minipach ui --actions"))
    sent, failed = "text" in asked.values, list[Problem]()
    spec = None
    try:
        if sent:
            spec = form.given_spec(project, asked.values)
        elif any(asked.value(name) for name in ("pipeline", "new", "template", "repo", "path")):
            spec = form.opened(project, asked.values)
    except UserError as error:
        failed += error.problems
        if sent:  # what was written is kept, so that it can be corrected
            path, base = asked.value("path"), asked.value("base")
            source = project.spec_path(path) if path in project.order else f"{path}/{SPEC}"
            spec = SpecText(path, source, asked.value("text").replace("\r\n", "\n"), base or NEW)
    return composed(asked, project, spec, failed)


def composed(asked: Asked, project: Project, spec: SpecText | None, failed: Sequence[Problem]) -> Page:
    """Return the page of a spec as it stands. failed: what kept a form from being taken as it was sent."""
    data: dict[str, Any] = {"base": "", "problems": [], "effect": None, "failed": problems_json(failed)}
    order = [path for path in project.order if path in project.pipelines]
    context: dict[str, Any] = {"pipelines": order, "templates": form.templates(project), "failed": data["failed"]}
    if spec is None:
        return Page("Compose", "compose.html", data, context)
    seen = SpecPreview(tuple(failed)) if failed else preview(project, spec)
    values = form.form_of(spec.text)
    name = project.name_of(spec.path)
    message = asked.value("message") or (f"add the pipeline {name}" if spec.base == NEW else f"change {name}")
    holder = spec.path if is_dataset(project.root / spec.path) else project.holder_of(spec.path)
    inside = spec.source[len(holder) + 1 :] if holder else spec.source
    data |= {
        "base": spec.base,
        "path": spec.path,
        "name": name,
        "source": spec.source,
        "text": spec.text,
        "before": spec.text,
        "problems": [] if failed else problems_json(seen.problems),
        "effect": form.effects(seen.plan.steps) if seen.plan else None,
        "waits": seen.plan.waits if seen.plan else "",
        "cost": seen.cost,
        "message": message,
        "branch": asked.value("branch"),
        "template": asked.value("template") if spec.base == NEW else "",
        "values": "",
        "files": [],
        "command": f"git -C {quoted(holder or '.')} commit -m {quoted(message)} -- {quoted(inside)}",
    }

    def link(node: Node) -> str:
        return asked.url("compose", repo=node.path, **({"new": 1} if spec.base == NEW else {"pipeline": spec.path}))

    drawn = seen.project or project
    try:
        svg = as_svg(read_dag(drawn, asked.summary().status), link)
    except UserError:
        svg = ""
    template = data["template"]
    if template_form.is_of_library(template):
        try:
            context |= _template(asked, project, spec, data)
        except UserError as error:
            data["failed"] = [*data["failed"], *problems_json(error.problems)]
            context["failed"] = data["failed"]
    repos = sorted({*project.repos, *project.order} - {spec.path})
    context |= {
        "form": values,
        "flat": form.is_flat(spec.text),
        "rows": form.shown_rows(values),
        "extra": form.extras(values),
        "groups": form.groups(),
        "kinds": form.kinds(),
        "repos": repos,
        "svg": svg,
    }
    return Page(f"Compose {name}", "compose.html", data, context)


def _template(asked: Asked, project: Project, spec: SpecText, data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a template's parameters, and note its values and files."""
    template, given = data["template"], asked.values
    values = template_form.values_before(given)
    data["values"] = template_form.as_values(values)
    fields = template_form.parameters(project, template, values, given)
    if "text" in given and not data["failed"]:
        values = template_form.values_given(project, template, given)
        data["values"] = template_form.as_values(values)
    draft = template_form.draft_of(project, template, spec.path, values, asked.value("repo"))
    data["files"] = [f"{spec.path}/{file.path}" for file in draft.files]
    return {"parameters": fields, "repo": template_form.first_repo(project, asked.value("repo"))}
