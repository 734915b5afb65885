"""The problems of a spec: pydantic's findings in plain words, and checks across fields."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from minipach.model.pipeline import ALL, Kind, default_name, secret_variable
from minipach.model.recipe_kind import NAMES, kind_of
from minipach.spec.cron_line import BadLineError, parse_line, parse_moment
from minipach.spec.glob import GlobError, compile_glob
from minipach.spec.legacy_fields import instead
from minipach.spec.schema import InputSpec, PipelineSpec
from minipach.spec.value_types import NAME, NAME_RULE, Noted, Refused, project_name
from minipach.spec.yaml_reader import Document, Loc, Number, camel, show, snake

INPUT_KINDS: tuple[Kind, ...] = get_args(Kind)

_REFERENCE = re.compile(r"\$(?:(\$)|([0-9]+)|\{([0-9]+)\})?")
_INSTEAD = {
    "input": ("spout", "inputs", "job_input"),
    "transform": ("tf_job",),
}  # Pachyderm's fields that stand in for ours: refused anyway
_UNSET: tuple[object, ...] = (False, "", [])  # protobuf's JSON writes a field that isn't set like this


def validate(document: Document) -> PipelineSpec | None:
    """Return the checked model; None if pydantic found something, which is then in `document.problems`."""
    if isinstance(document.data, list):
        document.add(
            (), "spec.is-a-list", "a list", "put each pipeline into the spec.yml of its own folder (NAME/spec.yml)"
        )
        return None
    if not isinstance(document.data, dict):
        document.add((), "spec.no-mapping", "no spec", "write keys and values, at least `input:` and `transform:`")
        return None
    try:
        return PipelineSpec.model_validate(document.data)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            _report(document, found["loc"], found["type"], found["msg"], found.get("ctx", {}))
    return None


def _report(document: Document, loc: Loc, kind: str, message: str, context: Mapping[str, Any]) -> None:
    of_key = bool(loc) and loc[-1] == "[key]"
    loc = loc[:-1] if of_key else loc
    if len(found := document.resolve(loc)) == len(loc) and found in document.reported:  # a null or a tag, said already
        return
    name = str(loc[-1]) if loc else ""
    thing = f"`{name}`" if loc and isinstance(loc[-1], str) else "this item"
    if kind == "missing":
        if len(loc) == 1 and any(dig(document.data, field) is not None for field in _INSTEAD.get(name, ())):
            return
        above = loc[-2] if len(loc) > 1 else None
        where = "the spec" if above is None else f"`{above}`" if isinstance(above, str) else "this item"
        document.add(loc[:-1], "spec.missing-field", f"{where} has no `{name}`", "add it")
    elif kind == "extra_forbidden":
        message, fix = _unknown(name, _model_at(loc[:-1]), dig(document.data, *loc[:-1]))
        document.add(loc, "spec.unknown-field", message, fix, key=True)
    elif kind == "refused":
        document.add(loc, "spec.refused-field", f"`{name}` {message}", context["fix"], key=True)
    elif kind == "literal_error":
        values = re.findall(r"'(\w+)'", context["expected"])
        written = document.written(loc)
        guess = difflib.get_close_matches(written.strip("\"'"), values, 1)
        remedy = f"use {guess[0]}" if guess else "write " + " or ".join(values)
        document.add(loc, "spec.bad-value", f"`{name}` can't be {show(written)}", remedy)
    elif name == "repo" and isinstance(dig(document.data, *loc), dict):
        document.add(
            loc, "spec.bad-value", "the repo's name alone is needed here, since Pachyderm 1.4", "write repo: NAME"
        )
    elif kind == "model_type" and name == "gpu":
        document.add(
            loc, "spec.bad-value", "`gpu` needs keys and values", "write gpu: {type: nvidia.com/gpu, number: 1}"
        )
    elif kind in ("model_type", "dict_type"):
        document.add(loc, "spec.bad-value", f"{thing} needs keys and values", "write them below it, indented")
    else:
        document.add(loc, "spec.bad-value", message, context.get("fix", ""), key=of_key)


def _unknown(name: str, model: type[BaseModel], given: object) -> tuple[str, str]:
    """Return what to say of an unknown key, and the fix."""
    known = list(model.model_fields)
    if legacy := instead(model.__name__, snake(name)):
        what, fix = legacy
        return f"`{name}` is {what}", fix
    if snake(name) in known:
        return f"`{name}` is there already as `{snake(name)}`", "keep one"
    elsewhere = next((path for path, field in _fields(PipelineSpec, "") if field == snake(name)), None)
    if elsewhere is not None and given is not None:
        where = f"below `{elsewhere}`" if elsewhere else "to the top"
        return f"unknown key {show(name)} here", f"move it {where}"
    guess = difflib.get_close_matches(snake(name), known, 1)
    if guess:
        return f"unknown key {show(name)}", f"use `{guess[0]}`"
    usable = [key for key, field in model.model_fields.items() if not _without_effect(field.metadata)]
    return f"unknown key {show(name)}", f"use one of: {', '.join(usable)}"


def _without_effect(metadata: list[Any]) -> bool:
    return any(isinstance(mark, (Refused, Noted)) for mark in metadata)


def _fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield path, name
        inner = _model(field.annotation)
        if inner and inner is not model:
            yield from _fields(inner, f"{path}.{name}" if path else name)


def _model_at(loc: Loc) -> type[BaseModel]:
    model: type[BaseModel] = PipelineSpec
    for part in loc:
        if isinstance(part, str):
            model = _model(model.model_fields[snake(part)].annotation) or model
    return model


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part))), None)


def note_fields(model: BaseModel, loc: Loc, notes: Document) -> None:
    """Add a note for each field that is accepted and has no effect."""
    for name in sorted(model.model_fields_set):
        value, field = getattr(model, name), type(model).model_fields[name]
        for noted in field.metadata:
            if isinstance(noted, Noted) and value not in _UNSET:
                notes.add((*loc, name), "spec.note", f"`{name}` is {noted.text}", key=True)
        for n, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, BaseModel):
                note_fields(item, (*loc, name, n), notes)
        if isinstance(value, BaseModel):
            note_fields(value, (*loc, name), notes)


# What goes across fields: looks at the data as read, so that it works even where something else is wrong.


def dig(data: object, *keys: str | int) -> Any:
    """Return what stands at `keys` in raw data, in either spelling; None if nothing does."""
    for key in keys:
        if isinstance(data, dict):
            data = data.get(key, data.get(camel(str(key))))
        elif isinstance(data, list) and isinstance(key, int):
            data = data[key]
        else:
            return None
    return data


def text_of(data: object, key: str) -> str | None:
    """Return the text (or the number, as it is written) that stands at a key in raw data; None if there is none."""
    value = dig(data, key)
    return value.text if isinstance(value, Number) else value if isinstance(value, str) else None


def pfs_nodes(node: object, loc: Loc) -> Iterator[tuple[Loc, object]]:
    """Yield every pfs input below a raw input, with its place, as far as there is any order in it."""
    if isinstance(pfs := dig(node, "pfs"), dict):
        yield (*loc, "pfs"), pfs
    for kind in INPUT_KINDS:
        members = dig(node, kind)
        for n, member in enumerate(members if isinstance(members, list) else ()):
            yield from pfs_nodes(member, (*loc, kind, n))


def check_name(document: Document, folder: str) -> None:
    """Check that the pipeline has the folder's name, and that the name is valid."""
    name = text_of(dig(document.data, "pipeline"), "name")
    if not re.fullmatch(NAME, folder):
        document.add((), "spec.bad-name", f"the folder {show(folder)} can't name a pipeline ({NAME_RULE})", "rename it")
    elif name and name != folder:
        document.add(
            ("pipeline", "name"),
            "spec.bad-input",
            f"{show(name)} is in the folder {show(folder)}",
            "rename one of them, or remove the line",
        )


