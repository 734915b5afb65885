"""The ledger's entries: what became of datums, what their attempts used, and the jobs that they were of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minipach.model.datum import Task
from minipach.model.tries import Took, Try


@dataclass(frozen=True, slots=True)
class DatumEnd:
    """What became of a datum.

    kind: as in Outcome, or `recovered`: it failed and its `err_cmd` succeeded · seconds, cpu: of its last try, in a set
    with its share of the set's own work · memory: the peak meanwhile, in bytes · bytes_in, bytes_out: of its files
    (None: not known) · log: a file, its own where it has one · started, ended: of its set, in unix seconds (None: not
    known) · took: what its last try took (None: not known) · before: the tries before that, those that are not on
    record yet (see `Round`).
    """

    task: Task
    kind: Literal["ok", "failed", "lost", "recovered"]
    exit: int
    message: str
    seconds: float
    cpu: float
    tries: int
    host: str
    log: str
    memory: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    started: float | None = None
    ended: float | None = None
    took: Took | None = None
    before: tuple[Try, ...] = ()


def end_of(task: Task, used: Used) -> DatumEnd:
    """What became of a datum, as the ledger has it."""
    kind: Literal["ok", "failed", "lost", "recovered"] = "failed"
    for known in ("ok", "lost", "recovered"):
        if used.kind == known:
            kind = known
    return DatumEnd(
        task,
        kind,
        used.exit,
        used.message,
        used.seconds,
        used.cpu,
        used.tries,
        used.host,
        used.log,
        used.memory,
        used.bytes_in,
        used.bytes_out,
        used.started,
        used.ended,
    )


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last thing that happened to a datum. seconds: wall time of the last try · pass_key: of its job."""

    datum: str
    datum_id: str
    kind: str
    exit: int
    message: str
    seconds: float
    ended: float
    log: str
    job: str
    pass_key: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """How the last attempt of a datum ended, if not well. times: how often this very content did not end well."""

    datum_id: str
    kind: str
    message: str
    times: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """A datum id whose command failed in several jobs. message: of the last time."""

    jobs: int
    message: str


@dataclass(frozen=True, slots=True)
class Duration:
    """What one run took: wall seconds, and seconds of processor time."""

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Used:
    """What happened to a datum in a job, and what it used.

    seconds, cpu: wall and processor time of the last try, in a set with its share of the set's own work · memory: peak
    of the processes of the command (or its set) together while it ran, in bytes; None: not known · bytes_in,
    bytes_out: of its files · disk: peak of its scratch space and outputs; None: not known · forced: it ran on purpose,
    whatever was known of it · started, ended: of the set that it was in, in unix seconds (started is None where it is
    not known, or it never began; ended is then when that was noted) · began, finished: of its last try (None: not
    known).
    """

    datum: str
    datum_id: str
    kind: str
    exit: int
    message: str
    tries: int
    seconds: float
    cpu: float
    memory: int | None
    bytes_in: int | None
    bytes_out: int | None
    host: str
    log: str
    ended: float
    started: float | None = None
    began: float | None = None
    finished: float | None = None
    disk: int | None = None
    forced: bool = False

    @property
    def last_try(self) -> Try:
        """The try that this is."""
        began, ended = (self.started, self.ended) if self.began is None else (self.began, self.finished)
        used = self.seconds, self.cpu, self.memory
        return Try(self.kind, self.exit, self.message, began, ended, *used, self.host, self.log)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One pass of a pipeline. key: the ledger's own number; several passes over the same state share an id.

    asked: how many datums it is to run, all passes that share the key together (0: not known).
    """

    key: int
    id: str
    pipeline: str
    state: str
    started: float
    ended: float | None
    commit: str
    counts: dict[str, int]
    asked: int = 0
