"""One try of a set, when datalad itself fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datalad.config import ConfigManager

from minipach.execution.run_set import run_set
from minipach.execution.set_try import DatumReport, LauncherReport, judge
from minipach.git.worktrees import Owner, Slot, slots_dir
from minipach.planning.assessment import Assessment, SnapshotStore
from minipach.project.project import find_project
from minipach.scheduling.base_commit import build_base
from minipach.scheduling.work_sets import make_set
from tests.fixtures.projects import Study


@pytest.mark.parametrize(
    ("failures", "kind"),
    [pytest.param(1, "ok", marks=pytest.mark.soak), pytest.param(9, "lost", marks=pytest.mark.slow)],
)
def test_a_git_that_is_killed_under_datalad_is_tried_again(
    study: Study, monkeypatch: pytest.MonkeyPatch, failures: int, kind: str
) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    project = find_project(study.root)
    assessment = Assessment(project, "edges", SnapshotStore(project))
    base = build_base(assessment)
    log = study.root / ".git/minipach/test.log"
    work = make_set(assessment, base, assessment.tasks, "a" * 32, str(log))
    left = [failures]
    reload = ConfigManager.reload

    def killed(self: ConfigManager, force: bool = False) -> None:
        if force and left[0]:
            left[0] -= 1
            raise RuntimeError("git was killed")
        reload(self, force=force)

    monkeypatch.setattr(ConfigManager, "reload", killed)
    owner = Owner(assessment.repo)
    try:
        outcome = run_set(work, Slot(assessment.repo, Path(slots_dir(assessment.repo) / f"{owner.name}.0")))
    finally:
        owner.release()
        assessment.close()
    assert outcome.kind == kind
    before = [(t.kind, t.message, t.log) for t in outcome.before]
    assert before == [("lost", "datalad containers-run: git was killed", str(log))] * (1 if kind == "ok" else 2)
    assert "not the command's fault: datalad containers-run: git was killed" in log.read_text()


FAULT = "output a: what is wrong with it"


@pytest.mark.parametrize(
    ("datum", "message"),
    [
        (DatumReport(126, FAULT), FAULT),
        (DatumReport(126), "the command exited with 126"),
        (DatumReport(3), "the command exited with 3"),
        (DatumReport(137), "the command exited with 137; killed: out of memory?"),
    ],
)
def test_why_a_datum_failed(datum: DatumReport, message: str) -> None:
    assert LauncherReport({1: datum}).message(1, datum.code) == message


def write(folder: Path, **changes: object) -> Path:
    """A report of one datum that failed, with some values changed."""
    row = {"code": 3, "fault": "", "recovered": False, "timed_out": False, "files": [], "seconds": 1, "cpu": 1}
    row |= {"began": 1, "ended": 2, "limit": "", "beside": None}
    top = {"schema": 1, "datums": [{**row, **{k: v for k, v in changes.items() if k in row}}]}
    top |= {k: v for k, v in changes.items() if k not in row}
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(top))
    return folder


def test_a_report_is_read(tmp_path: Path) -> None:
    tried = judge(3, write(tmp_path / "r", files=[["datum.txt", "a/b.txt"]]), 1, [])
    assert (tried.exit, tried.message, tried.failure) == (3, "the command exited with 3", "")
    assert tried.report.outputs == ("a/b.txt",)
    late = judge(124, write(tmp_path / "r", code=124, timed_out=True), 1, [], 1.5)
    assert late.message == "timed out after 2 s"
    assert (late.report.datums[0].hit, tried.report.datums[0].hit) == ("time", "")
    full = judge(1, write(tmp_path / "r", limit="disk", beside=0), 1, []).report.datums[0]
    assert (full.hit, full.beside) == ("disk", 0)
    failure = judge(125, write(tmp_path / "r", failure="the disk is full"), 1, [])
    assert (failure.failure, failure.report.datums) == ("launcher: the disk is full", {})


def test_words_of_a_report_are_one_short_line_without_secrets(tmp_path: Path) -> None:
    tried = judge(
        126, write(tmp_path / "r", code=126, fault="output a:\n token s3cr3t \x1b" + " x" * 1000), 1, ["s3cr3t"]
    )
    assert tried.message.startswith("output a: token [secret] \x1b x x")
    assert len(tried.message) <= 500


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "x"},
        {"code": -1},
        {"code": 1e400},
        {"files": [["a", "../../x"]]},
        {"files": [["a", "/etc/x"]]},
        {"files": [["a"]]},
        {"files": 5},
        {"began": "nan"},
        {"cpu": -1},
        {"limit": "patience"},
        {"beside": 1},
        {"beside": True},
        {"beside": "a"},
        {"datums": 7},
        {"datums": [{}, {}]},
        {"schema": 9},
    ],
    ids=str,
)
def test_a_report_that_no_launcher_writes_is_no_report(tmp_path: Path, changes: dict[str, object]) -> None:
    """Without a container a command may find it: nothing of it is believed, and nothing ends with a traceback."""
    tried = judge(0, write(tmp_path / "r", **changes), 1, [])
    assert "report can't be read" in tried.failure and tried.report == LauncherReport()


def test_a_report_that_leads_elsewhere_or_is_missing_is_none(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text('{"schema": 1, "failure": "private"}')
    (tmp_path / "link").mkdir()
    (tmp_path / "link/report.json").symlink_to(private)
    assert "private" not in judge(1, tmp_path / "link", 1, []).failure
    assert judge(137, tmp_path, 1, []).failure == "the launcher was killed (exit 137); out of memory?"
