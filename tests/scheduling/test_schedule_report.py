"""What a schedule tells, as scripts read it."""

from __future__ import annotations

from minipach.scheduling.schedule_report import PipelineReport


def test_where_no_job_began_there_is_no_id() -> None:
    assert PipelineReport("edges", "blocked", reason="waits for raw").as_json()["job"] is None
    assert PipelineReport("edges", "published", job="3f2a").as_json()["job"] == "3f2a"
