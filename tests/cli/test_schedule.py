"""What `schedule` prints: quiet, as usual, verbose; and the last lines for a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.cli.schedule import Terminal, summary
from minipach.model.job_entries import Attempt, DatumResult
from minipach.model.states import PipelineState
from minipach.scheduling.events import DatumFailed, Message, PipelineEnded, PipelineStarted, Progress
from minipach.scheduling.schedule_report import PipelineReport, ScheduleReport
from tests.fixtures.projects import Study
from tests.fixtures.stories import spec


def row(name: str, state: PipelineState = "published", **counts: int) -> PipelineReport:
    """A pipeline's report; of each failed datum the name `a b`."""
    failed = [{"name": "a b", "message": "no", "log": "x"}] * counts.get("failed", 0)
    return PipelineReport(name, state, job="f" * 32, counts=counts, failed=failed)


def shown(detail: int, capsys: pytest.CaptureFixture[str], *, ended: PipelineReport, is_failing: bool = False) -> str:
    """Report a run of two datums; what is printed."""
    terminal = Terminal(detail)
    terminal.report(Message("made edges a dataset"))
    terminal.report(PipelineStarted("edges", {"run": 2, "current": 1}))
    terminal.report(Progress("edges", 1, 0, 2))
    if is_failing:
        result = DatumResult(0, "failed", 3, "the command exited with 3")
        terminal.report(DatumFailed("edges", Attempt("a b", "id", result, 1, "host", "/nolog")))
    terminal.report(Progress("edges", 2, int(is_failing), 2))
    terminal.report(PipelineEnded(ended))
    terminal.stop()
    return capsys.readouterr().err


def test_quiet_prints_nothing_of_what_went_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(-1, capsys, ended=row("edges", ran=2)) == ""


def test_usual_prints_plan_progress_and_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(0, capsys, ended=row("edges", ran=2)).splitlines()
    assert lines == [
        "made edges a dataset",
        "edges: 2 run, 1 current",
        "edges: 2 of 2 done",
        "edges: published (2 computed)",
    ]


def test_verbose_prints_each_step_and_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(1, capsys, ended=row("edges", ran=2)).splitlines()
    assert lines[2].startswith("edges: 1 of 2 done after ")
    assert lines[3].startswith("edges: 2 of 2 done after ")
    assert lines[-1] == f"edges: published (2 computed) [job {'f' * 32}]"


def test_quiet_prints_failures(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(-1, capsys, ended=row("edges", "failed", ran=1, failed=1), is_failing=True).splitlines()
    assert lines == [
        "edges: a b failed: the command exited with 3",
        "edges: failed (1 computed, 1 failed); minipach logs edges",
    ]


def test_the_summary_names_the_next_command() -> None:
    good = ScheduleReport((row("edges", ran=2, reused=1), row("montage", ran=1), row("old", "current")), (), None)
    assert summary(good) == [
        "2 pipelines: 3 computed, 1 reused",
        "next: minipach diff montage shows what changed",
    ]
    bad = ScheduleReport((row("edges", "failed", ran=1, failed=1),), (), None)
    assert summary(bad) == ["next: minipach run-one 'edges:a b' tries it with what you change; then minipach schedule"]
    assert summary(ScheduleReport((row("old", "current"),), (), None)) == []


def test_quiet_and_verbose_exclude_each_other(study: Study, tmp_path: Path) -> None:
    both = study.minipach("schedule", "--quiet", "--verbose")
    assert (both.code, both.out) == (2, "")
    assert both.refusals == [("option.conflict", "")] and "--quiet and --verbose" in both.err
    none = study.minipach("schedule", "-q")
    assert (none.code, none.out, none.err) == (0, "", "")


def test_a_datum_that_is_not_there_changes_nothing(study: Study) -> None:
    study.put("images/a", "a\n")
    study.pipeline("edges", spec("images", "/*", "upper"), upper="cat")
    before = study.git(".", "rev-parse", "HEAD")
    done = study.minipach("schedule", "edges:nosuch")
    assert (done.code, done.out) == (2, "") and done.reports("datum.unknown", "edges", "'nosuch'")
    assert study.git(".", "rev-parse", "HEAD") == before and not (study.root / "edges/.git").exists()
