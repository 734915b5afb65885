"""The two parts of a pipeline's branch: the reserved names, and the outputs."""

from __future__ import annotations

from pathlib import Path

from minipach.records.published_state import house_entries, output_paths
from tests.fixtures.repos import Files

HOUSE = ["spec.yml", "code/a.py", "code/sub/b.py", "README.md", ".gitattributes", ".datalad/config", ".minipach/launch"]
OUTPUTS = ["a.txt", "d/code/c.txt", "spec.yml.txt", " b\n\tc", 'q"x', "-n", ":(top)x"]


def test_every_file_is_in_the_house_or_an_output_and_the_state_is_neither(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "edges")
    for path in [*HOUSE, *OUTPUTS, ".minipach/state/0a"]:
        there = repo.path / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(path)
    repo.git("add", "--all")
    commit = repo.commit()
    assert sorted(e.path for e in house_entries(repo, commit)) == sorted(HOUSE)
    assert sorted(output_paths(repo, commit)) == sorted(OUTPUTS)


def test_of_an_empty_commit_there_is_nothing(tmp_path: Path) -> None:
    repo = Files.create(tmp_path / "edges")
    commit = repo.commit()
    assert house_entries(repo, commit) == output_paths(repo, commit) == []
