"""`minipach dag`: what flows where, with states and counts, as text, dot, mermaid, SVG and JSON."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from minipach.support.text import printable
from minipach.views.dag import COLOURS, Dag, Edge, Node, as_dot, as_mermaid, as_rows
from minipach.views.dag_svg import as_svg
from tests.fixtures.projects import Study, need

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a"]; rm -rf / <b>&\\N `x` #quot; |é\x1b[31m\n%%{init}%%'


def pipeline(path: str, depth: int, state: str = "current", **counts: int) -> Node:
    names = ("datums", "current", "stored", "missing", "failed", "left", "recovered", "remove", "upstream")
    zero = dict.fromkeys(names, 0)
    return Node(path, path, "pipeline", state, {**zero, **counts}, depth)


def repo(path: str) -> Node:
    return Node(path, path, "repo", "data", {}, 0)


def edge(source: str, target: str, glob: str = "/*", name: str | None = None, branch: str | None = None) -> Edge:
    return Edge(source, target, name or source, glob, branch)


DIAMOND = Dag(
    (
        repo("images"),
        pipeline("edges", 1, datums=3, current=3),
        pipeline("blurred", 1, "failed", datums=3, current=1, missing=1, failed=1),
        pipeline("montage", 2, "blocked", datums=1, missing=1),
    ),
    (
        edge("images", "edges"),
        edge("images", "blurred"),
        edge("edges", "montage", "/"),
        edge("blurred", "montage", "/", "soft", "main"),
        edge("images", "montage", "/"),
    ),
)


# In a project


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two pipelines in a row, the first one computed and then left behind by a new file. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("dag") / "study", "images", "masks")
    study.put("images/moon.txt", "pale\n")
    study.put("masks/m.txt", "m\n")
    study.copier()
    study.schedule()
    study.put("images/star.txt", "far\n")
    study.copier("again", repo="edges", glob="/")
    return study


def test_a_service_has_no_counts() -> None:
    assert pipeline("site", 1, "service").summary == ""


def test_the_tree_tells_states_counts_and_globs(study: Study) -> None:
    done = study.minipach("dag")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "REPO           STATE    DATUMS                          INPUT",
        "images         data     -                               -",
        "└── edges      behind   2 datums, 1 current, 1 missing  /*",
        "    └── again  blocked  1 datum, 1 missing              /",
        "masks          data     -                               -",
    ]


def test_json_has_nodes_and_edges(study: Study) -> None:
    found = study.minipach("dag", "--json").json
    assert found["schema"] == 1
    nodes = {n["path"]: n for n in found["nodes"]}
    assert {p: (n["kind"], n["state"], n["depth"]) for p, n in nodes.items()} == {
        "images": ("repo", "data", 0),
        "masks": ("repo", "data", 0),
        "edges": ("pipeline", "behind", 1),
        "again": ("pipeline", "blocked", 2),
    }
    status = {p["name"]: p["counts"] for p in study.minipach("status", "--json").json["pipelines"]}
    assert nodes["edges"]["counts"] == status["edges"]
    assert {"from": "edges", "to": "again", "input": "edges", "glob": "/", "branch": None} in found["edges"]


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg"])
def test_every_drawing_names_every_node_with_its_state(study: Study, form: str) -> None:
    drawn = study.ok("minipach", "dag", "--format", form)
    for word in ("images", "masks", "edges", "again", "behind", "blocked"):
        assert word in drawn


def test_where_states_cannot_be_told_the_connections_still_show(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path / "study", symlinks=True)
    study = Study(tmp_path / "study")
    shutil.rmtree(study.root / "images")
    (study.root / "images").mkdir()
    done = study.minipach("dag")
    assert done.code == 0
    assert done.reports("repo.not-installed", "edges/spec.yml:1:21: images")
    assert [line.split() for line in done.out.splitlines()[1:3]] == [
        ["images", "not", "installed", "-", "-"],
        ["└──", "edges", "unknown", "-", "/*"],
    ]


# As text


def test_a_pipeline_with_several_inputs_is_told_once() -> None:
    assert list(as_rows(DIAMOND)) == [
        ("images", "data", "-", "-"),
        ("├── edges", "current", "3 datums", "/*"),
        ("│   └── montage", "blocked", "1 datum, 1 missing", "/"),
        ("├── blurred", "failed", "3 datums, 1 current, 1 missing, 1 failed", "/*"),
        ("│   └── montage", "(above)", "-", "soft: / @main"),
        ("└── montage", "(above)", "-", "/"),
    ]


def test_a_long_chain_is_no_problem() -> None:
    names = [f"p{i}" for i in range(3000)]
    dag = Dag(
        tuple(pipeline(n, i) for i, n in enumerate(names)),
        tuple(edge(a, b) for a, b in itertools.pairwise(names)),
    )
    assert len(list(as_rows(dag))) == 3000


# Drawn


def boxes(svg: str) -> list[tuple[str, float, float, float, float]]:
    """(path, x, y, width, height) of the boxes in a drawing."""
    found = []
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        rect, title = group.find(f"{SVG}rect"), group.find(f"{SVG}title")
        if rect is not None and title is not None:
            x, y = group.attrib["transform"].removeprefix("translate(").removesuffix(")").split()
            found.append(
                (title.text or "", float(x), float(y), float(rect.attrib["width"]), float(rect.attrib["height"]))
            )
    return found


def test_columns_follow_depth_and_boxes_never_overlap() -> None:
    found = boxes(as_svg(DIAMOND))
    left = {name: x for name, x, *_ in found}
    assert left["images"] < left["edges"] == left["blurred"] < left["montage"]
    for i, (_, x, y, w, h) in enumerate(found):
        for _, x2, y2, w2, h2 in found[i + 1 :]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_a_state_is_a_word_as_well_as_a_colour() -> None:
    svg = as_svg(DIAMOND)
    words = [t.text for t in ET.fromstring(svg).iter(f"{SVG}text") if t.get("class") == "word"]
    assert sorted(words, key=str) == ["blocked", "current", "data", "failed"]
    assert all(COLOURS[state] in svg for state in ("current", "failed", "blocked"))
    assert "prefers-color-scheme: dark" in svg


def contrast(one: str, other: str) -> float:
    """Contrast of two colours. Source: WCAG 2, "contrast ratio"."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("state", sorted(COLOURS))
