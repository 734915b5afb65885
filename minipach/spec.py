"""A pipeline as its spec.yml describes it: plain data. Reading the file is `specload`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["cross", "union", "join", "group"]


@dataclass(frozen=True)
class PfsInput:
    """The paths of one repo that match a glob; `branch` None is the one that is checked out."""

    name: str
    repo: str
    glob: str
    branch: str | None = None
    join_on: str = ""
    outer_join: bool = False
    group_by: str = ""
    lazy: bool = False
    empty_files: bool = False


@dataclass(frozen=True)
class Combination:
    """Inputs put together, in the order they are written."""

    kind: Kind
    members: tuple[Input, ...]


Input = PfsInput | Combination


@dataclass(frozen=True)
class Secret:
    """A secret by its name (with its key, `name/key`), and the variable in which the command gets its value."""

    name: str
    env_var: str


@dataclass(frozen=True)
class Transform:
    """What runs for each datum; `image` None is the host's environment, `working_dir` "" is the repo."""

    image: str | None
    cmd: tuple[str, ...]
    stdin: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    accept_return_code: tuple[int, ...] = ()
    working_dir: str = ""
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True)
class SetSpec:
    """How datums are cut into sets: so many, so many input bytes, so many sets per worker; 0 where nothing is said."""

    number: int = 0
    size_bytes: int = 0
    per_worker: int = 0


@dataclass(frozen=True)
class Resources:
    """What one run needs: CPUs (parts too), bytes, and GPUs; None and 0 where nothing is said."""

    cpu: float | None = None
    memory: int | None = None
    disk: int | None = None
    gpu_type: str = ""
    gpu_number: int = 0


@dataclass(frozen=True)
class Metadata:
    """Words about the pipeline, sorted by key."""

    annotations: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """One checked spec. `notes` are what was accepted without effect, each `source:line:column: note`.

    datum_timeout, job_timeout: seconds; None is no limit.
    """

    name: str
    input: Input
    transform: Transform
    description: str = ""
    metadata: Metadata = Metadata()
    identity: Literal["content", "path"] = "content"
    out: str = "/"
    publish: Literal["complete", "available"] = "complete"
    datum_tries: int = 3
    datum_timeout: float | None = None
    job_timeout: float | None = None
    parallelism: int | None = None
    sets: SetSpec = SetSpec()
    salt: str = ""
    reprocess: Literal["until_success", "every_job"] = "until_success"
    resource_requests: Resources | None = None
    resource_limits: Resources | None = None
    notes: tuple[str, ...] = ()
    source: str = "spec.yml"

    def pfs_inputs(self) -> tuple[PfsInput, ...]:
        """Every pfs input as written, from top to bottom."""
        return tuple(_leaves(self.input))


def secret_variable(name: str) -> str:
    """The environment variable that holds a secret: MINIPACH_SECRET_<NAME>, for workers and for reruns."""
    return "MINIPACH_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _leaves(node: Input) -> Iterator[PfsInput]:
    if isinstance(node, PfsInput):
        yield node
    else:
        for member in node.members:
            yield from _leaves(member)
