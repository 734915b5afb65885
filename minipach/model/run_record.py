"""Run records: the command that executes a datum set, and datalad's record of it, in datalad's own form."""

from __future__ import annotations

import glob
import json
import posixpath
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.model.launch_protocol import COMMON_SIZES, DATUM_SIZES, OF_SETTINGS
from minipach.model.messages import RECORD
from minipach.model.pipeline import ALL, Pipeline, default_name
from minipach.model.repo_layout import INPUTS
from minipach.support.validation import parse_object

_SUPERDATASET = "superdataset"  # the folder of `repo: .` beside that of a repo named as it is by default
_TOP = "=== Do not change lines below ==="
_END = "^^^ Do not change lines above ^^^"
# datalad hands the command to one `sh -c`; Linux takes 128 KiB for a single argument
MAX_COMMAND = 110_000  # a rerun commits it in a message, which is one argument, too
_LONGEST = 126_000  # bytes of a record: title and marks come to it, and the chain of reruns


def slugs(pipeline: Pipeline) -> dict[tuple[str, str | None], str]:
    """Return the folder below `inputs/` for each (repo, branch): the repo's last part where that is unique."""
    pairs = list(dict.fromkeys((p.repo, p.branch) for p in pipeline.pfs_inputs()))
    last = [default_name(repo) for repo, _ in pairs]
    found = {}
    for pair, short in zip(pairs, last, strict=True):
        repo, branch = pair
        name = short if last.count(short) == 1 else _SUPERDATASET if repo == ALL else repo.replace("/", "-")
        if sum(r == repo for r, _ in pairs) > 1 and branch:
            name += "@" + branch.replace("/", "-")
        found[pair] = name
    return found


def folders(pipeline: Pipeline) -> dict[tuple[str, str | None], str]:
    """Return the folder below `inputs/` with the files of each (repo, branch), as the launcher gets it.

    A plain folder lies in the dataset that has it: `data/data`, and `project/.` for all of the superdataset.
    """
    inside = {(p.repo, p.branch): p.folder or ALL for p in pipeline.pfs_inputs() if p.holder is not None}
    return {pair: f"{slug}/{inside[pair]}" if pair in inside else slug for pair, slug in slugs(pipeline).items()}


def places(pipeline: Pipeline) -> dict[tuple[str, str | None], str]:
    """Return the same folders as paths: `inputs/images`, `inputs/data/data`, `inputs/project`."""
    return {pair: f"{INPUTS}{folder.removesuffix(f'/{ALL}')}" for pair, folder in folders(pipeline).items()}


@dataclass(frozen=True, slots=True)
class LaunchCommand:
    """The container's command for a datum set, in pieces: what is shared, each datum's own, and the command proper."""

    head: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    tail: tuple[str, ...]

    def text(self, chosen: Sequence[int] | None = None) -> str:
        """Return one program with quoted arguments, for all datums or some, braces still single."""
        indices = range(len(self.parts)) if chosen is None else chosen
        return shlex.join([*self.head, *(arg for i in indices for arg in self.parts[i]), *self.tail])


def options_of_settings(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the launcher's options in a record that settings can have given (`project.settings.launcher_options`)."""
    words = shlex.split(str(record.get("cmd", "")).replace("{{", "{").replace("}}", "}"))
    found: list[str] = []
    at = 3  # after `sh .minipach/launch IMAGE`
    while at < len(words) and words[at] not in ("-d", "--"):
        size = COMMON_SIZES.get(words[at], 2)
        if words[at] in OF_SETTINGS:
            found += words[at : at + size]
        at += size
    return tuple(found)


def matched(part: Sequence[str]) -> Iterator[str]:
    """Yield the paths below `inputs/` that a datum's part of a command lays out (`inputs/images/a.png`)."""
    place = 0
    while place < len(part):
        if DATUM_SIZES[part[place]] == 4:
            yield posixpath.normpath(part[place + 2] + part[place + 3])
        place += DATUM_SIZES[part[place]]


def escape_format(text: str) -> str:
    """Double the braces: datalad formats commands once more when it runs or reruns them."""
    return text.replace("{", "{{").replace("}", "}}")


def record_path(path: str) -> str:
    """Return a path as an input or output of a record: datalad globs it, and formats it each time it is rerun.

    Braces can't survive both, so they become `?`, which matches them.
    """
    return glob.escape(path).replace("{", "?").replace("}", "?")


def title(pipeline: str, names: Sequence[str]) -> str:
    """Return the first line of a record: printable whatever the datums are called."""
    text = names[0] if len(names) == 1 else f"{len(names)} datums, {names[0]} ... {names[-1]}"
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f"{pipeline}: {plain}"


def compose(subject: str, record: Mapping[str, Any]) -> str:
    """Return a commit message that `datalad rerun` reads."""
    body = _json(fitted(record))
    return f"{RECORD} {subject}\n\n{_TOP}\n{body}\n{_END}\n"


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
    """Return the subject and the record of a commit message; ValueError if there is none."""
    head, top, rest = message.partition(f"\n{_TOP}\n")
    body, end, _ = rest.rpartition(f"\n{_END}")
    if not top or not end:
        raise ValueError("no run record in this message")
    record = parse_object(body)
    return head.strip().removeprefix(f"{RECORD} "), record
