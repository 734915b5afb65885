"""The probe of container runtimes knows the same runtimes as the launcher, and no other program."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.environment import runtime_probe
from tests.fixtures.launchers import script_module

ROOT = Path("/root-of-a-trial")


def test_the_probe_and_the_launcher_have_the_same_runtimes() -> None:
    launch = script_module()
    without_program = {"none", "pod"}
    assert set(runtime_probe.PROGRAMS.values()) == set(launch.RUNTIMES) - without_program
    assert {name for names in launch.CANDIDATES.values() for name in names} == set(launch.RUNTIMES)


@pytest.mark.parametrize("program", runtime_probe.PROGRAMS)
def test_each_program_has_a_trial(program: str) -> None:
    assert runtime_probe._command(program, ROOT)[0] == program


def test_an_unknown_program_is_not_tried_as_another() -> None:
    with pytest.raises(ValueError, match="no trial of new-runtime"):
        runtime_probe._command("new-runtime", ROOT)
