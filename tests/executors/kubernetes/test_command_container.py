"""A pod whose commands run in the pipeline's own image: which images, its manifest, and runs on the fake cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import kubernetes_validate
import pytest

from minipach.environment.image import Image
from minipach.execution.compose_launcher import launcher
from minipach.executors.kubernetes.command_container import MOUNTS, ContainerCommand, own_image, prepare
from minipach.executors.kubernetes.manifest import JobRequest, PodOptions, job
from minipach.model.pipeline import PfsInput, Pipeline, Pod, Secret, Transform
from minipach.model.work_set import Needs
from tests.fixtures.container_images import busybox_directory, images  # noqa: F401
from tests.fixtures.fake_kubernetes import FakeCluster, fake_cluster, on_kubernetes
from tests.fixtures.launchers import FILE, Launcher, datum, launch, ok, shell, wait_until  # noqa: F401
from tests.fixtures.projects import Study

DIGEST = "ab" * 32
OWN = f"docker.io/team/tool@sha256:{DIGEST}"
IMAGE = ".datalad/image"  # its content is not fetched
PLAIN = Pipeline("edges", PfsInput("images", "images", "/*"), Transform("team/tool:1.0", ("sh",)))
FETCHED = Image(f"OCI--{DIGEST}", "i", "team/tool:1.0", remote="docker://team/tool:1.0")


def test_the_image_is_named_by_the_digest_that_is_on_record() -> None:
    assert own_image(PLAIN, FETCHED) == OWN
    host = replace(FETCHED, remote="docker://lab.example:5000/a/b:2")
    assert own_image(PLAIN, host) == f"lab.example:5000/a/b@sha256:{DIGEST}"


@pytest.mark.parametrize(
    ("pipeline", "image"),
    [
        (PLAIN, replace(FETCHED, remote="")),
        (PLAIN, replace(FETCHED, remote="https://lab/image.sif")),
        (PLAIN, replace(FETCHED, content="url:docker://team/tool:1.0")),
        (replace(PLAIN, network=False), FETCHED),
        (replace(PLAIN, writable_inputs=True), FETCHED),
        (replace(PLAIN, transform=replace(PLAIN.transform, batching=True)), FETCHED),
        (replace(PLAIN, transform=replace(PLAIN.transform, secrets=(Secret("k", file="/s/k"),))), FETCHED),
    ],
)
def test_what_a_running_container_cannot_be_given_is_run_by_the_worker(pipeline: Pipeline, image: Image) -> None:
    assert own_image(pipeline, image) is None


def test_the_pod_is_valid_and_only_the_worker_has_the_keys() -> None:
    options = PodOptions("worker:1", "ssh://git@lab/project", ssh_secret="ssh", env_secret="env")
    request = JobRequest(
        "minipach-x", "0" * 16, "edges", 2, 2, Needs(cpu=2, gpus=1), Pod(), None, ContainerCommand(OWN, 2**30)
    )
    found = job(request, options)
    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
    spec = found["spec"]["template"]["spec"]
    prepare_, command = spec["initContainers"]
    (worker,) = spec["containers"]
    assert (prepare_["image"], command["image"], worker["image"]) == ("worker:1", OWN, "worker:1")
    assert command["restartPolicy"] == "Always"
    assert command["resources"] == {
        "requests": {"cpu": "2000m"},
        "limits": {"nvidia.com/gpu": "1", "memory": str(2**30)},
    }
    assert worker["resources"] == {}
    assert "envFrom" not in command and "env" not in command
    assert {mount["name"] for mount in command["volumeMounts"]} == {"work"}
    assert all(mount["subPath"].startswith("pod/") for mount in command["volumeMounts"])
    for container in (prepare_, command):
        assert container["securityContext"]["readOnlyRootFilesystem"]
    assert spec["securityContext"]["runAsNonRoot"]


class Container:
    """A running container with the agent, as a kubelet would start it: busybox with nothing of minipach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder / "pod", busybox_directory(folder / "root", mount_points=True)
        prepare(self.folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = ["bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--bind", str(self.root), "/"]
        words += ["--proc", "/proc", "--dev", "/dev"]
        for name, path, is_read_only in MOUNTS:
            words += ["--ro-bind" if is_read_only else "--bind", str(self.folder / name), path]
        words += ["--chdir", "/etc", "/.minipach/busybox", "sh", "/.minipach/pod-agent"]
        env = {"PATH": "/bin", "KUBERNETES_PORT": "tcp://10.0.0.1", "OF_IMAGE": "yes"}
        self.process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def container(tmp_path: Path, launch: Launcher) -> Iterator[Container]:  # noqa: F811
    found = Container(tmp_path)
    launch.env["MINIPACH_POD_FOLDER"] = str(found.folder)
    (launch.dataset / ".datalad").mkdir()
    (launch.dataset / IMAGE).symlink_to("not-fetched")
    (launch.dataset / ".minipach" / "launch").write_bytes(launcher("docker-archive", loops=False, pods=True))
    yield found
    found.end()


def outputs(launch: Launcher) -> dict[str, str]:  # noqa: F811
    return {path: text for path, text in launch.outputs().items() if path != IMAGE}


SCRIPT = (
    "cat /pfs/images/s/a; cat; echo err >&2; touch /pfs/images/x 2>/dev/null && echo writable; "
    "mkdir -p /pfs/out/d; cp /pfs/images/s/a /pfs/out/d/a; ln -s /pfs/images/s/a /pfs/out/link; "
    'echo "$PFS $HOME $TMPDIR $OF_IMAGE/${KUBERNETES_PORT-none}" >/pfs/out/env; env | grep -c MINIPACH_POD; '
    "pwd >/pfs/out/cwd; touch /tmp/left; sleep 1000 & "
)


def test_a_command_runs_in_the_other_container(launch: Launcher, container: Container) -> None:  # noqa: F811
    launch.write("code/lib.sh", "own\n")
    done = launch(IMAGE, "-i", "a line", *datum("a", "", *FILE), *shell(SCRIPT + "cat code/lib.sh"))
    assert done.returncode == 0, done
    assert done.stdout == "Aa line\n0\nown\n" and done.stderr == "err\n"
    assert outputs(launch) == {
        "d/a": "A",
        "link": "A",
        "env": "/pfs /home/user /tmp yes/none\n",
        "cwd": "/project/pipeline\n",
    }
    assert launch.clean()
    assert list(container.folder.glob("live/*")) == []
    again = launch(
        IMAGE, *datum("b", "o", *FILE), *shell("ls -A /tmp /pfs/out; ps | grep -c '[s]leep'; echo b >/pfs/out/b")
    )
    assert again.stdout == "/pfs/out:\n\n/tmp:\n0\n", "nothing of the datum before is left"
    assert outputs(launch)["o/b"] == "b\n"


def test_exit_codes_limits_and_what_follows_a_failure(launch: Launcher, container: Container) -> None:  # noqa: F811
    assert launch(IMAGE, *datum("a", "", *FILE), *shell("exit 7")).returncode == 7
    assert launch(IMAGE, *datum("a", "", *FILE), "--", "no-such-program").returncode == 127
    late = launch(IMAGE, "-t", "1", *datum("a", "", *FILE), *shell("trap '' TERM; sleep 100"))
    assert late.returncode == 124
    recovered = launch(
        IMAGE,
        *datum("a", "", *FILE),
        "-x",
        "sh",
        "-x",
        "-c",
        "-x",
        "cat /pfs/out/x",
        *shell("echo half >/pfs/out/x; exit 1"),
    )
    assert "half" in recovered.stdout
    ok(launch(IMAGE, *datum("a", "", *FILE), *shell("cp /pfs/images/s/a /pfs/out/a")))
    denied = launch(IMAGE, "-N", *datum("a", "", *FILE), *shell("true"))
    assert denied.returncode == 125 and "there is no network" in denied.stderr


def test_a_container_that_is_killed_is_a_failed_datum(launch: Launcher, container: Container) -> None:  # noqa: F811
    running = launch.start(IMAGE, *datum("a", "", *FILE), *shell("echo begun; sleep 1000"))
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    container.end()
    container.start()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 137, (out, err)
    assert "out of memory" in err
    ok(launch(IMAGE, *datum("a", "", *FILE), *shell("cp /pfs/images/s/a /pfs/out/a")))


@pytest.mark.parametrize(
    "attack",
    [
        "rm -f /.minipach-call/ask; ln -s /project/target /.minipach-call/ask",
        "rm -f /.minipach-call/last /.minipach-call/boot; ln -s /etc/passwd /.minipach-call/boot",
        "echo 'run ../../x' >/.minipach-call/ask",
        "for f in /.minipach-call/reply.*; do echo '0; x' >$f; done",
        "rm -rf /.minipach-call/*",
    ],
)
def test_the_command_harms_only_itself(launch: Launcher, container: Container, attack: str) -> None:  # noqa: F811
    target = launch.write("code/target", "whole\n")
    script = launch.dataset / ".minipach" / "launch"
    text = script.read_text()
    assert "\nUNENDING = 60.0 " in text
    script.write_text(text.replace("\nUNENDING = 60.0 ", "\nUNENDING = 2.0 "))  # the agent is given up so much later
    done = launch(IMAGE, "-t", "3", *datum("a", "", *FILE), *shell(f"{attack}; echo x >/pfs/out/x; sleep 1; exit 3"))
    assert done.returncode in (3, 124, 125, 137) and "Traceback" not in done.stderr, done
    assert target.read_text() == "whole\n"
    container.end()
    container.start()
    wait_until((container.folder / "call" / "boot").exists)
    ok(launch(IMAGE, *datum("a", "", *FILE), *shell("cp /pfs/images/s/a /pfs/out/a")))


SKOPEO = f"""#!/bin/sh
case $1 in
  inspect) echo sha256:{DIGEST} ;;
  copy) target=${{4#docker-archive:}}; echo archive >"${{target%%:*}}" ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path / "cluster") as found:
        found.images[OWN] = busybox_directory(tmp_path / "busybox", mount_points=False)
        yield found


@pytest.fixture
def project(study: Study, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    (tmp_path / "bin").mkdir()
    skopeo = tmp_path / "bin" / "skopeo"
    skopeo.write_text(SKOPEO)
    skopeo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{skopeo.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
    on_kubernetes(study, pods="2")
    return study


@pytest.mark.slow
def test_a_schedule_runs_the_image_itself_on_the_fake_cluster(project: Study, cluster: FakeCluster) -> None:
    """The image is busybox alone: no Python, no git, no minipach; the record names it."""
    project.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {image: "team/tool:1.0", cmd: [sh, code/run.sh]}\n',
        run='cat /etc/image-name "$images" >"/pfs/out/${images##*/}"; [ "$(cat "$images")" != slow ] || sleep 1000\n',
    )
    for number in range(4):
        project.put(f"images/{number}", f"{number}\n", save=False)
    project.save("images")
    plan = project.minipach("plan", "--manifest").json["items"]
    assert len(plan[0]["spec"]["template"]["spec"]["containers"]) == 1
    done = project.schedule()
    assert done["edges"]["counts"]["ran"] == 4
    assert project.read("edges/3") == b"busybox of the tests\n3\n"
    assert not list(cluster.folder.glob("*/clones/edges/.git/annex/objects/**/*.tar")), "no pod fetches the image"
    assert not list(cluster.folder.glob("*/clones/edges/.git/annex/objects/**/MD5*image*"))
    record = project.ok("git", "-C", "edges", "log", "--format=%B", "-n", "3")
    assert "team-tool-1-0/image" in record
    (item,) = project.minipach("plan", "--manifest").json["items"] or [{}]
    assert item == {}, "nothing is left to run"
    project.put("images/4", "4\n")
    (item,) = project.minipach("plan", "--manifest").json["items"]
    assert item["spec"]["template"]["spec"]["initContainers"][1]["image"] == OWN, json.dumps(item)
    project.ok("git", "config", "minipach.kubernetes.command", "nested")
    (item,) = project.minipach("plan", "--manifest").json["items"]
    assert "initContainers" not in item["spec"]["template"]["spec"]
