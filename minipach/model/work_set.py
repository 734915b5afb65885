"""Datum sets as data: what travels to a worker, and what comes back. JSON, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from minipach.model import run_record
from minipach.model.datum import Task
from minipach.model.failures import FINAL
from minipach.model.job_entries import DatumResult, Took, Try
from minipach.model.pipeline import Pipeline, Resources
from minipach.model.states import SetKind
from minipach.support.validation import checked, clean, parse_object

LOST_TRIES = 3  # a set that is lost this often isn't tried again in this job


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One input file: where it goes in the slot, and where its content is.

    dest: `inputs/<slug>/<path>` · repo: absolute path of the dataset that has it · kind: as in FileEntry ·
    blob: git object id · key: annex key, for kind `annex` · top: the path of a plain folder in its dataset, which
    `dest` has after the slug.
    """

    dest: str
    repo: str
    kind: Literal["annex", "git", "link"]
    blob: str
    key: str | None
    executable: bool
    top: str = ""

    @property
    def path(self) -> str:
        """The path from the top of the repo, or of the plain folder."""
        inside = self.dest.split("/", 2)[2]
        return inside.removeprefix(f"{self.top}/") if self.top else inside


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of a set: CPUs (parts too), bytes of memory and of scratch, GPUs. 0: any."""

    cpu: float = 0.0
    memory: int = 0
    disk: int = 0
    gpus: int = 0
    gpu_type: str = ""

    @staticmethod
    def of(pipeline: Pipeline) -> Needs:
        """Return what a pipeline's spec asks for: its requests, and its limits where it requests nothing."""
        ask, limit = pipeline.resource_requests or Resources(), pipeline.resource_limits or Resources()
        gpu = ask if ask.gpu_number else limit
        return Needs(
            cpu=ask.cpu or limit.cpu or 0.0,
            memory=ask.memory or limit.memory or 0,
            disk=ask.disk or limit.disk or 0,
            gpus=gpu.gpu_number,
            gpu_type=gpu.gpu_type,
        )


