"""`minipach.spec.pachyderm_fields`: each field of Pachyderm is carried over or listed, as its page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minipach.spec.pachyderm_fields import fate, fields, main
from minipach.spec.yaml_reader import camel
from minipach.templates.pachyderm import from_pachyderm

PAGE = Path(__file__).parents[2] / "docs" / "pachyderm-fields.md"
GPU = {"type": "nvidia.com/gpu", "number": 1}
RESOURCES = {"cpu": 1, "memory": "1G", "disk": "1G", "gpu": GPU}
PFS = {"repo": "images", "glob": "/(*)"}
OTHER = {"pfs": {"repo": "others", "glob": "/(*)"}}
BASE: dict[str, Any] = {"input": {"pfs": PFS}, "transform": {"cmd": ["sh"]}}
PORTS = {"internal_port": 80, "external_port": 8080, "ip": "1.2.3.4", "type": "NodePort"}
# A value for each object and each field; the fields of an object have theirs from it.
VALUES: dict[str, Any] = {
    "pipeline": {"name": "p", "project": {"name": "other"}},
    "description": "words",
    "metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}},
    "input.pfs": {
        **PFS,
        **{"name": "pictures", "branch": "main", "join_on": "$1", "outer_join": True, "group_by": "$1", "lazy": True},
        **{"empty_files": True, "project": "raw", "repo_type": "user", "s3": True, "commit": "a" * 32},
        "trigger": {
            **{"branch": "staging", "all": True, "size": "1M", "commits": 3, "cron_spec": "@daily"},
            "rate_limit_spec": "@hourly",
        },
        "reference": True,
    },
    **{f"input.{kind}": [{"pfs": {**PFS, "join_on": "$1", "group_by": "$1"}}, OTHER] for kind in ("cross", "union")},
    "input.join": [{"pfs": {**row, "join_on": "$1"}} for row in (PFS, OTHER["pfs"])],
    "input.group": [{"pfs": {**PFS, "group_by": "$1"}}],
    "input.cron": {
        **{"name": "tick", "spec": "@daily", "repo": "ticks", "start": "2026-01-31T00:00:00Z", "overwrite": True},
        **{"project": "raw", "commit": "a" * 32},
    },
    "transform": {
        **{"cmd": ["sh"], "image": "ubuntu", "stdin": ["ls"], "env": {"A": "b"}, "accept_return_code": [3]},
        **{"working_dir": "/work", "err_cmd": ["true"], "err_stdin": ["x"], "user": "nobody", "datum_batching": True},
        "secrets": [{"name": "s", "env_var": "S", "key": "k"}, {"name": "t", "mount_path": "/t"}],
        **{"image_pull_secrets": ["x"], "dockerfile": "Dockerfile", "debug": True, "memory_volume": True},
    },
    "parallelism_spec": {"constant": 2},
    "datum_set_spec": {"number": 2, "size_bytes": 3, "per_worker": 4},
    **dict.fromkeys(("resource_requests", "resource_limits"), RESOURCES),
    **dict.fromkeys(("sidecar_resource_requests", "sidecar_resource_limits"), RESOURCES),
    **{"datum_tries": 2, "datum_timeout": "60s", "job_timeout": "600s", "reprocess_spec": "every_job"},
    **{"output_branch": "results", "salt": "x", "autoscaling": True, "maximum_expected_uptime": "60s"},
    "scheduling_spec": {"node_selector": {"a": "b"}, "priority_class_name": "high"},
    "tolerations": [{"key": "a", "operator": "EQUAL", "value": "b", "effect": "NO_EXECUTE", "toleration_seconds": 3}],
    **{"pod_patch": "[]", "pod_spec": "{}", "s3_out": True, "determined": {"workspaces": ["w"]}},
    "egress": {
        "url": "s3://bucket/a",
        "object_storage": {"url": "s3://bucket/b"},
        "sql_database": {
            "url": "snowflake://x",
            "file_format": {"type": "CSV", "columns": ["a"]},
            "secret": {"name": "s", "key": "k"},
        },
    },
    "service": PORTS,
    "spout": {"service": PORTS},
    "tf_job": {"tf_job": "{}"},
}


def value_of(path: str) -> Any:
    """Return the value of a field, from that of the object that holds it."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        if (above := ".".join(parts[:n])) in VALUES:
            value = VALUES[above]
            for name in parts[n:]:
                rows = value if isinstance(value, list) else [value]
                value = next(row[name] for row in rows if name in row)
            return value
    raise LookupError(path)


