"""`minipach.templates.draft`: the text of a new spec means what the draft says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import UserError
from minipach.templates.draft import Draft, to_yaml, without_refused

PFS = {"pfs": {"repo": "images", "glob": "/*"}}
RUN = {"cmd": ["x"]}


def draft(**more: Any) -> Draft:
    return Draft({"input": PFS, "transform": RUN, **more}, origin="old.json")


@given(st.text(), st.text(), st.lists(st.text(), min_size=1))
def test_any_text_comes_back(description: str, origin: str, words: list[str]) -> None:
    made = Draft({"description": description, "transform": {"cmd": words}}, {"transform": [origin]}, origin=origin)
    document = read_yaml(to_yaml(made))
    if any("\ud800" <= c <= "\udfff" or not (c.isprintable() or c in "\n\t") for c in "".join([description, *words])):
        return  # YAML holds no such character, or the reader refuses it
    assert document.data == made.spec


def test_what_is_refused_is_left_out_with_its_reason() -> None:
    cleaned = without_refused(draft(enable_stats=True, parallelism_spec={"constant": 2, "strategy": "CONSTANT"}), "n")
    assert cleaned.spec == {"input": PFS, "transform": RUN, "parallelism_spec": {"constant": 2}}
    assert [line.partition(":")[0] for line in cleaned.left_out] == ["enable_stats", "parallelism_spec.strategy"]


@pytest.mark.parametrize(
    "spec",
    [
        {"input": {"git": {"URL": "x"}}, "transform": RUN},
        {"input": PFS},
        {"input": {"cross": [PFS, {"pfs": {"glob": "/"}}]}, "transform": RUN},
        {"input": PFS, "transform": {"cmd": "not a list of words or what"}, "spout": {"x": 1}},
    ],
)
def test_without_an_input_or_a_command_there_is_no_pipeline(spec: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        without_refused(Draft(spec, origin="old.json"), "n")
