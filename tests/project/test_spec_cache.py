"""A spec that was checked once is not checked again: the same Pipeline comes back, and any other text is read anew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minipach.model.pipeline import Pipeline
from minipach.project.spec_cache import read_spec
from minipach.spec.load import load_spec
from minipach.support.disk_cache import Cache
from minipach.support.errors import UserError
from tests.fixtures.projects import Study, run
from tests.fixtures.refusals import refused

SMALL = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/step.sh]}\n'
LARGE = """\
description: Everything at once
metadata: {annotations: {colour: blue}, labels: {b: "2", a: "1"}}
input:
  cross:
    - {join: [{pfs: {repo: t1, glob: "/(*)", join_on: "$1"}}, {pfs: {repo: t2, glob: "/(*)", join_on: "$1"}}]}
    - {group: [{pfs: {name: all, repo: raw/more, branch: dev, glob: "/(*)/*", group_by: "$1", lazy: true}}]}
transform:
  image: docker://example.org/image
  cmd: [python3, "code/ä.py"]
  stdin: [one, two]
  env: {B: "2", A: "1"}
  accept_return_code: [3, 1]
resource_requests: {cpu: 0.5, memory: 2Gi, gpu: {type: nvidia.com/gpu, number: 1}}
datum_tries: 5
parallelism_spec: {constant: 4}
datum_set_spec: {number: 7}
salt: pepper
reprocess_spec: every_job
minipach: {out: "{name}/", identity: path}
"""


def read(text: str, cache: Cache, folder: str = "edges") -> Pipeline:
    return read_spec(text, source=f"{folder}/spec.yml", folder=folder, cache=cache)


@pytest.mark.parametrize("text", [SMALL, LARGE])
def test_the_second_reading_is_the_first(text: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = read(text, cache)
    again = read(text, cache)
    assert first == load_spec(text, source="edges/spec.yml", folder="edges")
    assert again == first and again is not first
    assert repr(again) == repr(first), "plans are kept by what it looks like"


def test_any_other_text_is_read_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert read(SMALL, cache).salt == ""
    assert read(SMALL + "salt: x\n", cache).salt == "x"
    assert read(SMALL, cache).salt == ""


def test_what_is_wrong_is_said_each_time(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    read(SMALL, cache)
    for _ in range(2):
        with refused("spec.missing-field", "edges/spec.yml:1:1", "`transform`"):
            read(SMALL.partition("transform")[0], cache)
    with pytest.raises(UserError):
        read(SMALL, cache, folder="not a name")


def test_a_damaged_file_is_read_over(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = read(SMALL, cache)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    assert read(SMALL, cache) == first


@pytest.mark.slow
def test_an_unchanged_plan_does_without_the_checker(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    study.plan()
    loaded = "import sys; from minipach.cli.app import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = run(sys.executable, "-c", loaded, "plan", cwd=study.root)
    assert done.out == "edges: nothing to do\n"
    modules = set(done.err.split())
    assert "minipach.planning.project_plan" in modules
    assert not modules & {"minipach.spec.load", "minipach.spec.schema", "yaml", "rich", "datalad"}
