"""A pipeline as its spec.yml describes it: plain data. Reading the file is `spec.load`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from minipach.model.clock import Clock
from minipach.model.launch_protocol import SECRET_PREFIX
from minipach.support.errors import Problem, UserError

Kind = Literal["cross", "union", "join", "group"]
ALL = "."  # the repo of an input that takes from the superdataset itself
JOB_ID = "{{ job.id }}"  # in a command or a variable, until the job begins


@dataclass(frozen=True)
class BranchTrigger:
    """A condition for new commits of a branch: so many commits, so many bytes, a time; 0 and "" where not given.

    branch: the one that is looked at (None: the one checked out) · all: whether all conditions must hold.
    """

    branch: str | None = None
    commits: int = 0
    size: int = 0
    cron_spec: str = ""
    all: bool = False


@dataclass(frozen=True)
class PfsInput:
    """The paths of one repo that match a glob; `branch` None is the one that is checked out.

    project: of Pachyderm, where it is part of the repo's path and so in `repo`, too · clock: of a `cron` input; the
    repo's files are its ticks (None: it is a `pfs` input) · trigger: which commits of the branch count (None: all) ·
    holder: the dataset that has `repo` as a plain folder ("" is the superdataset; None: `repo` is a dataset). The
    project knows it.
    """

    name: str
    repo: str
    glob: str
    branch: str | None = None
    join_on: str = ""
    outer_join: bool = False
    group_by: str = ""
    lazy: bool = False
    empty_files: bool = False
    project: str = ""
    clock: Clock | None = None
    trigger: BranchTrigger | None = None
    holder: str | None = None

    @property
    def folder(self) -> str:
        """The path of a plain folder in the dataset that has it; "" for all of a dataset."""
        return folder_in(self.repo, self.holder)


@dataclass(frozen=True)
class Combination:
    """Inputs put together, in the order they are written.

    scheduled: the cross of the spec's input with the ticks of `minipach.schedule`, the last member.
    """

    kind: Kind
    members: tuple[Input, ...]
    scheduled: bool = False


Input = PfsInput | Combination


@dataclass(frozen=True, slots=True)
class Need:
    """A repo (and its branch, where one is named) that an input takes from, and where a spec says so.

    repo_at, branch_at: as messages have it, `edges/spec.yml:4:11` · name: of the input · the rest: as in `PfsInput`.
    """

    repo: str
    branch: str | None
    repo_at: str
    branch_at: str
    project: str = ""
    clock: Clock | None = None
    trigger: BranchTrigger | None = None
    name: str = ""
    holder: str | None = None

    @property
    def folder(self) -> str:
        """The path of a plain folder in the dataset that has it; "" for all of a dataset."""
        return folder_in(self.repo, self.holder)


@dataclass(frozen=True)
class Secret:
    """A secret by its name (with its key, `name/key`), and where the command finds its value.

    env_var: the variable, "" for none · file: the absolute path of a read-only file, "" for none.
    """

    name: str
    env_var: str = ""
    file: str = ""


@dataclass(frozen=True)
class Transform:
    """The command of each datum; `image` None is the host's environment, `working_dir` "" is the repo.

    batching: the command loops over datums itself, and runs `minipach-next` for each · datum_env: variables whose
    values have placeholders of the datum (`{1}`).
    """

    image: str | None
    cmd: tuple[str, ...]
    stdin: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    accept_return_code: tuple[int, ...] = ()
    working_dir: str = ""
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    batching: bool = False
    datum_env: tuple[tuple[str, str], ...] = ()

    @property
    def names_job(self) -> bool:
        """Whether the id of the job is part of what runs."""
        values = (value for _, value in (*self.env, *self.datum_env))
        return any(JOB_ID in text for text in (*self.cmd, *self.stdin, *self.err_cmd, *self.err_stdin, *values))


@dataclass(frozen=True)
class SetSpec:
    """The division of datums into sets: number, input bytes, or sets per worker; 0 where not given."""

    number: int = 0
    size_bytes: int = 0
    per_worker: int = 0


@dataclass(frozen=True)
class Resources:
    """The needs of one run: CPUs (parts too), bytes, and GPUs; None and 0 where not given."""

    cpu: float | None = None
    memory: int | None = None
    disk: int | None = None
    gpu_type: str = ""
    gpu_number: int = 0


@dataclass(frozen=True)
class Limits:
    """Limits of one datum that Pachyderm does not have: processes, and bytes of one file; None is no limit."""

    processes: int | None = None
    file_size: int | None = None


@dataclass(frozen=True)
class Pod:
    """The part of a spec that is for pods of Kubernetes. tolerations, patch, spec: JSON as text, "" for none."""

    node_selector: tuple[tuple[str, str], ...] = ()
    priority_class: str = ""
    tolerations: str = ""
    patch: str = ""
    spec: str = ""


@dataclass(frozen=True)
class Service:
    """The ports of a program that runs until it is stopped.

    port: on which it listens · external: at which it is reached · kind, ip, annotations: of the Service on Kubernetes ·
    health: the path that it answers when it is ready; "": it is ready when it takes connections.
    """

    port: int
    external: int
    kind: str = "NodePort"
    ip: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    health: str = ""


@dataclass(frozen=True)
class Metadata:
    """Words about the pipeline, sorted by key."""

    annotations: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """One checked spec. `notes` are what was accepted without effect, each at `source:line:column`.

    identity: "" is the project's default · blob: the id that git gives to the spec's text · datum_timeout,
    job_timeout: seconds; None is no limit · network: whether the command has one · writable_inputs: whether it gets
    copies of its inputs, to write to · outputs_required: whether a datum that writes nothing fails · shared_code:
    paths outside of the pipeline's folder, as seen from it (`../lib`), that the command sees · output_branch: that
    results go to (None: the one checked out) · more_memory: how many times as much memory a try gets after one that
    was out of it (1: as much) · places: (field, `line:column`) of the inputs' fields and of the
    image, for errors that show only later; where something stands makes no other pipeline of it · exclude: names or
    patterns of datums that are left out, and why · metrics: paths or patterns of outputs with metrics · egress: the
    place that outputs are sent to after a publish, or "" · service: it is a service, which has no outputs.
    """

    name: str
    input: Input
    transform: Transform
    description: str = ""
    metadata: Metadata = Metadata()
    identity: Literal["content", "path", ""] = ""
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
    output_branch: str | None = None
    network: bool = True
    writable_inputs: bool = False
    outputs_required: bool = False
    shared_code: tuple[str, ...] = ()
    limits: Limits = Limits()
    more_memory: float = 1.0
    exclude: tuple[tuple[str, str], ...] = ()
    metrics: tuple[str, ...] = ()
    egress: str = ""
    pod: Pod = Pod()
    service: Service | None = None
    notes: tuple[Problem, ...] = ()
    source: str = "spec.yml"
    blob: str = field(default="", repr=False, compare=False)
    places: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    @property
    def path(self) -> str:
        """The path of the pipeline in its project."""
        return self.source.rpartition("/")[0] or self.name

    def at(self, path: str) -> str:
        """Return where a field stands (`transform.image`).

        `source:line:column`; the source alone where it isn't written.
        """
        return place_of(self.source, self.places, path)

    def needs(self) -> tuple[Need, ...]:
        """Return what each pfs input takes from, as `pfs_inputs`."""
        return tuple(
            Need(
                pfs.repo,
                pfs.branch,
                self.at(path if pfs.clock else f"{path}.repo"),
                self.at(f"{path}.branch"),
                pfs.project,
                pfs.clock,
                pfs.trigger,
                pfs.name,
                pfs.holder,
            )
            for path, pfs in _leaves(self.input)
        )

    def clocks(self) -> tuple[tuple[PfsInput, Clock], ...]:
        """Return the inputs that a clock adds ticks to."""
        return tuple((pfs, pfs.clock) for pfs in self.pfs_inputs() if pfs.clock)

    def pfs_inputs(self) -> tuple[PfsInput, ...]:
        """Return every pfs input as written, from top to bottom."""
        return tuple(pfs for _, pfs in _leaves(self.input))


class BrokenSpec(UserError):
    """The problems of one spec, and what can be read of it nevertheless.

    needs: what it takes input from · image: the one that it names, and where it does (as `Need.repo_at`).
    """

    def __init__(
        self, problems: Sequence[Problem], needs: Sequence[Need] = (), image: tuple[str, str] | None = None
    ) -> None:
        super().__init__(problems)
        self.needs = tuple(needs)
        self.image = image


def default_name(repo: str) -> str:
    """Return the name of an input that has none: the last part of its repo."""
    return "project" if repo == ALL else repo.rpartition("/")[2]


def folder_in(repo: str, holder: str | None) -> str:
    """Return the path of a plain folder `repo` in the dataset `holder`; "" for all of it."""
    if holder is None or repo == ALL:
        return ""
    return repo.removeprefix(f"{holder}/") if holder else repo


def with_holders(node: Input, holder_of: Callable[[PfsInput], str | None]) -> Input:
    """Return an input that names the datasets of its plain folders."""
    if isinstance(node, Combination):
        return replace(node, members=tuple(with_holders(member, holder_of) for member in node.members))
    return replace(node, holder=holder_of(node))


def secret_variable(name: str) -> str:
    """Return the environment variable that holds a secret: MINIPACH_SECRET_<NAME>, for workers and for reruns."""
    return SECRET_PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def place_of(source: str, places: tuple[tuple[str, str], ...], path: str) -> str:
    """Return `source:line:column` of a field; the source alone where it isn't written."""
    return ":".join([source, *(where for field, where in places if field == path)])


def _leaves(node: Input, path: str = "input") -> Iterator[tuple[str, PfsInput]]:
    if isinstance(node, PfsInput):
        yield f"{path}.{'cron' if node.clock else 'pfs'}", node
    elif node.scheduled:
        for member in node.members[:-1]:
            yield from _leaves(member, path)
        clock = node.members[-1]
        assert isinstance(clock, PfsInput)
        yield "minipach.schedule", clock
    else:
        for n, member in enumerate(node.members):
            yield from _leaves(member, f"{path}.{node.kind}.{n}")
