"""Keywords in commit messages: read from every commit since the last pass, by one grammar, and by no shell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from minipach.model.pipeline import Resources
from minipach.project.project import Project
from minipach.scheduling.schedule_report import ScheduleReport
from minipach.support.errors import UserError
from minipach.triggers import passes
from minipach.triggers.commit_messages import NOTES, RunRequest, Wishes, mode_of, read_wishes
from minipach.triggers.passes import answer_requests
from minipach.triggers.seen_refs import tips_of
from tests.fixtures.passes import Kept
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A project with two pipelines, of which none has run."""
    study = Study.create(tmp_path_factory.mktemp("messages") / "study")
    study.copier("edges")
    study.copier("more", repo="edges")
    return study


def commit(study: Study, message: str, repo: str = "images") -> None:
    study.git(repo, "commit", "-q", "--allow-empty", "--allow-empty-message", "--cleanup=verbatim", "-m", message)


def wishes_of(study: Study, *messages: str, lasting: bool = False) -> Wishes:
    before = tips_of(Project(study.root))
    for message in messages:
        commit(study, message)
    project = Project(study.root)
    return read_wishes(project, before, tips_of(project), lasting=lasting)


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ("x\n\nMinipach-Run: edges --force\n", RunRequest(("edges",), frozenset({"--force"}))),
        ("x\n\n:MINIPACH_RUN: edges --force", RunRequest(("edges",), frozenset({"--force"}))),
        (":minipach_run: --retry-failed", RunRequest((), frozenset({"--retry-failed"}))),
        ("x\n\nminipach-run:edges:'a b' more\r\n", RunRequest(("edges:a b", "more"))),
        ("x\n\nMinipach-Run:\n\nSigned-off-by: A", RunRequest()),
        ("x\n\n  Minipach-Run: edges\nsee Minipach-Run: edges", None),
        ("x\n\nMinipach-Run: edges\nMinipach-Vcpus: 8", RunRequest(("edges",), resources=Resources(cpu=8.0))),
        (
            "x\n\nMinipach-Gpus: 2\nMinipach-Memory: 32768\nMinipach-Run: edges",
            RunRequest(("edges",), resources=Resources(memory=2**35, gpu_number=2)),
        ),
        ("[DATALAD RUNCMD] Minipach-Run: x\n\nMinipach-Run: edges", None),
        ("minipach: edges\n\nMinipach-Run: edges", None),
    ],
)
def test_one_grammar(pair: Study, message: str, request_: RunRequest | None) -> None:
    wishes = wishes_of(pair, message)
    assert wishes.requests == ([] if request_ is None else [request_]) and wishes.problems == ()
    assert wishes.skipped is None


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Minipach-Run: edgse", 'Minipach-Run: edgse: .*Fix: use "edges"'),
        ("Minipach-Run: edges --jobs=9", "--jobs=9 is not allowed here. Fix: use some of --force"),
        ("Minipach-Run: edges; touch x", "Minipach-Run: edges;: no such pipeline"),
        ("Minipach-Run: $(touch x)", "no such pipeline"),
        ("Minipach-Run: 'edges", "a quote is not closed"),
        ("Minipach-Run: edges\nMinipach-Run: more", "a second run"),
        ("Minipach-Rnu: edges", 'no such keyword. Fix: use "Run"'),
        (":MINIPACH_DELETE: all", "no such keyword"),
        ("Minipach-Skip: maybe", "neither true nor false"),
        ("Minipach-Skip: true\nMinipach-Run: edges", "asks for a run, too"),
        ("Minipach-Gpus: two\nMinipach-Run: edges", "not a number"),
        ("Minipach-Gpus: 2", "needs a run in the same commit"),
        ("Minipach-Exp: first", "not clear. Fix: write Minipach-Exp: first PIPELINE"),
        ("Minipach-Exp: first edges more", "not clear"),
        ("Minipach-Exp: ../first edges", "not a name of an experiment"),
        ("Minipach-Exp:", "not a name of an experiment"),
        ("Minipach-Exp: first edgse", 'no such pipeline.* Fix: use "edges"'),
        ("Minipach-Exp: first edges.level=", "no value|cannot be read"),
        ("Minipach-Exp: first $(touch x)=1", "not of the form|not a name"),
        ("Minipach-Exp: 'first", "a quote is not closed"),
        ("Minipach-Exp: a edges\nMinipach-Exp: b edges", "a second experiment"),
        ("Minipach-Skip: true\nMinipach-Exp: a edges", "asks for a run, too"),
    ],
)
def test_wrong_keyword_is_one_line_with_a_fix(pair: Study, message: str, problem: str) -> None:
    wishes = wishes_of(pair, f"x\n\n{message}")
    head = pair.git("images", "rev-parse", "HEAD")
    (found,) = wishes.problems
    assert re.search(problem, str(found))
    assert f"images {head[:12]}: Minipach-" in str(found) and "\n" not in str(found)
    assert not (pair.root / "x").exists() and wishes.skipped is None


