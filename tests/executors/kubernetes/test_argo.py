"""Workflows of Argo, checked by the models of hera."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hera.workflows.models import CronWorkflow, Workflow

from minipach.executors.kubernetes.argo import WorkflowOptions, cron_workflow, task_name, workflow
from minipach.executors.kubernetes.argo_step import batches_text, place_of
from minipach.model.clock import Clock
from minipach.support.errors import UserError
from tests.fixtures.fake_kubernetes import on_kubernetes
from tests.fixtures.projects import MINIPACH, Study

OPTIONS = WorkflowOptions("minipach:1", "study", "runner")
ORDER = ("edges", "sub/Montage 1", "last")
UPSTREAM = {"edges": ("outside",), "sub/Montage 1": ("edges",), "last": ("edges", "sub/Montage 1")}


def test_tasks_follow_the_order_of_the_pipelines() -> None:
    found = Workflow.model_validate(workflow(ORDER, UPSTREAM, OPTIONS))
    dag, *templates = found.spec.templates
    depends = {task.name: task.dependencies or [] for task in dag.dag.tasks}
    edges, montage, last = map(task_name, ORDER)
    assert depends == {edges: [], montage: [edges], last: [edges, montage]}
    assert [template.container.args[-1] for template in templates] == list(ORDER)
    assert found.spec.service_account_name == "runner"


def test_names_are_kubernetes_names_and_differ() -> None:
    names = {task_name(path) for path in ("a b", "a-b", "a/b", "Ä", "-", "x" * 300)}
    assert len(names) == 6
    assert all(len(name) < 64 and name.replace("-", "").isalnum() and name.isascii() for name in names)


def test_a_clock_becomes_a_cron_workflow_in_its_timezone() -> None:
    clock = Clock("0 3 * * *", "Europe/Berlin")
    found = CronWorkflow.model_validate(cron_workflow("edges", clock, ORDER, UPSTREAM, OPTIONS))
    assert (found.spec.schedules, found.spec.timezone) == (["0 3 * * *"], "Europe/Berlin")
    assert len(found.spec.workflow_spec.templates) == 4


def test_what_argo_cannot_take_is_one_line() -> None:
    with pytest.raises(UserError) as error:
        cron_workflow("edges", Clock("@every 60s"), ORDER, UPSTREAM, OPTIONS)
    assert error.value.problems[0].code == "argo.no-cron-line"
    with pytest.raises(UserError) as error:
        workflow(["a{{b}}"], {}, OPTIONS)
    assert error.value.problems[0].code == "argo.template"
    with pytest.raises(UserError) as error:
        workflow([f"p{number}" for number in range(5000)], {}, OPTIONS)
    assert error.value.problems[0].code == "argo.too-large"


def substituted(value: Any, names: dict[str, str]) -> Any:
    """Return a part of a template with its parameters filled in, as Argo does it."""
    text = json.dumps(value)
    for name, found in names.items():
        text = text.replace("{{" + name + "}}", found)
    assert "{{" not in text
    return json.loads(text)


class Argo:
    """A stand-in for Argo that knows what the exported templates use. It runs the first container of each pod here."""

    def __init__(self, study: Study, folder: Path, spec: Workflow) -> None:
        self.study = study
        self.folder = folder
        self.templates = {
            one["name"]: one for one in spec.model_dump(by_alias=True, exclude_none=True)["spec"]["templates"]
        }
        self.chunks: list[int] = []
        self.loses = False

    def run(self, container: dict[str, Any], place: Path) -> int:
        place.mkdir(parents=True, exist_ok=True)
        inside = {"/project": str(self.study.root), "/work": str(place / "work"), "/tmp/minipach": str(place / "step")}
        words = [*container["command"], *container["args"]]
        for old, new in inside.items():
            words = [re.sub(f"^{old}(?=/|$)", new, word) for word in words]
        env = {row["name"]: row.get("value", row["name"]) for row in container.get("env", ())}
        for old, new in inside.items():
            env = {name: re.sub(f"^{old}(?=/|$)", new, value) for name, value in env.items()}
        words = [*MINIPACH, *words[1:]] if words[0] == "minipach" else [sys.executable, *words[1:]]
        return subprocess.run(words, env={**os.environ, **env}, cwd=place, check=False, capture_output=True).returncode

    def steps(self, name: str) -> None:
        """Run the steps of a pipeline."""
        template = self.templates[name]
        (first,), (chunk,), (again,) = template["steps"]
        place = self.folder / f"pass-{len(self.chunks)}"
        one = self.templates[first["template"]]
        assert self.run(one["container"], place) == 0
        values = {}
        for row in one["outputs"]["parameters"]:
            source = Path(str(place / "step") + row["valueFrom"]["path"].removeprefix("/tmp/minipach"))
            values[f"steps.pass.outputs.parameters.{row['name']}"] = source.read_text()
        count = int(substituted(chunk["withSequence"]["count"], values))
        self.chunks.append(count)
        for item in range(count):
            given = substituted(chunk["arguments"]["parameters"], {**values, "item": str(item)})
            inputs = {f"inputs.parameters.{row['name']}": row["value"] for row in given}
            if self.loses:  # its node is gone, and so are its retries
                self.loses = False
                continue
            pod = substituted(self.templates[chunk["template"]]["container"], inputs)
            assert self.run(pod, self.folder / f"chunk-{len(self.chunks)}-{item}") == 0
        if substituted(again["when"], values) != "0 != 0":
            self.steps(again["template"])


@pytest.mark.slow
def test_chunks_of_a_workflow_give_what_the_local_executor_gives(study: Study, tmp_path: Path) -> None:
    study.copier(more="datum_set_spec: {number: 2}\n")
    for number in range(5):
        study.put(f"images/{number}", f"{number}\n", save=False)
    study.save("images")
    beside = study.duplicate(tmp_path / "beside")
    beside.schedule()
    on_kubernetes(study, claim="study", service_account="runner")
    found = Workflow.model_validate(study.minipach("export", "argo", "--chunks").json)
    argo = Argo(study, tmp_path / "argo", found)
    argo.loses = True
    argo.steps(task_name("edges"))
    assert argo.chunks == [3, 1, 0], "the chunk without a result runs once more; then nothing is left"
    assert study.outputs("edges") == beside.outputs("edges")
    assert not study.git(
        "edges", "for-each-ref", "refs/minipach/batches", "refs/minipach/sets", "refs/minipach/reports"
    )
    assert study.plan()["edges"]["counts"]["run"] == 0


def test_chunks_are_steps_with_the_pods_of_jobs(study: Study) -> None:
    study.copier(more="resource_requests: {cpu: 2}\ntolerations: [{key: gpu, operator: Exists}]\n")
    on_kubernetes(study, claim="study", service_account="runner", ssh_secret="keys", pull_secret="pull")
    exported = study.minipach("export", "argo", "--chunks").json
    printed = {template["name"]: template for template in exported["spec"]["templates"]}
    found = Workflow.model_validate(exported)
    name = task_name("edges")
    by_name = {template.name: template for template in found.spec.templates}
    assert by_name.keys() == {"pipelines", name, f"{name}-pass", f"{name}-chunk"}
    chunk = by_name[f"{name}-chunk"]
    assert printed[f"{name}-chunk"]["container"]["resources"]["requests"] == {"cpu": "2000m"}
    assert chunk.tolerations[0].key == "gpu" and chunk.service_account_name == "runner"
    assert chunk.automount_service_account_token is False and chunk.executor.service_account_name == "runner"
    assert json.loads(chunk.pod_spec_patch)["imagePullSecrets"] == [{"name": "pull"}]
    (again,) = printed[name]["steps"][2]
    assert again["template"] == name and again["when"].endswith("!= 0")
    spec = study.root / "edges/spec.yml"
    spec.write_text(f"{spec.read_text()}resource_limits: {{memory: 1Gi}}\nminipach: {{retry: {{memory: 2x}}}}\n")
    assert study.minipach("export", "argo", "--chunks").reports("argo.same-memory", "edges/spec.yml")


@pytest.mark.parametrize(("item", "place"), [(0, ("a", 0)), (2, ("a", 2)), (3, ("b", 0)), (4, ("c", 0))])
def test_an_item_is_an_index_of_a_batch(item: int, place: tuple[str, int]) -> None:
    text = batches_text({"a": 3, "b": 1, "c": 2})
    assert place_of(text, item) == place
    with pytest.raises(ValueError, match="no batch"):
        place_of(text, 6)


def test_a_project_is_exported(study: Study) -> None:
    study.copier()
    study.copier("montage", repo="edges")
    study.pipeline("report", "input: {cron: {name: t, spec: '0 3 * * *'}}\ntransform: {cmd: [x]}\n")
    assert study.minipach("export", "argo").reports("export.no-workflows", "minipach.executor")
    settings = {"executor": "kubernetes", "kubernetes.image": "minipach:1", "kubernetes.claim": "study"}
    for name, value in settings.items():
        assert study.minipach("export", "argo").code == 2
        study.ok("git", "config", f"minipach.{name}", value)
    found = Workflow.model_validate(study.minipach("export", "argo", "edges").json)
    assert [task.name for task in found.spec.templates[0].dag.tasks] == [task_name("edges"), task_name("montage")]
    (item,) = study.minipach("export", "cron").json["items"]
    assert CronWorkflow.model_validate(item).spec.schedules == ["0 3 * * *"]