def check_inputs(document: Document, notes: Document) -> None:
    """Check kinds, names, repos, globs and templates of all inputs. What has no effect is a note."""
    if isinstance(node := dig(document.data, "input"), dict):
        _Inputs(document, notes).check(node, ("input",), frozenset(), {})


@dataclass(frozen=True)
class _Inputs:
    """The checks of the tree of inputs."""

    document: Document
    notes: Document

    def check(self, node: object, loc: Loc, above: frozenset[str], taken: dict[str, Loc]) -> dict[str, Loc]:
        """Check a node below combinations of the kinds `above`; returns `taken` and its own names."""
        if not isinstance(node, dict):
            return taken
        given = [kind for kind in ("pfs", *INPUT_KINDS, "cron") if kind in node and node[kind] not in _UNSET[:2]]
        strange = not given and any(isinstance(key, str) and key not in InputSpec.model_fields for key in node)
        if len(given) != 1 and not strange:  # a key that is no kind is reported as such
            has = "none" if not given else " and ".join(f"`{kind}`" for kind in given)
            what = f"an input is exactly one of pfs, cross, union, join, group, cron, but this has {has}"
            self.document.add(loc, "spec.bad-input", what, "keep one of them" if given else "add one of them")
        for kind in given:
            value = node[kind]
            if kind == "pfs" and isinstance(value, dict):
                taken = self._pfs(value, (*loc, "pfs"), above, taken)
            elif kind == "cron" and isinstance(value, dict):
                taken = self._cron(value, (*loc, "cron"), above, taken)
            elif kind in INPUT_KINDS and isinstance(value, list):
                found = taken
                for n, member in enumerate(value):
                    # members of a union never meet in one datum, so they may share names
                    names = self.check(member, (*loc, kind, n), above | {kind}, taken if kind == "union" else found)
                    found = found | names
                taken = found
        return taken

    def _pfs(self, node: object, loc: Loc, above: frozenset[str], taken: dict[str, Loc]) -> dict[str, Loc]:
        repo = text_of(node, "repo")
        if repo is not None and (problem := _repo_problem(repo)):
            self.document.add((*loc, "repo"), "spec.bad-repo", *problem)
            repo = None
        project = foreign_project(self.document, node)
        if project and (problem := _repo_problem(project)):
            self.document.add((*loc, "project"), "spec.bad-repo", *problem)
        elif dig(node, "project") not in (None, "") and not project:
            self.notes.add(
                (*loc, "project"), "spec.note", "`project` is the pipeline's own, and changes nothing", key=True
            )
        name = text_of(node, "name") or (default_name(clean_repo(repo)) if repo else "")
        where = (*loc, "name") if text_of(node, "name") else (*loc, "repo")
        taken = self._name(name, where, taken)
        self._keys(node, loc, above)
        return taken

    def _name(self, name: str, where: Loc, taken: dict[str, Loc]) -> dict[str, Loc]:
        """Check an input's name; `taken` with it."""
        if not name:
            return taken
        if problem := _name_problem(name):
            self.document.add(where, "spec.bad-name", *problem)
        elif name in taken:
            line = self.document.places[self.document.resolve(taken[name])].value.line
            message = f"the input name {show(name)} is used in line {line}"
            self.document.add(where, "spec.bad-input", message, "give this one another `name`")
        else:
            return {**taken, name: where}
        return taken

    def _cron(self, node: object, loc: Loc, above: frozenset[str], taken: dict[str, Loc]) -> dict[str, Loc]:
        repo = text_of(node, "repo")
        if repo and (problem := _repo_problem(repo)):
            self.document.add((*loc, "repo"), "spec.bad-repo", *problem)
        elif repo and any(part.startswith(".") for part in clean_repo(repo).split("/")):
            message, fix = f"{show(repo)} is at a hidden place", "write a path without parts that begin with a dot"
            self.document.add((*loc, "repo"), "spec.bad-repo", message, fix)
        for kind in sorted(above & {"join", "group"}):
            message, fix = f"a `cron` input in a {kind}, which has no key for it", "put it beside the join, in a cross"
            self.document.add(loc, "spec.bad-input", message, fix, key=True)
        return self._name(text_of(node, "name") or "", (*loc, "name"), taken)

    def _keys(self, node: object, loc: Loc, above: frozenset[str]) -> None:
        """Check the glob of an input, and the keys by which it is combined with others."""
        groups = self._glob(text_of(node, "glob"), (*loc, "glob"))
        for key in ("join_on", "group_by"):
            if template := text_of(node, key):
                self._template(template, groups, (*loc, key))
        for kind, key in (("join", "join_on"), ("group", "group_by")):
            if kind in above and dig(node, key) in (None, ""):
                self.document.add(
                    loc,
                    "spec.missing-field",
                    f"an input of a {kind} without `{key}`",
                    f'add it, as in {key}: "$1"',
                    key=True,
                )
        for key, kind in (("join_on", "join"), ("outer_join", "join"), ("group_by", "group")):
            if dig(node, key) not in (None, *_UNSET) and kind not in above:
                self.notes.add((*loc, key), "spec.note", f"`{key}` changes nothing outside a {kind}", key=True)

    def _glob(self, pattern: str | None, loc: Loc) -> int | None:
        if pattern is None:
            return None
        try:
            return compile_glob(pattern).groups
        except GlobError as error:
            what = f"the glob {show(pattern)} can't be read: {error.message}"
            self.document.add(loc, "spec.bad-glob", what, error.fix, offset=error.column)
            return None

    def _template(self, template: str, groups: int | None, loc: Loc) -> None:
        for found in _REFERENCE.finditer(template):
            number = found[2] or found[3]
            if not found[1] and number is None:
                self.document.add(
                    loc,
                    "spec.bad-input",
                    "a `$` without a number",
                    "write $1 or ${1} for a capture, $$ for a dollar sign",
                    offset=found.start(),
                )
            elif number and groups is not None and int(number[:9]) > groups:
                has = f"has {groups}" if groups else "has none"
                self.document.add(
                    loc,
                    "spec.bad-input",
                    f"{found[0]} names no capture, the glob {has}",
                    "put parentheses in the glob: (*)",
                    offset=found.start(),
                )


