"""Outputs that somebody has changed in a commit are not passed off as what the datums made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.projects import Study

REASON = "its output was changed by a commit"


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("published") / "study")
    for name in "abc":
        study.put(f"images/{name}.txt", name, save=False)
    study.save("images")
    study.copier()
    study.schedule()
    return study


@pytest.fixture
def published(computed: Study, tmp_path: Path) -> Study:
    return computed.duplicate(tmp_path / "study")


def actions(study: Study) -> dict[str, str]:
    return {d["name"]: d["action"] for d in study.plan()["edges"]["datums"] if d["action"] != "current"}


def spoil(study: Study) -> None:
    """a.txt is removed and b.txt edited, in a commit."""
    study.remove("edges/a.txt")
    (study.root / "edges/b.txt").unlink()
    study.put("edges/b.txt", "edited")


def test_what_was_edited_or_removed_comes_back(published: Study) -> None:
    before = published.outputs("edges")
    assert published.read("edges/a.txt") == b"a"
    spoil(published)
    assert actions(published) == {"a.txt": "reuse", "b.txt": "reuse"}
    assert REASON in published.minipach("plan").out
    assert published.minipach("status", "--json").json["pipelines"][0]["state"] == "behind"
    counts = published.schedule()["edges"]["counts"]
    assert (counts["ran"], counts["reused"], counts["current"]) == (0, 2, 1)
    assert published.outputs("edges") == before
    assert published.read("edges/b.txt") == b"b"
    assert published.git("edges", "status", "--porcelain") == ""
    assert published.minipach("schedule").out == "nothing to do\n"


def test_a_publish_of_others_forgets_nothing(published: Study) -> None:
    before = published.outputs("edges")
    spoil(published)
    published.put("images/d.txt", "d")
    counts = published.schedule()["edges"]["counts"]
    assert (counts["ran"], counts["reused"]) == (1, 2)
    assert {name: key for name, key in published.outputs("edges").items() if name != "d.txt"} == before


@pytest.mark.slow
def test_who_goes_back_to_the_middle_of_a_publish_gets_the_rest(published: Study) -> None:
    before = published.outputs("edges")
    spoil(published)
    edited = published.git("edges", "rev-parse", "HEAD").strip()
    published.schedule()
    published.git("edges", "reset", "--quiet", "--hard", "HEAD~1")
    assert actions(published) == {"b.txt": "reuse"}, "of two that were published again, one is there"
    published.schedule()
    assert published.outputs("edges") == before
    published.git("edges", "reset", "--quiet", "--hard", edited)
    assert actions(published) == {"a.txt": "reuse", "b.txt": "reuse"}, "back to where they were spoilt"
    published.schedule()
    assert published.outputs("edges") == before
    assert published.minipach("schedule").out == "nothing to do\n"


def test_a_clone_sees_what_was_changed_before_it(published: Study) -> None:
    spoil(published)
    published.git("edges", "update-ref", "-d", "refs/minipach/published")  # as in a clone, before its first publish
    assert actions(published) == {"a.txt": "reuse", "b.txt": "reuse"}


def test_what_is_no_output_may_be_committed(published: Study) -> None:
    published.put("edges/README.md", "about")
    assert actions(published) == {}
    published.put("edges/notes/mine.txt", "mine")
    assert set(actions(published).values()) == {"run"}, "the command sees the file"
    published.put("images/d.txt", "d")
    published.schedule()
    assert published.read("edges/notes/mine.txt") == b"mine"


def test_what_is_on_record_stays(published: Study) -> None:
    there = published.root / "edges/b.txt"
    there.unlink()
    there.write_text("another outcome")
    published.git("edges", "annex", "add", "--quiet", "b.txt")
    published.git("edges", "commit", "-qm", "[DATALAD RUNCMD] edges: b.txt")
    assert actions(published) == {}


def test_a_branch_that_was_reset_is_measured_by_its_own_state(published: Study) -> None:
    published.put("images/d.txt", "d")
    published.schedule()
    published.git("edges", "reset", "-q", "--hard", "HEAD~2")
    assert actions(published) == {"d.txt": "reuse"}
    published.schedule()
    assert published.read("edges/d.txt") == b"d"
