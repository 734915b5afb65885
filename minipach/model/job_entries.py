"""The entries of the job database: what became of datums, their attempts and tries, and the jobs of which they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minipach.model.states import DatumKind, ResultState


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
        """Return a try with these durations and resources."""
        return Try(
            kind, code, message, took.began or None, took.ended or None, took.seconds, took.cpu, took.memory, host, log
        )


@dataclass(frozen=True, slots=True)
class Raised:
    """The tries of a datum in a job that did not come to its end: how many failed, and how many raised its memory."""

    failed: int
    raised: int


_NOTHING = Took(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class DatumResult:
    """The result of one datum of a set.

    index: of the set's datums · state: `ok`; `failed` with `exit` and `message`; `recovered`: it failed, and its
    `err_cmd` succeeded; `lost`: not its command's fault; `stopped`: the set was ended by another datum whose time was
    over · part: its number in a set of several that ran, which is also that of its part of the log (None: it ran by
    itself) · took: what its last try took (None: not known) · bytes_in, bytes_out: of its files (None: not known) ·
    wants_memory: it was out of memory, and the spec gives another try more · limit: the kind of the limit for which it
    failed ("": not known) · beside: the index of the datum whose output was in the way of its own.
    """

    index: int
    state: ResultState
    exit: int = 0
    message: str = ""
    part: int | None = None
    took: Took | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    wants_memory: bool = False
    limit: str = ""
    beside: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of a datum in a pass: the result of its last try, and where and when that was.

    result: as its worker reported it, with what it took · before: the tries before the last one that are not on record
    yet (see `Round`) · log: a file, the datum's own where it has one · started, ended: of its set, in unix seconds
    (None, 0: not known). One that was not begun has no start; its end is when that was noted · forced: it ran on
    purpose, whatever was known of it · pass_key: of its job in the job database (0: not on record yet) · outside: see
    `model.outside`.
    """

    datum: str
    datum_id: str
    result: DatumResult
    tries: int
    host: str
    log: str
    started: float | None = None
    ended: float = 0.0
    forced: bool = False
    before: tuple[Try, ...] = ()
    pass_key: int = 0
    outside: str = ""

    @property
    def kind(self) -> DatumKind:
        """The state of the datum. A set that another datum has stopped counts as its last try."""
        return "failed" if self.result.state == "stopped" else self.result.state

    @property
    def message(self) -> str:
        """The reason why it did not succeed."""
        return self.result.message

    @property
    def took(self) -> Took:
        """The duration and the resources of the last try."""
        return self.result.took or _NOTHING

    @property
    def last_try(self) -> Try:
        """The try that this is."""
        took = self.took
        if not took.began:
            took = replace(took, began=self.started or 0.0, ended=self.ended)
        return Try.of(took, self.kind, self.result.exit, self.message, self.host, self.log)


@dataclass(frozen=True, slots=True)
class Failure:
    """The bad end of a datum's last attempt. times: how often this very content did not end well."""

    datum_id: str
    kind: str
    message: str
    times: int


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job in which a datum failed. outside: see `model.outside`."""

    datum: str
    message: str
    outside: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A datum id whose command failed in several jobs, the last one last."""

    ends: tuple[FailedJob, ...]

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return len(self.ends)

    @property
    def message(self) -> str:
        """The reason of the last time."""
        return self.ends[-1].message


@dataclass(frozen=True, slots=True)
class Duration:
    """The duration of one run: wall seconds, and seconds of CPU time."""

    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """One pass of a pipeline. key: the job database's own number; several passes over the same state share an id.

    asked: how many datums it is to run, all passes that share the key together (0: not known) · cause: `manual` (a
    person asked for it), or the trigger: `hook`, `event`, `watch`, `clock`, `look`; `backfill` ("": not known).
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
