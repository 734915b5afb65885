"""The fields of Pachyderm's pipeline spec, and what becomes of each: `python -m minipach.spec.pachyderm_fields`.

The list is that of `CreatePipelineRequest` in Pachyderm 2.12, in its published JSON Schema, in snake_case. Fields of
earlier versions are in `legacy_fields`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from minipach.spec.legacy_fields import instead, obsolete
from minipach.spec.schema import PipelineSpec
from minipach.spec.value_types import Noted, Refused

_RESOURCES = "cpu memory disk gpu gpu.type gpu.number"
_SERVICE = "internal_port external_port ip type"
# By the path of an object: the fields in it. Fields of an input hold in each of a combination, too.
_FIELDS: dict[str, str] = {
    "": "pipeline description metadata input transform parallelism_spec datum_set_spec resource_requests "
    "resource_limits datum_tries datum_timeout job_timeout reprocess_spec output_branch salt egress scheduling_spec "
    "tolerations pod_patch pod_spec autoscaling sidecar_resource_requests sidecar_resource_limits "
    "maximum_expected_uptime service spout s3_out tf_job determined",
    "pipeline": "name project project.name",
    "metadata": "annotations labels",
    "input": "pfs cross union join group cron",
    "input.pfs": "repo name branch glob join_on outer_join group_by lazy empty_files project repo_type trigger s3 "
    "commit reference",
    "input.pfs.trigger": "branch all size commits cron_spec rate_limit_spec",
    "input.cron": "name spec repo start overwrite project commit",
    "transform": "image cmd stdin env secrets accept_return_code working_dir err_cmd err_stdin user datum_batching "
    "image_pull_secrets dockerfile debug memory_volume",
    "transform.secrets": "name env_var key mount_path",
    "parallelism_spec": "constant",
    "datum_set_spec": "number size_bytes per_worker",
    "resource_requests": _RESOURCES,
    "resource_limits": _RESOURCES,
    "sidecar_resource_requests": _RESOURCES,
    "sidecar_resource_limits": _RESOURCES,
    "scheduling_spec": "node_selector priority_class_name",
    "tolerations": "key operator value effect toleration_seconds",
    "egress": "url object_storage object_storage.url sql_database sql_database.url sql_database.file_format "
    "sql_database.file_format.type sql_database.file_format.columns sql_database.secret sql_database.secret.name "
    "sql_database.secret.key",
    "service": _SERVICE,
    "spout": f"service {' '.join(f'service.{name}' for name in _SERVICE.split())}",
    "tf_job": "tf_job",
    "determined": "workspaces",
}
_REMARKS = {
    "pipeline.name": "the name of the folder counts; another name is listed",
    "egress": "a clone sends nothing before somebody confirms the address",
}
_HEAD = """\
# Pachyderm's fields

Each field of a pipeline spec of Pachyderm 2.12, and its outcome in `minipach new NAME --from pipeline.json`.
`new` lists each field that it leaves out, or keeps without effect, with this reason.

Written by `python -m minipach.spec.pachyderm_fields`. [spec.yml: every field](spec-reference.md) has the meanings.

| field | here | reason |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome for a field. here: `carried over`, `no effect` or `left out`."""

    field: str
    here: str
    reason: str = ""


def fields() -> list[str]:
    """Return the paths of all fields, an object before those in it."""
    found = [f"{above}.{name}".lstrip(".") for above, names in _FIELDS.items() for name in names.split()]
    return sorted(found, key=lambda path: [(list(_FIELDS[""].split()).index(path.split(".")[0])), *path.split(".")])


def fate(path: str) -> Fate:
    """Return the outcome for a field.

    Raises:
        LookupError: No model, and no list of obsolete fields, has the field.
    """
    model: type[BaseModel] = PipelineSpec
    parts = path.split(".")
    for n, name in enumerate(parts):
        field = model.model_fields.get(name)
        above = ".".join(parts[: n + 1])
        if field is None:
            what = instead(model.__name__, name)
            if what is None:
                raise LookupError(path)
            return Fate(path, "left out", f"{what[0]}: {what[1]}")
        for mark in _marks(field):
            here, reason = ("no effect", mark.text) if isinstance(mark, Noted) else ("left out", _refusal(mark))
            return Fate(path, here, reason if above == path else f"as `{above}`")
        inner = next(_models(field.annotation), None)
        if inner is None:
            break
        model = inner
    return Fate(path, "carried over", _REMARKS.get(path, ""))


def page() -> str:
    """Return the page of the documentation."""
    rows = [f"| `{one.field}` | {' | '.join((one.here, one.reason or '-'))} |" for one in map(fate, fields())]
    older = [f"| `{path}` | {' '.join(text.split())} |" for path, text in _older()]
    head = "\n## Fields of earlier versions\n\n| field | what to write instead |\n|---|---|\n"
    return _HEAD + "\n".join(rows) + "\n" + head + "\n".join(older) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page, or compare it with a file: then 1 if they differ."""
    parser = argparse.ArgumentParser(prog="python -m minipach.spec.pachyderm_fields", description=__doc__)
    parser.add_argument("--check", metavar="FILE", type=Path, help="exit with 1 if FILE is not this page")
    file: Path | None = parser.parse_args(arguments).check
    if file is None:
        sys.stdout.write(page())
        return 0
    return 0 if file.is_file() and file.read_text(encoding="utf-8") == page() else 1


def _older() -> Iterator[tuple[str, str]]:
    where = {"PipelineSpec": "", "InputSpec": "input.", "PfsSpec": "input.pfs.", "TransformSpec": "transform."}
    where["ParallelismSpec"] = "parallelism_spec."
    known = set(fields())
    for model, name, what, fix in obsolete():
        if (path := f"{where[model]}{name}") not in known:
            yield path, f"{what}: {fix}"


def _refusal(mark: Refused) -> str:
    return f"{mark.why}: {mark.fix}"


def _marks(field: FieldInfo) -> Iterator[Noted | Refused]:
    def inside(annotation: Any) -> Iterator[Noted | Refused]:
        for part in get_args(annotation):
            if isinstance(part, Noted | Refused):
                yield part
            yield from inside(part)

    yield from (mark for mark in field.metadata if isinstance(mark, Noted | Refused))
    yield from inside(field.annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


if __name__ == "__main__":
    sys.exit(main())
