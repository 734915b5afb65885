"""Services on Kubernetes: the manifests against the schema, and the whole way on the fake cluster."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from minipach.execution.datum_layout import has_network, with_network
from minipach.executors.kubernetes.command_container import ContainerCommand
from minipach.executors.kubernetes.manifest import JobRequest, PodOptions
from minipach.executors.kubernetes.service_manifest import DATUM_NOTE, service_name, service_objects
from minipach.model.pipeline import Pod, Service
from minipach.model.work_set import Needs
from tests.fixtures.fake_kubernetes import fake_cluster, on_kubernetes
from tests.fixtures.launchers import wait_until
from tests.fixtures.projects import Study
from tests.fixtures.s3_servers import free_port

REQUEST = JobRequest("minipach-x", "0123456789abcdef", "a/b c", 1, 1, Needs(memory=2**30), Pod())
OPTIONS = PodOptions("registry.example/minipach:1", "ssh://git@lab/project", pull_secret="pull", ssh_secret="ssh")
SERVER = """
import http.server, os
os.chdir("/pfs/pages")
address = ("0.0.0.0", int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def made(service: Service, request: JobRequest = REQUEST) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the Deployment and the Service, which are valid by the schema of Kubernetes."""
    found = service_objects(request, service, OPTIONS, datum="ab" * 32, set_id="cd" * 20)
    for row in found:
        kubernetes_validate.validate(row, kubernetes_validate.latest_version(), strict=True)
    deployment, other = found
    return deployment, other


def test_the_manifests_are_valid_and_change_with_the_datum_alone() -> None:
    deployment, service = made(Service(8080, 30080, health="/ready"))
    assert made(Service(8080, 30080, health="/ready")) == (deployment, service)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "service"}
    assert container["args"][-1] == "cd" * 20
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["spec"]["template"]["metadata"]["annotations"][DATUM_NOTE] == "ab" * 32
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert service["spec"]["ports"][0]["nodePort"] == 30080


def test_each_type_of_service_is_valid() -> None:
    _, plain = made(Service(80, 80))
    assert "nodePort" not in plain["spec"]["ports"][0]  # no node has this port
    _, balanced = made(Service(80, 443, "LoadBalancer", "192.0.2.7", (("a.example/b", "c"),)))
    assert (
        balanced["spec"]["loadBalancerIP"] == "192.0.2.7" and balanced["metadata"]["annotations"]["a.example/b"] == "c"
    )
    deployment, inner = made(
        Service(80, 30080, "ClusterIP"), replace(REQUEST, command=ContainerCommand("a@sha256:" + "0" * 64))
    )
    assert inner["spec"]["ports"] == [{"name": "service", "port": 30080, "targetPort": 80}]
    names = [row["name"] for row in deployment["spec"]["template"]["spec"]["initContainers"]]
    assert names == ["prepare", "command"]


@pytest.mark.parametrize("path", ["a", "A/b c", "x" * 200, "äöü/1", "-"])
def test_names_are_those_of_kubernetes(path: str) -> None:
    name = service_name("0123456789abcdef", path)
    assert len(name) <= 63 and name[0].isalpha() and name[-1].isalnum() and name == name.lower()


def test_a_value_is_not_taken_for_the_option() -> None:
    head = ("-P", "site", "-i", "-N", "-N", "-e", "A=-N")
    assert not has_network(head) and with_network(head) == ("-P", "site", "-i", "-N", "-e", "A=-N")
    assert has_network(with_network(head))


@pytest.mark.slow
def test_a_service_on_the_fake_cluster(tmp_path: Path) -> None:
    port = free_port()
    study = Study.create(tmp_path / "study", "pages")
    study.put("pages/index.txt", "one")
    spec = "input: {pfs: {repo: pages, glob: /}}\ntransform: {cmd: [python3, code/serve.py]}\n"
    study.pipeline("site", f"{spec}service: {{internal_port: {port}}}\n")
    (study.root / "site/code/serve.py").write_text(SERVER)
    study.schedule()

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.txt", timeout=60) as answer:
            return str(answer.read().decode())

    with fake_cluster(tmp_path / "cluster") as cluster:
        on_kubernetes(study)
        printed = json.loads(study.minipach("services", "manifest").out)
        assert [row["kind"] for row in printed["items"]] == ["Deployment", "Service"] and not cluster.deployments
        done = study.minipach("services", "start")
        assert done.code == 0, done.err
        (row,) = study.minipach("services", "--json").json["services"]
        assert row["state"] == "serving" and get() == "one"
        for found in (*cluster.deployments.values(), *cluster.services.values()):
            kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
        (before,) = cluster.deployments.values()
        study.put("other.txt", "x")
        assert study.minipach("services", "start").code == 0
        assert list(cluster.deployments.values()) == [before]
        assert "serving" in study.minipach("status").out

        study.put("pages/index.txt", "two")
        assert study.minipach("services", "start").code == 0
        wait_until(lambda: study.minipach("services", "--json").json["services"][0]["state"] == "serving")
        assert get() == "two" and list(cluster.deployments.values()) != [before]
        sets = study.git("site", "for-each-ref", "refs/minipach/sets").splitlines()
        assert 1 <= len(sets) <= 2  # the one before may be asked for by its pod
        assert study.minipach("services", "stop", "site").code == 0
        assert not cluster.deployments and not cluster.services
        assert study.git("site", "for-each-ref", "refs/minipach/sets") == ""

        study.ok("git", "config", "minipach.kubernetes.env-secret", "nothing")
        assert study.minipach("services", "start").reports("kubernetes.no-secret", "minipach.kubernetes.env-secret")
