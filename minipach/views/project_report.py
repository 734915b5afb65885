"""The report of a project: what its outputs were made of, and how to make them again. Equal states, equal reports."""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minipach import __version__
from minipach.git.content import classify
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import GITLINK, SYMLINK
from minipach.model.neutral_names import restore
from minipach.model.pipeline import Pipeline
from minipach.model.repo_layout import reserved_in_pipeline
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import Project
from minipach.records.branch_history import commits_of_records
from minipach.records.job_database import Ledger
from minipach.records.published_outputs import many_published_paths
from minipach.records.published_state import Published
from minipach.records.results_branch import Result
from minipach.support.errors import Problem, UserError, problems_json
from minipach.views.dag import Dag, read_dag
from minipach.views.datum_table import DatumRow, DatumTable, read_tables
from minipach.views.usage import MOST, Usage, usage_of

_KEPT = 10_000  # results that are kept in memory
_PROGRAMS = ("minipach", "datalad", "git-annex")


@dataclass(frozen=True, slots=True)
class UsedFile:
    """A file that a datum has read. input: the name in the spec · content: its content id."""

    input: str
    path: str
    content: str


@dataclass(frozen=True, slots=True)
class ReportedOutput:
    """A published file. path: in the pipeline's repo · blob: its object in git."""

    path: str
    content: str
    blob: str


@dataclass(frozen=True, slots=True)
class ReportedDatum:
    """A published datum.

    seconds: of its last run on this machine; None: it ran elsewhere, or never under this name · commit: of its run
    record, which `datalad rerun` takes; "" where it wrote nothing.
    """

    datum: str
    id: str
    inputs: tuple[UsedFile, ...]
    outputs: tuple[ReportedOutput, ...]
    image: str
    seconds: float | None
    commit: str

    def as_json(self) -> dict[str, Any]:
        """Return the datum as a JSON object."""
        return {
            "datum": self.datum,
            "id": self.id,
            "inputs": [{"input": u.input, "path": u.path, "content": u.content} for u in self.inputs],
            "outputs": [{"path": o.path, "content": o.content} for o in self.outputs],
            "image": self.image,
            "seconds": self.seconds,
            "commit": self.commit,
        }


@dataclass(frozen=True, slots=True)
class ReportedInput:
    """An input of a pipeline, at the commit that its results come from now."""

    name: str
    repo: str
    branch: str | None
    glob: str
    commit: str


@dataclass(frozen=True, slots=True)
class ReportedPipeline:
    """One pipeline. commit: of its branch; "" before the first publish · left_out: datums that are not current.

    decisions: what people have excluded and accepted, a line each.
    """

    name: str
    path: str
    state: str
    description: str
    commit: str
    image: str
    image_content: str
    command: str
    code: str
    sources: tuple[ReportedInput, ...]
    counts: dict[str, int]
    usage: Usage | None
    made: tuple[ReportedDatum, ...]
    left_out: tuple[DatumRow, ...]
    problems: tuple[Problem, ...]
    decisions: tuple[str, ...] = ()

    def rerun(self, made: ReportedDatum) -> str:
        """Return the command that makes the outputs of a datum again, to be run in the project."""
        return f"datalad rerun -d {shlex.quote(self.path)} {made.commit[:12]}" if made.commit else ""

    def as_json(self) -> dict[str, Any]:
        """Return the pipeline as a JSON object."""
        return {
            "name": self.name,
            "path": self.path,
            "state": self.state,
            "description": self.description,
            "commit": self.commit,
            "image": self.image,
            "image_content": self.image_content,
            "command": self.command,
            "code": self.code,
            "inputs": [asdict(source) for source in self.sources],
            "counts": self.counts,
            "usage": self.usage.as_json() if self.usage else None,
            "datums": [{**made.as_json(), "rerun": self.rerun(made)} for made in self.made],
            "left_out": [{"datum": r.name, "id": r.id, "state": r.state, "reason": r.reason} for r in self.left_out],
            "decisions": list(self.decisions),
            "problems": problems_json(self.problems),
        }


