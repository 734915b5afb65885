"""Ask Snakemake about one rule, as a program of its own, in a sandbox: FILE [RULE|OUTPUT]. Prints a line of JSON.

It runs with the Python that has Snakemake, and imports nothing else. A wildcard has a token as its value, so that
Snakemake itself expands inputs, outputs and the command.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

MARK = "minipach-rule:"
_TOKEN = "MPW_{}_WPM"
_STATIC = (int, float, str)


def main() -> None:
    """Print what Snakemake knows of the rule, or `error`."""
    file, wanted = Path(sys.argv[1]), sys.argv[2]
    try:
        found = _ask(file, wanted)
    except BaseException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
    sys.stdout.write(f"\n{MARK}{json.dumps(found)}\n")


def _ask(file: Path, wanted: str) -> dict[str, Any]:
    try:
        from snakemake.api import SnakemakeApi
        from snakemake.settings.types import OutputSettings, Quietness, ResourceSettings
    except ImportError as error:
        return {"error": f"needs Snakemake 8 or later ({error})"}
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        asked = api.workflow(resource_settings=ResourceSettings(cores=os.cpu_count() or 1), snakefile=file)
        workflow = asked._workflow  # Snakemake has no public way to its rules
        rules = {str(rule.name): rule for rule in workflow.rules}
        if not wanted:
            rule = next((rule for rule in rules.values() if rule.shellcmd), None)
            if rule is None:
                return {"rules": sorted(rules), "missing": True}
            return _about(workflow, rule, None)
        if wanted in rules:
            return _about(workflow, rules[wanted], None)
        makers = [rule for rule in rules.values() if rule.is_producer(wanted)]
        if not makers:
            return {"rules": sorted(rules), "missing": True}
        return _about(workflow, makers[0], dict(makers[0].get_wildcards(wanted)))


def _about(workflow: Any, rule: Any, concrete: dict[str, str] | None) -> dict[str, Any]:
    try:
        from snakemake.iocontainers import Wildcards
    except ImportError:
        from snakemake.io import Wildcards
    from snakemake.utils import format as filled

    names = sorted(rule.wildcard_names)
    values = concrete if concrete is not None else {name: _TOKEN.format(name) for name in names}
    wildcards = Wildcards(fromdict=values)
    found: dict[str, Any] = {"rule": str(rule.name), "wildcards": [] if concrete is not None else names}
    kinds = {"run": rule.is_run, "script": rule.script, "notebook": rule.notebook, "wrapper": rule.wrapper}
    kinds["cwl"] = getattr(rule, "cwl", None)
    kinds["template_engine"] = getattr(rule, "template_engine", None)
    found["code"] = next((name for name, value in kinds.items() if value), "")
    if found["code"] or not rule.shellcmd:
        return found
    try:
        inputs = rule.expand_input(wildcards)[0]
    except Exception as error:
        return {**found, "function": f"{type(error).__name__}: {error}"}
    outputs = rule.expand_output(wildcards)[0]
    log = rule.expand_log(wildcards)
    resources = _resources(rule, wildcards, inputs)
    threads = int(resources.get("_cores", 1)) if isinstance(resources.get("_cores", 1), _STATIC) else 1
    try:
        params = _first(rule.expand_params(wildcards, inputs, outputs, _Job(rule, resources, threads, log)))
    except Exception as error:
        return {**found, "function": f"{type(error).__name__}: {error}"}
    names_in_shell = {
        **workflow.globals,
        "input": inputs,
        "output": outputs,
        "params": params,
        "wildcards": wildcards,
        "threads": threads,
        "resources": _Attributes(resources),
        "log": log,
        "jobid": 0,
        "rule": str(rule.name),
        "rulename": str(rule.name),
        "bench_iteration": None,
    }
    found["shell"] = filled(rule.shellcmd, **names_in_shell)
    found["inputs"] = [str(path) for path in inputs]
    found["outputs"] = [[str(path), _flags(path)] for path in outputs]
    found["log"] = [str(path) for path in log]
    found["threads"] = threads
    found["resources"] = {key: value for key, value in resources.items() if isinstance(value, _STATIC)}
    found["container"] = str(rule.container_img) if isinstance(rule.container_img, str) else ""
    conda = getattr(rule, "conda_env", None)
    found["conda"] = str(getattr(conda, "file", None) or conda) if conda else ""
    others = ("benchmark", "shadow_depth", "group", "env_modules", "priority", "_restart_times")
    found["others"] = {name: _short(getattr(rule, name, None)) for name in others if getattr(rule, name, None)}
    constraints = getattr(rule, "wildcard_constraints", None) or {}
    found["constraints"] = {str(name): str(value) for name, value in dict(constraints).items()}
    return found


class _Attributes(dict):  # type: ignore[type-arg]
    """Resources, which a command names as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class _Job:
    """The parts of a job that functions of parameters may ask for."""

    def __init__(self, rule: Any, resources: dict[str, Any], threads: int, log: Any) -> None:
        self.rule, self.resources, self.threads, self.log = rule, _Attributes(resources), threads, log
        self.attempt = 1


def _resources(rule: Any, wildcards: Any, inputs: Any) -> dict[str, Any]:
    """Return the resources of the first try, those of Snakemake's own included; none if a function needs a job."""
    try:
        expanded = _first(rule.expand_resources(wildcards, inputs, 1))
        rows = dict(expanded.items())
    except Exception:
        return {}
    return {str(name): getattr(value, "value", value) for name, value in rows.items()}


def _flags(path: Any) -> list[str]:
    return sorted(str(name) for name, value in (getattr(path, "flags", None) or {}).items() if value)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and not hasattr(value, "_names") and value else value


def _short(value: Any) -> str:
    return str(value)[:100]


if __name__ == "__main__":
    main()
