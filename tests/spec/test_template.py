"""Template values: names that are looked up, and nothing that runs."""

from __future__ import annotations

import json

import pytest

from minipach.model.pipeline import BrokenSpec, Pipeline
from minipach.spec.load import load_spec
from minipach.spec.placeholder import fill
from minipach.spec.template import is_used, parameters_in
from minipach.support.errors import Problem

PFS = '{pfs: {repo: images, glob: "/(*)-(*).png"}}'
PARAMS = {"lr": "0.10", "deep": {"er": {"x": 3}}, "list": ["a", "b"], "flag": True, "odd": 'a "b" $(c) \x01'}


def read(more: str, *, inputs: str = PFS, minipach: str = "", params: dict[str, object] | None = None) -> Pipeline:
    """A spec with this in its `transform`."""
    text = f"input: {inputs}\ntransform: {{{more}}}\n" + (f"minipach: {{{minipach}}}\n" if minipach else "")
    return load_spec(text, source="edges/spec.yml", folder="edges", params=PARAMS if params is None else params)


def problem(more: str, **options: str) -> Problem:
    """The one problem of such a spec."""
    with pytest.raises(BrokenSpec) as caught:
        read(more, inputs=options.pop("inputs", PFS), minipach=options.pop("minipach", ""))
    (found,) = caught.value.problems
    return found


def test_a_parameter_is_used_if_a_template_names_it_or_a_part_of_it() -> None:
    named = parameters_in('cmd: [a, "{{ params.deep.lr }}", "{{params.x}}", "{{ datum.name }}", "{{params}}"]')
    assert named == {"deep.lr", "x"}
    assert [is_used(one, named) for one in ("deep.lr", "deep", "x", "x.y", "dee", "y")] == [True] * 4 + [False] * 2


def place(column: int) -> str:
    return f"edges/spec.yml:2:{column}"


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("--lr={{ params.lr }}", "--lr=0.10"),
        ("{{params.lr}}", "0.10"),
        ("{{ params.deep.er.x }}{{ params.list.1 }}", "3b"),
        ("{{ params.flag }}", "true"),
        ("{{ params.odd }}", PARAMS["odd"]),
        ("{{ pipeline.name }} {{ pipeline.path }}", "edges edges"),
        ("{{ datum.name }}", "{name}"),
        ("{{ datum.2 }}{{ datum.images.stem }}", "{2}{images.stem}"),
        ("{{ job.id }}", "{{ job.id }}"),
        # of other programs
        ("{{name}}", "{{name}}"),
        ("{{.Names}}", "{{.Names}}"),
        ("{{().__class__}}", "{{().__class__}}"),
        ("awk '{{print}'", "awk '{{print}'"),
    ],
)
def test_words_have_the_values(word: str, becomes: str) -> None:
    assert read(f"cmd: [run, {json.dumps(word)}]").transform.cmd == ("run", becomes)


@pytest.mark.parametrize(
    "word",
    [
        "{{ ().__class__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ params['lr'] }}",
        "{{ params.lr | upper }}",
        "{{ params.lr.__class__ }}",
        "{{ params.__class__ }}",
        "{{ cycler.__init__ }}",
        "{{ 7*7 }}",
        "{{ }}",
        "{{ params }}",
        "{{ params.deep }}",
        "{{ params.list.7 }}",
        "{{ params.list.-1 }}",
        "{{ datum }}",
        "{{ datum.__class__ }}",
        "{{ datum.3 }}",
        "{{ job.run }}",
        "{{ execution_date }}",
        "${{ datum.1 }}",
        "{{ " + "a." * 5000 + "a }}",
    ],
)
def test_all_but_names_is_one_problem(word: str) -> None:
    found = problem(f"cmd: [run, {json.dumps('x' + word)}]")
    assert found.location == place(len("transform: {cmd: [run, ") + 3 + word.startswith("$")) and len(str(found)) < 400


def test_an_unknown_name_has_the_nearest_as_its_fix() -> None:
    found = problem('cmd: [run, "{{ params.lrr }}"]')
    assert (found.code, found.location) == ("spec.bad-template", place(25)) and '"params.lr"' in found.fix
    found = problem('cmd: [run, "{{ parms.lr }}"]')
    assert (found.code, found.location) == ("spec.bad-template", place(25)) and "{{ parms.lr }}" in found.message
    found = problem('cmd: [run], stdin: [a, "b {{ params.lrr }}"]')
    assert found.location == place(len("transform: {cmd: [run], stdin: [a, ") + 4)


def test_parameters_of_the_project_count_before_those_of_the_spec() -> None:
    own = "params: {lr: 1.50, deep: {er: {y: 2}}, mine: 'yes'}"
    words = '"{{ params.lr }}", "{{ params.deep.er.x }}", "{{ params.deep.er.y }}", "{{ params.mine }}"'
    assert read(f"cmd: [{words}]", minipach=own).transform.cmd == ("0.10", "3", "2", "yes")
    assert read("cmd: ['{{ params.lr }}']", minipach=own, params={}).transform.cmd == ("1.50",)


def test_lines_of_stdin_take_parameters_and_no_names_of_files() -> None:
    assert read("cmd: [sh], stdin: ['run {{ params.lr }}']").transform.stdin == ("run 0.10",)
    found = problem("cmd: [sh], stdin: ['cat {{ datum.1 }}']")
    assert found.code == "spec.bad-template" and "shell" in found.message


def test_variables_of_a_datum_are_apart_from_the_others() -> None:
    env = "env: {A: '{{ params.lr }}', B: '{{ datum.1 }}/{{ params.lr }}', C: '{x}'}"
    found = read(f"cmd: [run], {env}").transform
    assert (found.env, found.datum_env) == ((("A", "0.10"), ("C", "{x}")), (("B", "{1}/0.10"),))
    wrong = problem("cmd: [run], env: {B: '{x} {{ datum.1 }}'}")
    assert wrong.code == "spec.bad-template" and "braces" in wrong.message


def test_the_place_of_results_takes_plain_values() -> None:
    assert read("cmd: [run]", minipach="out: '{{ params.lr }}/{{ datum.1 }}/'").out == "0.10/{1}/"
    for wrong, code, value in (
        ("out: '{{ job.id }}/'", "spec.bad-template", "job"),
        ("out: '{{ params.x }}/', params: {x: code}", "spec.bad-output-template", "code"),
        ("out: '{{ params.x }}/', params: {x: ../..}", "spec.bad-template", "slash"),
    ):
        found = problem("cmd: [run]", minipach=wrong)
        assert found.code == code and value in found.message, wrong
    found = problem("cmd: ['{{ params.x }}']", minipach="params: {x: '{images}'}")
    assert found.code == "spec.bad-template" and "braces" in found.message


def test_the_date_is_that_of_the_tick() -> None:
    inputs = f"{{cross: [{PFS}, {{cron: {{name: tick, spec: '@daily'}}}}]}}"
    assert read("cmd: ['{{ execution_date }}']", inputs=inputs).transform.cmd == ("{tick.name}",)


def test_a_value_of_a_datum_is_filled_in_once() -> None:
    from minipach.model.datum import Datum, Match

    match = Match("images", "images", None, "/{2}-b.png", ("{2}", "b"), "", "", False, False)
    assert fill("{1}/{2}", Datum("n", (match,))) == "{2}/b"
