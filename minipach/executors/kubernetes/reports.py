"""Reports of pods on their sets, as refs that they push. Result refs hold the results; this is how they came.

`refs/minipach/reports/<set>-<run>` points to a tree with `told` (lines of JSON: the begin, outcomes) and
`logs/`. A run is one pod. Reports come from outside: each line is checked, and what can't be right is skipped.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from minipach.executors.outcome_check import check_outcome
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from minipach.model.repo_layout import REPORT_REFS
from minipach.model.work_set import Outcome, WorkSet, tried_again
from minipach.support.validation import checked, is_moment, parse_object

_LOG = logging.getLogger(__name__)
_LINES = "told"
_LOGS = "logs/"
_REF = re.compile(re.escape(REPORT_REFS) + r"([0-9a-f]{40})-([0-9a-z-]{1,64})")
_LOG_REST = re.compile(r"[-.0-9a-z]{0,60}\.log")
_MOST_LOG = 4 * 1024 * 1024  # bytes of one log that a pod sends; of a longer one, the end


def report_ref(set_id: str, run: str) -> str:
    """Return the ref of the report of one run of a set."""
    return f"{REPORT_REFS}{set_id}-{run}"


def reports_of(repo: Repo) -> dict[str, list[tuple[str, str]]]:
    """Return the reports that there are: by set, (run, tree)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for ref, tree in repo.refs(REPORT_REFS).items():
        match = _REF.fullmatch(ref)
        if match:
            found.setdefault(match[1], []).append((match[2], tree))
    return found


@dataclass
class PodReport:
    """One run of a set as reported so far: where it ran, when it began (unix seconds), and outcomes."""

    began: float = 0.0
    host: str = ""
    outcomes: list[Outcome] = field(default_factory=list)


def read_report(repo: Repo, tree: str, work: WorkSet) -> PodReport:
    """Return what a report says of a set, without what can't be right. Log names are as its writer has them."""
    report = PodReport()
    for line in (repo.objects.read(f"{tree}:{_LINES}") or b"").splitlines():
        try:
            _take(report, line, work)
        except (ValueError, KeyError, TypeError) as error:
            _LOG.warning(f"{work.pipeline}: a line in the report of set {work.id[:12]} is skipped ({error})")
    return report


def _take(report: PodReport, line: bytes, work: WorkSet) -> None:
    row = parse_object(line)
    if "begin" in row:
        if is_moment(row["begin"]) and isinstance(row["host"], str):
            report.began, report.host = row["begin"], row["host"]
    elif "end" not in row:  # as earlier versions of pods wrote
        outcome = Outcome.from_json(line)
        before = tuple(replace(one, log=_here(one.log, work)) for one in outcome.before)
        outcome = replace(outcome, log=_here(outcome.log, work), before=before)
        report.outcomes.append(checked(check_outcome(outcome, work)))


def _here(log: str, work: WorkSet) -> str:
    """Return the name that a log has in the project. Raises ValueError for one that is not the set's."""
    if not log:
        return log
    stem, rest = Path(log).name[: len(work.id)], Path(log).name[len(work.id) :]
    if stem != work.id or not _LOG_REST.fullmatch(rest):
        raise ValueError("a log is not the set's")
    return work.log.removesuffix(".log") + rest


def store_logs(repo: Repo, tree: str, work: WorkSet) -> None:
    """Write the logs of a report where the set's logs are."""
    for entry in repo.ls_tree(tree, recursive=True):
        name = entry.path.removeprefix(_LOGS)
        if entry.path == name or "/" in name or entry.mode != "100644":
            continue
        try:
            there = Path(_here(name, work))
        except ValueError:
            continue
        data = repo.objects.read(entry.sha)
        if data is not None:
            there.parent.mkdir(parents=True, exist_ok=True)
            temporary = there.with_name(f"{there.name}.{os.getpid()}")
            temporary.write_bytes(data)
            temporary.replace(there)


def final(work: WorkSet, outcome: Outcome) -> tuple[int, ...]:
    """Return the indices of a set's datums of which this outcome is the last word."""
    results = outcome.results(len(work.parts))
    again = tried_again(results, work.tries) if work.chunk else {}
    return tuple(one.index for one in results if one.index not in again)


class PodReporter:
    """Writes the report of one run of a set in the clone of a pod. `ref` is what is to be pushed."""

    def __init__(self, repo: Repo, work: WorkSet, run: str, host: str) -> None:
        """work: the set as it is in the clone; its logs are beside its log there."""
        self.ref = report_ref(work.id, run)
        self._repo = repo
        self._work = work
        self._lines = [json.dumps({"begin": time.time(), "host": host})]
        self._blobs: dict[str, tuple[int, int, str]] = {}  # of the logs: size, time, blob

    def notify(self, outcome: Outcome) -> None:
        """Add an outcome."""
        self._lines.append(outcome.to_json())

    def write(self) -> None:
        """Point the ref to the report as it is now."""
        blob = self._repo.hash_blob("".join(f"{line}\n" for line in self._lines).encode())
        entries = [TreeEntry("100644", blob, _LINES), *self._logs()]
        self._repo.update_refs([f"update {self.ref} {self._repo.write_tree(entries)}"])

    def _logs(self) -> Iterator[TreeEntry]:
        folder, stem = Path(self._work.log).parent, Path(self._work.log).name.removesuffix(".log")
        for log in sorted(folder.glob(f"{stem}*.log")):
            try:
                stat = log.stat()
                known = self._blobs.get(log.name)
                if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
                    data = log.read_bytes()
                    cut = len(data) - _MOST_LOG
                    if cut > 0:
                        data = f"minipach: {cut} bytes before this were not sent\n".encode() + data[-_MOST_LOG:]
                    known = (stat.st_size, stat.st_mtime_ns, self._repo.hash_blob(data))
                    self._blobs[log.name] = known
            except OSError:
                continue
            yield TreeEntry("100644", known[2], _LOGS + log.name)


def drop_reports(repo: Repo, ids: Collection[str]) -> None:
    """Forget the reports of sets."""
    refs = [ref for ref in repo.refs(REPORT_REFS) if ref.removeprefix(REPORT_REFS)[:40] in ids]
    repo.update_refs([f"delete {ref}" for ref in refs])