def test_the_words_can_be_read_on_their_colours(state: str) -> None:
    assert contrast("#ffffff", COLOURS[state]) >= 4.5


def test_an_empty_project_draws_too() -> None:
    ET.fromstring(as_svg(Dag((), ())))
    assert list(as_rows(Dag((), ()))) == []


# Hostile names


@pytest.fixture
def hostile() -> Dag:
    """A repo and a glob with everything that could be syntax."""
    return Dag((repo(HOSTILE), pipeline("edges", 1)), (edge(HOSTILE, "edges", HOSTILE, "in"),))


def test_hostile_names_stay_text_in_svg(hostile: Dag) -> None:
    root = ET.fromstring(as_svg(hostile))
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {"svg", "style", "g", "title", "path", "rect", "text"}
    assert boxes(as_svg(hostile))[0][0] == printable(HOSTILE)


def test_hostile_names_stay_text_in_mermaid(hostile: Dag) -> None:
    lines = list(as_mermaid(hostile))
    assert lines[0] == "flowchart LR"
    labels = [line.split('"')[1] for line in lines if '"' in line]
    assert all(line.count('"') in (0, 2) for line in lines)
    assert not set("<>&\\`|[]{}%\x1b\n") & set("".join(labels).replace("<br/>", ""))


def test_hostile_names_stay_text_on_a_terminal(hostile: Dag) -> None:
    rows = list(as_rows(hostile))
    assert len(rows) == 2
    assert "\x1b" not in "".join("".join(row) for row in rows)


def test_graphviz_reads_hostile_names_as_they_are(hostile: Dag) -> None:
    need("dot")
    done = subprocess.run(["dot", "-Tsvg"], input="\n".join(as_dot(hostile)).encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    texts: list[Any] = [t.text for t in ET.fromstring(done.stdout).iter(f"{SVG}text")]
    assert len([t for t in ET.fromstring(done.stdout).iter(f"{SVG}g") if t.get("class") == "node"]) == 2
    assert printable(HOSTILE) in [t.replace("\xa0", " ") for t in texts]
