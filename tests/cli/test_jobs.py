"""The text of `minipach top`."""

from __future__ import annotations

from minipach.cli.jobs import top_lines
from minipach.executors.view import WaitingSets, Worker
from minipach.views.top import Activity, OpenJob


def test_top_has_a_table_of_jobs_of_workers_and_of_what_waits() -> None:
    look = Activity(
        "rq",
        (OpenJob("3f2a" * 8, "edges", "submitted", 3725, 120, 3, 1.9, 200, 30, 47, 2440.0, 5, 40),),
        (Worker("w1", "2 slots, 8 CPUs, 32 GB", (("edges: a.png", 12.0), ("edges: b.png and 3 more", 70.0))),),
        (WaitingSets(14, "any", "for a free slot; 2 in use"),),
        when=0,
        next=("montage",),
    )
    text = list(top_lines(look))
    head = ["JOB", "PIPELINE", "STATE", "TIME", "DONE", "FAILED", "TO-GO", "RAN", "RUNNING", "WAITING", "PER-MINUTE"]
    assert text[2].split() == head
    row = "3f2a3f2a3f2a edges submitted 1:02:05 120 of 200 3 40:40 5 30 47 (40 in sets that run) 1.9"
    assert text[3].split() == row.split()
    assert text[5] == "then: montage"
    assert text[8].startswith("w1") and text[8].endswith("edges: a.png (0:12)")
    assert text[9].strip() == "edges: b.png and 3 more (1:10)"
    assert text[-1].split(maxsplit=2) == ["14", "any", "for a free slot; 2 in use"]