def check_triggers(document: Document) -> None:
    """Check that each trigger has a condition, and that inputs which read one branch have the same trigger."""
    seen: dict[tuple[str, str], tuple[object, int]] = {}
    for loc, node in pfs_nodes(dig(document.data, "input"), ("input",)):
        trigger = dig(node, "trigger")
        where = (*loc, "trigger")
        values = [dig(trigger, field) for field in ("commits", "size", "cron_spec")]
        unset = all(value in (None, *_UNSET) or value == Number("0") for value in values)
        if isinstance(trigger, dict) and unset and not _is_wrong_inside(document, where):
            fix = "add `commits`, `size` or `cron_spec`"
            document.add(where, "spec.no-condition", "a trigger without a condition", fix, key=True)
        repo = clean_repo(text_of(node, "repo") or "")
        branch = (text_of(trigger, "branch") if isinstance(trigger, dict) else None) or text_of(node, "branch") or ""
        shown = repr(trigger)
        line = document.places[document.resolve(loc)].key.line
        before = seen.setdefault((repo, branch), (shown, line))
        if repo and before[0] != shown:
            message = f"the input in line {before[1]} reads {repo} too, with another trigger"
            document.add(loc, "spec.two-triggers", message, "give both the same `trigger`", key=True)


def _is_wrong_inside(document: Document, loc: Loc) -> bool:
    """Return whether something below a mapping is reported already: that may be what seems to be missing."""
    above = document.resolve(loc)
    return any(found[: len(above)] == above and len(found) > len(above) for found in document.reported)


