"""A chunk whose datums are tried by themselves: each is told of once for good, and none that was lost as a success."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minipach.execution import chunk
from minipach.execution.chunk import run_work
from minipach.executors.slurm.submission import final
from minipach.git.repo import Repo
from minipach.git.worktrees import Slot
from minipach.model.work_set import DatumResult, Outcome, WorkSet
from tests.fixtures.work_sets import a_set


@pytest.mark.parametrize(
    "first",
    [("lost", ()), ("failed", ()), ("ok", tuple(DatumResult(n, "failed", 1, "no", n) for n in range(8)))],
    ids=lambda first: str(first[0]),
)
def test_when_all_are_lost_by_themselves_three_are_tried_and_all_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: tuple[Any, Sequence[Any]]
) -> None:
    work = a_set(9, chunk=True, log=str(tmp_path / "0.log"))
    tried: list[int] = []

    def run(part: WorkSet, _slot: Slot) -> Outcome:
        tried.append(len(part.parts))
        kind, datums = ("ok", ()) if len(tried) == 1 else first if len(part.parts) > 1 else ("lost", ())
        return Outcome(part.id, kind, 0, "why", 0.001, 1, part.log, "host", datums=tuple(datums))

    monkeypatch.setattr(chunk, "run_set", run)
    told: list[Outcome] = []
    run_work(work, Slot(Repo(tmp_path), tmp_path), told.append)
    assert tried == [1, 8, 1, 1, 1]
    ends = [(index, outcome.kind) for outcome in told for index in final(work, outcome)]
    assert sorted(ends) == [(0, "ok"), *((n, "lost") for n in range(1, 9))]


def test_a_try_in_a_set_is_one_of_the_datums_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[tuple[int, int, int]] = []

    def run(part: WorkSet, _slot: Slot) -> Outcome:
        parts.append((len(part.parts), part.tried, part.tries))
        states = ["failed", "ok"][: len(part.parts)] if len(parts) == 2 else ["ok"]
        datums = tuple(DatumResult(n, state, int(state != "ok")) for n, state in enumerate(states))  # type: ignore[arg-type]
        return Outcome(part.id, "ok", 0, "", 0.001, part.tries, part.log, "host", datums=datums)

    monkeypatch.setattr(chunk, "run_set", run)
    told: list[Outcome] = []
    run_work(a_set(3, chunk=True, log=str(tmp_path / "0.log")), Slot(Repo(tmp_path), tmp_path), told.append)
    assert parts == [(1, 0, 3), (2, 0, 1), (1, 1, 2)], "how many datums, tries that they had, and tries that are left"
    assert [outcome.tries for outcome in told] == [3, 1, 3]
