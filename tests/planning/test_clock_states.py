"""What a clock's problems are before anything runs."""

from __future__ import annotations

from minipach.planning.clock_states import tick_problems
from minipach.project.project import find_project
from tests.fixtures.plain_projects import root
from tests.fixtures.repos import Files

__all__ = ["root"]

SPEC = """\
input: {cron: {name: tick, spec: "* * * * *", start: "2026-01-01"}}
transform: {cmd: [x]}
"""
START = 1767225600  # 2026-01-01


def test_more_ticks_than_a_schedule_adds_are_a_problem(root: Files) -> None:
    root.put("report/spec.yml", SPEC)
    root.commit()
    project = find_project(root.path)
    assert list(tick_problems(project, START + 9_000 * 60, ["report"])) == []
    (problem,) = tick_problems(project, START + 11_000 * 60, ["report"])
    assert (problem.code, problem.location) == ("cron.too-many-ticks", "report/spec.yml:1:15")
