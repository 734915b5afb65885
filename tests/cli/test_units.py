"""`--unit`: the unit runs the same command with the same options."""

from __future__ import annotations

import sys

import pytest

from tests.fixtures.projects import Study


def test_the_unit_of_a_command_of_a_group_has_its_arguments(study: Study) -> None:
    study.pipeline(
        "site", "input: {cron: {name: t, spec: '@daily'}}\ntransform: {cmd: [x]}\nservice: {internal_port: 80}\n"
    )
    done = study.minipach("services", "run", "site", "--unit")
    assert done.code == 0, done.err
    assert f'"{study.root}" "services" "run" "site"\n' in done.out and "minipach-services-run-study.service" in done.out


@pytest.mark.parametrize(
    ("arguments", "words", "mode"),
    [
        (["watch", "--look", "60", "--poll"], ["watch", "--look=60.0", "--poll"], "process"),
        (["watch"], ["watch"], "process"),
        (
            ["worker", "-j", "3", "--queue", "gpu*", "--queue", "any"],
            ["worker", "--jobs=3", "--queue=gpu\\x2a", "--queue=any"],
            "mixed",
        ),
    ],
)
def test_unit_runs_the_same_command(study: Study, arguments: list[str], words: list[str], mode: str) -> None:
    done = study.minipach(*arguments, "--unit")
    assert done.code == 0, done.err
    expected = " ".join(f'"{word}"' for word in (sys.executable, "-P", "-m", "minipach", "-C", str(study.root), *words))
    assert f"\nExecStart={expected}\n" in done.out
    assert f"\nKillMode={mode}\n" in done.out and "RestartPreventExitStatus=2" in done.out
    assert "SuccessExitStatus=130" in done.out  # stopped before it has begun
    assert f"minipach-{words[0]}-study.service" in done.out
    assert not (study.root / ".git/minipach/watching").exists()
