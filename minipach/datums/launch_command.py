"""The command that executes a datum set: what the launcher gets of a pipeline and of each datum. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from minipach.datums.identity import run_variables, variables
from minipach.model.datum import Datum, Task
from minipach.model.launch_protocol import DATUM_NAME
from minipach.model.neutral_names import Snapshots, hide, tokens
from minipach.model.pipeline import JOB_ID, Pipeline, secret_variable
from minipach.model.repo_layout import INPUTS
from minipach.model.run_record import MAX_COMMAND, LaunchCommand, folders, places, record_path
from minipach.spec.placeholder import fill, used_fields, values
from minipach.support.errors import Problem, UserError


def command(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    commits: Mapping[tuple[str, str | None], str],
    job: str,
    more: Sequence[str] = (),
) -> LaunchCommand:
    """Return the command that executes these datums; UserError if one alone is too long for a command line.

    more: further options of the launcher.
    """
    t = pipeline.transform
    head = [*more, *_launch_options(pipeline)]
    for name, value in shared_variables(pipeline, commits, job).items():
        head += ["-e", f"{name}={value}"]
    for line in t.stdin:
        head += ["-i", line]
    for code in t.accept_return_code:
        head += ["-a", str(code)]
    if t.working_dir:
        head += ["-w", t.working_dir]
    inputs = folders(pipeline)
    fields = used_fields(t, pipeline.input)
    parts = tuple(_part(task, inputs, fields, t.datum_env) for task in tasks)
    found = LaunchCommand(tuple(head), parts, _tail(pipeline))
    if t.names_job:
        found = LaunchCommand(
            _of_job(found.head, job), tuple(_of_job(part, job) for part in parts), _of_job(found.tail, job)
        )
    if len(tasks) == 1 and len(found.text().encode("utf-8", "surrogateescape")) > MAX_COMMAND:
        raise UserError(
            Problem(
                "datum.too-many-files",
                pipeline.source,
                f"datum {tasks[0].datum.name!r} has too many files ({len(tasks[0].datum.matches)}) "
                "for one command line",
                "match their folders instead of the files",
            )
        )
    return found


def _launch_options(pipeline: Pipeline) -> list[str]:
    """Return what the launcher sees to.

    Limits, and which variables of the caller hold secrets. Defaults are left out.
    """
    found = ["-P", pipeline.path]
    if pipeline.datum_timeout is not None:
        found += ["-t", str(math.ceil(pipeline.datum_timeout))]
    for secret in pipeline.transform.secrets:
        if secret.env_var:
            found += ["-s", f"{secret.env_var}={secret_variable(secret.name)}"]
        if secret.file:
            found += ["-S", f"{secret.file}={secret_variable(secret.name)}"]
    if not pipeline.network:
        found.append("-N")
    if pipeline.writable_inputs:
        found += ["-I", "writable"]
    if pipeline.transform.batching:
        found.append("-b")
    if pipeline.outputs_required:
        found += ["-q", "required"]
    return [*found, *limit_options(pipeline)]


def limit_options(pipeline: Pipeline) -> list[str]:
    """Return the launcher's options for the limits in the spec, but that of time."""
    found = []
    resources = pipeline.resource_limits
    limits = {
        "memory": resources.memory if resources else None,
        "disk": resources.disk if resources else None,
        "processes": pipeline.limits.processes,
        "file-size": pipeline.limits.file_size,
    }
    for kind, most in limits.items():
        found += ["-L", f"{kind}={most}"] if most else []
    return found


def _tail(pipeline: Pipeline) -> tuple[str, ...]:
    # after the datums: words of a command, which follow all variables where `env` runs it
    found = []
    for word in pipeline.transform.err_cmd:
        found += ["-x", word]
    for line in pipeline.transform.err_stdin:
        found += ["-j", line]
    return (*found, "--", *pipeline.transform.cmd)


def _of_job(words: Sequence[str], job: str) -> tuple[str, ...]:
    return tuple(word.replace(JOB_ID, job) for word in words)


def _part(
    task: Task,
    inputs: Mapping[tuple[str, str | None], str],
    fields: Sequence[str],
    env: Sequence[tuple[str, str]],
) -> tuple[str, ...]:
    args = ["-d", task.datum.name, task.dest]
    for name, value in {**datum_variables(task), **datum_env(env, task.datum, task.words)}.items():
        args += ["-v", f"{name}={value}"]
    for token, word in zip(tokens(len(task.words)), task.words, strict=True):
        args += ["-n", token, word]
    for name, value in replacements(fields, task.datum, task.words).items():
        args += ["-r", name, value]
    for m in task.datum.matches:
        how = "-z" if m.empty_files else "-l" if m.lazy else "-f"
        args += [how, m.input, f"{INPUTS}{inputs[m.repo, m.branch]}", m.path]
    return tuple(args)


def length(pipeline: Pipeline, task: Task) -> int:
    """Return how many bytes a datum adds to its set's command, about."""
    fields = used_fields(pipeline.transform, pipeline.input)
    return (
        len(
            shlex.join(_part(task, folders(pipeline), fields, pipeline.transform.datum_env)).encode(
                "utf-8", "surrogateescape"
            )
        )
        + 1
    )


def shared_variables(pipeline: Pipeline, commits: Mapping[tuple[str, str | None], str], job: str) -> dict[str, str]:
    """Return the environment of every datum.

    With `identity: content`, the spec's `env` says which variables of the run.
    """
    env = dict(pipeline.transform.env)
    run = run_variables(pipeline, commits, job)
    if pipeline.identity == "content":
        run = {name: value for name, value in run.items() if name in env}
        env = {name: value for name, value in env.items() if name not in run}
    named = {"PPS_PIPELINE_NAME": pipeline.name, "PPS_NAMESPACE": "default", "PPS_POD_NAME": pipeline.name}
    return {**named, **run, **env}


def datum_variables(task: Task) -> dict[str, str]:
    """Return the environment of one datum (docs/spec-reference.md)."""
    found = variables(task.datum, task.words)
    if not task.words:
        del found[DATUM_NAME]  # the launcher sets it to the datum's name
    return {"PACH_DATUM_ID": task.id, **found}


def datum_env(env: Sequence[tuple[str, str]], datum: Datum, words: Sequence[str]) -> dict[str, str]:
    """Return the variables of the spec that have a value of each datum, as the command sees them."""
    return {name: hide(fill(text, datum), words) for name, text in env}


def replacements(fields: Sequence[str], datum: Datum, words: Sequence[str]) -> dict[str, str]:
    """Return the placeholders of a command with their values as the command sees them."""
    return {name: hide(value, words) for name, value in values(fields, datum)}


def record_inputs(pipeline: Pipeline, tasks: Sequence[Task], snapshots: Snapshots) -> list[str]:
    """Return the inputs of a record: the matched paths below `inputs/`, and the subdatasets in them.

    `datalad rerun` gets what is named, and installs no subdataset below it.
    """
    tops = places(pipeline)
    found: dict[str, None] = {}
    for task in tasks:
        for m in task.datum.matches:
            top = tops[m.repo, m.branch]
            found[record_path(f"{top}{m.path}".rstrip("/"))] = None
            prefix = m.path.strip("/") + "/" if m.path != "/" else ""
            for sub in snapshots[m.repo, m.branch].nested:
                if sub.startswith(prefix):
                    found[record_path(f"{top}/{sub}")] = None
    return list(found)
