"""What a pod tries for `minipach doctor --pod`, alone and on the fake cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

import kubernetes_validate
import pytest

from minipach.executors.kubernetes.options import KubernetesOptions
from minipach.executors.kubernetes.trial_pod import hosts, trial_job
from minipach.executors.kubernetes.trial_program import trials
from minipach.project.project import find_project
from tests.fixtures.fake_kubernetes import fake_cluster, on_kubernetes
from tests.fixtures.projects import Study
from tests.fixtures.s3_servers import free_port


def test_git_is_read_and_pushed_to_without_a_change(tmp_path: Path) -> None:
    for words in (["init", "-q", "."], ["commit", "-q", "--allow-empty", "-m", "x"]):
        (tmp_path / "there").mkdir(exist_ok=True)
        subprocess.run(["git", *words], cwd=tmp_path / "there", check=True)
    found = dict(trials(tmp_path / "pod", str(tmp_path / "there"), []))
    assert found == {"read git": "", "push git": ""}
    refs = subprocess.run(["git", "for-each-ref"], cwd=tmp_path / "there", capture_output=True, text=True, check=True)
    assert "minipach" not in refs.stdout


def test_what_is_not_reached_says_why(tmp_path: Path) -> None:
    port = free_port()
    found = dict(trials(tmp_path / "pod", f"git://127.0.0.1:{port}/x", [f"lab=127.0.0.1:{port}", "odd=x"]))
    assert found.keys() == {"read git", "store lab", "store odd"}
    assert "Connection refused" in found["read git"] and "refused" in found["store lab"] and found["store odd"]


def test_the_trial_is_a_valid_job_that_no_schedule_takes_for_its_own(study: Study) -> None:
    on_kubernetes(study, env_secret="env", queue="lab")
    (study.root / ".datalad/config").open("a").write(
        '[minipach-store "lab"]\n\tkind = s3\n\turl = https://s3.lab.example\n\tbucket = b\n'
        '[minipach-store "disk"]\n\tkind = dir\n\turl = /srv/store\n'
    )
    project = find_project(study.root)
    assert hosts(project) == ["lab=s3.lab.example:443"]
    settings = KubernetesOptions(project)
    found = trial_job(settings, hosts(project))
    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
    assert settings.mark not in str(found["metadata"]["labels"]) and not found["spec"]["suspend"]


@pytest.mark.slow
def test_doctor_says_what_a_pod_reaches(study: Study, tmp_path: Path) -> None:
    with fake_cluster(tmp_path / "cluster") as cluster:
        on_kubernetes(study)
        said = study.minipach("doctor", "--pod").out
        assert "a pod reaches it: read git" in said and "a pod reaches it: push git" in said
        study.ok("git", "config", "minipach.kubernetes.git", str(tmp_path / "nothing"))
        done = study.minipach("doctor", "--pod")
        assert done.code == 2 and "a pod for trial: read git: " in done.out
        cluster.unpullable = {"minipach:1"}
        assert "its image can't be fetched: ImagePullBackOff" in study.minipach("doctor", "--pod").out
        assert not cluster.jobs, "no Job is left"
