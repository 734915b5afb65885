"""`minipach accept`: a change that does not matter keeps results current, and their true recipe on record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.datums.identity import IdentityRecipe
from minipach.planning.accepted import Accepted, AcceptedChange, read_accepted
from tests.fixtures.projects import COPY, Study

SPEC = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\n'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A pipeline that has run. Then a comment in its script."""
    study = Study.create(tmp_path_factory.mktemp("accept") / "study")
    study.put("images/moon", "moon\n", save=False)
    study.put("images/sun", "sun\n")
    study.pipeline("edges", SPEC, copy=COPY)
    study.schedule()
    assert study.minipach("accept", "edges").code == 2  # nothing changed yet
    study.put("edges/code/copy.sh", "# a comment\n" + COPY)
    return study


def counts(study: Study) -> dict[str, int]:
    """What `plan` would do."""
    return {action: n for action, n in study.plan()["edges"]["counts"].items() if n}


@pytest.mark.slow
def test_results_stay_current_and_new_datums_have_their_true_recipe(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    assert counts(other) == {"run": 2}
    done = other.minipach("accept", "edges", "-m", "only a comment", "--json")
    assert done.code == 0, done.err
    assert (done.json["current"], done.json["to_run"]) == (2, 0)
    assert counts(other) == {"current": 2}
    assert "only a comment" in other.git("edges", "log", "-1", "--format=%B")
    other.minipach("exclude", "edges:sun", "-m", "too bright")
    (said,) = other.minipach("status", "--json").json["pipelines"]
    lines = [line.partition(" (")[0] for line in said["details"]]
    assert lines == ["excluded: sun: too bright", "accepted: a change of code: only a comment"]
    (reported,) = other.minipach("report", "--json").json["pipelines"]
    assert reported["decisions"] == said["details"]
    other.git("edges", "revert", "--no-edit", "HEAD")
    assert other.git("edges", "status", "--porcelain") == ""
    other.put("images/star", "star\n")
    report = other.schedule()["edges"]
    assert report["counts"]["ran"] == 1 and report["counts"]["current"] == 2
    made = json.loads(_result(other, "star"))
    old = json.loads(_result(other, "moon"))
    assert made["recipe"]["code"] != old["recipe"]["code"]
    assert other.minipach("audit", "edges").code == 0
    other.git(
        "edges", "revert", "--no-edit", other.git("edges", "log", "-1", "--format=%H", "--", ".minipach/accepted")
    )
    assert counts(other) == {"run": 3}


def test_a_change_in_words() -> None:
    change = AcceptedChange("code", "b", "a", "only a comment", "Ada <ada@example.org>", "2026-11-30T10:00:00")
    assert change.text == "accepted: a change of code: only a comment (Ada, 2026-11-30)"
    assert AcceptedChange("image", "b", "a").text == "accepted: a change of image"


def _result(study: Study, name: str) -> str:
    rows = study.git("edges", "ls-tree", "-r", "--name-only", "minipach").splitlines()
    texts = [study.git("edges", "show", f"minipach:{row}") for row in rows if row.endswith("result.json")]
    return next(text for text in texts if json.loads(text)["name"] == name)


@pytest.mark.slow
def test_a_second_change_counts_as_the_first_state(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    for comment in ("# one\n", "# two\n"):
        other.put("edges/code/copy.sh", comment + COPY)
        assert other.minipach("accept", "edges").code == 0
        assert counts(other) == {"current": 2}
    (other.root / "edges/code/copy.sh").write_text("# three\n" + COPY)
    done = other.minipach("accept", "edges")
    assert (done.code, done.out) == (2, "") and done.reports("accept.not-committed", "edges", "code/copy.sh")


@pytest.mark.slow
def test_a_changed_command_still_counts(study: Study, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "study")
    other.put("edges/spec.yml", SPEC.replace("copy.sh]", "copy.sh, x]"))
    before = other.git("edges", "rev-parse", "HEAD")
    done = other.minipach("accept", "edges")
    assert (done.code, done.out) == (2, "") and done.reports("accept.no-use", "edges")
    assert other.git("edges", "rev-parse", "HEAD") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["7\n", "{\n", '{"schema": 1}\n', '{"schema": 1, "kind": 7, "new": [], "old": {}}\n', "\xff"]
)
def test_lines_of_others_do_not_count(study: Study, tmp_path: Path, text: str) -> None:
    from minipach.git.repo import Repo

    other = study.duplicate(tmp_path / "study")
    other.put("edges/.minipach/accepted", text)
    repo = Repo(other.root / "edges")
    assert read_accepted(repo, "HEAD") == Accepted()
    repo.close()


def test_a_circle_ends() -> None:
    circle = Accepted({("code", "a"): "b", ("code", "b"): "a", ("image", "x"): "y"})
    assert circle.counted(IdentityRecipe({}, "x", "a")) == IdentityRecipe({}, "y", "b")
