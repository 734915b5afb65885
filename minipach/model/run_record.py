"""Run records: the command that executes a datum set, and datalad's record of it, in datalad's own form."""

from __future__ import annotations

import glob
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from minipach.datums.identity import run_variables, variables
from minipach.model.datum import Datum
from minipach.model.neutral_names import Snapshots, hide, tokens
from minipach.model.pipeline import Pipeline, secret_variable
from minipach.spec.placeholder import used_fields, values
from minipach.support.errors import UserError
from minipach.support.validation import parse_object

_TOP = "=== Do not change lines below ==="
_END = "^^^ Do not change lines above ^^^"
# datalad hands the command to one `sh -c`; Linux takes 128 KiB for a single argument
MAX_COMMAND = 110_000  # a rerun commits it in a message, which is one argument, too
_LONGEST = 126_000  # bytes of a record: title and marks come to it, and the chain of reruns
LAUNCH = "sh .minipach/launch"


def slugs(pipeline: Pipeline) -> dict[tuple[str, str | None], str]:
    """The folder below `inputs/` for each (repo, branch): the repo's last part where that is unique."""
    pairs = list(dict.fromkeys((p.repo, p.branch) for p in pipeline.pfs_inputs()))
    last = [repo.rpartition("/")[2] for repo, _ in pairs]
    found = {}
    for pair, short in zip(pairs, last, strict=True):
        repo, branch = pair
        name = short if last.count(short) == 1 else repo.replace("/", "-")
        if sum(r == repo for r, _ in pairs) > 1 and branch:
            name += "@" + branch.replace("/", "-")
        found[pair] = name
    return found


class Task(NamedTuple):
    """A datum with what its record says of it: its id and the place of its output (`""` is the root).

    words: of its name that the command does not see (`identity: content`) · visible: why it sees them all the same.
    """

    datum: Datum
    id: str
    dest: str
    words: tuple[str, ...] = ()
    visible: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """The container's command for a datum set, in pieces: what is shared, each datum's own, and the command proper."""

    head: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    tail: tuple[str, ...]

    def text(self, chosen: Sequence[int] | None = None) -> str:
        """One program with quoted arguments, for all datums or some, braces still single."""
        indices = range(len(self.parts)) if chosen is None else chosen
        return shlex.join([*self.head, *(arg for i in indices for arg in self.parts[i]), *self.tail])


def command(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    commits: Mapping[tuple[str, str | None], str],
    job: str,
    more: Sequence[str] = (),
) -> Command:
    """The command that executes these datums; UserError if one alone is too long for a command line.

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
    folders = slugs(pipeline)
    fields = used_fields(t, pipeline.input)
    found = Command(tuple(head), tuple(_part(task, folders, fields) for task in tasks), _tail(pipeline))
    if len(tasks) == 1 and len(found.text().encode("utf-8", "surrogateescape")) > MAX_COMMAND:
        raise UserError(
            f"{pipeline.source}: datum {tasks[0].datum.name!r} has too many files "
            f"({len(tasks[0].datum.matches)}) for one command line; match their folders instead of the files"
        )
    return found


_OF_SETTINGS = frozenset({"-E", "-R", "-N", "-L"})


def options_of_settings(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The launcher's options in a record that settings of then can have given (`project.settings.launcher_options`)."""
    words = shlex.split(str(record.get("cmd", "")).replace("{{", "{").replace("}}", "}"))
    found: list[str] = []
    at = 3  # after `sh .minipach/launch IMAGE`
    while at < len(words) and words[at] not in ("-d", "--"):
        size = 1 if words[at] in ("-W", "-N") else 2
        if words[at] in _OF_SETTINGS:
            found += words[at : at + size]
        at += size
    return tuple(found)


def _launch_options(pipeline: Pipeline) -> list[str]:
    """What the launcher sees to: limits, and which variables of the caller hold secrets. Defaults are left out."""
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
    if pipeline.outputs_required:
        found += ["-q", "required"]
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


def _part(task: Task, folders: Mapping[tuple[str, str | None], str], fields: Sequence[str]) -> tuple[str, ...]:
    args = ["-d", task.datum.name, task.dest]
    for name, value in datum_variables(task).items():
        args += ["-v", f"{name}={value}"]
    for token, word in zip(tokens(len(task.words)), task.words, strict=True):
        args += ["-n", token, word]
    for name, value in replacements(fields, task.datum, task.words).items():
        args += ["-r", name, value]
    for m in task.datum.matches:
        how = "-z" if m.empty_files else "-l" if m.lazy else "-f"
        args += [how, m.input, f"inputs/{folders[m.repo, m.branch]}", m.path]
    return tuple(args)


_SIZES = {
    "-d": 3,
    "-v": 2,
    "-n": 3,
    "-r": 3,
    "-f": 4,
    "-l": 4,
    "-z": 4,
}  # options of a datum's part, themselves included


