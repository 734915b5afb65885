"""A worker: one datum set → `datalad containers-run` in a slot → one result ref. Nothing else is written."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach import records
from minipach.git import SYMLINK, GitError, Repo, child_environment
from minipach.image import CONTAINER
from minipach.keys import key_of_link
from minipach.logs import split_log
from minipach.meter import Meter
from minipach.results import PENDING, to_json
from minipach.reuse import find_leaks
from minipach.sets import Outcome, WorkSet, record_extra
from minipach.slots import Slot, clear_scratch
from minipach.snapshot import reserved_in_pipeline
from minipach.staging import StagingError, stage

RESULTS_FILE = ".minipach/results.json"
_LAUNCHER_FAILED = 125  # the launcher's own exit code for "could not even start"


def run_set(work: WorkSet, slot: Slot) -> Outcome:
    """Run one set in a slot and point its result ref at the commit. Failures come back as outcomes."""
    with Meter(work, slot.path) as meter:
        outcome = _run_set(work, slot, meter)
    if len(work.parts) > 1 and outcome.kind != "lost":
        split_log(Path(work.log), len(work.parts))
    return replace(outcome, memory=meter.memory, moved=meter.moved)


def _run_set(work: WorkSet, slot: Slot, meter: Meter) -> Outcome:
    started, cpu = time.monotonic(), _cpu()
    tries = 0
    try:
        with logging_to(Path(work.log)), tempfile.TemporaryDirectory(prefix="minipach-report.") as folder:
            slot.reset(work.base)
            share = inputs_are_read_only(slot.path, work.image)
            stage(slot.path, work.files, share=share)
            meter.count_inputs()
            if not share:
                slot.make_code_private()
            run = _Run(1, "not started")
            while tries < work.tries:
                tries += 1
                if tries > 1:
                    print(f"minipach: try {tries} of {work.tries}", flush=True)
                    clear_scratch(slot.path)  # of a launcher that was killed: its command may run on
                started, cpu = time.monotonic(), _cpu()
                run = _containers_run(work, slot, folder if len(work.parts) > 1 else "")
                if run.exit in (0, _LAUNCHER_FAILED):
                    break
            report = _read_report(Path(folder), len(work.parts))
        seconds = time.monotonic() - started
        if run.exit != 0:
            return _outcome(work, "failed", run.exit, run.message, seconds, tries, _cpu() - cpu)
        cpu = _cpu() - cpu
        bad = _keep(work, slot, seconds, report, meter)
        for index, _, message in bad:
            _note(work.log, f"{work.datums[index]['name']}: {message}")
        if len(bad) == len(work.parts):
            return _outcome(work, "failed", bad[-1][1], bad[-1][2], seconds, tries, cpu)
        return replace(_outcome(work, "ok", 0, "", seconds, tries, cpu), bad=tuple(bad))
    except _BadOutputError as error:
        _note(work.log, str(error))
        return _outcome(work, "failed", 1, str(error), time.monotonic() - started, tries)
    except (StagingError, GitError, OSError) as error:
        _note(work.log, str(error))
        return _outcome(work, "lost", 1, str(error), time.monotonic() - started, tries)


@dataclass(frozen=True, slots=True)
class _Report:
    """What the datum script said of a set of several: exit code and output paths (below the datum's place) by index."""

    codes: dict[int, int]
    files: dict[int, list[str]]


def _read_report(folder: Path, count: int) -> _Report | None:
    if not (folder / "codes").is_file():
        return None
    rows = [line.split() for line in (folder / "codes").read_text().splitlines()]
    codes = {int(number) - 1: int(code) for number, code in rows}
    files = {}
    for index in range(count):
        listing = folder / str(index + 1)
        if listing.is_file():
            names = os.fsdecode(listing.read_bytes()).split("\n")
            files[index] = [name.removeprefix("./") for name in names if name]
    return _Report(codes, files)


def _outcome(
    work: WorkSet, kind: Any, code: int, message: str, seconds: float, tries: int, cpu: float = 0.0
) -> Outcome:
    return Outcome(work.id, kind, code, message, seconds, tries, work.log, platform.node(), cpu)


def _cpu() -> float:
    """Processor time, in seconds, of all children of this process that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _note(log: str, message: str) -> None:
    with Path(log).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"minipach: {message}\n")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send stdout and stderr of this process, and of all its children, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for fd in (*saved, target):
            os.close(fd)


def inputs_are_read_only(slot: Path, image: str) -> bool:
    """Ask the launcher: which runtime it would take, and whether that protects the inputs."""
    with contextlib.suppress(OSError):  # an image that isn't here has nothing to be remembered by
        return _is_read_only(str(slot), image, os.path.realpath(slot / image, strict=True))
    return False


@functools.lru_cache(maxsize=64)
def _is_read_only(slot: str, image: str, _content: str) -> bool:
    """Asked once for each image (annexed content never changes in place) in a worker's life."""
    done = subprocess.run(
        ["sh", ".minipach/launch", "--runtime", image],
        cwd=slot,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and done.stdout.split()[-1:] == ["read-only"]


@dataclass(frozen=True, slots=True)
class _Run:
    exit: int
    message: str


_seen_bases: dict[Path, str] = {}


def _containers_run(work: WorkSet, slot: Slot, report: str) -> _Run:
    """`datalad containers-run`, in this warm process. report: a folder for the launcher's report, or ""."""
    os.environ.update(child_environment({"MINIPACH_REPORT": report, "MINIPACH_INTERACTIVE": ""}))
    from datalad.distribution.dataset import Dataset
    from datalad_container.containers_run import ContainersRun  # noqa: F401

    dataset = Dataset(str(slot.path))
    if _seen_bases.get(slot.path) != work.base:
        dataset.config.reload(force=True)  # the slot's committed configuration changes with its base
        _seen_bases[slot.path] = work.base
    try:
        results = dataset.containers_run(
            work.command(),
            container_name=CONTAINER,
            # what was matched is staged already: the record gets it afterwards, and datalad need not look for each file
            inputs=list(work.always),
            message=work.title(),
            on_failure="ignore",
            result_renderer="disabled",
            return_type="list",
        )
    except Exception as error:  # datalad raises many kinds, and a worker must outlive them
        _check_new_names(slot)
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise StagingError(f"datalad containers-run: {why}") from error
    for result in results:
        if result.get("action") == "run" and result.get("exit_code"):
            return _Run(int(result["exit_code"]), f"the command exited with {result['exit_code']}")
    for result in results:
        if result.get("status") in ("error", "impossible"):
            raise StagingError(f"datalad {result.get('action')} {result.get('path')}: {_text(result)}")
    return _Run(0, "")


def _text(result: dict[str, Any]) -> str:
    message = result.get("error_message") or result.get("message") or "failed"
    if isinstance(message, tuple):
        return str(message[0]) % message[1:]
    return str(message)


_Bad = tuple[int, int, str]  # index of a datum, its exit code, what was wrong
_Row = tuple[str, str, str]  # path, mode, blob


def _keep(work: WorkSet, slot: Slot, seconds: float, report: _Report | None, meter: Meter) -> list[_Bad]:
    """Complete datalad's commit with our object in the record and the results' description; set the result ref.

    What could not be kept of the set comes back; the record then states what was.
    """
    repo = slot.repo
    head = repo.line("rev-parse", "HEAD")
    changed = _changed(repo, work.base, head) if head != work.base else []
    rows, bad = _attribute(work, changed, report)
    good = sorted(rows)
    meter.count_outputs({i: [path for path, _, _ in rows[i]] for i in good})
    if not good:
        return bad
    if head != work.base:
        _, record = records.parse(repo.line("log", "-1", "--format=%B", head) + "\n")
        author = repo.line("log", "-1", "--format=%an <%ae> %ad", "--date=raw", head)
    else:  # no output at all: datalad makes no commit, but what ran is on record in the results branch
        record = _bare_record(work, repo)
        author = repo.line("var", "GIT_AUTHOR_IDENT")
    if bad:
        record["cmd"] = f"{records.LAUNCH} {work.image} {work.command(good)}"
    record["inputs"] = work.inputs(good)
    record["outputs"] = [records.record_path(path) for i in good for path, _, _ in rows[i]]
    record["minipach"] = record_extra(work.pipeline, work.job, _named(work, rows), forced=work.forced)
    message = records.compose(work.title(good), record)
    share = seconds / len(work.parts)
    results = [_describe(work, i, slot, rows[i], author, share) for i in good]
    blob = repo.hash_blob(json.dumps({"record": message, "results": results}).encode())
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{RESULTS_FILE}")
    commit = repo.commit_tree(repo.line("write-tree"), message, [work.base])
    slot.main.git("update-ref", PENDING + work.id, commit)
    return bad


def _named(work: WorkSet, rows: dict[int, list[_Row]]) -> list[dict[str, Any]]:
    """The record's datums; in a set of several each with its own outputs."""
    found = []
    for index in sorted(rows):
        datum: dict[str, Any] = {"name": work.datums[index]["name"], "id": work.datums[index]["id"]}
        if len(rows) > 1:
            datum["outputs"] = [path for path, _, _ in rows[index]]
        found.append(datum)
    return found


def _attribute(work: WorkSet, changed: list[_Row], report: _Report | None) -> tuple[dict[int, list[_Row]], list[_Bad]]:
    """Which datum wrote what, and which failed or wrote what can't be kept.

    Raises StagingError if the report and the outputs don't add up: a lost output must never pass for a success.
    """
    rows: dict[int, list[_Row]] = {}
    bad: list[_Bad] = []
    by_path = {row[0]: row for row in changed}
    for index, datum in enumerate(work.datums):
        code = report.codes.get(index, 1) if report else 0
        if code:
            bad.append((index, code, f"the command exited with {code}"))
            continue
        mine = changed
        if report:
            prefix = datum["dest"] + "/" if datum["dest"] else ""
            paths = [prefix + path for path in report.files.get(index, ["?"])]
            if any(path not in by_path for path in paths):
                raise StagingError(f"{datum['name']}: its outputs and the set's report on them don't agree")
            mine = [by_path.pop(path) for path in paths]
        try:
            for path, _, _ in mine:
                _check_output(path)
        except _BadOutputError as error:
            bad.append((index, 1, str(error)))
            continue
        rows[index] = mine
    if report and by_path:
        raise StagingError(f"{next(iter(by_path))}: an output that no datum of the set is said to have written")
    return rows, bad


class _BadOutputError(Exception):
    """An output that can't be kept: which, and why."""


def _check_output(path: str) -> None:
    """DataLad 1.7 can't rerun what adds a path with a backslash, nor anything where a path has a line break.

    It reads `git ls-files` with a pattern that ends at a line break, and takes backslashes for Windows' separators.
    """
    if reserved_in_pipeline(path.split("/", 1)[0]):  # without a container, nothing keeps a command from writing there
        raise _BadOutputError(f"output {path!r}: reserved in a pipeline's repo; a command writes to /pfs/out alone")
    for odd, what in (("\n", "a line break"), ("\\", "a backslash")):
        if odd in path:
            raise _BadOutputError(f"output {path!r}: {what} in its name, which `datalad rerun` can't handle; rename it")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _BadOutputError(f"output {os.fsencode(path)!r}: its name is not UTF-8; rename it") from None


def _check_new_names(slot: Slot) -> None:
    """Names that are not UTF-8 end datalad itself, before it has committed anything that could be looked at."""
    for raw in slot.repo.git("ls-files", "--others", "-z").split(b"\0"):
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise _BadOutputError(f"output {raw!r}: its name is not UTF-8; rename it") from None


def _bare_record(work: WorkSet, repo: Repo) -> dict[str, Any]:
    return {
        "chain": [],
        "cmd": f"{records.LAUNCH} {work.image} {work.command()}",
        "dsid": repo.config("datalad.dataset.id", str(repo.path / ".datalad" / "config")) or "",
        "exit": 0,
        "extra_inputs": [work.image],
        "inputs": work.inputs(),
        "pwd": ".",
    }


def _changed(repo: Repo, base: str, head: str) -> list[tuple[str, str, str]]:
    """(path, mode, blob) of what the run added."""
    out = repo.git("diff-tree", "-r", "-z", "--no-renames", base, head).split(b"\0")
    rows = []
    for meta, path in zip(out[::2], out[1::2], strict=False):
        _, mode, _, blob, status = meta.decode().split()
        if status != "D":
            rows.append((os.fsdecode(path), mode, blob))
    return rows


def _describe(
    work: WorkSet, index: int, slot: Slot, changed: list[_Row], author: str, seconds: float
) -> dict[str, Any]:
    """`result.json` of a datum, the search for its name's words in its outputs included."""
    files = []
    for path, mode, _ in changed:
        there = slot.path / path
        if mode == SYMLINK and key_of_link(os.fsencode(os.readlink(there))) is None:
            continue
        files.append((path, there.stat().st_size, there.read_bytes))
    found = dict(work.datums[index])
    words = found.pop("words")
    return {
        **found,
        "forced": work.forced,
        "leaks": find_leaks(words, files),
        "author": author,
        "seconds": round(seconds, 3),
        "files": [[path, mode, blob] for path, mode, blob in changed],
    }


def result_json(described: dict[str, Any]) -> bytes:
    """The `result.json` that is stored, from what a worker described."""
    return to_json({k: v for k, v in described.items() if k not in ("files", "forced", "record")})
