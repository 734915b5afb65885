"""What a Job asks for, as it follows from settings and the pending work."""

from __future__ import annotations

import time

import pytest

from minipach.executors.kubernetes.job_request import pod_options, seconds_left
from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.project.project import Project
from minipach.project.targets import Targets
from minipach.records import pending_work
from tests.fixtures.plain_projects import root
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture

SETTINGS = {"image": "lab/minipach:1", "git": "ssh://git@lab/study"}


def settings(root: Files, **values: str) -> KubernetesOptions:
    for name, value in {**SETTINGS, **values}.items():
        root.git("config", f"minipach.kubernetes.{name}", value)
    return KubernetesOptions(Project(root.path))


def test_pods_get_what_the_settings_say(root: Files) -> None:
    found = pod_options(settings(root))
    assert (found.image, found.git) == (SETTINGS["image"], SETTINGS["git"])
    assert (found.service_account, found.pull_secret, found.queue) == (None, None, None)
    assert found.finished > 0


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_what_has_no_default_must_be_set(root: Files, name: str) -> None:
    settings(root)
    root.git("config", "--unset", f"minipach.kubernetes.{name}")
    with refused("kubernetes.no-setting", f"minipach.kubernetes.{name}"):
        pod_options(KubernetesOptions(Project(root.path)))


def test_a_time_limit_is_what_is_left_of_it_and_never_nothing(root: Files) -> None:
    """Kubernetes refuses a Job with a limit of 0 seconds."""
    project = Project(root.path)
    pending_work.begin(project, Targets(("edges",), {}, frozenset()))
    assert seconds_left(project, "edges") is None
    now = time.time()
    for at, least, most in ((now + 1000, 900, 1000), (now + 0.1, 1, 1), (now - 1000, 1, 1)):
        pending_work.note_due(project, "edges", at)
        left = seconds_left(project, "edges")
        assert left is not None and least <= left <= most
    pending_work.note_due(project, "edges", None)
    assert seconds_left(project, "edges") is None
