"""The entries of the job database: what became of datums, their attempts and tries, and the jobs of which they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minipach.model.datum import Task
from minipach.model.states import DatumKind


@dataclass(frozen=True, slots=True)
class DatumEnd:
    """The outcome of a datum.

    kind: as in Outcome, or `recovered`: it failed and its `err_cmd` succeeded · seconds, cpu: of its last try, in a set
    with its share of the set's own work · memory: the peak meanwhile, in bytes · bytes_in, bytes_out: of its files
    (None: not known) · log: a file, its own where it has one · started, ended: of its set, in unix seconds (None: not
    known) · took: what its last try took (None: not known) · before: the tries before that, those that are not on
    record yet (see `Round`).
    """

    task: Task
    kind: DatumKind
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
    """Return what became of a datum, as the job database has it."""
    kind: DatumKind = "failed"
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
    """The bad end of a datum's last attempt. times: how often this very content did not end well."""

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
    """The duration of one run: wall seconds, and seconds of CPU time."""

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Used:
    """The outcome of a datum in a job, and its resources.

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
    """One pass of a pipeline. key: the job database's own number; several passes over the same state share an id.

    asked: how many datums it is to run, all passes that share the key together (0: not known) · cause: `manual` (a
    person asked for it), or the trigger: `clock`, `watch`, `event`, `hook`; `backfill` ("": not known).
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
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Took:
    """The duration of a datum's last try.

    began, ended: in unix seconds, of the datum itself in a set of several · seconds, cpu: wall and processor time, its
    share of the set's own work included · memory: peak in bytes · disk: peak of its scratch space and outputs, in bytes
    (None: not known).
    """

    began: float
    ended: float
    seconds: float
    cpu: float
    memory: int | None = None
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """A try that was not the last one.

    kind: `failed`, or `lost`: not the command's fault, so that it doesn't count for `datum_tries` · started, ended: in
    unix seconds (None: not known) · log: the file that has what it printed, maybe with other tries ("": not kept).
    """

    kind: str
    exit: int
    message: str
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int | None = None
    host: str = ""
    log: str = ""

    @staticmethod
    def of(took: Took, kind: str, code: int, message: str, host: str, log: str) -> Try:
        """Return a try that took this."""
        return Try(
            kind, code, message, took.began or None, took.ended or None, took.seconds, took.cpu, took.memory, host, log
        )


def took(
    own: Sequence[tuple[float, float, float, float]], count: int, began: float, seconds: float, cpu: float
) -> list[Took]:
    """Return what each datum of a try of `count` datums took.

    own: per datum when it began and ended (unix seconds), its wall and its processor time; without, all count alike ·
    began: in unix seconds, of the try · seconds, cpu: of the whole try. What the datums themselves did not take
    (checkout, container, commit) is shared out evenly.
    """
    if len(own) != count:
        return [Took(began, began + seconds, seconds / count, cpu / count)] * count
    more = max(0.0, seconds - sum(wall for _, _, wall, _ in own)) / count
    more_cpu = max(0.0, cpu - sum(used for _, _, _, used in own)) / count
    return [Took(begin, end, wall + more, used + more_cpu) for begin, end, wall, used in own]
