"""The result ref of a set: datalad's commit with our object in its record, and the results' description."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from minipach.execution.resource_usage import Meter
from minipach.execution.set_try import DatumReport, LauncherReport, SetTry
from minipach.execution.staging import StagingError
from minipach.git.fast_import import Stream, committer
from minipach.git.repo import Repo
from minipach.git.tree_entries import FILE
from minipach.git.worktrees import Slot
from minipach.model import launch_protocol, run_record
from minipach.model.job_entries import Took
from minipach.model.launch_protocol import NOT_KEPT
from minipach.model.repo_layout import RESULT_REFS, RESULTS_FILE, reserved_in_pipeline
from minipach.model.work_set import WorkSet, record_extra

_Bad = tuple[int, int, str]  # index of a datum, its exit code, what was wrong
_Row = tuple[str, str, str]  # path, mode, blob


def write_result_ref(
    work: WorkSet, slot: Slot, each: Sequence[Took], tried: SetTry, meter: Meter
) -> tuple[list[_Bad], list[_Bad]]:
    """Commit the outputs with datalad's record, our object in it and the results' description; set the result ref.

    What could not be kept of the set comes back (what failed, what recovered); the record then states what was.
    """
    report = tried.report
    targets: dict[str, bytes] = {}  # of the links that git does not have yet, by their ids
    sizes: dict[str, int] = {}
    if tried.stored is not None:
        changed = sorted(one.row for one in tried.stored)
        targets = {one.row[2]: one.target for one in tried.stored}
        sizes = {one.path: one.size for one in tried.stored}
    else:
        head = slot.head()
        changed = _changed(slot.repo, work.base, head) if head != work.base else []
    rows, bad, recovered = _attribute(work, changed, report)
    good = sorted(rows)
    meter.count_outputs({i: [path for path, _, _ in rows[i]] for i in good}, sizes)
    if not good:
        return bad, recovered
    home = Repo(slot.main.path, own=True)  # whose settings are known already
    author = home.ident("AUTHOR")
    record = dict(tried.record)
    if len(good) < len(work.parts):
        record["cmd"] = f"{launch_protocol.LAUNCH} {work.image} {work.command(good)}"
    record["inputs"] = work.inputs(good)
    record["outputs"] = [run_record.record_path(path) for i in good for path, _, _ in rows[i]]
    record["minipach"] = record_extra(work.pipeline, work.job, _named(work, rows), forced=work.forced)
    message = run_record.compose(work.title(good), record)
    results = []
    for i in good:
        described = _describe(work, i, rows[i], report.datums[i], author, each[i].seconds)
        results.append({**described, "record": _own_record(work, i, record, [path for path, _, _ in rows[i]])})
    stream = Stream(RESULT_REFS + work.id, work.base, committer(home))
    stream.commit(message, author)
    for path, mode, blob in changed:
        if blob in targets:
            stream.write(mode, targets[blob], path)
        else:
            stream.put(mode, blob, path)
    stream.write(FILE, json.dumps({"results": results}).encode(), RESULTS_FILE)
    stream.run(slot.main)
    return bad, recovered


def _own_record(work: WorkSet, index: int, record: Mapping[str, Any], paths: Sequence[str]) -> str:
    """Return the record of one datum alone, out of that of the set which it ran in."""
    own = {
        **record,
        "cmd": f"{launch_protocol.LAUNCH} {work.image} {work.command([index])}",
        "inputs": work.inputs([index]),
        "outputs": [run_record.record_path(path) for path in paths],
        "minipach": record_extra(
            work.pipeline,
            work.job,
            [{"name": work.datums[index]["name"], "id": work.datums[index]["id"]}],
            forced=work.forced,
            set_id=work.id if len(work.parts) > 1 else "",
        ),
    }
    return run_record.compose(work.title([index]), own)


def _named(work: WorkSet, rows: dict[int, list[_Row]]) -> list[dict[str, Any]]:
    """Return the record's datums; in a set of several each with its own outputs."""
    found = []
    for index in sorted(rows):
        datum: dict[str, Any] = {"name": work.datums[index]["name"], "id": work.datums[index]["id"]}
        if len(rows) > 1:
            datum["outputs"] = [path for path, _, _ in rows[index]]
        found.append(datum)
    return found


