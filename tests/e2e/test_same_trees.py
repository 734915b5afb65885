"""The example gives the same outputs with every executor; the cluster of Kubernetes is the fake one."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import skimage

from tests.fixtures.fake_kubernetes import fake_cluster, on_kubernetes
from tests.fixtures.projects import Study
from tests.fixtures.slurm_cluster import on_slurm, shared_cluster

pytestmark = pytest.mark.soak

EXAMPLE = Path(__file__).parents[2] / "examples" / "photographs"
PICTURES = ("astronaut.png", "coffee.png", "chelsea.png")


@contextlib.contextmanager
def local(study: Study, folder: Path) -> Iterator[None]:
    study.minipach("schedule", "-j", "2")
    yield


@contextlib.contextmanager
def rq(study: Study, folder: Path) -> Iterator[None]:
    study.minipach("up", "-j", "2")
    try:
        study.minipach("schedule", "--wait")
        yield
    finally:
        study.minipach("down")


@contextlib.contextmanager
def slurm(study: Study, folder: Path) -> Iterator[None]:
    with shared_cluster():
        on_slurm(study)
        study.minipach("schedule", "--wait")
        yield


@contextlib.contextmanager
def kubernetes(study: Study, folder: Path) -> Iterator[None]:
    with fake_cluster(folder / "cluster"):
        on_kubernetes(study, pods="2")
        study.minipach("schedule")
        yield


def test_the_example_gives_the_same_outputs_everywhere(study: Study, tmp_path: Path) -> None:
    for name in ("edges", "montage"):
        shutil.copytree(EXAMPLE / name, study.root / name)
    for picture in PICTURES:
        shutil.copy(Path(skimage.__file__).parent / "data" / picture, study.root / "images" / picture)
    study.save("images")
    study.save(".")
    ways: list[Callable[[Study, Path], AbstractContextManager[None]]] = [rq, slurm, kubernetes]
    projects = [study.duplicate(tmp_path / way.__name__) for way in ways]
    with local(study, tmp_path):
        wanted = {name: study.outputs(name) for name in ("edges", "montage")}
    assert len(wanted["edges"]) == len(PICTURES) and wanted["montage"]
    for way, project in zip(ways, projects, strict=True):
        with way(project, tmp_path / f"of-{way.__name__}"):
            assert {name: project.outputs(name) for name in ("edges", "montage")} == wanted, way.__name__