def cron_nodes(node: object, loc: Loc) -> Iterator[tuple[Loc, object]]:
    """Yield every cron input below a raw input, with its place."""
    if isinstance(cron := dig(node, "cron"), dict):
        yield (*loc, "cron"), cron
    for kind in INPUT_KINDS:
        members = dig(node, kind)
        for n, member in enumerate(members if isinstance(members, list) else ()):
            yield from cron_nodes(member, (*loc, kind, n))


def check_schedule(document: Document) -> None:
    """Check `minipach.schedule` against the cron inputs: one clock for an input, and times in their order."""
    schedule = dig(document.data, "minipach", "schedule")
    loc = ("minipach", "schedule")
    inputs = list(cron_nodes(dig(document.data, "input"), ("input",)))
    zone = (text_of(schedule, "timezone") if isinstance(schedule, dict) else None) or ""
    for at, node in inputs:
        _check_line(document, (*at, "spec"), text_of(node, "spec"), zone)
    if not isinstance(schedule, dict):
        return
    line = text_of(schedule, "cron")
    _check_line(document, (*loc, "cron"), line, zone)
    if line and inputs:
        there = document.places[document.resolve(inputs[0][0])].key.line
        message = f"a second clock, beside the `cron` input in line {there}"
        document.add((*loc, "cron"), "spec.two-clocks", message, "remove one of them")
    if not line and not inputs and not _is_wrong_inside(document, loc):
        message = "a schedule without a clock"
        document.add(loc, "spec.no-clock", message, "add `cron`, as in cron: 0 3 * * *", key=True)
    if line and "schedule" in {text_of(node, "name") for _, node in pfs_nodes(dig(document.data, "input"), ("input",))}:
        message = "the input of ticks is called schedule, and so is another input"
        document.add((*loc, "cron"), "spec.bad-input", message, "give that one another `name`")
    starts = [(at, text_of(node, "start")) for at, node in inputs]
    _check_order(document, loc, schedule, zone, [(loc, text_of(schedule, "start")), *starts])


