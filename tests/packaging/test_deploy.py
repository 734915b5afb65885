"""The manifests in deploy/: valid, hardened, and consistent with each other; sshd_config with a real sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.fixtures.projects import PATIENCE, need
from tests.fixtures.s3_servers import free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "kubernetes"
FOLDERS = ["", "server"]


@cache
def objects(folder: str) -> tuple[dict[str, Any], ...]:
    need("kubectl")
    if folder == "redis":  # a component is no kustomization of its own
        return tuple(yaml.safe_load_all((DEPLOY / "redis" / "redis.yaml").read_text()))
    done = subprocess.run(["kubectl", "kustomize", str(DEPLOY / folder)], capture_output=True, text=True, check=True)
    return tuple(yaml.safe_load_all(done.stdout))


ALL = ["", "server", "redis"]


def of_kind(folder: str, *kinds: str) -> list[dict[str, Any]]:
    return [row for row in objects(folder) if row["kind"] in kinds]


@pytest.mark.parametrize("folder", ALL)
def test_each_object_is_valid_by_the_schema_of_kubernetes(folder: str) -> None:
    for row in objects(folder):
        kubernetes_validate.validate(row, kubernetes_validate.latest_version(), strict=True)


def test_the_component_of_redis_fits_the_server(tmp_path: Path) -> None:
    need("kubectl")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        "resources: [../deploy, ../deploy/server]\ncomponents: [../deploy/redis]\nnamespace: study\n"
    )
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path / "mine")], capture_output=True, text=True, check=True)
    kinds = [row["kind"] for row in yaml.safe_load_all(done.stdout)]
    assert kinds.count("Deployment") == 2 and kinds.count("NetworkPolicy") == 3


@pytest.mark.parametrize("folder", ["server", "redis"])
def test_each_container_has_the_least_rights_and_bounds(folder: str) -> None:
    """The checks of kube-linter that matter here; it is no Python package."""
    for row in of_kind(folder, "Deployment"):
        pod = row["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert ":" in container["image"] and not container["image"].endswith(":latest")
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            if container.get("ports"):
                assert container.keys() >= {"readinessProbe", "livenessProbe"}


def test_rights_are_of_one_namespace_and_name_what_they_are_for() -> None:
    for folder in ALL:
        assert not of_kind(folder, "ClusterRole", "ClusterRoleBinding")
        for role in of_kind(folder, "Role"):
            for rule in role["rules"]:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
                assert not {"secrets", "pods/exec"} & set(rule["resources"])
    (binding,) = of_kind("server", "RoleBinding")
    (role,) = of_kind("", "Role")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


@pytest.mark.parametrize("folder", ["server", "redis"])
def test_services_and_policies_select_pods_that_are_there(folder: str) -> None:
    templates = [row["spec"]["template"] for row in of_kind(folder, "Deployment")]
    policies = of_kind(folder, "NetworkPolicy")
    for template in templates:
        labels = template["metadata"]["labels"].items()
        assert any(policy["spec"]["podSelector"]["matchLabels"].items() <= labels for policy in policies)
    for service in of_kind(folder, "Service"):
        (template,) = [t for t in templates if service["spec"]["selector"].items() <= t["metadata"]["labels"].items()]
        names = {port["name"] for c in template["spec"]["containers"] for port in c.get("ports", ())}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    for template in templates:
        claims = {
            v["persistentVolumeClaim"]["claimName"]
            for v in template["spec"]["volumes"]
            if len(v) == 2 and "persistentVolumeClaim" in v
        }
        assert claims <= {row["metadata"]["name"] for row in of_kind(folder, "PersistentVolumeClaim")}


@contextlib.contextmanager
def git_server(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Run sshd with the file that is deployed, on another port and with other keys."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        need("sshd")
    assert program is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(made, check=True, timeout=PATIENCE)
    port, text = free_port(), (DEPLOY / "server" / "sshd_config").read_text()
    text = text.replace("Port 2222", f"Port {port}\nListenAddress 127.0.0.1")
    text = text.replace("/etc/minipach/host/ssh_host_ed25519_key", str(folder / "host"))
    text = text.replace("/etc/minipach/authorized/authorized_keys", str(folder / "user.pub"))
    # the deployed image has git-annex-shell on sshd's own PATH
    text += f"SetEnv PATH={os.environ['PATH']}\n"
    (folder / "config").write_text(text)
    server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    options = f"-i {folder}/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile={folder}/known"
    env = os.environ | {"GIT_SSH_COMMAND": f"ssh -F none -o BatchMode=yes -o LogLevel=ERROR {options}"}
    try:
        yield port, env
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_sshd_gives_git_and_nothing_else(tmp_path: Path) -> None:
    for words in (["init", "-q", "project"], ["-C", "project", "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    with git_server(tmp_path) as (port, env):
        url = f"ssh://127.0.0.1:{port}{tmp_path}/project"
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(["git", "ls-remote", url], env=env, capture_output=True, text=True, check=False)
            if done.returncode == 0 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert "HEAD" in done.stdout, done.stderr
        subprocess.run(
            ["git", "push", "-q", url, "HEAD:refs/minipach/x"], cwd=tmp_path / "project", env=env, check=True
        )
        ssh = [*env["GIT_SSH_COMMAND"].split(), "-p", str(port), "127.0.0.1"]
        for words in (["id"], ["sh", "-c", "id"], []):
            refused = subprocess.run([*ssh, *words], env=env, capture_output=True, text=True, check=False, input="id\n")
            assert refused.returncode != 0 and "uid=" not in refused.stdout


SCRIPT = DEPLOY / "kind-test.sh"


def test_the_script_for_a_real_cluster_says_what_it_would_do() -> None:
    """It was never run on a real cluster here; its commands are."""
    done = subprocess.run([SCRIPT, "--dry-run", "-k", "trees"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    lines = done.stdout.splitlines()
    order = [
        "docker build",
        "kind create",
        "kind load",
        "ssh-keygen",
        "kubectl create namespace",
        "MINIPACH_TEST_CLUSTER",
    ]
    places = [next(n for n, line in enumerate(lines) if line.startswith(start)) for start in order]
    assert places == sorted(places)
    assert "test_any_cluster.py -k trees" in done.stdout
    assert lines[-1] == "kind delete cluster --name minipach-test", "what was made goes"


@pytest.mark.parametrize(
    ("words", "says"), [(["--current"], "needs IMAGE and ADDRESS"), ([], "is not on PATH; install it")]
)
def test_the_script_names_what_it_lacks(words: list[str], says: str, tmp_path: Path) -> None:
    for program in ("sh", "dirname", "mktemp", "rm", "kubectl"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    (tmp_path / "sshd").symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", SCRIPT, *words], capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 2 and says in done.stderr and done.stdout == ""
