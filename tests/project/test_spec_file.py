"""The names of a spec: `spec.yml`, `spec.yaml`, `spec.json`, and the near misses."""

from __future__ import annotations

import json
import shutil

import pytest

from minipach.datums.snapshot import read_snapshot
from minipach.model.repo_layout import SPECS, is_pipeline
from minipach.model.snapshot import Snapshot
from minipach.project.discovery import own_places
from minipach.project.project import find_project
from minipach.support.disk_cache import Cache
from tests.fixtures.projects import Study

SPEC = {"input": {"pfs": {"repo": "images", "glob": "/*"}}, "transform": {"cmd": ["sh", "code/copy.sh"]}}


def json_pipeline(study: Study, name: str) -> None:
    """The copying pipeline with its spec in another file, as JSON (which is YAML, too)."""
    study.copier()
    (study.root / "edges/spec.yml").unlink()
    (study.root / "edges" / name).write_text(json.dumps(SPEC, indent="\t"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spec.yaml", "spec.json"])
def test_a_spec_of_another_name_runs(name: str, study: Study) -> None:
    study.put("images/a.txt", "alpha")
    json_pipeline(study, name)
    assert study.minipach("check").out == "1 spec checked, no problems\n"
    assert study.schedule()["edges"]["state"] == "published"
    assert study.read("edges/a.txt") == b"alpha"
    assert study.git("edges", "cat-file", "-t", f"HEAD:{name}") == "blob"
    assert study.minipach("schedule").out == "nothing to do\n"
    # downstream sees outputs only
    study.copier("after", repo="edges")
    assert study.minipach("datums", "after").out == "a.txt\n"
    # an edit is seen as one, a broken spec named by its file
    (study.root / "edges" / name).write_text("{")
    assert study.minipach("check", "edges").err.splitlines()[-1].startswith(f"edges/{name}:1:")
    study.save("edges")
    assert study.minipach("plan").err.startswith(f"edges/{name}:1:")


def test_two_specs_in_a_folder_are_an_error(study: Study) -> None:
    study.copier()
    (study.root / "edges/spec.json").write_text(json.dumps(SPEC))
    said = "edges: spec.yml and spec.json, but a pipeline has one spec. Fix: remove or rename the others"
    assert study.minipach("check").err.splitlines() == [said]
    (study.root / "edges/spec.json").write_text('{"openapi": "3.1.0", "transform": {}}')
    assert study.minipach("check").code == 0, "a file of that name that is no spec"


def test_a_spec_of_the_oldest_kind_is_seen(study: Study) -> None:
    old = {"inputs": [{"repo": {"name": "images"}}], "transform": {"cmd": ["sh"]}}
    (study.root / "edges").mkdir()
    (study.root / "edges/spec.json").write_text(json.dumps(old))
    done = study.minipach("check")
    assert done.code == 2 and done.reports("spec.unknown-field", "edges/spec.json:1:2", "`inputs`")


def test_data_may_have_a_file_of_the_name(study: Study) -> None:
    study.put("images/spec.json", '{"mark": "bar", "data": {}, "transform": []}', save=False)
    study.put("images/code/a.txt", "alpha", save=False)
    study.put("images/README.md", "about")
    assert [place.path for place in own_places(study.root, ["images"], Cache(study.root / ".git" / "cache"))] == []
    project = find_project(study.root)
    assert project.pipelines == {}
    study.pipeline("edges", 'input: {pfs: {repo: images, glob: "/**"}}\ntransform: {cmd: [sh]}\n')
    assert study.minipach("datums", "edges").out.split() == ["README.md", "code", "code/a.txt", "spec.json"]


@pytest.mark.parametrize(
    ("names", "pipeline"),
    [
        (["spec.yml"], True),
        (["spec.json", "code"], False),
        (["spec.yaml", ".minipach"], True),
        (["spec.json", ".minipach", "code"], True),
        ([".minipach", "code"], False),
        (["Spec.yml"], False),
    ],
)
def test_what_makes_a_repo_a_pipelines(names: list[str], pipeline: bool, study: Study) -> None:
    assert is_pipeline(names) == pipeline
    for name in names:
        study.put(f"images/{name}" + ("/x" if "." not in name[1:] else ""), "x", save=False)
    study.put("images/README", "x")
    project = find_project(study.root)
    seen: Snapshot = read_snapshot(
        project.repo.__class__(study.root / "images"), study.git("images", "rev-parse", "HEAD")
    )
    assert ("README" in seen.files) == (not pipeline)
    assert not (set(SPECS) & set(seen.files) and pipeline)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("spec.yml", "spec.yml: a spec in the project's root is not a pipeline. Fix: move it into a folder of its own: "
         "mkdir NAME && git mv spec.yml NAME/"),
        ("edges/Spec.yml", "edges/Spec.yml: not read as a spec. Fix: rename it: Spec.yml spec.yml"),
        ("images/SPEC.yml", "images/SPEC.yml: not read as a spec. Fix: rename it: SPEC.yml spec.yml"),
        ("edges/spec.jsonnet", "edges/spec.jsonnet: not read as a spec. Fix: evaluate it: "
         "jsonnet spec.jsonnet > spec.json"),
    ],
)  # fmt: skip
def test_a_file_that_is_meant_to_be_a_spec(file: str, said: str, study: Study) -> None:
    (study.root / "edges").mkdir()
    (study.root / file).write_text(json.dumps(SPEC))
    done = study.minipach("check")
    assert (done.code, done.err.splitlines()) == (0, [said])


def test_a_plain_folder_can_be_an_input_once_it_is_committed(study: Study) -> None:
    study.put("plain/a.txt", "alpha", save=False)
    study.copier(repo="plain")
    (problem,) = study.minipach("check").problems
    assert (problem.code, problem.location) == ("input.no-commit", "edges/spec.yml:1:21")
    study.ok("sh", "-c", problem.fix)
    assert study.minipach("check").code == 0
    assert study.minipach("datums", "edges").out == "a.txt\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_a_plain_folder_where_a_dataset_is_registered_is_named_with_both_ways(name: str, study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier()
    study.schedule()
    study.ok("chmod", "-R", "u+w", "edges")
    shutil.rmtree(study.root / "edges")
    json_pipeline(study, name)
    for command in ("check", "plan", "schedule", "status"):
        done = study.minipach(command)
        assert done.code == 2, command
        (line,) = done.err.splitlines()
        assert done.refusals == [("repo.displaced", f"edges/{name}")]
    study.copier("after", repo="edges")  # to take from it is told as the same
    assert len(study.minipach("check").err.splitlines()) == 1
    shutil.rmtree(study.root / "after")
    forget, _, back = line.partition("make it a new one: ")[2].partition("; or bring the dataset back: ")
    assert back.startswith("mv ")
    study.ok("sh", "-c", forget)
    assert study.schedule()["edges"]["state"] == "published"
    assert study.read("edges/a.txt") == b"alpha"
    assert study.git(".", "status", "--porcelain") == ""


def test_a_plain_folder_in_place_of_an_input_is_named(study: Study) -> None:
    study.copier()
    study.ok("chmod", "-R", "u+w", "images")
    shutil.rmtree(study.root / "images")
    study.put("images/a.txt", "alpha", save=False)
    (problem,) = study.minipach("check").problems
    assert problem.code == "repo.displaced" and "images" in problem.message