@dataclass(frozen=True, slots=True)
class ProjectReport:
    """A project as it stands. versions: of the programs that read it · remarks: for people."""

    project: str
    commit: str
    versions: dict[str, str]
    dag: Dag
    pipelines: tuple[ReportedPipeline, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach report --json`."""
        return {
            "schema": 1,
            "project": self.project,
            "commit": self.commit,
            "versions": self.versions,
            "dag": self.dag.as_json(),
            "pipelines": [pipeline.as_json() for pipeline in self.pipelines],
            "remarks": list(self.remarks),
        }


def versions() -> dict[str, str]:
    """Return the versions of the programs that decide what a record means."""
    found = {"minipach": __version__}
    for name in _PROGRAMS[1:]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not from PyPI"
    return found


def read_report(project: Project) -> ProjectReport:
    """Return the report of a project. What is broken keeps no other pipeline from its part."""
    dag = read_dag(project)
    states = {node.path: node for node in dag.nodes}
    tables, plans = read_tables(project)
    store = SnapshotStore(project)
    found = []
    for path in project.order:
        node = states[path]
        table = tables[path]
        found.append(_pipeline(project, path, store, table, node.state, node.counts))
    remarks = tuple(dict.fromkeys([*dag.remarks, *plans.remarks]))
    return ProjectReport(project.root.name, project.repo.head() or "", versions(), dag, tuple(found), remarks)


def _pipeline(
    project: Project, path: str, store: SnapshotStore, table: DatumTable, state: str, counts: dict[str, int]
) -> ReportedPipeline:
    name = project.name_of(path)
    left_out = tuple(row for row in table.rows if row.state != "current")
    known = project.pipelines.get(path)
    bare = ReportedPipeline(
        name,
        path,
        state,
        known.description if known else "",
        "",
        "",
        "",
        command_of(known) if known else "",
        "",
        (),
        counts,
        None,
        (),
        left_out,
        (*project.problems.get(path, ()), *table.problems),
    )
    if known is None or path in project.problems:
        return bare
    a = Assessment(project, path, store)
    try:
        return _assessed(a, bare)
    except UserError as error:
        problems = tuple(dict.fromkeys((*bare.problems, *error.problems)))
        return ReportedPipeline(**{**_fields(bare), "problems": problems})
    finally:
        a.close()


def _fields(report: ReportedPipeline) -> dict[str, Any]:
    return {name: getattr(report, name) for name in ReportedPipeline.__dataclass_fields__}


def _assessed(a: Assessment, bare: ReportedPipeline) -> ReportedPipeline:
    lacking = [need.repo for need in a.pipeline.needs() if not is_dataset(a.project.dataset_of(need.repo))]
    commits = {} if lacking else a.commits
    sources = tuple(
        ReportedInput(pfs.name, pfs.repo, pfs.branch, pfs.glob, commits.get((pfs.repo, pfs.branch), ""))
        for pfs in a.pipeline.pfs_inputs()
    )
    used, usage = _usage(a.project, bare.name)
    made = tuple(_made(a, used)) if a.head is not None else ()
    return ReportedPipeline(
        **{
            **_fields(bare),
            "commit": a.head or "",
            "image": a.image.label,
            "image_content": a.image.content,
            "code": "" if lacking else a.recipe.code,
            "sources": sources,
            "usage": usage,
            "made": made,
            "decisions": () if lacking else (*a.exclusions, *a.acceptances),
        }
    )


def command_of(pipeline: Pipeline) -> str:
    """Return the command of a pipeline as a line of a shell."""
    transform = pipeline.transform
    stdin = "".join(f"\n{line}" for line in transform.stdin)
    return shlex.join(transform.cmd) + stdin


def _usage(project: Project, name: str) -> tuple[Mapping[str, float], Usage | None]:
    """Return the seconds of successful datum ids, and what the last runs used."""
    if not project.local.database.is_file():
        return {}, None
    ledger = Ledger(project.local.database)
    try:
        runs = ledger.successes(name, MOST)
    finally:
        ledger.close()
    return {one.datum_id: one.took.seconds for one in reversed(runs)}, usage_of(name, runs) if runs else None


def _made(a: Assessment, seconds: Mapping[str, float]) -> Iterator[ReportedDatum]:
    """Yield the published datums of a pipeline, by name."""
    state = sorted(a.state.values())
    head = a.head or ""
    contents = output_contents(a.repo, head)
    commits = commits_of_records(a.repo, head, {(one.name, one.id) for one in state})
    for number, (one, paths) in enumerate(many_published_paths(a.repo, head, a.known, state), 1):
        result = result_of(a, one)
        outputs = tuple(ReportedOutput(path, *contents[path]) for path in sorted(paths) if path in contents)
        image = str(result.recipe.get("image", "")) if result else ""
        commit = commits.get((one.name, one.id), "")
        yield ReportedDatum(one.name, one.id, used_files(result, one), outputs, image, seconds.get(one.id), commit)
        if number % _KEPT == 0:
            a.known.forget()


def result_of(a: Assessment, one: Published) -> Result | None:
    """Return the stored result of a published datum: its own, else another of its id."""
    results = a.known.of(one.id)
    return next((r for r in results if r.name == one.name), results[0] if results else None)


def used_files(result: Result | None, one: Published) -> tuple[UsedFile, ...]:
    """Return the files that a published datum was made of."""
    if result is None:
        return ()
    found = []
    for name, rows in sorted(result.inputs.items()):
        found += [UsedFile(str(name), "/" + restore(str(row[0]), one.words).lstrip("/"), str(row[1])) for row in rows]
    return tuple(found)


def output_contents(repo: Repo, head: str) -> dict[str, tuple[str, str]]:
    """Return the content id and the blob of each output on a pipeline's branch, by path."""
    entries = [
        entry
        for entry in repo.ls_tree(head, recursive=True)
        if entry.mode != GITLINK and not reserved_in_pipeline(entry.path.split("/", 1)[0])
    ]
    kinds = classify(repo, entries)
    return {entry.path: (kinds[entry.sha, entry.mode == SYMLINK][1], entry.sha) for entry in entries}


def as_lines(report: ProjectReport) -> Iterator[str]:
    """Yield the report as plain text."""
    yield f"{report.project} at {report.commit[:12]}"
    yield "; ".join(f"{name} {version}" for name, version in report.versions.items())
    for one in report.pipelines:
        yield ""
        yield f"== {one.name}: {one.state}" + (f", {_counted(one.counts)}" if one.counts else "")
        if one.description:
            yield f"  {one.description}"
        yield f"  branch at {one.commit[:12] or '(nothing published)'}"
        yield f"  image: {one.image} ({one.image_content})" if one.image else "  image: not known"
        yield from (f"  command: {line}" for line in one.command.split("\n"))
        for source in one.sources:
            branch = f"@{source.branch}" if source.branch else ""
            yield f"  input {source.name}: {source.repo}{branch} {source.glob} at {source.commit[:12] or '(nothing)'}"
        yield from (f"  {line}" for line in one.decisions)
        yield from (f"  problem: {problem}" for problem in one.problems)
        for made in one.made:
            took = f", {made.seconds:.1f} s" if made.seconds is not None else ""
            yield f"  {made.datum} (id {made.id[:12]}{took})"
            yield from (f"    from {used.input}:{used.path}  {used.content}" for used in made.inputs)
            yield from (f"    to {output.path}  {output.content}" for output in made.outputs)
            if rerun := one.rerun(made):
                yield f"    again: {rerun}"
        for row in one.left_out:
            yield f"  {row.state}: {row.name}" + (f": {row.reason}" if row.reason else "")
    yield from (["", *report.remarks] if report.remarks else [])


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)
