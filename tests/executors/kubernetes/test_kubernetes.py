"""The executor kubernetes on a fake cluster (real kubectl, pods as processes with clones of their own)."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from tests.fixtures.consoles import ask, console_of
from tests.fixtures.fake_kubernetes import FakeCluster, fake_cluster, on_kubernetes
from tests.fixtures.leftovers import Background, until
from tests.fixtures.projects import SHOWN, Study

pytestmark = pytest.mark.slow

SLOW = f'until [ -e {SHOWN}/go-pods ]; do sleep 0.1; done; cp "$images" "$PFS/out/"\n'
RUN = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/run.sh]}\n'


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path / "cluster") as found:
        yield found


@pytest.fixture
def project(study: Study, cluster: FakeCluster) -> Study:
    on_kubernetes(study, pods="4")
    return study


def images(study: Study, count: int) -> None:
    for number in range(count):
        study.put(f"images/{number}", f"{number}\n", save=False)
    study.save("images")


def test_a_schedule_gives_what_the_local_executor_gives(project: Study, cluster: FakeCluster, tmp_path: Path) -> None:
    project.copier()
    images(project, 6)
    project.put("images/bad name;$(x)", "odd\n")
    beside = project.duplicate(tmp_path / "beside")
    beside.ok("git", "config", "minipach.executor", "local")
    done = project.schedule()
    assert done["edges"]["state"] == "published" and done["edges"]["counts"]["ran"] == 7
    beside.schedule()
    assert project.outputs("edges") == beside.outputs("edges")
    assert not cluster.jobs, "the Jobs of what is settled are deleted"
    assert not project.ok("git", "-C", "edges", "for-each-ref", "refs/minipach/batches", "refs/minipach/reports")
    assert project.plan()["edges"]["counts"]["run"] == 0
    assert cluster.largest < 20_000
    project.ok("datalad", "rerun", cwd=project.root / "edges")
    assert not project.ok("git", "status", "--porcelain", cwd=project.root / "edges")


def test_a_failure_comes_with_its_log(project: Study, cluster: FakeCluster) -> None:
    project.pipeline("edges", RUN + "datum_tries: 1\n", run='echo "trouble with ${images##*/}"; exit 3\n')
    images(project, 2)
    done = project.schedule(code=1)
    assert {row["name"] for row in done["edges"]["failed"]} == {"0", "1"}
    assert "trouble with 1" in project.minipach("logs", "edges:1").out
    console = console_of(project)
    assert "trouble with" in ask(console, "failures").text
    assert "trouble with 1" in ask(console, "datum?pipeline=edges&name=1").text
    assert 'class="gantt"' in ask(console, "job?id=edges&lanes=worker").text


def test_pods_jobs_and_answers_are_lost_and_nothing_else(project: Study, cluster: FakeCluster) -> None:
    """Random faults while sets run: each result is there once, and is what the command makes."""
    project.pipeline("edges", RUN, run='sleep 0.3; tr 0-9 a-j <"$images" >"$PFS/out/${images##*/}"\n')
    images(project, 12)
    chance = random.Random(11)
    cluster.refuse = 0.15
    faults: list[str] = []
    over = threading.Event()

    def strike() -> None:
        while not over.wait(chance.uniform(0.3, 1.0)) and len(faults) < 8:
            pods = cluster.running()
            if not pods:
                continue
            pod = chance.choice(pods)
            fault = chance.choice(["kill", "evict", "lose", "lose_job"])
            getattr(cluster, fault)(pod.job if fault == "lose_job" else pod)
            faults.append(fault)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        done = project.minipach("schedule", "--json")
    finally:
        over.set()
        striker.join()
    cluster.refuse = 0.0
    while done.code:  # what was lost three times is given up until the next schedule
        assert all("pods ended" in row["message"] for row in done.json["pipelines"][0]["failed"]), done.out
        done = project.minipach("schedule", "--retry-failed", "--json")
    assert faults
    assert project.outputs("edges").keys() == {str(number) for number in range(12)}
    assert project.read("edges/11") == b"bb\n"
    results = project.ok("git", "-C", "edges", "ls-tree", "-r", "--name-only", "minipach")
    assert results.count("/result.json") == 12, "one record for each result"


def test_a_killed_schedule_is_continued(project: Study, cluster: FakeCluster) -> None:
    cluster.env["MINIPACH_RUNTIME"] = "none"  # so that the command sees the file that it waits for
    (SHOWN / "go-pods").unlink(missing_ok=True)
    project.pipeline("edges", RUN, run=SLOW)
    images(project, 3)
    running = Background(project, "schedule")
    until("pods run", lambda: len(cluster.running()) == 3)
    os.kill(running.process.pid, signal.SIGKILL)
    running.end()
    names = set(cluster.jobs)
    (SHOWN / "go-pods").touch()
    done = project.schedule()
    assert done["edges"]["state"] == "published"
    assert cluster.requests["POST", "jobs"] == len(names) == 1, "its sets were adopted, not submitted again"


def test_all_pods_are_followed_in_one_stream(project: Study, cluster: FakeCluster) -> None:
    cluster.env["MINIPACH_RUNTIME"] = "none"
    (SHOWN / "go-pods").unlink(missing_ok=True)
    project.pipeline("edges", RUN + "datum_tries: 1\n", run=f'echo "sees ${{images##*/}}"; {SLOW}echo ends; exit 3\n')
    images(project, 3)
    running = Background(project, "schedule")
    until("pods run", lambda: len(cluster.running()) == 3)
    names = {pod.name for pod in cluster.running()}
    follower = Background(project, "logs", "edges", "--follow")
    until("each is followed", lambda: follower.out.count(" | sees ") == 3)
    (SHOWN / "go-pods").touch()
    found = follower.end()
    assert running.end().code == 1
    rows = [line.split(" | ", 1) for line in found.out.splitlines() if " | sees " in line or " | ends" in line]
    assert {name.partition(": ")[0] for name, _ in rows} == names
    said = sorted(f"{name.partition(': ')[2]} {text}" for name, text in rows)
    assert said == sorted(f"{n} {what}" for n in range(3) for what in (f"sees {n}", "ends")), "each line once"
    assert "sees 1" in project.minipach("logs", "edges:1").out, "logs outlive pods"


def test_a_lost_try_keeps_what_the_cluster_said_and_what_the_pod_printed(project: Study, cluster: FakeCluster) -> None:
    cluster.env["MINIPACH_RUNTIME"] = "none"
    (SHOWN / "go-pods").unlink(missing_ok=True)
    project.pipeline("edges", RUN + "datum_set_spec: {number: 1}\n", run=f"echo begun; {SLOW}")
    images(project, 1)
    running = Background(project, "schedule")
    struck: set[str] = set()

    def first_job_fails() -> bool:
        for pod in cluster.running():
            if len(struck) < 3 and pod.name not in struck and "begun" in pod.log.read_text():
                struck.add(pod.name)
                cluster.kill(pod)
        return len(struck) == 3 and len(cluster.running()) == 1

    until("three pods were killed, and a new Job runs", first_job_fails)
    (SHOWN / "go-pods").touch()
    assert running.end().code == 0
    (row,) = project.minipach("jobs", "--json").json["jobs"]
    story = json.dumps(project.minipach("job", row["id"], "--json").json)
    assert "OOMKilled, exit code 137" in story and "OOMKilling: memory" in story
    assert "0 | begun" in project.minipach("logs", "edges", "0", "--try", "1").out


def test_cancel_ends_the_pods(project: Study, cluster: FakeCluster) -> None:
    cluster.env["MINIPACH_RUNTIME"] = "none"
    (SHOWN / "go-pods").unlink(missing_ok=True)
    project.pipeline("edges", RUN, run=SLOW)
    images(project, 2)
    running = Background(project, "schedule")
    until("pods run", lambda: len(cluster.running()) == 2)
    assert project.minipach("cancel").code == 0
    running.end()
    until("pods are gone", lambda: not cluster.running())
    assert not cluster.jobs
    assert not project.ok("git", "-C", "edges", "for-each-ref", "refs/minipach/sets", "refs/minipach/batches")


@pytest.mark.parametrize(
    ("fault", "where", "says"),
    [
        ({"quota": 0}, "FailedCreate", "exceeded quota"),
        ({"unpullable": {"minipach:1"}}, "ImagePullBackOff", "Back-off"),
        ({"slots": 0}, "Unschedulable", "insufficient cpu"),
    ],
)
def test_top_and_the_schedule_say_why_pods_wait(
    project: Study, cluster: FakeCluster, fault: dict[str, object], where: str, says: str
) -> None:
    for name, value in fault.items():
        setattr(cluster, name, value)
    project.copier()
    images(project, 1)
    running = Background(project, "schedule")

    def waits() -> bool:
        rows = project.minipach("top", "--json").json["waiting"]
        return any(says in row["why"] for row in rows)

    until("top says it", waits)
    shown = ask(console_of(project), "workers").text
    assert "Executor kubernetes" in shown and says in shown, "the console says it, too"
    until("the schedule says it", lambda: f"edges: pods wait: {where}" in running.err and says in running.err)
    cluster.quota, cluster.slots = None, 4
    cluster.unpullable.clear()
    assert running.end().code == 0


def test_what_can_be_known_before_is_one_line_and_nothing_is_submitted(project: Study, cluster: FakeCluster) -> None:
    project.copier()
    images(project, 1)
    cluster.rights.add(("create", "jobs"))
    done = project.minipach("schedule")
    assert done.code == 2 and done.reports("kubernetes.no-right", "kubectl", "create jobs")
    cluster.rights = {("create", "jobs")}
    findings = project.minipach("doctor").out
    assert "may not create jobs in" in findings
    cluster.rights.clear()
    project.ok("git", "config", "minipach.kubernetes.ssh-secret", "absent")
    done = project.minipach("schedule")
    assert (done.code, len(cluster.jobs)) == (2, 0) and done.reports("kubernetes.no-secret", None, '"absent"')
    project.ok("git", "config", "--unset", "minipach.kubernetes.ssh-secret")
    for setting in ("service-account", "priority-class"):
        project.ok("git", "config", f"minipach.kubernetes.{setting}", "absent")
        assert project.minipach("schedule").reports(f"kubernetes.no-{setting}", None, '"absent"')
        project.ok("git", "config", "--unset", f"minipach.kubernetes.{setting}")
    project.ok("git", "config", "minipach.kubernetes.image", "Not an image")
    assert project.minipach("schedule").reports("kubernetes.bad-image", "minipach.kubernetes.image")
    spec = project.root / "edges/spec.yml"
    spec.write_text(f"{spec.read_text()}resource_requests: {{memory: 2Gi}}\n")
    project.ok("git", "commit", "-qam", "more", cwd=project.root / "edges")
    project.ok("git", "config", "minipach.kubernetes.image", "minipach:1")
    cluster.hard = {"requests.memory": "1Gi"}
    assert project.minipach("schedule").reports("kubernetes.over-quota", "edges/spec.yml", "1Gi")
    cluster.hard = {}
    assert not cluster.jobs and cluster.requests["POST", "jobs"] == 0
    project.ok("git", "config", "--unset", "minipach.kubernetes.image")
    done = project.minipach("schedule")
    assert (done.code, len(cluster.jobs)) == (2, 0)
    assert done.reports("kubernetes.no-setting", "minipach.kubernetes.image")


def test_ten_thousand_datums_need_few_calls(project: Study, cluster: FakeCluster) -> None:
    """The number of sets, and so of requests, does not grow with the number of datums."""
    from minipach.executors.kubernetes.batch import MOST, Batch

    ids = [f"{number:040x}" for number in range(10_000)]
    batch = Batch.of("0123456789abcdef", ids)
    assert len(batch.indices) == MOST and [one for row in batch.indices for one in row] == ids
    project.copier()
    images(project, 40)
    begun = time.time()
    assert project.schedule()["edges"]["counts"]["ran"] == 40
    posts = cluster.requests["POST", "jobs"]
    polls = cluster.requests["GET", "jobs"]
    assert posts == 1
    assert polls <= 5 + (time.time() - begun) / 0.5
    print(json.dumps({"POST jobs": posts, "GET jobs": polls}))


def test_plan_prints_what_would_be_submitted(project: Study, cluster: FakeCluster) -> None:
    project.copier(more="resource_requests: {cpu: 2}\ntolerations: [{key: gpu, operator: Exists}]\n")
    images(project, 9)
    found = project.minipach("plan", "--manifest").json
    (item,) = found["items"]
    kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
    assert (item["spec"]["completions"], item["spec"]["parallelism"]) == (4, 4)
    assert item["spec"]["template"]["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert not cluster.jobs
    project.ok("git", "config", "minipach.executor", "local")
    assert project.minipach("plan", "--manifest").reports("option.no-manifests", "--manifest")


@pytest.mark.soak
def test_three_hundred_datums_and_forty_faults(project: Study, cluster: FakeCluster) -> None:
    """On four slots of the fake: pods are killed, evicted, lost, Jobs vanish, and one request in ten fails."""
    project.pipeline("edges", RUN, run='sleep 0.1; tr 0-9 a-j <"$images" >"$PFS/out/${images##*/}"\n')
    images(project, 300)
    chance = random.Random(os.environ.get("MINIPACH_TESTS_SEED", "5"))
    faults, over = [], threading.Event()
    cluster.refuse = 0.1

    def strike() -> None:
        while not over.wait(chance.uniform(0.5, 2.0)) and len(faults) < 40:
            pods = cluster.running()
            if pods:
                pod, fault = chance.choice(pods), chance.choice(["kill", "evict", "lose", "lose_job"])
                getattr(cluster, fault)(pod.job if fault == "lose_job" else pod)
                faults.append(fault)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        done = project.minipach("schedule", "--json")
        while done.code:
            assert all("pods ended" in row["message"] for row in done.json["pipelines"][0]["failed"]), done.out
            done = project.minipach("schedule", "--retry-failed", "--json")
    finally:
        over.set()
        striker.join()
    assert faults
    print(json.dumps({"faults": len(faults), "requests": {" ".join(k): n for k, n in cluster.requests.items()}}))
    assert project.outputs("edges").keys() == {str(number) for number in range(300)}
    results = project.ok("git", "-C", "edges", "ls-tree", "-r", "--name-only", "minipach")
    assert results.count("/result.json") == 300, "one record for each result"


@pytest.mark.soak
def test_ten_thousand_datums_are_one_request(project: Study, cluster: FakeCluster) -> None:
    """Plan and submission alone: no pod can be scheduled."""
    cluster.slots = 0
    project.copier()
    images(project, 10_000)
    running = Background(project, "schedule")
    until("they are submitted", lambda: cluster.requests["POST", "jobs"] > 0, seconds=600)
    time.sleep(20)
    print(json.dumps({"largest": cluster.largest, **{" ".join(k): n for k, n in cluster.requests.items()}}))
    assert cluster.requests["POST", "jobs"] == 1 and sum(cluster.requests.values()) < 30
    assert cluster.largest < 20_000
    assert project.minipach("cancel").code == 0
    running.end()