def _check_line(document: Document, loc: Loc, line: str | None, zone: str) -> None:
    """Check that a line and the schedule don't name two timezones. What is wrong with either alone is said already."""
    if not line or document.resolve(loc) in document.reported:
        return
    try:
        parse_line(line)
        parse_line(line, zone)
    except BadLineError as error:
        if error.message.startswith("the line names"):
            document.add(loc, "spec.two-timezones", error.message, error.fix)


def _check_order(
    document: Document, loc: Loc, schedule: object, zone: str, starts: list[tuple[Loc, str | None]]
) -> None:
    end = text_of(schedule, "end")
    try:
        last = parse_moment(end, zone or "UTC") if end else None
        for at, start in starts:
            if last is not None and start and parse_moment(start, zone or "UTC") > last:
                where = document.places[document.resolve((*at, "start"))].value.line
                message = f"the end {show(end or '')} is before the start {show(start)} in line {where}"
                document.add((*loc, "end"), "spec.end-before-start", message, "write a later end")
                return
    except BadLineError:
        return  # said already


_RESERVED_VARIABLE = re.compile(r"(MINIPACH|PACH|PPS)_.*|PFS|PATH|IFS|LD_PRELOAD|LD_LIBRARY_PATH")


def check_secrets(document: Document, notes: Document) -> None:
    """Check that each secret has a variable or a file of its own, and a name that no other's can be taken for."""
    env = dig(document.data, "transform", "env")
    secrets = dig(document.data, "transform", "secrets")
    variables, names = set(env) if isinstance(env, dict) else set(), dict[str, str]()
    files = set[str]()
    for n, secret in enumerate(secrets if isinstance(secrets, list) else ()):
        variable, name, key, folder = (text_of(secret, field) for field in ("env_var", "name", "key", "mount_path"))
        loc = ("transform", "secrets", n)
        if variable:
            _check_variable(document, (*loc, "env_var"), variable, variables)
            variables.add(variable)
        nowhere = not variable and not folder and dig(secret, "env_var") in (None, "") and isinstance(secret, dict)
        if nowhere and not _is_wrong_inside(document, loc):
            document.add(
                loc,
                "spec.bad-secret",
                "the secret goes nowhere",
                "add `env_var` (a variable) or `mount_path` (a folder)",
            )
        if folder:
            file = secret_file(folder, key or name or "secret")
            if problem := _mount_problem(folder):
                document.add((*loc, "mount_path"), "spec.bad-secret", *problem)
            elif file in files:
                document.add(
                    (*loc, "mount_path"),
                    "spec.bad-secret",
                    f"a second secret in the file {file}",
                    "give it another `mount_path`",
                )
            elif not key:
                message, fix = f"the secret is the file {file}", "add `key` to give the file another name"
                notes.add((*loc, "mount_path"), "spec.note", message, fix)
            files.add(file)
        if name:
            full = f"{name}/{key}" if key else name
            other = names.setdefault(secret_variable(full), full)
            if other != full:
                document.add(
                    (*loc, "name"),
                    "spec.bad-input",
                    f"{show(full)} and {show(other)} have the same variable {secret_variable(full)}",
                    "rename one",
                )


def _check_variable(document: Document, loc: Loc, variable: str, others: Collection[str]) -> None:
    """Check that the variable of a secret has no other meaning. others: those that are set already."""
    if _RESERVED_VARIABLE.fullmatch(variable):
        document.add(loc, "spec.bad-secret", f"{show(variable)} has a meaning of its own", "use another variable")
    elif variable in others:
        document.add(loc, "spec.bad-secret", f"the variable {show(variable)} is set twice", "use another one")


def secret_file(folder: str, name: str) -> str:
    """Return the absolute path of a secret's file; "" for no folder."""
    return posixpath.normpath("/" + folder.strip("/") + "/" + name) if folder else ""