@dataclass(frozen=True, slots=True)
class WorkSet:
    """A datum set for a worker. `id` is made of the datums' content and names, so that to submit twice is harmless.

    head, parts, tail: the command in pieces, one part per datum (see run_record.LaunchCommand) · inputs: per datum,
    what the record says of its inputs · chunk: the worker may cut it into several sets, by what the first ones took ·
    always: inputs that every record has · secrets: their names · secrets_folder: where files with secrets are on the
    scheduler's machine · needs: what it asks of a machine · timeout: seconds that one datum may take (None: no limit).
    tries: how many are left · tried: how many its one datum has had already, in a set with others · more_memory: how
    many times as much memory a try gets after one that was out of memory (1: as much) · raised: how often its one datum
    has got more already · trial: seconds after which its worker begins no other of its datums, nor after one that
    failed: nobody knows yet how long they take. Those that were not begun are not in the outcome (None: all are begun).
    """

    id: str
    pipeline: str
    repo: str
    base: str
    image: str
    head: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...]
    tail: tuple[str, ...]
    inputs_of: tuple[tuple[str, ...], ...]
    always: tuple[str, ...]
    files: tuple[StagedFile, ...]
    datums: tuple[dict[str, Any], ...]
    job: str
    forced: bool
    tries: int
    log: str
    secrets: tuple[str, ...] = ()
    secrets_folder: str = ""
    chunk: bool = False
    needs: Needs = Needs()
    timeout: float | None = None
    tried: int = 0
    more_memory: float = 1.0
    raised: int = 0
    trial: float | None = None

    def with_memory(self, raised: int) -> WorkSet:
        """Return the set for another try, whose memory was raised so often; with an id of its own.

        Both what it asks of a machine and the limit of its command are raised.
        """
        times = self.more_memory**raised
        head = list(self.head)
        for n, word in enumerate(head):
            kind, _, size = word.partition("=")
            if n and head[n - 1] == "-L" and kind == "memory":
                head[n] = f"memory={round(int(size) * times)}"
        needs = replace(self.needs, memory=round(self.needs.memory * times))
        rows = [[d["id"], d["name"], d["dest"]] for d in self.datums]
        return replace(self, id=_id(self.pipeline, rows, raised), head=tuple(head), needs=needs, raised=raised)

    def command(self, chosen: Sequence[int] | None = None) -> str:
        """Return the command for all datums or some, as datalad takes it (braces doubled)."""
        text = run_record.LaunchCommand(self.head, self.parts, self.tail).text(chosen)
        return run_record.escape_format(text)

    def inputs(self, chosen: Sequence[int] | None = None) -> list[str]:
        """Return the record's inputs for all datums or some, each once."""
        indices = range(len(self.parts)) if chosen is None else chosen
        found = [path for i in indices for path in self.inputs_of[i]]
        return list(dict.fromkeys([*found, *self.always]))

    def title(self, chosen: Sequence[int] | None = None) -> str:
        """Return the record's first line."""
        indices = range(len(self.parts)) if chosen is None else chosen
        return run_record.title(self.pipeline, [self.datums[i]["name"] for i in indices])

    def part(self, chosen: Sequence[int]) -> WorkSet:
        """Return the set of some of the datums, with an id and a log of its own."""
        wanted = {path for i in chosen for path in run_record.matched(self.parts[i])}
        rows = [[self.datums[i]["id"], self.datums[i]["name"], self.datums[i]["dest"]] for i in chosen]
        return replace(
            self,
            id=_id(self.pipeline, rows, self.raised),
            parts=tuple(self.parts[i] for i in chosen),
            inputs_of=tuple(self.inputs_of[i] for i in chosen),
            datums=tuple(self.datums[i] for i in chosen),
            files=tuple(f for f in self.files if any(above in wanted for above in upwards(f.dest))),
            log=f"{self.log.removesuffix('.log')}-{chosen[0] + 1}.log",
            chunk=False,
        )

    def first(self, count: int) -> WorkSet:
        """Return the set as if it had its first datums alone."""
        return replace(self.part(range(count)), id=self.id, log=self.log)

    def to_json(self) -> str:
        """Return the set as one line of JSON."""
        # `asdict` would copy all that is in it first, which takes five times as long
        data = {name: getattr(self, name) for name in self.__slots__}
        files = [{name: getattr(file, name) for name in file.__slots__} for file in self.files]
        return json.dumps({**data, "files": files, "needs": asdict(self.needs)})

    @staticmethod
    def from_json(text: str) -> WorkSet:
        """Return the set from its JSON. Raises ValueError, KeyError, TypeError."""
        data = parse_object(text)
        for name in ("head", "tail", "always", "datums", "secrets"):
            data[name] = tuple(data[name])
        for name in ("parts", "inputs_of"):
            data[name] = tuple(tuple(row) for row in data[name])
        data["files"] = tuple(StagedFile(**f) for f in data["files"])
        data["needs"] = Needs(**data["needs"])
        return checked(WorkSet(**data))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a set, or of some of the datums of a chunk.

    kind: `ok` (not every datum failed) · `failed` (none succeeded; `exit` is the last code) · `lost` (infrastructure:
    the worker died, a fetch failed; see `message`) · seconds, cpu: wall and processor time of the last try · datums:
    what became of each (see `results`) · memory: peak of the command's processes together, in bytes (None: not known)
    · started, ended: in unix seconds, all tries and the inputs' fetching included (0: not known) · before: the tries of
    the whole set before the last one, in order.
    """

    set_id: str
    kind: SetKind
    exit: int
    message: str
    seconds: float
    tries: int
    log: str
    host: str
    cpu: float = 0.0
    datums: tuple[DatumResult, ...] = ()
    memory: int | None = None
    started: float = 0.0
    ended: float = 0.0
    before: tuple[Try, ...] = ()

    def results(self, count: int) -> tuple[DatumResult, ...]:
        """Return what became of each datum. No datums: all `count` of the set fared as the set."""
        if self.datums:
            return self.datums
        code = 0 if self.kind == "ok" else self.exit
        return tuple(
            DatumResult(index, self.kind, code, self.message, index if count > 1 else None) for index in range(count)
        )

    @property
    def own_seconds(self) -> float:
        """The wall time that the datums themselves took, without what their set costs; 0: not known."""
        each = (max(0.0, one.took.ended - one.took.began) for one in self.datums if one.took is not None)
        return min(sum(each), self.seconds)

    def as_part_of(self, set_id: str, indices: Sequence[int]) -> Outcome:
        """Return the outcome of a set that was cut out of another as one of that. indices: of its datums there."""
        datums = tuple(
            replace(one, index=indices[one.index], beside=None if one.beside is None else indices[one.beside])
            for one in self.results(len(indices))
        )
        return replace(self, set_id=set_id, datums=datums)

    def to_json(self) -> str:
        """Return the outcome as one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str | bytes) -> Outcome:
        """Return the outcome from its JSON. Raises ValueError, TypeError."""
        data = parse_object(text)
        data["before"] = tuple(Try(**row) for row in data.get("before", ()))
        data["datums"] = tuple(_datum_result(row) for row in data.get("datums", ()))
        found = checked(Outcome(**data))
        return replace(found, message=clean(found.message), host=clean(found.host))


