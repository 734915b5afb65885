"""The origin of files as data: versions of files, and the computations that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a repository. when: ISO 8601, in UTC · url: its page on a forge, if the commit was pushed there."""

    commit: str
    author: str
    email: str
    when: str
    subject: str
    url: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            "commit": self.commit,
            "author": self.author,
            "email": self.email,
            "when": self.when,
            "subject": self.subject,
            "url": self.url or None,
        }


@dataclass(frozen=True, slots=True)
class FileUse:
    """A file as an input of a computation.

    key: of its version · at: the commit of the input that the computation read · empty: it saw the name alone.
    """

    input: str
    key: str
    at: str
    empty: bool = False


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file at a commit of a repository.

    repo: its path in the project ("." is the superdataset) · content: its content id · annex: its annex key · web:
    addresses of its content · origin: `computed` by a datum, `committed`, or `unknown` with the reason in `note` ·
    computation: its key · change: the last commit that changed the file · command: of a `datalad run` that did.
    """

    key: str
    repo: str
    path: str
    at: str
    content: str = ""
    annex: str = ""
    size: int | None = None
    executable: bool = False
    origin: Literal["computed", "committed", "unknown"] = "unknown"
    computation: str = ""
    change: Commit | None = None
    command: str = ""
    web: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """The path of the file in the project."""
        return self.path if self.repo == "." else f"{self.repo}/{self.path}"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            "key": self.key,
            "repo": self.repo,
            "path": self.path,
            "at": self.at,
            "content": self.content or None,
            "annex_key": self.annex or None,
            "size": self.size,
            "origin": self.origin,
            "computation": self.computation or None,
            "change": self.change.as_json() if self.change else None,
            "command": self.command or None,
            "web": list(self.web),
            "note": self.note or None,
        }


@dataclass(frozen=True, slots=True)
class Code:
    """The own files of a pipeline as a computation read them.

    now: the last commit of now, if the own files differ since · diff: the command that shows the difference · diff_url:
    the same on a forge.
    """

    commit: Commit
    now: str = ""
    diff: str = ""
    diff_url: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            **self.commit.as_json(),
            "changed_since": bool(self.now),
            "diff": self.diff or None,
            "diff_url": self.diff_url or None,
        }


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of a computation.

    name: as the spec has it; "" for a host environment · content: the content id of the image · digest: of a registry,
    if it is known · path: in the pipeline's repo · text: a host environment's fingerprint.
    """

    name: str
    content: str
    digest: str
    path: str
    text: str = ""

    @property
    def is_host(self) -> bool:
        """Whether the command ran without an image."""
        return bool(self.text)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            "kind": "host" if self.is_host else "image",
            "name": self.name or None,
            "content": self.content or None,
            "digest": self.digest or None,
            "path": self.path,
            "fingerprint": self.text or None,
        }


@dataclass(frozen=True, slots=True)
class Computation:
    """The run of one datum, from its run record.

    record: the commit of the record · seconds: None if it is not known · variables: those that the command got, less
    secrets · secrets: the names of their variables · inputs: files that the datum matched · outputs: paths in the
    repo · rerun_of: earlier records, of a `datalad rerun` · reused_from: the datum whose result was copied.
    """

    key: str
    pipeline: str
    datum: str
    datum_id: str
    job: str
    record: Commit
    seconds: float | None
    command: tuple[str, ...]
    stdin: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    network: bool
    environment: Environment
    code: Code | None
    inputs: tuple[FileUse, ...]
    outputs: tuple[str, ...]
    rerun_of: tuple[str, ...] = ()
    reused_from: str = ""
    repeat: str = ""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            "key": self.key,
            "pipeline": self.pipeline,
            "datum": self.datum,
            "datum_id": self.datum_id,
            "job": self.job,
            "record": self.record.as_json(),
            "seconds": self.seconds,
            "command": list(self.command),
            "stdin": list(self.stdin),
            "variables": dict(self.variables),
            "secrets": list(self.secrets),
            "network": self.network,
            "environment": self.environment.as_json(),
            "code": self.code.as_json() if self.code else None,
            "inputs": [{"input": use.input, "file": use.key, "at": use.at, "empty": use.empty} for use in self.inputs],
            "outputs": list(self.outputs),
            "rerun_of": list(self.rerun_of),
            "reused_from": self.reused_from or None,
            "repeat": self.repeat,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Lineage:
    """The origin of files. wanted: the keys of the files that were asked for · files, computations: by key."""

    wanted: tuple[str, ...]
    files: dict[str, FileVersion]
    computations: dict[str, Computation]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach explain --json`."""
        return {
            "wanted": list(self.wanted),
            "files": [file.as_json() for file in self.files.values()],
            "computations": [computation.as_json() for computation in self.computations.values()],
        }
