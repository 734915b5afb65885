"""`minipach top`: jobs, workers, and why sets wait."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
from typing import Any

import pytest

from tests.fixtures.leftovers import Background, until
from tests.fixtures.projects import MINIPACH, PATIENCE, Study
from tests.fixtures.redis_servers import Redis, Workers
from tests.fixtures.slurm_cluster import on_slurm, shared_cluster

SLOW = 'cp "$images" "$PFS/out/"; case $images in */a) ;; *) sleep 600 ;; esac\n'
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_set_spec: {number: 1}
"""


def test_where_nothing_goes_on(study: Study) -> None:
    assert study.minipach("top").out.splitlines()[1] == "nothing runs"
    assert study.minipach("top", "--json").json == {
        "schema": 1,
        "executor": "local",
        "jobs": [],
        "workers": [],
        "waiting": [],
        "next": [],
        "note": "",
    }


def test_a_terminal_sees_it_move_until_ctrl_c_also_without_colours_and_no_line_is_wrapped(study: Study) -> None:
    ours, its = pty.openpty()
    env = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "20", "LINES": "9"}
    process = subprocess.Popen(
        [*MINIPACH, "top"], cwd=study.root, env=env, stdin=its, stdout=its, start_new_session=True
    )
    os.close(its)
    shown = bytearray()
    os.set_blocking(ours, False)

    def times(text: str) -> int:
        with contextlib.suppress(BlockingIOError):
            shown.extend(os.read(ours, 65536))
        return shown.decode(errors="ignore").count(text)

    until("it is drawn twice", lambda: times("nothing runs") > 1)
    assert times("  executor …") > 1 and not times("local")
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    os.close(ours)


COUNTS = ("state", "total", "done", "running", "waiting", "failed")


def three(study: Study) -> None:
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline("edges", SPEC, run=SLOW)


@pytest.mark.slow
def test_a_schedule_of_this_machine_is_seen_too(study: Study) -> None:
    three(study)
    schedule = Background(study, "schedule", "-j", "1")
    until("the second runs", lambda: "edges: b" in study.minipach("top").out)
    now = study.minipach("top", "--json").json
    (job,) = now["jobs"]
    assert [job[key] for key in COUNTS] == ["running", 3, 1, 1, 1, 0]
    (worker,) = now["workers"]
    assert (worker["name"], [run["what"] for run in worker["runs"]]) == ("slot 0", ["edges: b"])
    assert [(w["sets"], w["why"]) for w in now["waiting"]] == [(1, "for a free slot; 1 of 1 slot in use")]
    assert now["note"].startswith(f"process {schedule.process.pid} on ")
    study.minipach("cancel")
    schedule.end()
    assert study.minipach("top").out.splitlines()[1] == "nothing runs"


@pytest.mark.slow
def test_what_runs_on_slurm(study: Study) -> None:
    three(study)
    with shared_cluster():
        on_slurm(study, throttle="1")
        study.minipach("schedule")
        looks: list[dict[str, Any]] = []

        def second_runs() -> bool:
            looks.append(study.minipach("top", "--json").json)
            return [(job["done"], job["running"]) for job in looks[-1]["jobs"]] == [(1, 1)]

        until("the second runs", second_runs)
        now = looks[-1]
        (job,) = now["jobs"]
        assert [job[key] for key in COUNTS] == ["submitted", 3, 1, 1, 1, 0]
        (task,) = now["workers"]
        assert task["has"] == socket.gethostname() and task["runs"][0]["what"][:7] == "edges: "
        assert "for the sets before it, to publish and continue" in [row["why"] for row in now["waiting"]]
        study.minipach("cancel")


@pytest.mark.slow
def test_who_runs_what_on_redis_and_why_the_rest_waits(study: Study) -> None:
    three(study)
    study.pipeline("nets", SPEC + "resource_requests: {gpu: {type: nvidia.com/gpu, number: 1}}\n", run=SLOW)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        before = json.loads(workers.minipach("top", "--json"))
        assert [(w["sets"], w["kind"]) for w in before["waiting"]] == [(3, "any"), (3, "gpu1")]
        assert all("no worker serves this project" in w["why"] and w["in_vain"] for w in before["waiting"])

        workers.start("-j", "1")
        until("the second runs", lambda: "edges: b" in workers.minipach("top"))
        now = json.loads(workers.minipach("top", "--json"))
        # no pass has been made meanwhile
        assert {job["pipeline"]: [job[key] for key in COUNTS] for job in now["jobs"]} == {
            "edges": ["submitted", 3, 1, 1, 1, 0],
            "nets": ["submitted", 3, 0, 0, 3, 0],
        }
        (edges,) = [job for job in now["jobs"] if job["pipeline"] == "edges"]
        assert edges["rate"] > 0 and edges["eta"] > 0
        (worker,) = now["workers"]
        assert [run["what"][:7] for run in worker["runs"]] == ["edges: "]
        assert {w["kind"]: w["why"] for w in now["waiting"]} == {
            "any": "for a free slot; 1 in use",
            "gpu1": "no worker has gpu1",
        }
        # whoever asks again is told again, wherever they ask; not of what waits for a free slot
        said = workers.minipach("schedule", "--no-wait")
        assert said.count("no worker") == 1 and "no worker has gpu1 yet: its sets wait" in said
        for command in ("jobs", "status"):
            assert workers.minipach(command).endswith("3 sets wait: no worker has gpu1; minipach top\n")
        workers.minipach("cancel")


@pytest.mark.slow
def test_what_waits_for_more_than_a_slot_is_told_as_that(study: Study) -> None:
    three(study)
    study.pipeline("nets", SPEC + "resource_requests: {gpu: {type: nvidia.com/gpu, number: 1}}\n", run=SLOW)
    with Redis() as server, Workers(study, server) as workers:
        workers.start("-j", "3", "--gpus", "0", "--queue", "gpu*")
        until("it serves", lambda: "GPUs 0, gpu*" in workers.minipach("top"))
        assert "no worker with --queue for any yet: its sets wait" in workers.minipach("schedule", "--no-wait")
        until("one runs", lambda: "nets: b" in workers.minipach("top"))
        now = json.loads(workers.minipach("top", "--json"))
        assert {w["kind"]: (w["why"], w["in_vain"]) for w in now["waiting"]} == {
            "any": ("no worker with --queue for any", True),
            "gpu1": ("for free GPUs; 1 set at work", False),
        }
        workers.minipach("cancel")
