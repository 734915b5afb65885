"""A round of a job: what it keeps."""

from __future__ import annotations

import pytest

from minipach.scheduling.dispatch import Round
from tests.fixtures.work_sets import a_set


@pytest.mark.parametrize("lasting", [False, True])
def test_what_a_set_holds_of_its_datums_is_kept_only_for_executors_that_ask(lasting: bool) -> None:
    """100,000 datums would take 250 MB."""
    round_ = object.__new__(Round)
    round_.lasting, round_.ended = lasting, []
    work = a_set()
    round_._note_end(work)
    [kept] = round_.ended
    assert (kept.id, kept.repo, kept.pipeline) == (work.id, work.repo, work.pipeline)
    assert (kept == work) is lasting
    assert bool(kept.datums or kept.parts or kept.inputs_of or kept.files) is lasting
