"""The state of a pod, as the cluster reports it."""

from __future__ import annotations

from minipach.executors.kubernetes.pod_state import ending, pod_place, why_pending


def test_a_pod_without_labels_has_no_place() -> None:
    assert pod_place({}) == ("", None)
    labels = {"batch.kubernetes.io/job-name": "j", "batch.kubernetes.io/job-completion-index": "3"}
    assert pod_place({"metadata": {"labels": labels}}) == ("j", 3)


def test_how_a_pod_ended_and_why_it_waits_is_said_in_the_words_of_kubernetes() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    pod = {
        "status": {"phase": "Failed", "reason": "Evicted", "containerStatuses": [{"name": "worker", "state": ended}]}
    }
    assert ending(pod) == "Evicted; worker: OOMKilled, exit code 137"
    assert ending({}) == "unknown" and why_pending({}) == "its container is being created"
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    pod = {"status": {"initContainerStatuses": [{"name": "command", "state": waiting}]}}
    assert why_pending(pod) == "ErrImagePull: no such image"