def spec_with(path: str) -> dict[str, Any]:
    """Return a spec that is minimal but for one field and what that needs beside it."""
    spec: dict[str, Any] = json.loads(json.dumps(BASE))
    *above, last = path.split(".")
    if above[:1] == ["input"]:
        value = value_of(path)
        if above == ["input"]:
            spec["input"] = {last: value_of(path) if last not in ("pfs", "cron") else {**needed(last)}}
        elif above == ["input", "cron"]:
            spec["input"] = {"cron": {**needed("cron"), last: value}}
        elif above == ["input", "pfs", "trigger"]:
            spec["input"]["pfs"]["trigger"] = {"commits": 1, last: value}
        else:
            spec["input"]["pfs"][last] = value if last != "trigger" else {"commits": 3}
    elif path in ("input", "transform"):
        pass
    elif above == ["transform"]:
        spec["transform"][last] = value_of(path)
    elif above == ["transform", "secrets"]:
        spec["transform"]["secrets"] = VALUES["transform"]["secrets"]
    elif above[:1] == ["egress"] or path == "egress":
        value = VALUES["egress"]
        names = [path.split(".")[1]] if above else ["url"]
        spec["egress"] = {name: value[name] for name in names}
    else:
        top = path.split(".", maxsplit=1)[0]
        spec[top] = VALUES[top]
    return spec


def needed(kind: str) -> dict[str, Any]:
    """Return the required fields of an input."""
    return PFS if kind == "pfs" else {"name": "tick", "spec": "@daily"}


def in_camel(value: Any) -> Any:
    """Return the same with keys in camelCase, but for those that are names of people."""
    if isinstance(value, list):
        return [in_camel(one) for one in value]
    if isinstance(value, dict):
        return {camel(key): in_camel(one) for key, one in value.items()}
    return value


def has(spec: Any, parts: list[str]) -> bool:
    """Return whether a spec has a field, in either spelling."""
    if isinstance(spec, list):
        return any(has(one, parts) for one in spec)
    if not parts:
        return True
    if not isinstance(spec, dict):
        return False
    return any(has(spec[name], parts[1:]) for name in (parts[0], camel(parts[0])) if name in spec)


@pytest.mark.parametrize("path", fields())
def test_a_field_is_carried_over_or_listed(tmp_path: Path, path: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(in_camel(spec_with(path))))
    draft = from_pachyderm(tmp_path / "x.json", "p")
    one = fate(path)
    if one.here == "carried over":
        assert path.startswith("pipeline") or has(draft.spec, path.split("."))
        return
    reported = path if not one.reason.startswith("as `") else one.reason[len("as `") : -1]
    name = reported.rpartition(".")[2]
    assert any(name in line or camel(name) in line for line in draft.left_out), draft.left_out
    if one.here == "left out":
        assert not has(draft.spec, path.split("."))


def test_each_field_has_an_outcome_and_the_page_is_up_to_date() -> None:
    assert {fate(path).here for path in fields()} == {"carried over", "no effect", "left out"}
    assert len(fields()) == len(set(fields())) > 140
    assert main(["--check", str(PAGE)]) == 0


def test_a_field_that_nobody_knows() -> None:
    with pytest.raises(LookupError):
        fate("transform.nothing")
