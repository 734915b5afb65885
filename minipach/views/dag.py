"""The DAG to look at: repos and pipelines with their states, and what flows between them; text, dot, mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minipach.git.repo import is_dataset
from minipach.planning.status import PipelineStatus, project_status
from minipach.project.project import Project
from minipach.support.errors import each_once
from minipach.support.text import dot, many, mermaid, printable

COLOURS = {  # white text on them is readable (contrast 4.5 and more), and they are on white and on black
    "current": "#1a7f37",
    "running": "#0969da",
    "behind": "#9a6700",
    "failed": "#cf222e",
    "blocked": "#6e40c9",
    "new": "#0969da",
    "unknown": "#57606a",
    "not installed": "#57606a",
    "missing": "#cf222e",
    "data": "#57606a",
    "service": "#0a6c74",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A repo or a pipeline.

    path: in the project · state: of a pipeline as in `status` (`unknown` where that is not known), of a repo `data`,
    `not installed` or `missing` · counts: as in `status`; none for a repo · depth: 0 for what has no input, else one
    more than the deepest input.
    """

    path: str
    name: str
    kind: Literal["repo", "pipeline"]
    state: str
    counts: dict[str, int]
    depth: int

    @property
    def summary(self) -> str:
        """The counts in words: `3 datums, 1 missing, 1 failed`."""
        if not self.counts or self.state == "service":
            return ""
        datums = self.counts["datums"]
        parts = [many(datums, "datum")]
        current = self.counts["current"]
        shown = {
            "current": 0 if current == datums else current,
            "stored": self.counts["stored"],
            "missing": self.counts["missing"],
            "failed": self.counts["failed"] + self.counts["left"],
            "to remove": self.counts["remove"],
        }
        return ", ".join(parts + [f"{n} {what}" for what, n in shown.items() if n])


@dataclass(frozen=True, slots=True)
class Edge:
    """An input: `target` takes from `source`, under the name `input`, what `glob` matches (on `branch`, if set)."""

    source: str
    target: str
    input: str
    glob: str
    branch: str | None

    @property
    def label(self) -> str:
        """The text by which a reader finds it in the spec: `images@main as raw: /*`, or `/*` where it is plain."""
        renamed = self.input != self.source.rpartition("/")[2]
        return (f"{self.input}: " if renamed else "") + self.glob + (f" @{self.branch}" if self.branch else "")


@dataclass(frozen=True, slots=True)
class Dag:
    """Nodes, each after those that it takes input from, and edges. remarks: why states are unknown."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach dag --json`."""
        return {
            "nodes": [
                {"path": n.path, "name": n.name, "kind": n.kind, "state": n.state, "counts": n.counts, "depth": n.depth}
                for n in self.nodes
            ],
            "edges": [
                {"from": e.source, "to": e.target, "input": e.input, "glob": e.glob, "branch": e.branch}
                for e in self.edges
            ],
        }


def read_dag(project: Project, status: Sequence[PipelineStatus] | None = None) -> Dag:
    """Return the DAG of a project. If states can't be computed, the edges are still there.

    status: that of its pipelines, if it is known already; pipelines that it leaves out are `unknown`.
    """
    order = project.order
    edges = tuple(
        Edge(pfs.repo, path, pfs.name, pfs.glob, pfs.branch)
        for path in order
        if path in project.pipelines
        for pfs in project.pipelines[path].pfs_inputs()
    )
    status = project_status(project) if status is None else status
    remarks = each_once(p for row in status for p in row.problems)
    # one with datums could be planned: what is wrong with it is that its results can't be published
    rows = {row.name: row for row in status if not row.problems or row.counts["datums"]}
    depths: dict[str, int] = {}
    for path in order:
        ups = [e.source for e in edges if e.target == path]
        depths[path] = 1 + max((depths.get(up, 0) for up in ups), default=-1)
    nodes = [_repo(project, path) for path in _repos(project, {e.source for e in edges})]
    for path in order:
        name = project.name_of(path)
        row = rows.get(name)
        counts = dict(row.counts) if row else {}
        nodes.append(Node(path, name, "pipeline", row.state if row else "unknown", counts, depths[path]))
    return Dag(tuple(nodes), edges, tuple(map(str, remarks)))