def test_resources_need_an_executor_whose_sets_end_with_the_pass(pair: Study) -> None:
    wishes = wishes_of(pair, "x\n\nMinipach-Run: edges\nMinipach-Gpus: 2", lasting=True)
    assert "executor local" in str(wishes.problems[0]) and wishes.requests == [RunRequest(("edges",))]


def test_every_commit_is_read_and_each_wish_is_kept_once(pair: Study) -> None:
    wishes = wishes_of(
        pair, "x\n\nMinipach-Run: edges", "y\n\nMinipach-Run: more --force", "z", "\n\nMinipach-Run: edges"
    )
    assert wishes.requests == [RunRequest(("edges",)), RunRequest(("more",), frozenset({"--force"}))]


def test_pass_is_skipped_only_if_all_commits_say_so(pair: Study) -> None:
    assert wishes_of(pair, "x\n\nMinipach-Skip: true", "y\n\nminipach-skip: yes").skipped is not None
    assert wishes_of(pair, "x\n\nMinipach-Skip: true", "y").skipped is None
    assert wishes_of(pair, "x\n\nMinipach-Skip: true", "minipach: an import of new data").skipped is None
    assert wishes_of(pair).skipped is None


def test_history_that_was_written_again(study: Study) -> None:
    commit(study, "x\n\nMinipach-Run: --force")
    before = tips_of(Project(study.root))
    study.git("images", "commit", "-q", "--amend", "--allow-empty", "-m", "x\n\nMinipach-Run: --keep-going")
    project = Project(study.root)
    again = [RunRequest((), frozenset({"--keep-going"}))]
    assert read_wishes(project, before, tips_of(project), lasting=False).requests == again
    lost = {path: dict.fromkeys(refs, "1" * 40) for path, refs in before.items()}
    assert read_wishes(project, lost, tips_of(project), lasting=False).requests == again  # the tip alone
    assert read_wishes(project, None, tips_of(project), lasting=False).requests == []
    study.ok("datalad", "create", "-d", ".", "labels")
    commit(study, "x\n\nMinipach-Run: --force", "labels")
    project = Project(study.root)
    assert read_wishes(project, before, tips_of(project), lasting=False).requests == again


