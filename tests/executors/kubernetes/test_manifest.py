"""Jobs as Kubernetes takes them, checked against its own schema."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from minipach.executors.kubernetes.backend import RIGHTS, SERVICE_RIGHTS
from minipach.executors.kubernetes.manifest import JobRequest, PodOptions, job
from minipach.model.pipeline import Pod
from minipach.model.work_set import Needs
from minipach.support.errors import UserError

DEPLOY = Path(__file__).parents[3] / "deploy" / "kubernetes"
REQUEST = JobRequest("minipach-01234567-0123456789ab", "0123456789abcdef", "a/b c", 7, 3, Needs(), Pod())
OPTIONS = PodOptions("registry.example/minipach:1", "ssh://git@lab/project")
FULL = replace(
    OPTIONS,
    service_account="worker",
    pull_secret="pull",
    ssh_secret="ssh",
    env_secret="env",
    queue="lab",
    priority_class="low",
    author=("Jo Ö", "jo@example.org"),
)


def made(request: JobRequest = REQUEST, options: PodOptions = OPTIONS) -> dict[str, Any]:
    """Return a Job that is valid by the schema of Kubernetes."""
    found = job(request, options)
    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
    return found


def pod_of(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def test_a_job_is_valid_with_all_settings_and_with_none() -> None:
    plain = made()
    assert (plain["spec"]["completions"], plain["spec"]["parallelism"]) == (7, 3)
    assert "suspend" not in plain["spec"]
    full = made(replace(REQUEST, seconds=12.5), FULL)
    assert full["spec"]["suspend"] and full["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "lab"
    assert full["spec"]["activeDeadlineSeconds"] == 13
    assert pod_of(full)["imagePullSecrets"] == [{"name": "pull"}]
    variables = {row["name"]: row.get("value") for row in pod_of(full)["containers"][0]["env"]}
    assert variables["GIT_COMMITTER_NAME"] == "Jo Ö"


def test_what_a_set_needs_is_requested() -> None:
    needs = Needs(cpu=0.5, memory=2**30, disk=2**31, gpus=2, gpu_type="amd.com/gpu")
    resources = pod_of(made(replace(REQUEST, needs=needs)))["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "500m", "memory": "1073741824", "ephemeral-storage": "2147483648"}
    assert resources["limits"] == {"amd.com/gpu": "2"}
    named = pod_of(made(replace(REQUEST, needs=Needs(gpus=1, gpu_type="a100"))))["containers"][0]["resources"]
    assert named["limits"] == {"nvidia.com/gpu": "1"}


def test_the_spec_says_where_pods_run() -> None:
    tolerations = json.dumps([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}])
    patch = json.dumps([{"op": "add", "path": "/hostNetwork", "value": True}])
    found = pod_of(made(replace(REQUEST, pod=Pod((("disk", "ssd"),), "high", tolerations, patch)), FULL))
    assert found["nodeSelector"] == {"disk": "ssd"}
    assert found["priorityClassName"] == "high"
    assert found["tolerations"][0]["key"] == "gpu"
    assert found["hostNetwork"] is True


def test_fields_of_the_pod_are_merged_before_the_patch() -> None:
    spec = json.dumps({"hostNetwork": True, "securityContext": {"fsGroup": 7}, "automountServiceAccountToken": None})
    patch = json.dumps([{"op": "replace", "path": "/securityContext/fsGroup", "value": 8}])
    found = pod_of(made(replace(REQUEST, pod=Pod(spec=spec, patch=patch))))
    assert found["hostNetwork"] is True and found["securityContext"] == {"fsGroup": 8}
    assert "automountServiceAccountToken" not in found and found["containers"]


@pytest.mark.parametrize("text", ["[]", "x", '{"containers": []}', '{"volumes": null}'])
def test_fields_that_do_not_fit_are_one_line(text: str) -> None:
    with pytest.raises(UserError) as error:
        job(replace(REQUEST, pod=Pod(spec=text)), OPTIONS)
    (problem,) = error.value.problems
    assert (problem.code, problem.location) == ("kubernetes.bad-patch", "a/b c/spec.yml")


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "remove", "path": "/containers"}],
        [{"op": "add", "path": "/a/b/c", "value": 1}],
        [{"op": "test", "path": "/restartPolicy", "value": "Always"}],
        [{"op": "add", "path": "/volumes/x", "value": 1}],
    ],
)
def test_a_patch_that_does_not_fit_is_one_line(patch: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError) as error:
        job(replace(REQUEST, pod=Pod(patch=json.dumps(patch))), OPTIONS)
    (problem,) = error.value.problems
    assert (problem.code, problem.location) == ("kubernetes.bad-patch", "a/b c/spec.yml")


def test_the_manifests_to_deploy_are_valid_and_kustomize_takes_them() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(DEPLOY)], capture_output=True, text=True, check=True)
    objects = list(yaml.safe_load_all(done.stdout))
    assert {row["kind"] for row in objects} == {"Role", "ServiceAccount", "NetworkPolicy"}
    for row in objects:
        kubernetes_validate.validate(row, kubernetes_validate.latest_version(), strict=True)


def test_the_component_of_services_adds_the_rights_that_they_need(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    own = tmp_path / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text("resources: [../deploy]\ncomponents: [../deploy/services]\n")
    done = subprocess.run(["kubectl", "kustomize", str(own)], capture_output=True, text=True, check=True)
    (role,) = (row for row in yaml.safe_load_all(done.stdout) if row["kind"] == "Role")
    kubernetes_validate.validate(role, kubernetes_validate.latest_version(), strict=True)
    assert {*RIGHTS, *SERVICE_RIGHTS} <= rights_of(role)


def rights_of(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (verb, resource, group)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }


def test_the_role_has_the_rights_that_doctor_asks_for() -> None:
    role = yaml.safe_load((DEPLOY / "role.yaml").read_text())
    assert set(RIGHTS) <= rights_of(role)
