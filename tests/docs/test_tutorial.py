"""The tutorial, run from its first to its last line: files are written, commands run, and their output compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@dataclass
class Command:
    """A command line of a page, and the lines that the page shows below it; `...` stands for anything."""

    line: str
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NewFile:
    """A file that a page shows: its path, as said in the line above the block, and its text."""

    path: str
    text: str


_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`([^`]+)`:\n\n\Z")


def steps(page: str) -> list[Command | NewFile]:
    """The commands and files of a page in order. Each fenced block is one or the other."""
    found: list[Command | NewFile] = []
    for block in _BLOCK.finditer(page):
        if block[1] == "console":
            for line in block[2].splitlines():
                if line.startswith("$ "):
                    found.append(Command(line[2:]))
                else:
                    last = found[-1]
                    assert isinstance(last, Command)
                    last.shown.append(line)
        else:
            path = _PATH.search(page[: block.start()])
            assert path, f"no path above the block {block[2]!r}"
            found.append(NewFile(path[1], block[2]))
    return found


def matches(shown: list[str], output: str) -> bool:
    """Whether an output is as shown. A line `...` stands for any lines, `...` within a line for any text."""
    if not shown:
        return True
    lines = [".*(?:\n.*)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) for line in shown]
    wanted = "\n".join(lines).replace(".*(?:\n.*)*\n", "(?:.*\n)*").replace("\n.*(?:\n.*)*", "(?:\n.*)*")
    return re.fullmatch(wanted, output.strip("\n")) is not None


def run_page(page: str, folder: Path, env: dict[str, str]) -> list[tuple[Command, str, int]]:
    """Run all steps in one shell, below a folder; return each command with its output and exit code."""
    script, files = [], folder.with_name("files")
    files.mkdir()
    commands = []
    for number, step in enumerate(steps(page)):
        if isinstance(step, NewFile):
            (files / str(number)).write_text(step.text)
            script.append(f"cp {shlex.quote(str(files / str(number)))} {shlex.quote(step.path)} || exit 99")
        else:
            # $? is that of the command before, as on a terminal
            script += [f'(exit "$code"); {step.line}', "code=$?", 'printf "\\n@@ %d\\n" "$code"']
            commands.append(step)
    done = subprocess.run(
        ["bash", "-c", "code=0\n" + "\n".join(script)],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    parts = re.split(r"\n@@ (\d+)\n", done.stdout)
    assert done.returncode == 0 and len(parts) == 2 * len(commands) + 1, done.stdout
    return [(command, parts[2 * i], int(parts[2 * i + 1])) for i, command in enumerate(commands)]


@pytest.mark.slow
def test_the_tutorial_is_true(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    home, work = tmp_path / "home", tmp_path / "work"
    for path in (home / "photographs", home / "more", work):
        path.mkdir(parents=True)
    for shade, name in enumerate(("photographs/cat", "photographs/tree", "photographs/lake", "more/dog")):
        picture = Image.new("L", (60, 40), 40 * shade)
        picture.paste(255, (10 + shade, 10, 30, 30))
        picture.save(home / f"{name}.jpg")
    env = dict(os.environ) | {"HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"}
    done = run_page((ROOT / "docs" / "tutorial.md").read_text(), work, env)
    wrong = [(command.line, output) for command, output, _ in done if not matches(command.shown, output)]
    assert wrong == []
    # All succeed but the one whose exit code the page asks for.
    assert [command.line for command, _, code in done if code] == ["minipach schedule"]


def test_what_is_shown_is_compared() -> None:
    assert matches(["...", "edges: ... ran", "..."], "a\nedges: 3 ran\nb\nc") and matches(["a", "..."], "a")
    assert matches(["...", "b"], "b") and matches([], "anything")
    assert not matches(["...", "edges: 2 ran"], "a\nedges: 3 ran") and not matches(["a"], "a\nb")


def test_every_block_of_a_page_is_a_step() -> None:
    page = "`a/b.yml`:\n\n```yaml\nx: 1\n```\n\n```console\n$ cat a\nx\n$ ls\n```\n"
    assert steps(page) == [NewFile("a/b.yml", "x: 1\n"), Command("cat a", ["x"]), Command("ls")]
    with pytest.raises(AssertionError, match="no path"):
        steps("text\n\n```yaml\nx: 1\n```\n")