def _repos(project: Project, used: set[str]) -> list[str]:
    """Return repos of data: those that a pipeline uses, and the others less the subdatasets of repos."""
    every = set(project.repos)
    found = {p for p in every if p in used or not any(p.startswith(other + "/") for other in every)}
    return sorted((found | used) - set(project.order))


def _repo(project: Project, path: str) -> Node:
    away = "not installed" if path in project.repos else "missing"
    state = "data" if is_dataset(project.dataset_of(path)) else away
    return Node(path, path, "repo", state, {}, 0)


def as_rows(dag: Dag) -> Iterator[tuple[str, str, str, str]]:
    """Yield the DAG as a tree, a row per input: name in the tree, state, datums, input.

    A pipeline with several inputs has its state in the first row, and is named in the others.
    """
    below: dict[str, list[Edge]] = {}
    for edge in dag.edges:
        below.setdefault(edge.source, []).append(edge)
    nodes = {n.path: n for n in dag.nodes}
    drawn: set[str] = set()
    # those that wait for each other hang on nothing: they come last
    for root in sorted(dag.nodes, key=lambda n: n.depth > 0):
        if root.path in drawn:
            continue
        drawn.add(root.path)
        yield _row(root, "", "-")
        stack = _children(below.get(root.path, []), "")
        while stack:
            edge, indent, last = stack.pop()
            node = nodes[edge.target]
            branch = indent + ("└── " if last else "├── ")
            if node.path in drawn:
                yield f"{branch}{printable(node.name)}", "(above)", "-", printable(edge.label)
                continue
            drawn.add(node.path)
            yield _row(node, branch, printable(edge.label))
            stack += _children(below.get(node.path, []), indent + ("    " if last else "│   "))


def _children(edges: list[Edge], indent: str) -> list[tuple[Edge, str, bool]]:
    return [(edge, indent, i == len(edges) - 1) for i, edge in enumerate(edges)][::-1]


def _row(node: Node, branch: str, label: str) -> tuple[str, str, str, str]:
    return f"{branch}{printable(node.name)}", node.state, node.summary or "-", label


def as_dot(dag: Dag) -> Iterator[str]:
    """Yield the DAG in graphviz' language."""
    yield "digraph minipach {"
    yield "  rankdir=LR;"
    yield '  node [shape=box, fontname="sans-serif"];'
    yield '  edge [fontname="sans-serif", fontsize=10];'
    for n in dag.nodes:
        lines = [n.name, *_words(n)]
        label = '"' + "\\n".join(dot(line)[1:-1] for line in lines) + '"'
        style = ', style="rounded"' if n.kind == "repo" else ""
        yield f'  {dot(n.path)} [label={label}, color="{COLOURS[n.state]}"{style}];'
    for e in dag.edges:
        yield f"  {dot(e.source)} -> {dot(e.target)} [label={dot(e.label)}];"
    yield "}"


def as_mermaid(dag: Dag) -> Iterator[str]:
    """Yield the DAG as a mermaid flowchart, as forges show it in Markdown."""
    ids = {n.path: f"n{i}" for i, n in enumerate(dag.nodes)}
    yield "flowchart LR"
    for n in dag.nodes:
        label = "<br/>".join(mermaid(line) for line in [n.name, *_words(n)])
        left, right = ('(["', '"])') if n.kind == "repo" else ('["', '"]')
        yield f"  {ids[n.path]}{left}{label}{right}:::{n.state.replace(' ', '_')}"
    for e in dag.edges:
        yield f'  {ids[e.source]} -->|"{mermaid(e.label)}"| {ids[e.target]}'
    for state in sorted({n.state for n in dag.nodes}):
        yield f"  classDef {state.replace(' ', '_')} stroke:{COLOURS[state]},stroke-width:2px"


def _words(node: Node) -> list[str]:
    """Return the lines below a node's name."""
    if node.kind == "repo":
        return [node.state] if node.state != "data" else []
    return [node.state, node.summary] if node.summary else [node.state]