def _datum_result(row: Any) -> DatumResult:
    if not isinstance(row, dict):
        raise TypeError("no object")
    took = row.get("took")
    found = checked(DatumResult(**{**row, "took": None if took is None else Took(**took)}))
    return replace(found, message=clean(found.message))


def tried_again(results: Sequence[DatumResult], tries: int, members: int | None = None) -> dict[int, int]:
    """Return the failed datums of a set of several that are to run alone, and how often.

    tries: as in the spec · members: datums of the set (None: all have a result here).

    Where another datum's time was over, which ended the set, that was no try of the others. Nothing was where the set
    was lost, which may have been one datum's doing: its input can't be had, or it takes its worker with it. A failure
    that would only repeat is final. One that was out of memory is not for a worker to try again, where the next try
    gets more: whoever has submitted the set does that.
    """
    if (len(results) if members is None else members) == 1:
        return {}
    found = {}
    for one in results:
        if one.state in ("ok", "recovered") or one.wants_memory:
            continue
        spared = one.state in ("lost", "stopped")
        left = tries if spared else tries - 1
        if left > 0 and (spared or one.exit not in FINAL):
            found[one.index] = left
    return found


class Streak:
    """The number of datums in a row that were lost alone, after their set was lost.

    Where it is not the datums' doing (the disk is full, a secret is missing), the others need not be tried.
    """

    _MOST = 3

    def __init__(self) -> None:
        self._lost = 0

    def note(self, outcome: Outcome) -> None:
        """Count a datum that was tried by itself, or a set that brought something."""
        self._lost = self._lost + 1 if outcome.kind == "lost" else 0

    @property
    def is_hopeless(self) -> bool:
        """Whether to leave it at that."""
        return self._lost >= self._MOST


def set_id(pipeline: str, tasks: Sequence[Task]) -> str:
    """Return the id of a set: the hash of its datums' ids and names."""
    return _id(pipeline, [[t.id, t.datum.name, t.dest] for t in tasks])


def id_of(work: WorkSet) -> str:
    """Return the id that a set must have by what is in it."""
    return _id(work.pipeline, [[d["id"], d["name"], d["dest"]] for d in work.datums], work.raised)


def _id(pipeline: str, rows: Sequence[Sequence[str]], raised: int = 0) -> str:
    content = [pipeline, rows, raised] if raised else [pipeline, rows]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:40]


def upwards(path: str) -> Iterator[str]:
    """Yield a path, and the folders that it is in, from the inside out."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def record_extra(
    pipeline: str, job: str, datums: Sequence[Mapping[str, Any]], *, forced: bool = False, set_id: str = ""
) -> dict[str, Any]:
    """Return our own object in the run record.

    datums: each with name and id, and with its outputs if the commit has those of others, too · set_id: of the set
    that a datum ran in with others.
    """
    return {
        **({"forced": True} if forced else {}),
        **({"set": set_id} if set_id else {}),
        "schema": 1,
        "pipeline": pipeline,
        "job": job,
        "datums": [dict(d) for d in datums],
    }


@dataclass(frozen=True, slots=True)
class Base:
    """A base commit: what it pins, and the ids that results remember of it.

    head: the branch it was made from · options: of the launcher, by the settings that widen what commands see.
    """

    commit: str
    tree: str
    image_path: str
    code_tree: str
    commits: Mapping[tuple[str, str | None], str]
    dataset_id: str
    head: str = ""
    options: tuple[str, ...] = ()