@hypothesis.given(
    st.binary(max_size=60) | st.text(alphabet="Minpach-RuSk:_ \n\"'\\$`\ttrue0", max_size=60).map(str.encode)
)
@hypothesis.settings(
    max_examples=20, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_message_is_read(pair: Study, message: bytes) -> None:
    text = message.replace(b"\0", b"").decode("latin-1")
    for wish in wishes_of(pair, f"x\n\nMinipach-Run: {text}\n:MINIPACH_{text}").problems:
        assert "\n" not in str(wish)


def test_setting(study: Study) -> None:
    assert mode_of(Project(study.root)) == "optional"
    study.git(".", "config", "minipach.commit-keywords", "sometimes")
    with refused("setting.bad-value", "minipach.commit-keywords", '"sometimes"', "optional"):
        mode_of(Project(study.root))


def hear(study: Study) -> None:
    state = Project(study.root).local
    state.folder.mkdir(exist_ok=True)
    with state.heard.open("a") as file:
        file.write("x\n")


@pytest.mark.slow
def test_modes_and_skip_in_passes(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def run(project: Project, targets: object, options: object, reporter: object) -> ScheduleReport:
        ran.append((*targets.order, *(["force"] if options.force else [])))  # type: ignore[attr-defined]
        return ScheduleReport((), (), None)

    monkeypatch.setattr(passes, "run", run)
    study.copier("edges")
    study.copier("apart")

    def one_pass(*messages: str, doubled: bool = False) -> list[tuple[str, ...]]:
        for message in messages:
            commit(study, message)
        ran.clear()
        for _ in range(1 + doubled):
            hear(study)
            answer_requests(study.root, Kept())
        return list(ran)

    def why() -> str:
        looked = json.loads(Project(study.root).local.looked.read_text())
        return str(looked["left_out"])

    both = tuple(sorted(["apart", "edges"]))
    assert [tuple(sorted(order)) for order in one_pass("x\n\nMinipach-Run: edges --force")] == [both]  # the first pass
    assert one_pass("x\n\nMinipach-Run: edges --force")[0] == ("edges", "force")
    assert "force" not in one_pass()[0]  # asked for once
    assert one_pass("x\n\nMinipach-Skip: true", doubled=True) == [] and "says Minipach-Skip" in why()
    assert len(one_pass("y")) == 1
    study.git(".", "config", "minipach.commit-keywords", "needed")
    assert one_pass("x") == [] and "no commit asks for it" in why()
    assert one_pass("x\n\n:MINIPACH_RUN: apart") == [("apart",)]
    study.git(".", "config", "minipach.commit-keywords", "ignored")
    assert [len(order) for order in one_pass("x\n\nMinipach-Run: nonsense")] == [2]
    study.git(".", "config", "minipach.commit-keywords", "optional")
    one_pass("x\n\nMinipach-Run: nonsense")
    assert "nonsense" in study.git("images", "log", "-1", f"--notes={NOTES}")
    assert "nonsense" in study.minipach("triggers").out
    study.git(".", "config", "minipach.executor", "nonsense")
    with pytest.raises(UserError):
        one_pass("x\n\nMinipach-Run: edges --force")
    study.git(".", "config", "--unset", "minipach.executor")
    assert one_pass()[0] == ("edges", "force")  # the failed pass was none


@pytest.mark.slow
def test_a_commit_that_asks_for_too_much_stops_no_pass(study: Study) -> None:
    study.copier()
    study.put("images/a", "a")
    hear(study)
    answer_requests(study.root, Kept())
    commit(study, "x\n\nMinipach-Run: edges --force\nMinipach-Gpus: 999\nMinipach-Memory: much")
    wanted = study.git("images", "rev-parse", "HEAD")[:12]
    study.put("images/b", "b")
    hear(study)
    report = answer_requests(study.root, Kept())
    assert report is not None and [row.state for row in report.pipelines] == ["published"]
    looked = json.loads(Project(study.root).local.looked.read_text())
    assert [row["location"].partition(":")[0] for row in looked["problems"]] == [f"images {wanted}"] * 2
    note = study.git("images", "notes", "--ref=minipach", "show", wanted)
    assert "999 GPUs" in note and "Minipach-Memory: much" in note
    hear(study)
    report = answer_requests(study.root, Kept())
    assert report is not None and json.loads(Project(study.root).local.looked.read_text())["problems"] == []


@pytest.mark.slow
def test_run_with_resources_gives_the_same_results(study: Study, tmp_path: Path) -> None:
    study.copier()
    study.put("images/a", "a")
    hear(study)
    answer_requests(study.root, Kept())
    commit(study, "x\n\nMinipach-Run: edges --force\nMinipach-Memory: 100\nMinipach-Vcpus: 1")
    before = study.outputs("edges")
    hear(study)
    report = answer_requests(study.root, Kept())
    assert report is not None and report.pipelines[0].counts["ran"] == 1
    assert study.outputs("edges") == before and study.plan()["edges"]["counts"]["run"] == 0


LEVELS = """\
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh, "{{ params.level }}"]}
minipach: {params: {level: 1, deep: {on: true}}, metrics: ["*"]}
"""


@pytest.mark.slow
def test_commits_ask_for_experiments(study: Study) -> None:
    study.put("images/a", "a")
    study.pipeline("edges", LEVELS, run='[ "$1" != 9 ] && echo "x: $1" >"$PFS/out/m.yml"\n')
    study.git(".", "config", "minipach.executor", "local")

    def one_pass(message: str, repo: str = "images") -> list[str]:
        commit(study, message, repo)
        hear(study)
        kept = Kept()
        answer_requests(study.root, kept)
        looked = json.loads(Project(study.root).local.looked.read_text())
        return [problem["text"] for problem in looked["problems"]]

    def points(name: str) -> dict[str, float]:
        rows = study.minipach("exp", "show", name, "--json").json["points"]
        return {row["params"]["level"]: row["metrics"].get("x") for row in rows}

    assert one_pass("begin") == []
    assert one_pass("x\n\nMinipach-Exp: levels edges.level=2,3") == []
    assert points("levels") == {"2": 2.0, "3": 3.0}
    before = study.git("edges", "rev-parse", "HEAD")
    (study.root / "params.yml").write_text("edges: {level: 4}\n")
    study.git(".", "add", "params.yml")
    assert one_pass("x\n\n:MINIPACH_EXP: levels", ".") == []  # the parameters that the commit has
    assert points("levels") == {"2": 2.0, "3": 3.0, "4": 4.0}
    assert study.git("edges", "rev-parse", "HEAD") != before  # the pass itself has published level 4
    assert study.minipach("exp", "run", "-S", "edges.level=2,3,4", "--json").json["ran"] == 0
    (problem,) = one_pass("x\n\nMinipach-Exp: levels edges.level=9")
    assert "1 datum failed" in problem and "minipach exp show levels" in problem
    (problem,) = one_pass("x\n\nMinipach-Exp: levels edges.other=1,2")
    assert "no template names params.other" in problem
    assert "no template names" in study.git("images", "log", "-1", f"--notes={NOTES}")
    assert study.minipach("pause", "edges").code == 0
    (problem,) = one_pass("x\n\nMinipach-Exp: paused edges.level=7")
    assert "edges is paused. Fix: minipach resume edges" in problem
    assert study.minipach("resume", "edges").code == 0
    study.git(".", "config", "minipach.commit-keywords", "needed")
    study.put("images/b", "b", save=False)
    study.git("images", "add", "b")
    assert one_pass("x\n\nMinipach-Exp: alone edges.level=5") == []
    assert points("alone") == {"5": 5.0}
    assert study.plan()["edges"]["counts"]["run"] == 1  # nobody asked for that
