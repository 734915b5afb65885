"""How pods ended: of each set the last pod, whatever the cluster leaves out or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minipach.executors.kubernetes.batch import Batch
from minipach.executors.kubernetes.client import Client
from minipach.executors.kubernetes.flight import Flight
from minipach.executors.kubernetes.pod_ends import last_lines, note_ends
from minipach.model.work_set import WorkSet
from minipach.records.job_logs import lost_log
from minipach.support.errors import Problem, UserError
from tests.fixtures.work_sets import a_set

REFUSED = UserError(Problem("kubernetes.refused", "", "no", ""))


class Cluster(Client):
    """Answers from lists. said: what pods printed, by name; pods that are not in it are gone."""

    pods: list[dict[str, Any]] | None
    warnings: list[dict[str, Any]]
    said: dict[str, str]

    def listed(self, kind: str, selector: str) -> list[dict[str, Any]]:
        if self.pods is None:
            raise REFUSED
        return self.pods

    def events(self) -> list[dict[str, Any]]:
        return self.warnings

    def ask(self, *arguments: str, stdin: str | None = None, patience: float = 0) -> str:
        if arguments[0] != "logs" or arguments[-1] not in self.said:
            raise REFUSED
        return self.said[arguments[-1]]


def cluster(pods: list[dict[str, Any]] | None, **said: str) -> Cluster:
    made = Cluster()
    object.__setattr__(made, "pods", pods)
    object.__setattr__(made, "warnings", [])
    object.__setattr__(made, "said", said)
    return made


def pod(name: str, at: str | None, index: int = 0, batch: str = "b") -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-name": batch, "batch.kubernetes.io/job-completion-index": str(index)}
    times = {} if at is None else {"creationTimestamp": at}
    return {"metadata": {"name": name, "labels": labels, **times}, "status": {"phase": "Failed", "reason": name}}


def flight(work: WorkSet) -> Flight:
    return Flight(work, {0}, [Batch("b", ((work.id,),))], why="its index failed")


def test_the_last_pod_of_the_set_is_kept_with_its_events_and_its_end(tmp_path: Path) -> None:
    one = flight(a_set(1, log=str(tmp_path / "logs/0.log")))
    pods = [
        pod("new", "2026-01-02T00:00:00Z"),
        pod("old", "2026-01-01T00:00:00Z"),
        pod("other", "2026-01-03T00:00:00Z", index=1),
        pod("stranger", "2026-01-03T00:00:00Z", batch="c"),
        {"metadata": {"name": "bare"}},
    ]
    found = cluster(pods, new="the end\n", old="no\n")
    event = {"involvedObject": {"name": "new"}, "reason": "Killing", "message": "x" * 1000}
    object.__setattr__(found, "warnings", [{}, {"involvedObject": None}, *[event] * 5])
    note_ends(found, "", [one])
    words = one.ends["b"].split("; ")
    assert words[:2] == ["pod new", "new"] and len(words) == 5 and len(words[2]) < 200
    assert Path(lost_log(one.work.log, 1)).read_text() == "the end\n"
    assert last_lines(found, "", one) == "the end\n"


def test_a_pod_that_is_gone_leaves_what_the_job_said() -> None:
    one = flight(a_set(1))
    note_ends(cluster([]), "", [one])
    assert one.ends == {"b": "its index failed"}
    assert last_lines(cluster([]), "", one) == ""


def test_a_cluster_that_refuses_costs_the_words_alone(tmp_path: Path) -> None:
    one = flight(a_set(1, log=str(tmp_path / "0.log")))
    note_ends(cluster(None), "", [one])
    assert one.ends == {} and last_lines(cluster(None), "", one) == ""
    pods = [pod("p", None)]
    note_ends(cluster(pods), "", [one])
    assert one.ends == {"b": "pod p; p"} and not Path(lost_log(one.work.log, 1)).exists()
    assert last_lines(cluster(pods), "", one) == ""


def test_nothing_is_asked_for_no_set() -> None:
    note_ends(cluster(None), "", [])
