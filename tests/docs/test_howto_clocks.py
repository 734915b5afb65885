"""The lines of docs/howto-clocks.md run as they are written, and print what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.fixtures.projects import Study

PAGE = Path(__file__).parents[2] / "docs" / "howto-clocks.md"


@pytest.mark.slow
def test_the_page_runs(study: Study) -> None:
    study.put("images/a", "a")
    shown = ""
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if kind == "yaml":
            path = block.splitlines()[0].removeprefix("# ")
            study.put(path, block, save=False)
            continue
        for line in block.splitlines():
            if line == "...":  # lines that vary
                continue
            if not line.startswith("$ "):
                assert line in shown.splitlines(), f"{line}\n{shown}"
                continue
            program, *words = shlex.split(line.removeprefix("$ "))
            assert program == "minipach"
            done = study.minipach(*words)
            assert done.code == 0, f"{line}\n{done.out}{done.err}"
            shown = done.out + done.err
    assert "manual" in study.minipach("cron", "list", "report").out
