"""The number of git's processes in a schedule: it does not grow with the number of pipelines."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from tests.fixtures.projects import Study

NAMES = ("a", "b", "c", "d", "e")


def processes(folder: Path, root: Path) -> dict[str, list[str]]:
    """The commands that worked in each repository of a project, by its path, as git's own trace has them.

    Without maintenance: git guesses from the names of objects whether it is due, so chance begins it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for file in folder.iterdir():
        events = [json.loads(line) for line in file.read_text(errors="replace").splitlines()]
        places = {event["worktree"] for event in events if event["event"] == "def_repo"}
        commands = [" ".join(event["argv"]) for event in events if event["event"] == "start"]
        for place in places - {str(root)}:
            found[Path(place).relative_to(root).parts[0]] += [c for c in commands if "maintenance" not in c]
    return found


@pytest.mark.slow
def test_a_further_pipeline_needs_no_process_of_git(study: Study, tmp_path: Path) -> None:
    """From adoption to the checkout that a person sees. The first dataset is made by git; workers ask who commits."""
    study.put("images/a.txt", "a")
    for name in NAMES:
        study.copier(name)
    trace = tmp_path / "trace"
    trace.mkdir()
    study.minipach("schedule", "-j", "1", env={"GIT_TRACE2_EVENT": str(trace)})
    found = processes(trace, study.root)
    assert found["a"], "the trace is read"
    assert {name: found[name] for name in NAMES[1:]} == {name: [] for name in NAMES[1:]}
    for name in NAMES:
        assert study.read(f"{name}/a.txt") == b"a"
        assert study.git(name, "status", "--porcelain", "--untracked-files=all") == ""
        assert study.git(name, "fsck", "--no-dangling") == ""
        assert study.git(name, "log", "-1", "-g", "--format=%H", "HEAD") == study.git(name, "rev-parse", "HEAD")
