"""Schedules on a cluster of which only kubectl is used: the fake one, or with `make kind-test` a real one.

For a real cluster, MINIPACH_TEST_CLUSTER has the settings as words, `image=... ssh-secret=...`. `git` is the address of
this machine as pods reach it, to which a project's path is added.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.fake_kubernetes import fake_cluster, on_kubernetes
from tests.fixtures.leftovers import until
from tests.fixtures.projects import Study

pytestmark = pytest.mark.slow

REAL = dict(word.partition("=")[::2] for word in os.environ.get("MINIPACH_TEST_CLUSTER", "").split())


@pytest.fixture
def project(study: Study, tmp_path: Path) -> Iterator[Study]:
    if REAL:
        settings = {**REAL, "git": REAL["git"] + str(study.root)}
        for name, value in {"executor": "kubernetes", **{f"kubernetes.{k}": v for k, v in settings.items()}}.items():
            study.ok("git", "config", f"minipach.{name}", value)
        yield study
        return
    with fake_cluster(tmp_path / "cluster"):
        on_kubernetes(study, pods="4")
        yield study


def kubectl(*words: str) -> str:
    namespace = ["--namespace", REAL["namespace"]] if "namespace" in REAL else []
    done = subprocess.run(["kubectl", *namespace, *words], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def strike(project: Study, fault: Callable[[], object]) -> dict[str, object]:
    """Run a schedule, and have something happen to it while a pod runs."""

    def later() -> None:
        phases = "jsonpath={.items[*].status.phase}"
        until("a pod runs", lambda: "Running" in kubectl("get", "pods", "-l", "minipach.dev/project", "-o", phases))
        fault()

    thread = threading.Thread(target=later)
    thread.start()
    found = project.schedule()
    thread.join()
    return found


def numbers(project: Study, count: int, run: str) -> None:
    for number in range(count):
        project.put(f"images/{number}", f"{number}\n", save=False)
    project.save("images")
    project.pipeline(
        "edges", 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n', run=run
    )


def names(kind: str) -> list[str]:
    return kubectl("get", kind, "-l", "minipach.dev/project", "-o", "name").split()


def test_trees_are_those_of_the_local_executor(project: Study, tmp_path: Path) -> None:
    numbers(
        project,
        5,
        'tr 0-9 a-j <"$images" >"$PFS/out/${images##*/}"; head -c 70000 /dev/zero >"$PFS/out/z-${images##*/}"\n',
    )
    beside = project.duplicate(tmp_path / "beside")
    beside.ok("git", "config", "minipach.executor", "local")
    assert project.schedule()["edges"]["state"] == "published"
    beside.schedule()
    assert project.outputs("edges") == beside.outputs("edges")


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_what_is_deleted_is_made_again(project: Study, kind: str) -> None:
    numbers(project, 4, 'sleep 2; cp "$images" "$PFS/out/"\n')
    strike(project, lambda: kubectl("delete", names(kind)[0], "--wait=false"))
    assert project.outputs("edges").keys() == {"0", "1", "2", "3"}
