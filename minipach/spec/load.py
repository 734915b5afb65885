"""spec.yml to a Pipeline: parsed and checked, every problem with its line, column and fix."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from minipach.model.clock import TICK_GLOB, Clock
from minipach.model.pipeline import (
    BranchTrigger,
    BrokenSpec,
    Combination,
    Input,
    Limits,
    Metadata,
    Need,
    PfsInput,
    Pipeline,
    Pod,
    Resources,
    Secret,
    Service,
    SetSpec,
    Transform,
    default_name,
)
from minipach.spec.cron_line import parse_line, parse_moment
from minipach.spec.output_template import check_out_template
from minipach.spec.placeholder import check_word, of_datum
from minipach.spec.schema import (
    CronSpec,
    InputSpec,
    MetadataSpec,
    PfsSpec,
    PipelineSpec,
    ResourceSpec,
    ScheduleSpec,
    TolerationSpec,
)
from minipach.spec.template import Kind as TextKind
from minipach.spec.template import Scope, has_templates, merged, names_datum, problems, rendered
from minipach.spec.validate import (
    INPUT_KINDS,
    check_environment,
    check_inputs,
    check_name,
    check_schedule,
    check_secrets,
    check_shared_code,
    check_triggers,
    clean_repo,
    dig,
    foreign_project,
    in_project,
    note_fields,
    own_project,
    pfs_nodes,
    secret_file,
    text_of,
    validate,
)
from minipach.spec.yaml_reader import Document, Loc, camel, comment_in_json, read_yaml, snake
from minipach.support.errors import Problem
from minipach.support.git_objects import blob_id


def load_spec(text: str, *, source: str, folder: str, params: Mapping[str, Any] | None = None) -> Pipeline:
    """Read and check the spec of the pipeline in `folder` (its name, not its path).

    params: of the project for this pipeline; they count before those of the spec.

    Raises BrokenSpec with all problems at once, each located at `source:line:column`.
    """
    document = read_yaml(text)
    if document.data is None:
        raise BrokenSpec(_found(source, document, text))
    spec = validate(document)
    notes = Document(places=document.places)
    check_name(document, folder)
    check_inputs(document, notes)
    check_schedule(document)
    check_triggers(document)
    check_secrets(document, notes)
    check_shared_code(document)
    check_environment(document)
    per_datum: frozenset[str] = frozenset()
    if has_templates(text):
        per_datum = _render(document, folder, source, params or {})
        spec = validate(document) if spec is not None and not document.problems else spec
    _check_out(document, spec)
    _check_words(document)
    _check_batching(document)
    _check_retry(document)
    _check_egress(document, spec)
    _check_service(document, spec)
    if document.problems or spec is None:
        raise BrokenSpec(_found(source, document, text), tuple(_needs(document, source)), _image(document, source))
    note_fields(spec, (), notes)
    return _pipeline(spec, folder, source, _found(source, notes), _places(document), blob_id(text.encode()), per_datum)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of spec.yml, for editors: each key in both spellings, no other keys."""
    schema = PipelineSpec.model_json_schema(mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "minipach spec.yml"
    schema["$comment"] = "A key may be written in snake_case or camelCase, but not both ways in one object."
    for part in (schema, *schema["$defs"].values()):
        properties = part["properties"]
        for name, field in list(properties.items()):
            _tidy(field)
            if camel(name) != name:
                properties[camel(name)] = field
    return schema


def _tidy(field: dict[str, Any]) -> None:
    # pydantic writes "or null" and a null default for what may be left out; a spec never holds a null.
    field.pop("title", None)
    if without_effect := field.pop("$comment", None):
        field["description"] = f"{without_effect} {field['description']}"
    if field.get("default", ...) is None or isinstance(field.get("default"), dict):
        del field["default"]
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del field["anyOf"]
        field.update(options[0])


def _found(source: str, document: Document, text: str = "") -> tuple[Problem, ...]:
    comment = comment_in_json(text)  # whatever else is wrong follows from it
    in_order = sorted(document.problems, key=lambda found: (found[0], str(found[1])))
    found = [comment] if comment else dict.fromkeys(in_order)
    return tuple(replace(problem, location=f"{source}:{mark.line}:{mark.column}") for mark, problem in found)


def _places(document: Document) -> tuple[tuple[str, str], ...]:
    """Return the lines and columns of the fields that later checks can report errors about."""
    recipe = ("minipach", "environment")  # takes the place of the image, also in messages
    return tuple(
        (
            "transform.image" if loc == recipe else ".".join(snake(str(part)) for part in loc),
            f"{place.value.line}:{place.value.column}",
        )
        for loc, place in document.places.items()
        if loc[:1] == ("input",)
        or loc[:2] == ("minipach", "schedule")
        or loc
        in (("service",), recipe, ("transform", "image"), ("transform", "cmd"), ("output_branch",), ("outputBranch",))
    )


def _render(document: Document, folder: str, source: str, params: Mapping[str, Any]) -> frozenset[str]:
    """Put the template values into the texts of a spec; return the variables that have a value of each datum."""
    inputs = None if document.problems else _checked_input(document)
    own = dig(document.data, "minipach", "params")
    path = source.rpartition("/")[0] or folder
    scope = Scope(folder, path, merged(own if isinstance(own, dict) else {}, params), inputs)
    for name in ("cmd", "err_cmd"):
        _render_at(document, ("transform", name), "word", scope)
    for name in ("stdin", "err_stdin"):
        _render_at(document, ("transform", name), "text", scope)
    _render_at(document, ("minipach", "out"), "out", scope)
    env = dig(document.data, "transform", "env")
    found = {name for name, value in env.items() if names_datum(value)} if isinstance(env, dict) else set()
    for name in env if isinstance(env, dict) else ():
        _render_at(document, ("transform", "env", name), "variable", scope)
    return frozenset(found)


def _render_at(document: Document, loc: Loc, kind: TextKind, scope: Scope) -> None:
    """Render a text of the spec, or each of a list."""
    above, value = dig(document.data, *loc[:-1]), dig(document.data, *loc)
    if isinstance(value, list):
        for n in range(len(value)):
            _render_at(document, (*loc, n), kind, scope)
    elif isinstance(value, str) and has_templates(value):
        found = list(problems(value, kind, scope))
        for at, *problem in found:
            document.add(loc, "spec.bad-template", *problem, offset=at)
        if not found:
            key = loc[-1] if isinstance(above, list) or loc[-1] in above else camel(str(loc[-1]))
            above[key] = rendered(value, kind, scope)


def _check_out(document: Document, spec: PipelineSpec | None) -> None:
    inputs = _checked_input(document)
    out = spec.minipach.out if spec else dig(document.data, "minipach", "out")
    if inputs and isinstance(out, str) and (problem := check_out_template(out, inputs)):
        document.add(("minipach", "out"), "spec.bad-output-template", *problem)


def _check_words(document: Document) -> None:
    """Check the placeholders in the words of the commands."""
    inputs = _checked_input(document)
    for field in ("cmd", "err_cmd") if inputs else ():
        words = dig(document.data, "transform", field)
        for n, word in enumerate(words if isinstance(words, list) else ()):
            assert inputs is not None
            for at, *problem in check_word(word, inputs) if isinstance(word, str) else ():
                document.add(("transform", field, n), "spec.bad-placeholder", *problem, offset=at)


def _check_batching(document: Document) -> None:
    """Check what a program can't have that is started once for many datums."""
    if dig(document.data, "transform", "datum_batching") is not True:
        return
    inputs = _checked_input(document)
    words = dig(document.data, "transform", "cmd")
    for n, word in enumerate(words if isinstance(words, list) and inputs else ()):
        assert inputs is not None
        for field, at in of_datum(word, inputs) if isinstance(word, str) else ():
            document.add(
                ("transform", "cmd", n),
                "spec.bad-placeholder",
                f"{{{field}}} differs from datum to datum, but with `datum_batching` one command runs for many",
                "let the program read /pfs/.env after each minipach-next",
                offset=at,
            )
    if dig(document.data, "minipach", "inputs") == "writable":
        document.add(
            ("minipach", "inputs"),
            "spec.bad-value",
            "with `datum_batching`, inputs are read-only",
            "remove one of them",
        )


def _check_retry(document: Document) -> None:
    """Check that there is a size of memory that another try can get more of."""
    sizes = [dig(document.data, field, "memory") for field in ("resource_requests", "resource_limits")]
    if dig(document.data, "minipach", "retry", "memory") is not None and sizes == [None, None]:
        document.add(
            ("minipach", "retry", "memory"),
            "spec.bad-value",
            "the spec says nowhere how much memory a datum has",
            "add resource_limits: {memory: 2Gi}, or resource_requests",
            key=True,
        )


def _check_egress(document: Document, spec: PipelineSpec | None) -> None:
    """Check that egress names one place."""
    if spec is None or spec.egress is None:
        return
    if bool(spec.egress.url) == bool(spec.egress.object_storage):
        fix = "write {URL: s3://BUCKET/PREFIX}"
        document.add(("egress",), "spec.bad-value", "one place is needed here", fix)


def _egress(spec: PipelineSpec) -> str:
    found = spec.egress
    return "" if found is None else found.url or (found.object_storage.url if found.object_storage else "")


_NO_END = ("datum_timeout", "job_timeout", "egress", "output_branch")  # of what has an end, and outputs


def _check_service(document: Document, spec: PipelineSpec | None) -> None:
    """Check that a service has nothing that only a program with an end can have."""
    if spec is None:
        return
    if spec.service is None:
        if spec.minipach.health:
            message = "`health` is for a service, and this is none"
            document.add(("minipach", "health"), "spec.bad-service", message, "add `service`, or remove it", key=True)
        return
    found: list[tuple[str, ...]] = [(name,) for name in _NO_END if getattr(spec, name)]
    found += [("transform", "datum_batching")] if spec.transform.datum_batching else []
    found += [("minipach", "schedule")] if spec.minipach.schedule else []
    for loc in found:
        message = f"`{loc[-1]}` has no meaning for a service, which has neither end nor outputs"
        document.add(loc, "spec.bad-service", message, "remove one of them", key=True)
    if spec.parallelism_spec.constant > 1:
        where = ("parallelism_spec", "constant")
        document.add(where, "spec.bad-service", "a service runs once", "write constant: 1, or remove it")


def _service(spec: PipelineSpec) -> Service | None:
    found = spec.service
    if found is None:
        return None
    return Service(
        found.internal_port,
        found.external_port or found.internal_port,
        found.type or "NodePort",
        found.ip,
        _pairs(found.annotations),
        spec.minipach.health,
    )


def _checked_input(document: Document) -> Input | None:
    # The input alone: where only something else is wrong, what depends on it can still be checked.
    if any(loc[:1] == ("input",) or loc[:2] == ("minipach", "schedule") for loc in document.reported):
        return None
    schedule = dig(document.data, "minipach", "schedule")
    try:
        policy = ScheduleSpec.model_validate(schedule) if schedule is not None else None
        return _whole_input(InputSpec.model_validate(dig(document.data, "input")), policy, "", "")
    except ValidationError:
        return None


def _needs(document: Document, source: str) -> Iterator[Need]:
    """Yield what a broken spec takes input from: each repo (and branch) that is sound, whatever is wrong around it."""
    for loc, node in pfs_nodes(dig(document.data, "input"), ("input",)):
        repo, branch = (_sound(document, (*loc, field), node) for field in ("repo", "branch"))
        if repo:
            at, branch_at = (_at(document, source, (*loc, field)) for field in ("repo", "branch"))
            project = foreign_project(document, node)
            yield Need(in_project(clean_repo(repo), project), branch or None, at, branch_at, project)


def _image(document: Document, source: str) -> tuple[str, str] | None:
    for part, field in (("minipach", "environment"), ("transform", "image")):
        if named := _sound(document, (part, field), dig(document.data, part)):
            return named, _at(document, source, (part, field))
    return None


def _sound(document: Document, loc: Loc, node: object) -> str | None:
    """Return the text of a field that nothing was found wrong with."""
    return None if document.resolve(loc) in document.reported else text_of(node, str(loc[-1]))


def _at(document: Document, source: str, loc: Loc) -> str:
    """Return a position as `place_of` does, for a spec that is no Pipeline."""
    found = document.resolve(loc)
    mark = document.places[found].value if len(found) == len(loc) else None
    return f"{source}:{mark.line}:{mark.column}" if mark else source


def _whole_input(spec: InputSpec, policy: ScheduleSpec | None, own: str, place: str) -> Input:
    """Return the input, crossed with the ticks of the schedule if that has a line. own, place: as for `_input`."""
    found = _input(spec, policy or ScheduleSpec(), own, place)
    if policy is None or not policy.cron:
        return found
    ticks = PfsInput("schedule", f"{place}_schedule", TICK_GLOB, clock=_clock(policy.cron, "", policy))
    return Combination("cross", (found, ticks), scheduled=True)


def _input(spec: InputSpec, policy: ScheduleSpec, own: str, place: str) -> Input:
    """Return an input as plain data. own: the Pachyderm project of the pipeline · place: the pipeline's path."""
    if spec.pfs:
        return _pfs(spec.pfs, own)
    if spec.cron:
        return _cron(spec.cron, policy, place)
    kind, members = next((kind, found) for kind in INPUT_KINDS if (found := getattr(spec, kind)))
    return Combination(kind, tuple(_input(member, policy, own, place) for member in members))


def _cron(spec: CronSpec, policy: ScheduleSpec, place: str) -> PfsInput:
    repo = clean_repo(spec.repo) or f"{place}_{spec.name}"
    clock = _clock(spec.spec, spec.start, policy, overwrite=spec.overwrite)
    return PfsInput(spec.name, repo, TICK_GLOB, clock=clock)


def _clock(text: str, start: str, policy: ScheduleSpec, *, overwrite: bool = False) -> Clock:
    line = parse_line(text, policy.timezone)
    begin = start or policy.start
    return Clock(
        line=f"@every {line.every}s" if line.every else line.expression,
        zone=line.zone,
        start=parse_moment(begin, line.zone) if begin else None,
        end=parse_moment(policy.end, line.zone) if policy.end else None,
        overwrite=overwrite,
        depends_on_past=policy.depends_on_past,
        max_active_runs=policy.max_active_runs,
        expired_limit=round(policy.expired_limit) or None,
    )


def _pfs(spec: PfsSpec, own: str) -> PfsInput:
    repo = clean_repo(spec.repo)
    project = spec.project if spec.project != own else ""
    return PfsInput(
        name=spec.name or default_name(repo),
        repo=in_project(repo, project),
        glob=spec.glob,
        branch=(spec.trigger.branch if spec.trigger else None) or spec.branch or None,
        join_on=spec.join_on,
        outer_join=spec.outer_join,
        group_by=spec.group_by,
        lazy=spec.lazy,
        empty_files=spec.empty_files,
        project=project,
        trigger=_trigger(spec),
    )


def _trigger(spec: PfsSpec) -> BranchTrigger | None:
    given = spec.trigger
    if given is None:
        return None
    return BranchTrigger(
        given.branch or spec.branch or None, given.commits, given.size or 0, given.cron_spec, given.all
    )


def _pairs(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def _resources(spec: ResourceSpec | None) -> Resources | None:
    if spec is None:
        return None
    gpu = spec.gpu
    return Resources(spec.cpu, spec.memory, spec.disk, gpu.type if gpu else "", gpu.number if gpu else 0)


def _metadata(spec: MetadataSpec) -> Metadata:
    return Metadata(_pairs(spec.annotations), _pairs(spec.labels))


def _toleration(spec: TolerationSpec) -> dict[str, Any]:
    """Return a toleration as Kubernetes writes it. Pachyderm's enums are in upper case."""
    effect = "" if spec.effect == "ALL_EFFECTS" else spec.effect
    found: dict[str, Any] = {
        "key": spec.key,
        "operator": "Exists" if spec.operator.lower() == "exists" else "Equal",
        "value": spec.value,
        "effect": "".join(part.title() for part in effect.split("_")) if "_" in effect else effect,
        "tolerationSeconds": spec.toleration_seconds,
    }
    return {key: value for key, value in found.items() if value}


def _pod(spec: PipelineSpec) -> Pod:
    tolerations = [_toleration(one) for one in spec.tolerations]
    return Pod(
        node_selector=_pairs(spec.scheduling_spec.node_selector),
        priority_class=spec.scheduling_spec.priority_class_name,
        tolerations=json.dumps(tolerations) if tolerations else "",
        patch=spec.pod_patch,
        spec=spec.pod_spec,
    )


def _pipeline(
    spec: PipelineSpec,
    folder: str,
    source: str,
    notes: tuple[Problem, ...],
    places: tuple[tuple[str, str], ...],
    blob: str,
    per_datum: frozenset[str],
) -> Pipeline:
    transform = spec.transform
    env = _pairs(transform.env)
    return Pipeline(
        name=folder,
        input=_whole_input(
            spec.input,
            spec.minipach.schedule,
            own_project(spec.pipeline.project),
            source.rpartition("/")[0] or folder,
        ),
        transform=Transform(
            image=spec.minipach.environment or transform.image or None,
            cmd=tuple(transform.cmd),
            stdin=tuple(transform.stdin),
            env=tuple(pair for pair in env if pair[0] not in per_datum),
            accept_return_code=tuple(sorted(set(transform.accept_return_code))),
            working_dir=transform.working_dir,
            err_cmd=tuple(transform.err_cmd),
            err_stdin=tuple(transform.err_stdin),
            datum_env=tuple(pair for pair in env if pair[0] in per_datum),
            secrets=tuple(
                Secret(f"{s.name}/{s.key}" if s.key else s.name, s.env_var, secret_file(s.mount_path, s.key or s.name))
                for s in sorted(transform.secrets, key=lambda s: (s.env_var, s.mount_path, s.name, s.key))
            ),
            batching=transform.datum_batching,
        ),
        description=spec.description,
        metadata=_metadata(spec.metadata),
        identity=spec.minipach.identity or "",
        out=spec.minipach.out,
        publish=spec.minipach.publish,
        datum_tries=spec.datum_tries,
        datum_timeout=spec.datum_timeout or None,
        job_timeout=spec.job_timeout or None,
        parallelism=spec.parallelism_spec.constant or None,
        sets=SetSpec(spec.datum_set_spec.number, spec.datum_set_spec.size_bytes, spec.datum_set_spec.per_worker),
        salt=spec.salt,
        reprocess=spec.reprocess_spec,
        resource_requests=_resources(spec.resource_requests),
        resource_limits=_resources(spec.resource_limits),
        output_branch=spec.output_branch or None,
        network=spec.minipach.network and (not spec.service or "network" in spec.minipach.model_fields_set),
        writable_inputs=spec.minipach.inputs == "writable",
        outputs_required=spec.minipach.outputs == "required",
        shared_code=tuple(dict.fromkeys(posixpath.normpath(path) for path in spec.minipach.code)),
        limits=Limits(spec.minipach.limits.processes or None, spec.minipach.limits.file_size or None),
        more_memory=spec.minipach.retry.memory or 1.0,
        metrics=tuple(spec.minipach.metrics),
        egress=_egress(spec),
        exclude=tuple((one.datum, one.reason) for one in spec.minipach.exclude),
        pod=_pod(spec),
        service=_service(spec),
        notes=notes,
        source=source,
        blob=blob,
        places=places,
    )