def _attribute(
    work: WorkSet, changed: list[_Row], report: LauncherReport
) -> tuple[dict[int, list[_Row]], list[_Bad], list[_Bad]]:
    """Return which datum wrote what, which failed or wrote what can't be kept, and which failed and recovered.

    Raises StagingError if the report and the outputs don't add up: a lost output must never pass for a success.
    """
    rows: dict[int, list[_Row]] = {}
    bad: list[_Bad] = []
    recovered: list[_Bad] = []
    by_path = {row[0]: row for row in changed}
    for index in range(len(work.datums)):
        code = report.code(index)
        if code:
            which = recovered if index in report.recovered else bad
            which.append((index, code, report.message(index, code)))
            continue
        paths = [final for _, final in report.datums[index].files]
        lost = next((path for path in paths if path not in by_path), None)
        mine = [by_path.pop(path) for path in paths if path in by_path]
        try:
            if lost is not None:
                raise BadOutputError(
                    f"output {lost!r}: git or git-annex did not store it; see docs/design/git-settings.md"
                )
            for path, _, _ in mine:
                _check_output(path)
        except BadOutputError as error:
            bad.append((index, NOT_KEPT, str(error)))
            continue
        rows[index] = mine
    if by_path:
        raise StagingError(f"{next(iter(by_path))}: an output that no datum of the set is said to have written")
    return rows, bad, recovered


class BadOutputError(Exception):
    """An output that can't be kept: which, and why."""


def _check_output(path: str) -> None:
    """Refuse what DataLad 1.7 can't rerun: a path with a backslash, and anything where a path has a line break.

    It reads `git ls-files` with a pattern that ends at a line break, and takes backslashes for Windows' separators.
    """
    if reserved_in_pipeline(path.split("/", 1)[0]):  # without a container, nothing keeps a command from writing there
        raise BadOutputError(f"output {path!r}: reserved in a pipeline's repo; a command writes to /pfs/out alone")
    if path.rpartition("/")[2].lower() == ".gitattributes":
        raise BadOutputError(f"output {path!r}: git would change other outputs by it; rename it")
    for odd, what in (("\n", "a line break"), ("\\", "a backslash")):
        if odd in path:
            raise BadOutputError(f"output {path!r}: {what} in its name, which `datalad rerun` can't handle; rename it")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BadOutputError(f"output {os.fsencode(path)!r}: its name is not UTF-8; rename it") from None


def check_new_names(slot: Slot) -> None:
    """Refuse names that are not UTF-8: they end datalad before it has committed anything."""
    for raw in slot.repo.git("ls-files", "--others", "-z").split(b"\0"):
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise BadOutputError(f"output {raw!r}: its name is not UTF-8; rename it") from None


def _changed(repo: Repo, base: str, head: str) -> list[tuple[str, str, str]]:
    """Return (path, mode, blob) of what the run added."""
    out = repo.git("diff-tree", "-r", "-z", "--no-renames", base, head).split(b"\0")
    rows = []
    for meta, path in zip(out[::2], out[1::2], strict=False):
        _, mode, _, blob, status = meta.decode().split()
        if status != "D":
            rows.append((os.fsdecode(path), mode, blob))
    return rows


def _describe(
    work: WorkSet, index: int, changed: list[_Row], report: DatumReport, author: str, seconds: float
) -> dict[str, Any]:
    """Return `result.json` of a datum, with its outputs as the command wrote them: at its place, by neutral names."""
    seen = {final: visible for visible, final in report.files}
    files = [[seen[path], mode, blob] for path, mode, blob in changed]
    return {**work.datums[index], "forced": work.forced, "author": author, "seconds": round(seconds, 3), "files": files}