_SYSTEM = ("/pfs", "/project", "/proc", "/sys", "/dev")


def _mount_problem(folder: str) -> tuple[str, str] | None:
    """Return what is wrong with the folder of a secret, and the fix."""
    remedy = "write an absolute path of its own, as in /secrets"
    path = posixpath.normpath("/" + folder.strip("/"))
    if not folder.startswith("/"):
        return f"{show(folder)} is no absolute path", remedy
    if ".." in folder.split("/") or not folder.isprintable() or set(folder) & set(":="):
        return f'{show(folder)} holds "..", ":", "=" or a control character', remedy
    if path == "/" or any(path == taken or path.startswith(taken + "/") for taken in _SYSTEM):
        return f"{show(folder)} is used by the system or by minipach", remedy
    return None


def check_shared_code(document: Document) -> None:
    """Check that each path of `minipach.code` leads to a place outside of the pipeline's folder."""
    paths = dig(document.data, "minipach", "code")
    for n, path in enumerate(paths if isinstance(paths, list) else ()):
        text = path.text if isinstance(path, Number) else path
        if not isinstance(text, str):
            continue
        if not text or text.startswith("/") or not text.isprintable():
            problem = f"{show(text)} is no path in the project", "write it as seen from the pipeline's folder: ../lib"
        elif not posixpath.normpath(text).startswith("../") or posixpath.normpath(text).endswith("/.."):
            problem = f"{show(text)} names no folder or file beside the pipeline", "write ../lib, or remove it"
        else:
            continue
        document.add(("minipach", "code", n), "spec.bad-shared-code", *problem)


def check_environment(document: Document) -> None:
    """Check that `minipach.environment` is the path of a recipe, and that no image is named beside it."""
    path = dig(document.data, "minipach", "environment")
    text = path.text if isinstance(path, Number) else path
    if not isinstance(text, str) or not text:
        return
    loc = ("minipach", "environment")
    if kind_of(text) is None or text.startswith("/") or not text.isprintable():
        document.add(loc, "spec.bad-environment", f"{show(text)} is no recipe of an image", f"name {NAMES}")
    elif dig(document.data, "transform", "image"):
        document.add(loc, "spec.bad-environment", "`transform.image` names an image already", "remove one of them")


def own_project(project: object) -> str:
    """Return the Pachyderm project that a pipeline is in, as `pipeline.project` says it."""
    name = text_of(project, "name") if isinstance(project, dict) else project
    return name if isinstance(name, str) and name else "default"


def foreign_project(document: Document, node: object) -> str:
    """Return the Pachyderm project of a raw pfs input; "" if it is the pipeline's own."""
    project = project_name(dig(node, "project"))
    own = own_project(dig(document.data, "pipeline", "project"))
    return project if isinstance(project, str) and project != own else ""


def in_project(repo: str, project: str) -> str:
    """Return the path of a repo of a Pachyderm project."""
    return f"{project}/{repo}".removesuffix(f"/{ALL}") if project else repo


def clean_repo(repo: str) -> str:
    """Return a repo's path without empty and `.` parts; `.` for the superdataset itself."""
    parts = repo.split("/")
    return "/".join(part for part in parts if part not in ("", ALL)) or (ALL if ALL in parts else "")


def _repo_problem(repo: str) -> tuple[str, str] | None:
    """Return what is wrong with a repo's path, and the fix."""
    remedy = "write the path of a dataset or folder in the project, as in images or raw/t1"
    if repo.startswith("/"):
        return f"{show(repo)} is an absolute path", remedy
    if ".." in repo.split("/"):
        return f"{show(repo)} leads out by `..`", remedy
    if not clean_repo(repo):
        return f"{show(repo)} names no repo", remedy
    return None if repo.isprintable() else (f"{show(repo)} holds a control character", remedy)


def _name_problem(name: str) -> tuple[str, str] | None:
    """Return what is wrong with an input's name, and the fix."""
    if name == "out":
        return 'an input can\'t be called "out", where results go', "give it another `name`"
    if "/" in name or name.startswith(".") or not name.isprintable() or len(name.encode()) > 255:
        return f"{show(name)} can't be a folder below /pfs", "give a `name` without slashes, no dot first"
    return None
