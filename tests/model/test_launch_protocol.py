"""The launcher and minipach agree: options, exit codes, reserved names, files, grace."""

from __future__ import annotations

import pytest

from minipach.model import launch_protocol as protocol
from minipach.model import outside, repo_layout
from tests.fixtures.launchers import SCRIPT, script_module

NAMES = [
    *repo_layout.SPECS,
    "code",
    "inputs",
    ".datalad",
    ".minipach",
    ".git",
    ".gitattributes",
    ".gitmodules",
    "README",
    "README.md",
    "readme",
    "Spec.yml",
    "spec.yml.txt",
    "spec.jsonnet",
    "lib.libsonnet",
    "x.jsonnet.txt",
    "codes",
    "a.txt",
    "out",
]


def test_options_take_as_many_words_on_both_sides() -> None:
    sizes = {**protocol.COMMON_SIZES, **protocol.DATUM_SIZES, **protocol.ERROR_SIZES}
    assert sizes == script_module().SIZES
    assert protocol.COMMON_SIZES.keys() >= protocol.OF_SETTINGS


def test_exit_codes_and_grace_are_the_same() -> None:
    launcher = script_module()
    theirs = (launcher.TIME_OVER, launcher.OWN_FAILURE, launcher.AT_FAULT, launcher.NOT_FOUND, launcher.INTERRUPTED)
    ours = (protocol.TIME_OVER, protocol.OWN_FAILURE, protocol.NOT_KEPT, protocol.NOT_FOUND, protocol.INTERRUPTED)
    assert theirs == ours
    assert launcher.GRACE == protocol.GRACE
    assert launcher.PROCESSES == outside.PROCESSES


@pytest.mark.parametrize("name", NAMES)
def test_names_are_reserved_on_both_sides(name: str) -> None:
    launcher = script_module()
    assert launcher.SPECS == repo_layout.SPECS
    assert launcher.reserved_in_data(name) == repo_layout.reserved_in_data(name)
    assert launcher.reserved_in_pipeline(name) == repo_layout.reserved_in_pipeline(name)


@pytest.mark.parametrize(
    "word",
    [
        protocol.REPORT,
        protocol.REPORT_FILE,
        protocol.INTERACTIVE,
        protocol.RUNTIME,
        protocol.USER_PATH,
        protocol.USER_LOCALE,
        protocol.PYTHON,
        protocol.SECRET_PREFIX,
        protocol.DATUM_NAME,
        repo_layout.LAUNCHER,
    ],
)
def test_the_launcher_spells_it_so(word: str) -> None:
    assert word in SCRIPT.decode()
