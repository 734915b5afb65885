"""Branch triggers and deferred processing, as Pachyderm's documentation has them, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.projects import Study

SPEC = """\
input: {pfs: {repo: %s, glob: /*, trigger: {%s}}}
transform: {cmd: [sh, code/copy.sh]}
"""


def triggered(study: Study, name: str, repo: str, trigger: str) -> None:
    study.copier(name, repo=repo)
    write_trigger(study, name, repo, trigger)


def write_trigger(study: Study, name: str, repo: str, trigger: str) -> None:
    (study.root / name / "spec.yml").write_text(SPEC % (repo, trigger))


@pytest.fixture
def chain(tmp_path: Path) -> Study:
    """A pipeline that takes two commits at a time, and one that takes its output as it comes."""
    study = Study.create(tmp_path / "study")
    triggered(study, "edges", "images", "commits: 2")
    study.copier("after", repo="edges")
    return study


def test_a_trigger_that_cannot_be_is_one_line(chain: Study) -> None:
    for trigger, told in (
        ("branch: master", "1:39: a trigger without a condition. Fix: add `commits`"),
        ("cron_spec: 0 0 30 2 *", "can't be read: bad day-of-month"),
        ("size: many", "not a quantity"),
        ("comits: 2", "use `commits`"),
        ("commits: 2, branch: nowhere", 'no branch "nowhere" in images'),
    ):
        write_trigger(chain, "edges", "images", trigger)
        done = chain.minipach("check", "edges")
        assert done.code == 2 and told in done.err, done.err
    (chain.root / "edges/spec.yml").write_text(
        "input: {cross: [{pfs: {repo: images, glob: /*, trigger: {commits: 2}}},\n"
        "  {pfs: {repo: images, glob: /, name: b}}]}\ntransform: {cmd: [x]}\n"
    )
    assert chain.minipach("check", "edges").reports("spec.two-triggers", "edges/spec.yml:2:4", "images")


@pytest.mark.slow
def test_commits_wait_until_the_condition_holds(chain: Study) -> None:
    first = int(chain.git("images", "rev-list", "--count", "HEAD"))
    assert first % 2 == 1, "datalad made the first commit"
    rows = chain.schedule()
    assert (rows["edges"]["state"], rows["after"]["state"]) == ("deferred", "deferred")
    for command in ("plan", "status", "schedule"):
        done = chain.minipach(command)
        assert (done.out + done.err).count(" of 2 commits") == 1, "what defers it is said once"
        assert "images is empty" not in done.out + done.err
    chain.put("images/a", "a")
    assert chain.schedule()["after"]["state"] == "published"
    chain.put("images/b", "b")
    plan = chain.plan()["edges"]
    assert plan["counts"]["run"] == 0
    assert plan["deferred"][0]["text"] == "1 of 2 commits"
    assert "edges: deferred: images: 1 of 2 commits" in chain.minipach("status").out
    head = chain.git(".", "rev-parse", "HEAD")
    assert chain.schedule()["edges"]["state"] == "current"
    assert chain.git(".", "rev-parse", "HEAD") == head, "the superdataset names no commit that is not processed"
    assert set(chain.outputs("after")) == {"a"}
    # by hand, all of it; afterwards nothing goes back
    assert chain.schedule("--now")["edges"]["counts"]["ran"] == 1
    assert set(chain.outputs("after")) == {"a", "b"}
    assert chain.schedule()["edges"]["state"] == "current"
    assert "deferred" not in chain.plan()["edges"]
    chain.put("images/c", "c")
    chain.put("images/d", "d")
    assert chain.schedule()["after"]["counts"]["ran"] == 2
    kinds = [row["kind"] for row in chain.minipach("triggers", "--json").json["triggers"]]
    assert "branch" not in kinds
    # another history begins at its root. Until it releases something, nothing is removed
    chain.git("images", "checkout", "-q", "--orphan", "other")
    chain.git("images", "commit", "-qm", "other")
    plan = chain.plan()["edges"]
    assert (plan["datums"], plan["deferred"][0]["text"]) == ([], "1 of 2 commits")
    assert chain.schedule()["edges"]["state"] == "deferred"
    assert set(chain.outputs("edges")) == {"a", "b", "c", "d"}


@pytest.mark.slow
def test_a_chain_of_triggers_and_an_output_branch(tmp_path: Path) -> None:
    """Results go to `dev`; the next pipeline reads `master`, two releases at a time."""
    study = Study.create(tmp_path / "study")
    study.copier("edges", more="output_branch: dev\n")
    study.put("images/a", "a")
    assert study.schedule()["edges"]["state"] == "published"
    assert study.outputs("edges") == {}
    triggered(study, "after", "edges", "branch: dev, size: 3")
    assert study.schedule()["after"]["state"] == "deferred"
    assert study.plan()["after"]["deferred"][0]["size"] > 0
    study.put("images/b", "bb")
    study.schedule()
    assert set(study.outputs("after")) == {"a", "b"}
    # the release by hand, as in Pachyderm: move the branch
    study.copier("last", repo="edges")
    (study.root / "last/spec.yml").write_text(
        "input: {pfs: {repo: edges, branch: release, glob: /*}}\ntransform: {cmd: [sh, code/copy.sh]}\n"
    )
    done = study.minipach("schedule", "last")
    assert done.code == 2 and done.reports("input.no-such-branch", "last/spec.yml:1:36", "branch release dev", "git -C")
    study.git("edges", "branch", "-f", "release", "dev")
    assert study.schedule("last")["last"]["counts"]["ran"] == 2
