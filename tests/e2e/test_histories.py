"""After any edits, the published outputs are those of the content of now, and nothing was computed twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.edit_histories import History


@pytest.mark.slow
def test_a_history_of_edits_ends_where_the_model_does(tmp_path: Path) -> None:
    go_through(tmp_path, seed=1, steps=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(6, 9))
def test_a_history_of_a_plain_folder(tmp_path: Path, seed: int) -> None:
    go_through(tmp_path, seed=seed, steps=10, kills=seed % 2 == 1, plain=True)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_long_histories_of_edits(tmp_path: Path, seed: int) -> None:
    go_through(tmp_path, seed=seed, steps=12, kills=seed % 2 == 1)


def go_through(root: Path, seed: int, steps: int, *, kills: bool = False, plain: bool = False) -> None:
    """Edit and schedule, again and again.

    kills: whether some schedules are killed before the one that counts · plain: whether the data is in a plain folder.
    """
    history = History.begin(root / "study", seed, plain=plain)
    history.bring_up()
    for _ in range(steps):
        history.edit()
        if kills and history.rng.random() < 0.5:
            history.cut_short()
        history.bring_up()
