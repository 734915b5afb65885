"""`minipach top`: jobs, workers, and why sets wait."""

from __future__ import annotations

import json

from minipach.executors.looks import Waiting, Worker
from minipach.top import Going, Look, lines
from tests.projects import Study
from tests.redises import Redis, Workers
from tests.remains import until

SLOW = 'touch "$PFS/out/x"; sleep 600\n'
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_set_spec: {number: 1}
"""


def test_where_nothing_goes_on(study: Study) -> None:
    assert study.minipach("top").out.splitlines()[1] == "nothing goes on"
    assert study.minipach("top", "--json").json == {
        "schema": 1,
        "executor": "local",
        "jobs": [],
        "workers": [],
        "waiting": [],
        "note": "",
    }


def test_who_runs_what_on_redis_and_why_the_rest_waits(study: Study) -> None:
    for name in "abc":
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.pipeline("edges", SPEC, run=SLOW)
    study.pipeline("nets", SPEC + "resource_requests: {gpu: {type: nvidia.com/gpu, number: 1}}\n", run=SLOW)
    with Redis() as server, Workers(study, server) as workers:
        workers.schedule()
        before = json.loads(workers.minipach("top", "--json"))
        assert [(w["sets"], w["kind"]) for w in before["waiting"]] == [(3, "any"), (3, "gpu1")]
        assert all("no worker serves this project" in w["why"] and w["in_vain"] for w in before["waiting"])

        workers.start("-j", "1")
        until("a set runs", lambda: any(w["runs"] for w in json.loads(workers.minipach("top", "--json"))["workers"]))
        now = json.loads(workers.minipach("top", "--json"))
        assert {(job["pipeline"], job["state"], job["done"]) for job in now["jobs"]} == {
            ("edges", "submitted", 0),
            ("nets", "submitted", 0),
        }
        (worker,) = now["workers"]
        assert [run["what"][:7] for run in worker["runs"]] == ["edges: "]
        assert {w["kind"]: w["why"] for w in now["waiting"]} == {
            "any": "for a free slot; 1 in use",
            "gpu1": "no worker has gpu1",
        }
        # whoever asks again is told again, wherever they ask; not of what waits for a free slot
        said = workers.minipach("schedule", "--no-wait")
        assert said.count("no worker") == 1 and "no worker that has gpu1 yet: its sets wait" in said
        for command in ("jobs", "status"):
            assert workers.minipach(command).endswith("3 sets wait: no worker has gpu1; minipach top\n")
        workers.minipach("cancel")


def test_as_text() -> None:
    look = Look(
        "rq",
        (Going("3f2a" * 8, "edges", "submitted", 3725, 120, 3, 1.9),),
        (Worker("w1", "2 slots, 8 CPUs, 32 GB", (("edges: a.png", 12.0), ("edges: b.png and 3 more", 70.0))),),
        (Waiting(14, "any", "for a free slot; 2 in use"),),
        when=0,
    )
    text = list(lines(look))
    assert text[2].split() == ["JOB", "PIPELINE", "STATE", "TIME", "DONE", "FAILED", "PER-MINUTE"]
    assert text[3].split() == ["3f2a3f2a3f2a", "edges", "submitted", "1:02:05", "120", "3", "1.9"]
    assert text[6].startswith("w1") and text[6].endswith("edges: a.png (0:12)")
    assert text[7].strip() == "edges: b.png and 3 more (1:10)"
    assert text[-1].split(maxsplit=2) == ["14", "any", "for a free slot; 2 in use"]
