"""Settings that choose what runs here come from here alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.model.run_record import options_of_settings
from minipach.project.settings import launcher_options, local_setting, slots
from minipach.support.errors import UserError
from tests.fixtures.projects import Study
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A project's repository, and no setting in the environment."""
    monkeypatch.delenv("MINIPACH_JOBS", raising=False)
    return Files.create(tmp_path / "project")


def test_git_configuration_is_read(repo: Files) -> None:
    assert local_setting(repo, "jobs") is None
    repo.git("config", "minipach.jobs", "3")
    assert local_setting(repo, "jobs") == "3"


def test_the_environment_goes_first(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("config", "minipach.rq.some-url", "from git")
    monkeypatch.setenv("MINIPACH_RQ_SOME_URL", "from here")
    assert local_setting(repo, "rq.some-url") == "from here"
    monkeypatch.setenv("MINIPACH_RQ_SOME_URL", "")
    assert local_setting(repo, "rq.some-url") == "from git"


def test_a_committed_file_chooses_nothing(repo: Files) -> None:
    """Whoever can push to the project must not be able to name a program that runs here."""
    for path in (".datalad/config", ".gitconfig", ".gitmodules"):
        repo.put(path, "[minipach]\n\tjobs = 99\n\trunner = evil\n")
    repo.commit()
    assert local_setting(repo, "jobs") is None
    assert local_setting(repo, "runner") is None


def test_slots_are_the_option_the_setting_or_the_cores(repo: Files) -> None:
    assert slots(repo, None) >= 1
    repo.git("config", "minipach.jobs", "3")
    assert slots(repo, None) == 3
    assert slots(repo, 5) == 5


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²"])
def test_a_number_of_slots_that_is_none_is_an_error(repo: Files, value: str) -> None:
    repo.git("config", "minipach.jobs", value)
    with refused("setting.bad-value", "minipach.jobs", f'"{value}"', "git config minipach.jobs"):
        slots(repo, None)


def test_a_variable_that_is_wrong_is_named_itself(repo: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """To set git's configuration wouldn't help."""
    monkeypatch.setenv("MINIPACH_JOBS", "many")
    with pytest.raises(UserError) as caught:
        slots(repo, None)
    assert [(found.code, found.location) for found in caught.value.problems] == [("setting.bad-value", "MINIPACH_JOBS")]


def test_settings_give_options_to_the_launcher(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Repo(study.root)
    monkeypatch.delenv("MINIPACH_HOST_PATHS", raising=False)
    assert launcher_options(repo, in_container=False) == ()
    for name, value in (
        ("pass-env", "A, B_1"),
        ("host-paths", "/data:/ref"),
        ("network", "false"),
        ("limits", "processes=9,memory=100"),
    ):
        study.ok("git", "config", f"minipach.{name}", value)
    inside = ("-E", "A", "-E", "B_1", "-N", "-L", "processes=9", "-L", "memory=100")
    assert launcher_options(repo, in_container=True) == inside
    assert launcher_options(repo, in_container=False) == (*inside[:4], "-R", "/data", "-R", "/ref", *inside[4:])


@pytest.mark.parametrize(
    ("name", "value"),
    [("pass-env", "A B=C"), ("host-paths", "data"), ("network", "no way"), ("limits", "memory=4G"), ("limits", "x=1")],
)
def test_a_setting_of_the_launcher_that_cannot_be_used_is_one_line(
    study: Study, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    study.ok("git", "config", f"minipach.{name}", value)
    monkeypatch.delenv("MINIPACH_HOST_PATHS", raising=False)
    with refused("setting.bad-value", f"minipach.{name}", f"git config minipach.{name} "):
        launcher_options(Repo(study.root), in_container=False)


def test_what_settings_gave_is_read_from_a_record() -> None:
    command = "sh .minipach/launch img -E A -N -i -d -i -E -L disk=5 -P x -W -d n '' -v -E=1 -- sh -N"
    assert options_of_settings({"cmd": command}) == ("-E", "A", "-N", "-L", "disk=5")
    assert options_of_settings({}) == ()
