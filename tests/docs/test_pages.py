"""Each block of a page is run in a project like the reader's, or is marked with the reason why it is not."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.pages import Command, NotRun, Setup, marked_steps, matches, run_steps
from tests.fixtures.projects import Study, need
from tests.fixtures.slurm_cluster import on_slurm, shared_cluster

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("howto-*.md"))]
NAMES = ("chelsea", "coffee", *(f"p{number:02}" for number in range(10)))
EDGES = """\
import os, shutil, sys
shutil.copy(os.environ["images"], os.environ["PFS"] + "/out/")
"""
# The blocks that no test runs, by page. Whoever adds one here says why on the page.
NOT_RUN = {
    "CONTRIBUTING.md": 1,
    "README.md": 3,
    "howto-alerts.md": 1,
    "howto-batching.md": 1,
    "howto-buckets.md": 1,
    "howto-cloud.md": 4,
    "howto-ci.md": 1,
    "howto-console.md": 2,
    "howto-containers.md": 1,
    "howto-docker.md": 4,
    "howto-experiments.md": 3,
    "howto-rq.md": 3,
    "howto-hooks.md": 1,
    "howto-kubernetes.md": 4,
    "howto-machines.md": 5,
    "howto-report.md": 3,
    "howto-stores.md": 11,
    "howto-services.md": 1,
    "howto-together.md": 1,
    "howto-watch.md": 3,
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The project of a reader: pictures, and a pipeline that has run."""
    study = Study.create(tmp_path_factory.mktemp("sample") / "study")
    for name in NAMES:
        study.put(f"images/{name}.png", name, save=False)
    study.save("images")
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [python3, code/edges.py]}\n'
    study.pipeline("edges", spec)
    (study.root / "edges/code/edges.py").write_text(EDGES)
    study.save(".")
    study.schedule()
    return study


@pytest.mark.soak
@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- run" in page.read_text()], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_are_true(page: Path, sample: Study, tmp_path: Path) -> None:
    steps = list(marked_steps(page.read_text()))
    assert any(isinstance(step, Command) for step in steps)
    study = sample.duplicate(tmp_path / "study")
    home, places = tmp_path / "home", tmp_path / "places"
    for folder in (home, places):
        folder.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1", "PATH": path}
    with ExitStack() as stack:
        if page.stem == "howto-slurm":
            need("slurmctld")
            stack.enter_context(shared_cluster())
            env |= {name: os.environ[name] for name in ("SLURM_CONF", "PATH") if name in os.environ}
            env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
            on_slurm(study)
        if page.stem == "README":  # it begins with a project of its own, which can't be inside another
            (begin := tmp_path / "begin").mkdir()
        else:
            begin = study.root
        done = run_steps(steps, begin, env, {"/study": str(study.root), "/srv/": f"{places}/"})
    wrong = [row for row in done if row[2] != row[0].code or not matches(row[0].shown, row[1])]
    assert not wrong, "\n".join(f"$ {one.line}\n{said}(exit {code})" for one, said, code in wrong)


def test_what_is_not_run_is_counted() -> None:
    found = {page.name: [s for s in marked_steps(page.read_text()) if isinstance(s, NotRun)] for page in PAGES}
    assert {name: len(steps) for name, steps in found.items() if steps} == NOT_RUN
    assert all(len(step.reason) > 10 for steps in found.values() for step in steps)


def test_no_page_sets_code_without_a_fence() -> None:
    assert [page.name for page in PAGES if re.search(r"\n\n(?:    (?![-*|]).*\n)+", page.read_text())] == []


def test_marks_are_read() -> None:
    page = "<!-- run, exit 1: ls no\nmkdir a\n-->\n```\n$ ls\na\n\n$ ls no\n```\n"
    page += "  <!-- not run: it takes a day -->\n  ```\n  x\n  ```\n"
    assert list(marked_steps(page)) == [
        Setup("mkdir a"),
        Command("ls", ["a"]),
        Command("ls no", code=1),
        NotRun("it takes a day"),
    ]
    with pytest.raises(AssertionError, match="no mark"):
        list(marked_steps("```\n$ ls\n```\n"))


def test_what_varies_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    page = "<!-- run, end: sh -->\n```\n$ echo 1a2b3c4\n7a2b3c9\n$ sh -c 'echo up; exec sleep 60'\nup\n```\n"
    steps = list(marked_steps(page))
    done = run_steps(steps, tmp_path / "there", os.environ)
    assert [matches(one.shown, said) for one, said, _ in done] == [True, True]
    assert not matches(["edges: 3 run"], "edges: 4 run")


def test_a_command_that_is_slow_to_begin_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    step = Command("sleep 0.5 && exec sh -c 'echo up; exec sleep 60'", ["up"], is_ended=True)  # opens its file late
    assert run_steps([step], tmp_path / "there", os.environ) == [(step, "up\n", 0)]
