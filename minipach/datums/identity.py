"""Identity: the id of a datum is the hash of what decides its result. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.model.datum import Datum, Match
from minipach.model.launch_protocol import DATUM_NAME
from minipach.model.neutral_names import Snapshots, hide
from minipach.model.pipeline import Pipeline
from minipach.model.snapshot import FileEntry

VERSION = 2  # a new version makes every result be computed again: a decision, guarded by fixed ids in the tests
EMPTY = "empty:"  # before the content id of a file that the command sees without its content
Row = tuple[str, str, bool]  # path as the command sees it, content id, executable
Inputs = Mapping[str, Sequence[Row]]
Pair = tuple[str, str | None]  # a repo and its branch
_OF_JOB = frozenset({"PACH_JOB_ID", "PACH_OUTPUT_COMMIT_ID"})
_text = json.encoder.encode_basestring_ascii
_JSON = {True: "true", False: "false"}


@dataclass(frozen=True, slots=True)
class IdentityRecipe:
    """The part of identity that all datums of a pipeline share, as canonical data."""

    transform: dict[str, Any]
    image: str
    code: str

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as JSON data."""
        return {"transform": self.transform, "image": self.image, "code": self.code}


def recipe(pipeline: Pipeline, image: str, code: str, commits: Mapping[Pair, str] | None = None) -> IdentityRecipe:
    """Return the recipe of a pipeline, from the content ids of its image and its `code/`.

    commits: of the inputs. They count with `reprocess_spec: every_job`: each new state of any input is a new job, in
    which every datum runs again. With `identity: content` they count if the spec's `env` names a variable of the run
    (see `run_variables`), which the command gets only then.
    """
    t = pipeline.transform
    transform: dict[str, Any] = {"cmd": list(t.cmd), "out": pipeline.out, "pipeline": pipeline.path}
    optional: dict[str, Any] = {
        "stdin": list(t.stdin),
        "env": dict(t.env),
        "accept_return_code": list(t.accept_return_code),
        "working_dir": t.working_dir,
        "err_cmd": list(t.err_cmd),
        "err_stdin": list(t.err_stdin),
        # by name only: nothing that is kept may contain a value
        "secrets": [[s.env_var, s.name, *([s.file] if s.file else [])] for s in t.secrets],
        "datum_batching": t.batching,
        "inputs": "writable" if pipeline.writable_inputs else "",
        "salt": pipeline.salt,
    }
    # what isn't used is left out, so that a later version can add a field and keep every id
    transform |= {name: value for name, value in optional.items() if value}
    if not pipeline.network:
        transform["network"] = False
    if pipeline.reprocess == "every_job":
        transform["every_job"] = _states(commits or {})
    return IdentityRecipe(
        transform | _of_templates(pipeline, commits or {}) | _of_run(pipeline, commits or {}), image, code
    )


def _of_templates(pipeline: Pipeline, commits: Mapping[Pair, str]) -> dict[str, Any]:
    """Return what counts of template values; the others are in the texts of the command."""
    found: dict[str, Any] = {}
    if env := pipeline.transform.datum_env:  # each datum has their values among its variables
        found["datum_env"] = dict(env)
    if pipeline.transform.names_job:  # a job is a new one for each state of its inputs
        found["job"] = _states(commits)
    return found


def _of_run(pipeline: Pipeline, commits: Mapping[Pair, str]) -> dict[str, Any]:
    """Return what counts of a run.

    With `identity: content`, that which the variables follow from that the spec names.
    """
    found: dict[str, Any] = {}
    named = run_variables(pipeline).keys() & dict(pipeline.transform.env).keys()
    if pipeline.identity != "content" or not named:
        return found
    inputs = pipeline.pfs_inputs()
    # a job has no id before it begins: it is a new one for each state of its inputs
    pairs = {(pfs.repo, pfs.branch) for pfs in inputs if named & _OF_JOB or f"{pfs.name}_COMMIT" in named}
    if pairs:
        found["run"] = _states({pair: commit for pair, commit in commits.items() if pair in pairs})
    if "PPS_SPEC_COMMIT" in named:
        found["spec"] = pipeline.blob
    return found


def run_variables(pipeline: Pipeline, commits: Mapping[Pair, str] | None = None, job: str = "") -> dict[str, str]:
    """Return the variables that differ from run to run though nothing that decides the result does."""
    found = {"PPS_SPEC_COMMIT": pipeline.blob, "PACH_JOB_ID": job, "PACH_OUTPUT_COMMIT_ID": job}
    for pfs in pipeline.pfs_inputs():
        found[f"{pfs.name}_COMMIT"] = (commits or {}).get((pfs.repo, pfs.branch), "")
    return found


