"""One try of a set, when datalad itself fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from datalad.config import ConfigManager

from minipach.assess import Assessment, SnapshotStore
from minipach.attempt import Report, judge
from minipach.base import build_base
from minipach.project import find_project
from minipach.sets import make_set
from minipach.slots import Owner, Slot, slots_dir
from minipach.worker import run_set
from tests.projects import Study


@pytest.mark.parametrize(("failures", "kind"), [pytest.param(1, "ok", marks=pytest.mark.soak), (9, "lost")])
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


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (126, "output a: what is wrong with it"),
        (3, "the command exited with 3"),
        (137, "the command exited with 137; killed: out of memory?"),
    ],
)
def test_why_a_datum_failed(code: int, message: str) -> None:
    report = Report(faults={1: "output a: what is wrong with it"})
    assert report.message(1, code) == message
    assert report.message(0, 126) == "the command exited with 126", "it said so itself"


def test_a_report_leads_nowhere_else_and_its_words_are_one_short_line_without_secrets(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text("private")
    report = tmp_path / "report"
    report.mkdir()
    (report / "exit").write_text("126")
    for name in ("failure", "timed-out", "why.2"):
        (report / name).symlink_to(private)
    (report / "why.1").write_bytes(b"output a:\n token s3cr3t \xff" + b" x" * 1000)
    tried = judge(126, report, 2, ["s3cr3t"])
    assert (tried.failure, tried.report.timed_out) == ("", None)
    assert tried.message.startswith("output a: token [secret] \ufffd x x")
    assert len(tried.message) <= 500 and set(tried.report.faults) == {0}
    assert private.read_text() == "private"
