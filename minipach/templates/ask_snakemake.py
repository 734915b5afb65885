"""Ask Snakemake about one rule, as a program of its own, in a sandbox: FILE [RULE|OUTPUT]. Prints a line of JSON.

It runs with the Python that has Snakemake, and imports nothing else. A wildcard has a token as its value, so that
Snakemake itself expands inputs, outputs and the command.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import types
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
            # a rule without a command has no function of its own
            rule = next((one for one in rules.values() if one.shellcmd or one.script or one.is_run), None)
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
    kinds = ("notebook", "wrapper", "cwl", "template_engine")
    found["code"] = next((name for name in kinds if getattr(rule, name, None)), "")
    if found["code"] or not (rule.shellcmd or rule.script or rule.is_run):
        return found
    try:
        inputs = rule.expand_input(wildcards)[0]
    except Exception as error:
        return {**found, "function": f"{type(error).__name__}: {error}"}
    outputs = rule.expand_output(wildcards)[0]
    log = rule.expand_log(wildcards)
    resources = _resources(rule, wildcards, inputs, 1)
    again = _resources(rule, wildcards, inputs, 2).get("mem_mb")
    found["memory_again"] = again if isinstance(again, int) else None
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
    if rule.shellcmd:
        found["shell"] = filled(rule.shellcmd, **names_in_shell)
    else:
        listed = {"input": inputs, "output": outputs, "params": params, "wildcards": wildcards, "log": log}
        found |= _code(workflow, rule, listed, threads, resources)
    found["inputs"] = [str(path) for path in inputs]
    found["outputs"] = [[str(path), _flags(path)] for path in outputs]
    found["log"] = [str(path) for path in log]
    found["threads"] = threads
    found["resources"] = {key: value for key, value in resources.items() if isinstance(value, _STATIC)}
    return found | _directives(workflow, rule)


def _directives(workflow: Any, rule: Any) -> dict[str, Any]:
    """Return the software of a rule, and what else it says of how it runs."""
    found: dict[str, Any] = {}
    found["container"] = str(rule.container_img) if isinstance(rule.container_img, str) else ""
    conda = getattr(rule, "conda_env", None)
    found["conda"] = str(conda) if conda else ""
    found["conda_text"] = _conda(workflow, rule) if conda else ""
    others = ("benchmark", "shadow_depth", "group", "env_modules", "priority", "_restart_times")
    found["others"] = {name: _short(getattr(rule, name, None)) for name in others if getattr(rule, name, None)}
    constraints = getattr(rule, "wildcard_constraints", None) or {}
    found["constraints"] = {str(name): str(value) for name, value in dict(constraints).items()}
    return found


def _code(workflow: Any, rule: Any, listed: dict[str, Any], threads: int, resources: dict[str, Any]) -> dict[str, Any]:
    """Return what Snakemake would give a script or Python code, and these themselves."""
    shown = {name: value for name, value in resources.items() if isinstance(value, _STATIC)}
    found: dict[str, Any] = {"object": {name: _items(value) for name, value in listed.items()}}
    more = {"threads": threads, "resources": shown, "rule": str(rule.name), "config": workflow.globals["config"]}
    found["object"].update({name: _plain(value, name) for name, value in more.items()})
    if rule.script:
        found["script"] = _script(workflow, rule, listed, more)
    else:
        found["run"] = _run(workflow, rule)
    return found


def _items(values: Any) -> dict[str, Any]:
    """Return a list of Snakemake's, some of whose items have names."""
    names = dict(values._names)
    listed = list(values)
    return {"items": [_plain(value, "a value") for value in listed], "names": {k: list(v) for k, v in names.items()}}


def _plain(value: Any, name: str) -> Any:
    """Return a value as JSON has it. Raises TypeError for others."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(below, f"{name}.{key}") for key, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(below, name) for below in value]
    raise TypeError(f"{name}: a {type(value).__name__} has no place in JSON")


class _Folder:
    """The folder of a script, which is known only when the command runs."""

    def get_path_or_uri(self, secret_free: bool = True) -> str:
        return _TOKEN.format("_scriptdir")


class _Path:
    """A script, as Snakemake's own code asks for it."""

    def get_basedir(self) -> _Folder:
        return _Folder()


