"""What is kept of a run is what its datums wrote."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from minipach.execution.result_ref import NOT_KEPT, _attribute
from minipach.execution.set_try import DatumReport, LauncherReport
from minipach.execution.staging import StagingError


def _work(count: int) -> Any:
    return SimpleNamespace(datums=[{"name": f"n{index}"} for index in range(count)])


def _report(*files: list[str]) -> LauncherReport:
    return LauncherReport(
        {i: DatumReport(0, files=tuple((path, path) for path in paths)) for i, paths in enumerate(files)}
    )


def _rows(*paths: str) -> list[tuple[str, str, str]]:
    return [(path, "100644", "0" * 40) for path in paths]


@pytest.mark.parametrize("others", [[], [["b"]]])
def test_an_output_that_was_not_stored_fails_its_datum_and_no_other(others: list[list[str]]) -> None:
    report = _report(["a", "größe"], *others)
    committed = _rows("a", *(path for paths in others for path in paths))
    rows, bad, recovered = _attribute(_work(1 + len(others)), committed, report)
    ((index, code, message),) = bad
    assert (index, code, recovered) == (0, NOT_KEPT, [])
    assert message.startswith("output 'größe': git or git-annex did not store it")
    assert rows == {1 + at: _rows(*paths) for at, paths in enumerate(others)}


def test_all_outputs_are_kept_where_all_were_stored() -> None:
    rows, bad, _ = _attribute(_work(2), _rows("a", "b", "c"), _report(["a", "c"], ["b"]))
    assert (rows, bad) == ({0: _rows("a", "c"), 1: _rows("b")}, [])


def test_an_output_of_nobody_is_an_error() -> None:
    with pytest.raises(StagingError, match="b: an output that no datum"):
        _attribute(_work(1), _rows("a", "b"), _report(["a"]))
