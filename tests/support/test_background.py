"""What is looked up aside: its result, its error, and nobody who must wait for it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from minipach.support.background import BackgroundCall
from tests.fixtures.projects import run


def test_the_result_is_waited_for() -> None:
    go = threading.Event()
    aside = BackgroundCall(lambda: go.wait() and 3)
    go.set()
    assert aside.result() == 3
    assert aside.result() == 3


def test_its_error_comes_with_the_result() -> None:
    def fail() -> int:
        raise ValueError("no")

    aside = BackgroundCall(fail)
    with pytest.raises(ValueError, match="no"):
        aside.result()


def test_who_no_longer_wants_it_waits_for_nothing(tmp_path: Path) -> None:
    never = (
        "import threading; from minipach.support.background import BackgroundCall; "
        "BackgroundCall(threading.Event().wait); exit(7)"
    )
    assert run(sys.executable, "-c", never, cwd=tmp_path).code == 7