def _script(workflow: Any, rule: Any, listed: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a script: its name, language and text, and what Snakemake puts before it."""
    from snakemake import script as scripts

    path = str(rule.script) if isinstance(rule.script, Path) else rule.script
    wildcards, params = listed["wildcards"], listed["params"]
    file, source, language, *_ = scripts.get_source(path, workflow.sourcecache, rule.basedir, wildcards, params)
    found = {"name": str(file.get_filename()), "language": str(language or ""), "text": source, "before": ""}
    kinds = {"r": "RScript", "bash": "BashScript"}
    if language in kinds:
        kind = getattr(scripts, kinds[language])
        names = ("conda_env", "container_img", "singularity_args", "env_modules", "bench_record")
        rest: dict[str, Any] = {**dict.fromkeys(names), "cleanup_scripts": True, "shadow_dir": None, "jobid": 0}
        if language == "bash":
            rest["is_local"] = True
        found["before"] = kind.generate_preamble(
            path=_Path(),
            source=source,
            basedir=None,
            input_=listed["input"],
            output=listed["output"],
            params=params,
            wildcards=wildcards,
            threads=more["threads"],
            resources=_named(more["resources"]),
            log=listed["log"],
            config=more["config"],
            rulename=more["rule"],
            bench_iteration=None,
            **rest,
        )
    return found


def _named(values: dict[str, Any]) -> Any:
    try:
        from snakemake.iocontainers import ResourceList
    except ImportError:
        from snakemake.io import ResourceList
    return ResourceList(fromdict=values)


def _run(workflow: Any, rule: Any) -> dict[str, Any]:
    """Return the Python code of a rule, and what it needs of the Snakefile around it."""
    from snakemake.parser import parse

    code: dict[str, Any] = {"imports": [], "values": {}, "functions": [], "missing": [], "body": ""}
    file = rule.snakefile if not isinstance(rule.snakefile, str) else workflow._included[rule.snakefile]
    source = str(parse(file, workflow, {})[0])
    functions = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    wanted = next(node for node in functions.values() if node.name == rule.run_func.__code__.co_name)
    code["body"] = "\n".join(map(ast.unparse, wanted.body))
    seen: set[str] = set()
    left = [rule.run_func]
    while left:
        function = left.pop()
        for name in sorted(_names(function.__code__)):
            if name in seen or name not in function.__globals__ or name in ("shell", "config"):
                continue
            seen.add(name)
            value = function.__globals__[name]
            if isinstance(value, types.FunctionType) and value.__code__.co_filename == function.__code__.co_filename:
                helper = functions.get(name)
                if helper is None:
                    code["missing"].append(name)
                    continue
                code["functions"].append(ast.unparse(helper))
                left.append(value)
            elif line := _import(name, value):
                code["imports"].append(line)
            else:
                try:
                    code["values"][name] = _plain(value, name)
                except TypeError:
                    code["missing"].append(name)
    return code


def _names(code: Any) -> set[str]:
    """Return the names that a function and those in it look up in its module."""
    found = set(code.co_names)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            found |= _names(one)
    return found


def _import(name: str, value: Any) -> str:
    """Return the import of a module, or of what a module has; "" if it is of Snakemake, or of no module."""
    if isinstance(value, types.ModuleType):
        return "" if value.__name__.split(".")[0] == "snakemake" else f"import {value.__name__} as {name}"
    module, called = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if not isinstance(module, str) or module.split(".")[0] in ("snakemake", "__main__", "builtins") or "." in called:
        return ""
    known = sys.modules.get(module)
    if known is None or getattr(known, called, None) is not value or module.startswith("_"):
        return ""
    return f"from {module} import {called} as {name}"


def _conda(workflow: Any, rule: Any) -> str:
    """Return the text of a conda environment, or "" if it is a name."""
    env = rule.conda_env
    path = getattr(env, "file", None) or env
    try:
        if isinstance(path, str):
            if not path.endswith((".yaml", ".yml")):
                return ""
            path = rule.basedir.join(path)
        with workflow.sourcecache.open(path) as stream:
            text = stream.read()
    except Exception:
        return ""
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


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


def _resources(rule: Any, wildcards: Any, inputs: Any, attempt: int) -> dict[str, Any]:
    """Return the resources of a try, those of Snakemake's own included; none if a function needs a job."""
    try:
        expanded = _first(rule.expand_resources(wildcards, inputs, attempt))
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