def matched(part: Sequence[str]) -> Iterator[str]:
    """The paths below `inputs/` that a datum's part of a command lays out (`inputs/images/a.png`)."""
    place = 0
    while place < len(part):
        if _SIZES[part[place]] == 4:
            yield (part[place + 2] + part[place + 3]).rstrip("/")
        place += _SIZES[part[place]]


def length(pipeline: Pipeline, task: Task) -> int:
    """How many bytes a datum adds to its set's command, about."""
    fields = used_fields(pipeline.transform, pipeline.input)
    return len(shlex.join(_part(task, slugs(pipeline), fields)).encode("utf-8", "surrogateescape")) + 1


def shared_variables(pipeline: Pipeline, commits: Mapping[tuple[str, str | None], str], job: str) -> dict[str, str]:
    """The environment of every datum. With `identity: content`, the spec's `env` says which variables of the run."""
    env = dict(pipeline.transform.env)
    run = run_variables(pipeline, commits, job)
    if pipeline.identity == "content":
        run = {name: value for name, value in run.items() if name in env}
        env = {name: value for name, value in env.items() if name not in run}
    named = {"PPS_PIPELINE_NAME": pipeline.name, "PPS_NAMESPACE": "default", "PPS_POD_NAME": pipeline.name}
    return {**named, **run, **env}


def datum_variables(task: Task) -> dict[str, str]:
    """The environment of one datum (spec.md, "What the code sees")."""
    found = variables(task.datum, task.words)
    if not task.words:
        del found["MINIPACH_DATUM"]  # the launcher sets it to the datum's name
    return {"PACH_DATUM_ID": task.id, **found}


def replacements(fields: Sequence[str], datum: Datum, words: Sequence[str]) -> dict[str, str]:
    """Return the placeholders of a command with their values as the command sees them."""
    return {name: hide(value, words) for name, value in values(fields, datum)}


def escape_format(text: str) -> str:
    """Double the braces: datalad formats commands once more when it runs or reruns them."""
    return text.replace("{", "{{").replace("}", "}}")


def record_path(path: str) -> str:
    """A path as an input or output of a record: datalad globs it, and formats it each time it is rerun.

    Braces can't survive both, so they become `?`, which matches them.
    """
    return glob.escape(path).replace("{", "?").replace("}", "?")


def record_inputs(pipeline: Pipeline, tasks: Sequence[Task], snapshots: Snapshots) -> list[str]:
    """The inputs of a record: the matched paths below `inputs/`, and the subdatasets in them.

    `datalad rerun` gets what is named, and installs no subdataset below it.
    """
    folders = slugs(pipeline)
    found: dict[str, None] = {}
    for task in tasks:
        for m in task.datum.matches:
            top = f"inputs/{folders[m.repo, m.branch]}"
            found[record_path(f"{top}{m.path}".rstrip("/"))] = None
            prefix = m.path.strip("/") + "/" if m.path != "/" else ""
            for sub in snapshots[m.repo, m.branch].nested:
                if sub.startswith(prefix):
                    found[record_path(f"{top}/{sub}")] = None
    return list(found)


def title(pipeline: str, names: Sequence[str]) -> str:
    """The first line of a record: printable whatever the datums are called."""
    text = names[0] if len(names) == 1 else f"{len(names)} datums, {names[0]} ... {names[-1]}"
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f"{pipeline}: {plain}"


def compose(subject: str, record: Mapping[str, Any]) -> str:
    """A commit message that `datalad rerun` reads."""
    body = _json(fitted(record))
    return f"[DATALAD RUNCMD] {subject}\n\n{_TOP}\n{body}\n{_END}\n"


def fitted(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in a size that `datalad rerun` can commit again: its message is one argument of git.

    Outputs that would be too long are listed in our own object, which a rerun leaves out; datalad finds them out from
    the commit. Inputs that would be too long become their folders.
    """
    found = dict(record)
    if _size(found) > _LONGEST and found.get("outputs"):
        outputs, found["outputs"] = found["outputs"], []
        datums = [dict(datum) for datum in found.get("minipach", {}).get("datums", ())]
        if len(datums) == 1 and not any(char in path for path in outputs for char in "?["):  # no pattern: a path
            datums[0].setdefault("outputs", list(outputs))
            found["minipach"] = {**found["minipach"], "datums": datums}
    depth = max((path.count("/") for path in found.get("inputs", ())), default=0)
    while _size(found) > _LONGEST and depth > 1:
        found["inputs"] = list(dict.fromkeys("/".join(path.split("/")[:depth]) for path in found["inputs"]))
        depth -= 1
    return found


def _size(record: Mapping[str, Any]) -> int:
    return len(_json({key: value for key, value in record.items() if key != "minipach"}).encode(errors="replace"))


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)


def parse(message: str) -> tuple[str, dict[str, Any]]:
    """The subject and the record of a commit message; ValueError if there is none."""
    head, top, rest = message.partition(f"\n{_TOP}\n")
    body, end, _ = rest.rpartition(f"\n{_END}")
    if not top or not end:
        raise ValueError("no run record in this message")
    record = parse_object(body)
    return head.strip().removeprefix("[DATALAD RUNCMD] "), record
