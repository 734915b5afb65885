"""The shared cases, through real datasets and the real command: `minipach datums FILE --json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.projects import Study

CASES = json.loads((Path(__file__).parents[1] / "cases" / "datums.json").read_text())
_PLAIN_GIT = ["-c", "filter.annex.process=", "-c", "filter.annex.clean=cat", "-c", "filter.annex.required=false"]


def fill(study: Study, repo: str, paths: list[str]) -> None:
    """Put files into a repo in one commit, as plain git files: the cases are about names."""
    for path in paths:
        file = study.root / repo / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{repo}{path}\n")
    study.git(repo, *_PLAIN_GIT, "add", ".")
    study.git(repo, *_PLAIN_GIT, "commit", "--quiet", "--no-verify", "-m", "the case's files")


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_shared_cases(case: dict[str, Any], tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", *sorted(case["repos"]))
    for repo, paths in case["repos"].items():
        fill(study, repo, paths)
    study.pipeline("case", json.dumps({"input": case["input"], "transform": {"cmd": ["true"]}}))
    done = study.minipach("datums", "case/spec.yml", "--json")
    assert done.code == 0, done.err
    datums = done.json["datums"]
    assert len(datums) == case["count"]
    assert len({datum["name"] for datum in datums}) == len(datums)
    if "datums" in case:
        found = sorted(sorted([m["repo"], m["path"]] for m in datum["matches"]) for datum in datums)
        assert found == sorted(sorted(matches) for matches in case["datums"])
    for datum in datums:
        listed = {(f["repo"], f["path"]) for f in datum["files"]}
        for match in datum["matches"]:
            below = match["path"].rstrip("/") + "/"
            files = {f for f in case["repos"][match["repo"]] if f == match["path"] or f.startswith(below)}
            assert files and {(match["repo"], f) for f in files} <= listed
