"""Exit codes, errors and messages that all parts of the launcher share."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minipach.execution.compose_launcher import launcher
from minipach.execution.launcher.core import Suppress, as_json
from tests.fixtures.container_images import images
from tests.fixtures.launchers import FILE, Launcher, datum, launch, use

__all__ = ["images", "launch"]

_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
_VALUES = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3))


@given(_VALUES)
@example({'a\udcff"\\\n': ["é", "\U0001f600", 1e300, True, None]})
def test_json_is_that_of_the_standard_library(value: object) -> None:
    assert as_json(value) == json.dumps(value)


def test_only_the_named_errors_are_suppressed() -> None:
    with Suppress(OSError, ValueError):
        raise FileNotFoundError
    with pytest.raises(KeyError), Suppress(OSError):
        raise KeyError
    with pytest.raises(KeyError), Suppress():
        raise KeyError


SLOW = {"collections", "contextlib", "enum", "functools", "hashlib", "json", "re", "shutil", "signal", "subprocess"}
"""Modules that take as long to import as all else of a start."""


def test_a_start_imports_no_slow_module(launch: Launcher, tmp_path: Path) -> None:
    """A run as a worker makes it."""
    (launch.dataset / ".minipach" / "launch").write_bytes(launcher("host", loops=False, pods=False))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -X importtime "$@"\n')
    python.chmod(0o755)
    named = datum("a", "a", *FILE, "-n", "datum", "a", "-r", "name", "x")
    env = {**use("bubblewrap"), "MINIPACH_PYTHON": str(python), "MINIPACH_TESTED": "bubblewrap"}
    done, report = launch.reported(launch.image("host"), *named, "--", "cp", "{images}", "{out}/{name}", **env)
    assert report["datums"][0]["files"] == [["x", "a/x"]], done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "os" in imported
    assert imported & SLOW == set()
