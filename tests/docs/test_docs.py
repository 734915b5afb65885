"""What the pages tell people to type exists: commands, options, files that they link to, modules that they name."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from tests.fixtures.command_lines import complaint

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "containers/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
WRITTEN = ("commands.md", "problems.md", "spec-reference.md", "pachyderm-fields.md")  # by the program itself

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TYPED = re.compile(r"^\s*(?:\S*[$] )?(?:[A-Z_]+=\S+ |docker (?:compose|run) .* )?minipach (?=[a-z-])(.*)$")
_SPAN = re.compile(r"`minipach (?=[a-z-])([^`]*)`")


def blocks(text: str) -> Iterator[str]:
    """What is set as code: between fences, or indented by four."""
    for block in _FENCED.findall(text):
        yield from block.splitlines()[1:-1]
    yield from (line for line in _FENCED.sub("", text).splitlines() if line.startswith("    "))


def typed(text: str) -> Iterator[str]:
    """The arguments of minipach, wherever a page shows a command line."""
    for line in blocks(text):
        if found := _TYPED.match(line):
            yield re.split(r"\s[&|>#]|;|,(?:\s|$)", found[1])[0]
    yield from (" ".join(span.split()) for span in _SPAN.findall(_FENCED.sub("", text)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_line_is_one_that_minipach_takes(page: Path) -> None:
    found = [(line, complaint(shlex.split(line))) for line in typed(page.read_text())]
    assert [(line, why) for line, why in found if why] == []


def test_a_wrong_one_would_be_seen() -> None:
    text = "`minipach plann`\n```\n$ minipach plan --whi x   # why\n```\n`minipach results  gone`"
    assert [complaint(shlex.split(line)) is not None for line in typed(text)] == [True] * 3
    assert complaint(["-C", "there", "audit", "edges:*", "--sample", "N"]) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)(#[^)\s]*)?\)", page.read_text())
    for path, anchor in links:
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            anchors = [
                "".join(c for c in line.lower() if c.isalnum() or c in " -_").replace(" ", "-") for line in headings
            ]
            assert anchor[1:] in anchors, path + anchor


def script(name: str) -> ModuleType:
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def test_the_recorded_terminal_shows_what_record_py_runs() -> None:
    """`make record` writes the picture; it takes a minute, so that no test does."""
    record = script("record")
    svg = (ROOT / "docs" / "images" / "terminal.svg").read_text()
    assert "://" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")  # nothing is loaded from elsewhere
    texts = [text.replace("\xa0", " ") for text in ElementTree.fromstring(svg).itertext()]
    assert [text.strip() for text in texts if text.strip() in record.COMMANDS] == list(record.COMMANDS)
    rerun = re.search(r"datalad rerun ([0-9a-f]{7})$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rerun and any(text.startswith(rerun[1]) for text in texts), "the README reruns the recorded commit"
    for command in record.COMMANDS:
        if command.startswith("minipach "):
            assert complaint(shlex.split(command)[1:]) is None


def test_a_recording_holds_what_stays_on_the_terminal() -> None:
    record = script("record")
    written = (
        "edges: 1 run\r\n\x1b[?25l\r\x1b[2Kedges --- 0/1\r\x1b[2Kedges === 1/1\r\n\x1b[?25h\r\x1b[1A\x1b[2Kdone\r\n"
    )
    assert record.screen(written) == ["edges: 1 run", "done"]


def test_the_picture_of_the_packages_is_that_of_the_imports() -> None:
    command = [sys.executable, ROOT / "docs" / "packages.py", "--check"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_module_that_is_named_is_there(page: Path) -> None:
    ours = {
        path.relative_to(ROOT).as_posix()
        for part in ("minipach", "tests", "benchmarks", "examples", "containers", "docs")
        for path in (ROOT / part).rglob("*.py")
    }
    text = _FENCED.sub("", page.read_text())
    named = [] if page.name in WRITTEN else re.findall(r"[`(\s]([\w./]+\.py)\b", text)
    code = [name for name in named if "code/" not in name]
    assert [name for name in code if not any(("/" + path).endswith("/" + name.lstrip("./")) for path in ours)] == []
