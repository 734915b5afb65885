"""Workflows of Argo, checked by the models of hera."""

from __future__ import annotations

import pytest
from hera.workflows.models import CronWorkflow, Workflow

from minipach.executors.kubernetes.argo import WorkflowOptions, cron_workflow, task_name, workflow
from minipach.model.clock import Clock
from minipach.support.errors import UserError
from tests.fixtures.projects import Study

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
