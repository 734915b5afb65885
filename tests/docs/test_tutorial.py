"""The tutorial, run from its first to its last line: files are written, commands run, and their output compared."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.pages import Command, NewFile, matches, run_steps, tutorial_steps

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_tutorial_is_true(tmp_path: Path) -> None:
    if find_spec("cv2") is None:  # its import would change the environment of the tests after this one
        pytest.skip("cv2 is not installed: the tutorial needs it")
    home, work = tmp_path / "home", tmp_path / "work"
    for path in (home / "photographs", home / "more", work):
        path.mkdir(parents=True)
    for shade, name in enumerate(("photographs/cat", "photographs/tree", "photographs/lake", "more/dog")):
        picture = Image.new("L", (60, 40), 40 * shade)
        picture.paste(255, (10 + shade, 10, 30, 30))
        picture.save(home / f"{name}.jpg")
    env = dict(os.environ) | {"HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"}
    done = run_steps(tutorial_steps((ROOT / "docs" / "tutorial.md").read_text()), work, env)
    wrong = [(command.line, output) for command, output, _ in done if not matches(command.shown, output)]
    assert wrong == []
    # All succeed but the one whose exit code the page asks for.
    assert [command.line for command, _, code in done if code] == ["minipach schedule"]


def test_what_is_shown_is_compared() -> None:
    assert matches(["...", "edges: ... computed", "..."], "a\nedges: 3 computed\nb\nc") and matches(["a", "..."], "a")
    assert matches(["...", "b"], "b") and matches([], "anything")
    assert not matches(["...", "edges: 2 computed"], "a\nedges: 3 computed") and not matches(["a"], "a\nb")


def test_every_block_of_a_page_is_a_step() -> None:
    page = "`a/b.yml`:\n\n```yaml\nx: 1\n```\n\n```console\n$ cat a\nx\n$ ls\n```\n"
    assert tutorial_steps(page) == [NewFile("a/b.yml", "x: 1\n"), Command("cat a", ["x"]), Command("ls")]
    with pytest.raises(AssertionError, match="no path"):
        tutorial_steps("text\n\n```yaml\nx: 1\n```\n")
