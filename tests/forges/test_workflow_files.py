"""`minipach.forges.workflow_files`: valid files, no injection, no secret that is written out."""

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from minipach.forges.workflow_files import PLACES, shell_step, workflow, write_workflow
from minipach.support.errors import UserError

STEPS = ("setup", "image", "run", "tell")
SCHEMAS = {"github": "github-workflows", "forgejo": "github-workflows", "gitlab": "gitlab-ci"}


def data(kind: str) -> Any:
    found = yaml.safe_load(workflow(kind))
    if True in found:  # YAML 1.1 reads the key `on` as true
        found["on"] = found.pop(True)
    return found


@pytest.mark.parametrize(("kind", "name"), SCHEMAS.items())
def test_the_schema_of_the_ci(kind: str, name: str) -> None:
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text())
    errors = list(jsonschema.validators.validator_for(schema)(schema).iter_errors(data(kind)))
    assert not errors, errors[0].message


@pytest.mark.parametrize("kind", PLACES)
def test_each_file_has_the_same_steps(kind: str) -> None:
    text = re.sub(r"^ +", "", workflow(kind), flags=re.MULTILINE)
    for step in STEPS:
        assert re.sub(r"^ +", "", shell_step(step), flags=re.MULTILINE) in text
    assert not re.search(r"^ *@\w+@$", text, re.MULTILINE)


@pytest.mark.parametrize("kind", ["github", "forgejo"])
def test_no_text_of_strangers_in_a_shell(kind: str) -> None:
    for job in data(kind)["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "an expression would be code there"


@pytest.mark.parametrize("kind", ["github", "forgejo"])
def test_secrets_are_not_for_forks(kind: str) -> None:
    found = data(kind)
    assert sorted(found["on"]) == ["pull_request", "push"]
    for name, job in found["jobs"].items():
        if "secrets." in json.dumps(job) or "github.token" in json.dumps(job):
            assert "head.repo.full_name == github.repository" in job["if"], name
    if kind == "github":
        assert found["permissions"] == {"contents": "read"}
        assert found["jobs"]["fork"]["steps"][0]["with"]["persist-credentials"] is False


def test_gitlab_leaves_out_forks_first() -> None:
    first = data("gitlab")["minipach"]["rules"][0]
    assert "SOURCE_PROJECT_ID != $CI_PROJECT_ID" in first["if"] and first["when"] == "never"


def test_jenkins() -> None:
    text = workflow("jenkins")
    assert text.count("{") == text.count("}") and text.count("'''") % 2 == 0
    assert "CHANGE_FORK" in text and not re.search(r'sh\s+"', text), "Groovy puts values into text in double quotes"


@pytest.mark.parametrize("step", STEPS)
def test_steps_fit_into_each_frame(step: str) -> None:
    text = shell_step(step)
    assert "set -eu" in text and not re.search(r"\\|'''|\$\{\{|\t", text)
    assert not re.search(r"TOKEN|SECRET|KEY", text), "a step names no secret"


def test_writing(tmp_path: Path) -> None:
    path, is_new = write_workflow(tmp_path, "github")
    assert is_new and (tmp_path / path).read_text() == workflow("github")
    assert write_workflow(tmp_path, "github") == (path, False)
    (tmp_path / path).write_text("mine")
    with pytest.raises(UserError) as caught:
        write_workflow(tmp_path, "github")
    assert caught.value.problems[0].code == "ci.exists" and (tmp_path / path).read_text() == "mine"


@pytest.mark.parametrize("link", [".github", ".github/workflows", ".github/workflows/minipach.yml"])
def test_links_of_a_hostile_project(tmp_path: Path, link: str) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    (root / link).parent.mkdir(parents=True)
    if not link.endswith(".yml"):
        outside.mkdir()
    (root / link).symlink_to(outside)
    with pytest.raises(UserError):
        write_workflow(root, "github")
    assert not outside.is_file() and not (outside.is_dir() and any(outside.iterdir()))