def _states(commits: Mapping[Pair, str]) -> list[str]:
    return sorted(f"{repo}@{branch or ''} {c}" for (repo, branch), c in commits.items())


def code_id(files: Mapping[str, FileEntry]) -> str:
    """Return the content id of a folder: the hash of its paths, content ids and executable bits."""
    return _hash([[path, f.content, f.executable] for path, f in sorted(files.items())])


def input_files(datum: Datum, snapshots: Snapshots, words: Sequence[str] = ()) -> dict[str, list[Row]]:
    """Return the files of each input as (path as the command sees it, content id, executable), sorted.

    words: those that the command does not see (`identity: content`). With `empty_files` the content counts as well,
    since a link in /pfs/out to such a file publishes it; it is marked, as the command sees an empty file.
    """
    found: dict[str, list[Row]] = {}
    for match in datum.matches:
        files = snapshots[match.repo, match.branch]
        base = match.path[1:]
        rows = found.setdefault(match.input, [])
        single = files.files.get(base)
        below = ((base, single),) if single is not None else files.below(match.path)
        mark = EMPTY if match.empty_files else ""
        rows += [(hide(path, words), mark + entry.content, entry.executable) for path, entry in below]
    for rows in found.values():
        if len(rows) > 1:
            rows.sort()
    return found


def variables(datum: Datum, words: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment of one datum (docs/spec-reference.md) but its id, as the command sees it."""
    found = {DATUM_NAME: hide(datum.name, words)}
    if len(datum.matches) == 1:
        (match,) = datum.matches
        found[match.input] = f"/pfs/{match.input}{hide(match.path.rstrip('/'), words)}"
        _add_keys(found, match, words)
        return found
    by_input: dict[str, list[Match]] = {}
    for match in datum.matches:
        by_input.setdefault(match.input, []).append(match)
    for name, matches in by_input.items():
        only = matches[0].path.rstrip("/") if len(matches) == 1 else ""
        found[name] = f"/pfs/{name}{hide(only, words)}"
        _add_keys(found, matches[0], words)
    return found


def _add_keys(found: dict[str, str], match: Match, words: Sequence[str]) -> None:
    if match.join_on:
        found[f"PACH_DATUM_{match.input}_JOIN_ON"] = hide(match.join_on, words)
    if match.group_by:
        found[f"PACH_DATUM_{match.input}_GROUP_BY"] = hide(match.group_by, words)


def datum_id(shared: IdentityRecipe, files: Inputs, visible: Mapping[str, str], *, by_path: bool) -> str:
    """Return the id of a datum: SHA-256 (hex) of the canonical JSON of its recipe, its inputs and its variables."""
    return Identifier(shared, by_path=by_path).id_of(files, visible)


class Identifier:
    """Ids of many datums of one recipe.

    The canonical JSON (sorted keys, no spaces, ASCII) is put together around what differs between datums:
    three times as fast as encoding each datum's whole object.
    """

    def __init__(self, shared: IdentityRecipe, *, by_path: bool) -> None:
        before = {
            "code": shared.code,
            "identity": "path" if by_path else "content",
            "image": shared.image,
        }
        after = {"transform": shared.transform}
        self._head = hashlib.sha256((_canonical(before)[:-1] + ',"inputs":{').encode())
        self._middle = ("}," + _canonical(after)[1:-1] + ',"variables":{').encode()
        self._tail = ("}," + _canonical({"version": VERSION})[1:]).encode()

    def id_of(self, files: Inputs, visible: Mapping[str, str]) -> str:
        """Return the id of the datum with these inputs and variables."""
        parts = []
        for name in sorted(files) if len(files) > 1 else files:
            rows = [f"[{_text(path)},{_text(content)},{_JSON[executes]}]" for path, content, executes in files[name]]
            parts.append(f"{_text(name)}:[{','.join(rows)}]")
        digest = self._head.copy()
        digest.update(",".join(parts).encode())
        digest.update(self._middle)
        digest.update(",".join([f"{_text(name)}:{_text(visible[name])}" for name in sorted(visible)]).encode())
        digest.update(self._tail)
        return digest.hexdigest()


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(data: Any) -> str:
    return hashlib.sha256(_canonical(data).encode()).hexdigest()
