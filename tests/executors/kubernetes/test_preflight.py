"""Quotas of a cluster, and what they allow."""

from __future__ import annotations

import pytest

from minipach.executors.kubernetes.preflight import over_quota, quantity, used_up
from minipach.model.work_set import Needs


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2.0),
        ("500m", 0.5),
        ("1Gi", 2.0**30),
        ("1k", 1e3),
        ("1.5M", 1.5e6),
        ("x", None),
        (None, None),
        ("1kb", None),
    ],
)
def test_quantities_of_quotas_are_read(text: str | None, number: float | None) -> None:
    assert quantity(text) == number


def test_a_quota_below_one_pod_is_a_problem_and_a_full_one_is_not() -> None:
    quota = {
        "metadata": {"name": "lab"},
        "status": {
            "hard": {"pods": "4", "requests.memory": "1Gi", "requests.nvidia.com/gpu": "1", "cpu": "2"},
            "used": {"pods": "4", "requests.memory": "0"},
        },
    }
    assert list(used_up([quota, {}])) == [("lab", ["pods"])]
    nothing = {"metadata": {"name": "none"}, "status": {"hard": {"pods": "0"}, "used": {}}}
    assert list(used_up([nothing])) == [("none", ["pods"])]
    assert not list(over_quota([quota, {}], "edges/spec.yml", Needs(cpu=2.0, memory=2**30, gpus=1)))
    needs = Needs(cpu=3.0, memory=2**31, gpus=2)
    found = list(over_quota([quota], "edges/spec.yml", needs))
    assert [problem.code for problem in found] == ["kubernetes.over-quota"] * 3
