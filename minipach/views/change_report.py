"""The report of a change: what it will cost before anything runs, and what it changed once it has run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import GITLINK
from minipach.planning.expected_cost import Cost, expected_cost
from minipach.project.project import Project
from minipach.project.settings import slots
from minipach.support.errors import Problem, UserError, each_once, problems_json
from minipach.support.text import many, printable
from minipach.support.validation import InvalidError, parse
from minipach.views.contents import entry_at, read_content
from minipach.views.dag import Dag, as_mermaid, read_dag
from minipach.views.datum_table import DatumTable, read_tables
from minipach.views.diff import Comparison, compare_states

FORGE_LIMIT = 65_536  # characters of a comment on GitHub, Gitea and Forgejo; GitLab takes more, Bitbucket 32,768
_METRICS = "metrics.json"  # outputs of this name, or `*.metrics.json`, are compared by value
_MOST_METRICS = 20  # files of metrics per pipeline
_METRICS_SIZE = 65_536  # bytes of one
_NAMED = 5  # datums that a line names
_GRAPH = 30_000  # characters of a graph that is shown whole; a larger one is left out
Kind = Literal["added", "removed", "changed", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number in an output. old, new: None where it is absent."""

    file: str
    name: str
    old: float | None
    new: float | None


@dataclass(frozen=True, slots=True)
class PipelineChange:
    """One pipeline. comparison: of its branch then and now; None: there is nothing to compare · note: why."""

    name: str
    path: str
    kind: Kind
    note: str = ""
    table: DatumTable | None = None
    cost: Cost | None = None
    comparison: Comparison | None = None
    metrics: tuple[Metric, ...] = ()

    @property
    def reasons(self) -> dict[tuple[str, str], list[str]]:
        """The datums that are not current by (state, reason)."""
        return self.table.reasons if self.table else {}

    def as_json(self) -> dict[str, Any]:
        """Return the pipeline as a JSON object."""
        reasons = [{"state": s, "reason": r, "datums": names} for (s, r), names in self.reasons.items()]
        return {
            "name": self.name,
            "path": self.path,
            "change": self.kind,
            "note": self.note,
            "counts": self.table.counts if self.table else {},
            "reasons": reasons,
            "expected": self.cost.as_json() if self.cost else None,
            "compared": self.comparison.as_json() if self.comparison else None,
            "metrics": [{"file": m.file, "name": m.name, "old": m.old, "new": m.new} for m in self.metrics],
        }


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """A change of a project. base, commit: of the superdataset · cost: of all that would run; None: not known."""

    project: str
    base: str
    commit: str
    pipelines: tuple[PipelineChange, ...]
    cost: Cost | None
    dag: Dag
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]

    @property
    def to_run(self) -> int:
        """The number of datums that would run."""
        return sum(row.action == "run" for p in self.pipelines if p.table for row in p.table.rows)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach report --base REV --json`."""
        return {
            "schema": 1,
            "project": self.project,
            "base": self.base,
            "commit": self.commit,
            "to_run": self.to_run,
            "expected": self.cost.as_json() if self.cost else None,
            "pipelines": [pipeline.as_json() for pipeline in self.pipelines],
            "dag": self.dag.as_json(),
            "problems": problems_json(self.problems),
            "remarks": list(self.remarks),
        }


def read_change(project: Project, base: str) -> ChangeReport:
    """Return the report of what differs between a commit of the superdataset and now.

    Raises:
        UserError: The revision names no commit of the superdataset.
    """
    commit = project.repo.resolve(f"{base}^{{commit}}")
    if commit is None:
        fix = f"git -C {project.root} log --oneline"
        raise UserError(Problem("history.unknown", base, "no commit of the superdataset", fix))
    links = {e.path: e.sha for e in project.repo.ls_tree(commit, recursive=True) if e.mode == GITLINK}
    tables, plans = read_tables(project)
    jobs = slots(project.repo, None)
    found = []
    for path, plan in zip(tables, plans.plans, strict=True):
        cost = expected_cost(project, [plan], jobs)
        found.append(_pipeline(project, path, links.get(path), tables[path], cost))
    gone = [path for path in sorted(links) if path not in tables and _was_pipeline(project, path, links[path])]
    found += [PipelineChange(path.rpartition("/")[2], path, "removed") for path in gone]
    cost = expected_cost(project, plans.plans, jobs)
    head = project.repo.head() or ""
    problems = each_once(plans.problems)
    return ChangeReport(project.root.name, commit, head, tuple(found), cost, read_dag(project), problems, plans.remarks)


def _was_pipeline(project: Project, path: str, commit: str) -> bool:
    """Return whether a repo that is not a pipeline now was one at a commit, as far as it is here."""
    from minipach.model.repo_layout import is_pipeline

    if not is_dataset(project.root / path):
        return False
    repo = Repo(project.root / path)
    return repo.succeeds("cat-file", "-e", f"{commit}^{{commit}}") and is_pipeline(repo.names(commit))


def _pipeline(project: Project, path: str, link: str | None, table: DatumTable, cost: Cost | None) -> PipelineChange:
    name = project.name_of(path)
    if link is None:
        return PipelineChange(name, path, "added", table=table, cost=cost)
    if not is_dataset(project.root / path):
        return PipelineChange(name, path, "unknown", "not installed", table, cost)
    try:
        compared = compare_states(project, path, link, None)
    except UserError as error:
        return PipelineChange(name, path, "unknown", str(error.problems[0].what), table, cost)
    kind: Kind = "changed" if compared else "same"
    return PipelineChange(name, path, kind, "", table, cost, compared, tuple(_metrics(project, path, compared)))


def _metrics(project: Project, path: str, compared: Comparison) -> Iterator[Metric]:
    """Yield the numbers of metrics files that differ."""
    paths = compared.outputs
    named = [p for p in (*paths.changed, *paths.added, *paths.removed) if _is_metrics(p)][:_MOST_METRICS]
    repo = Repo(project.root / path)
    try:
        for file in sorted(named):
            old = _numbers(repo, compared.old, file)
            new = _numbers(repo, compared.new, file)
            for name in sorted(old.keys() | new.keys()):
                if old.get(name) != new.get(name):
                    yield Metric(file, name, old.get(name), new.get(name))
    finally:
        repo.close()


def _is_metrics(path: str) -> bool:
    base = path.rpartition("/")[2]
    return base == _METRICS or base.endswith(f".{_METRICS}")


def _numbers(repo: Repo, commit: str, path: str) -> dict[str, float]:
    """Return the numbers of a JSON file by their names; nothing where it is absent, not here, or no JSON."""
    entry = entry_at(repo, commit, path)
    content = read_content(repo, entry, _METRICS_SIZE) if entry else None
    if content is None or content.data is None or not content.is_whole:
        return {}
    try:
        return dict(_leaves(parse(content.data), ""))
    except InvalidError:
        return {}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{name}.{key}" if name else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


# --- Markdown ---


def as_markdown(report: ChangeReport, limit: int = FORGE_LIMIT) -> str:
    """Return the report as Markdown for a forge, with fewer characters than `limit`.

    Names and messages are text: nothing in them becomes a link, a mention, a picture or HTML.
    """
    for most in (50, 20, 10, 5, 2, 1, 0):
        text = "\n".join(_markdown(report, most, graph=most >= 5)) + "\n"
        if len(text) < limit:
            return text
    note = "\n\nThe report is cut off here; `minipach report --base` shows all of it.\n"
    return text[: max(0, limit - len(note) - 1)] + note


def _markdown(report: ChangeReport, most: int, *, graph: bool) -> Iterator[str]:
    yield f"### minipach: {_headline(report)}"
    yield ""
    yield f"`{report.base[:12]}` → `{report.commit[:12]}`"
    yield from (f"- **problem**: {markdown(str(p))}" for p in report.problems[:most])
    if len(report.problems) > most:
        yield f"- and {many(len(report.problems) - most, 'more problem')}"
    yield ""
    yield "| pipeline | change | to run | reused | current | failed | removed | expected |"
    yield "|---|---|--:|--:|--:|--:|--:|---|"
    shown = report.pipelines[: max(most * 10, 20)]
    for one in shown:
        yield _table_row(one)
    if len(report.pipelines) > len(shown):
        yield f"\nand {many(len(report.pipelines) - len(shown), 'more pipeline')}"
    for one in shown:
        yield from _details(one, most)
    if graph:
        drawn = "\n".join(as_mermaid(report.dag))
        if len(drawn) <= _GRAPH:
            yield from ("", "<details><summary>graph</summary>", "", "```mermaid", drawn, "```", "", "</details>")


def _headline(report: ChangeReport) -> str:
    parts = [f"{many(len(report.problems), 'problem')}"] if report.problems else []
    parts.append(f"{many(report.to_run, 'datum')} to run" if report.to_run else "nothing to run")
    changed = sum(p.kind != "same" for p in report.pipelines)
    parts.append(f"{many(changed, 'pipeline')} changed")
    return ", ".join(parts)


def _table_row(one: PipelineChange) -> str:
    counts = one.table.counts if one.table else {}
    runs = sum(row.action == "run" for row in one.table.rows) if one.table else 0
    failed = counts.get("failed", 0) + counts.get("lost", 0) + counts.get("skipped", 0)
    numbers = [runs, counts.get("reuse", 0), counts.get("current", 0), failed, counts.get("remove", 0)]
    cost = one.cost.text().removeprefix("expected: ") if one.cost else ""
    return f"| {markdown(one.name)} | {one.kind} | {' | '.join(map(str, numbers))} | {markdown(cost)} |"


def _details(one: PipelineChange, most: int) -> Iterator[str]:
    rows = []
    reasons = list(one.reasons.items())
    for (state, reason), names in reasons[:most]:
        few = ", ".join(markdown(name) for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        rows.append(f"- **{state}** {many(len(names), 'datum')}: {markdown(reason)} ({few}{more})")
    if len(reasons) > most:
        rest = sum(len(names) for _, names in reasons[most:])
        rows.append(f"- and {many(rest, 'datum')} for other reasons")
    if one.table and one.table.waits:
        rows.append(f"- {markdown(one.table.waits)}")
    if one.note:
        rows.append(f"- {markdown(one.note)}")
    if one.comparison:
        rows += _compared(one.comparison, most)
    if one.metrics:
        rows += ["", "| metric | before | after |", "|---|--:|--:|"]
        rows += [
            f"| {markdown(f'{m.file}: {m.name}')} | {_number(m.old)} | {_number(m.new)} |" for m in one.metrics[:most]
        ]
        rows += [f"\nand {len(one.metrics) - most} more"] if len(one.metrics) > most else []
    if rows:
        yield from ("", f"#### {markdown(one.name)}", "", *rows)


def _compared(found: Comparison, most: int) -> Iterator[str]:
    words = {"A": "added", "D": "removed"}
    for status, path in found.code[:most]:
        yield f"- code {words.get(status, 'changed')}: {markdown(path)}"
    for line in found.image[:most]:
        yield f"- image: {markdown(line)}"
    for change in found.inputs[:most]:
        yield f"- input {markdown(change.repo)}: `{(change.old or 'absent')[:12]}` → `{(change.new or 'absent')[:12]}`"
    kinds = [d.kind for d in found.datums]
    if kinds:
        counted = ", ".join(f"{kinds.count(k)} {k}" for k in ("added", "removed", "changed") if k in kinds)
        yield f"- datums published since: {counted}, {found.kept} as before"
    outputs = found.outputs
    if outputs:
        yield (
            f"- outputs: {len(outputs.added)} added, {len(outputs.removed)} removed, {len(outputs.changed)} changed, "
            f"{len(outputs.moved)} renamed"
        )
        for mark, paths in (("+", outputs.added), ("-", outputs.removed), ("~", outputs.changed)):
            yield from (f"  - {mark} {markdown(path)}" for path in paths[:most])
            if len(paths) > most:
                yield f"  - {mark} and {len(paths) - most} more"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def markdown(text: str) -> str:
    """Return Markdown that shows exactly this text, on one line: no markup, link, mention or HTML in it works."""
    line = printable(text).replace("\t", " ")
    safe = " /-,()" if "www" in line.lower() else " /-,()."  # forges make links of `www.` without a scheme
    return "".join(c if c.isalnum() or c in safe or ord(c) > 127 else f"&#{ord(c)};" for c in line)


# --- text ---


def as_text(report: ChangeReport) -> Iterator[str]:
    """Yield the report as plain text."""
    yield f"{report.project}: {report.base[:12]} → {report.commit[:12]}: {_headline(report)}"
    yield from (f"problem: {problem}" for problem in report.problems)
    if report.cost:
        yield report.cost.text()
    for one in report.pipelines:
        yield f"{one.name}: {one.kind}" + (f", {one.note}" if one.note else "")
        for (state, reason), names in one.reasons.items():
            shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            yield f"  {state} {many(len(names), 'datum')}: {reason} ({shown})"
        if one.table and one.table.waits:
            yield f"  {one.table.waits}"
        if one.comparison:
            outputs = one.comparison.outputs
            for mark, paths in (("+", outputs.added), ("-", outputs.removed), ("~", outputs.changed)):
                yield from (f"  {mark} {path}" for path in paths)
        for metric in one.metrics:
            yield f"  {metric.file}: {metric.name}: {_number(metric.old) or '-'} → {_number(metric.new) or '-'}"


def as_json_pieces(data: Mapping[str, Any] | Sequence[Any]) -> Iterator[str]:
    """Yield JSON as it is written to files, in small pieces: the same bytes for equal data."""
    yield from json.JSONEncoder(indent=1, ensure_ascii=True).iterencode(data)
    yield "\n"
