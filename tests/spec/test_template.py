"""Template values: names that are looked up, and nothing that runs."""

from __future__ import annotations

import json

import pytest

from minipach.model.pipeline import BrokenSpec, Pipeline
from minipach.spec.load import load_spec
from minipach.spec.placeholder import fill

PFS = '{pfs: {repo: images, glob: "/(*)-(*).png"}}'
PARAMS = {"lr": "0.10", "deep": {"er": {"x": 3}}, "list": ["a", "b"], "flag": True, "odd": 'a "b" $(c) \x01'}


def read(more: str, *, inputs: str = PFS, minipach: str = "", params: dict[str, object] | None = None) -> Pipeline:
    """A spec with this in its `transform`."""
    text = f"input: {inputs}\ntransform: {{{more}}}\n" + (f"minipach: {{{minipach}}}\n" if minipach else "")
    return load_spec(text, source="edges/spec.yml", folder="edges", params=PARAMS if params is None else params)


def problem(more: str, **options: str) -> str:
    """The one problem of such a spec, less the name of the file."""
    with pytest.raises(BrokenSpec) as caught:
        read(more, inputs=options.pop("inputs", PFS), minipach=options.pop("minipach", ""))
    (found,) = caught.value.problems
    return str(found).removeprefix("edges/spec.yml:")


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
    text = problem(f"cmd: [run, {json.dumps('x' + word)}]")
    assert text.startswith(f"2:{len('transform: {cmd: [run, ') + 3 + word.startswith('$')}: ") and len(text) < 400


def test_an_unknown_name_has_the_nearest_as_its_fix() -> None:
    assert problem('cmd: [run, "{{ params.lrr }}"]') == "2:25: no parameter 'lrr'. Fix: use \"params.lr\""
    assert problem('cmd: [run, "{{ parms.lr }}"]').startswith("2:25: {{ parms.lr }} is unknown. Fix: use ")
    text = problem('cmd: [run], stdin: [a, "b {{ params.lrr }}"]')
    assert text.startswith(f"2:{len('transform: {cmd: [run], stdin: [a, ') + 4}: no parameter")


def test_parameters_of_the_project_count_before_those_of_the_spec() -> None:
    own = "params: {lr: 1.50, deep: {er: {y: 2}}, mine: 'yes'}"
    words = '"{{ params.lr }}", "{{ params.deep.er.x }}", "{{ params.deep.er.y }}", "{{ params.mine }}"'
    assert read(f"cmd: [{words}]", minipach=own).transform.cmd == ("0.10", "3", "2", "yes")
    assert read("cmd: ['{{ params.lr }}']", minipach=own, params={}).transform.cmd == ("1.50",)


def test_lines_of_stdin_take_parameters_and_no_names_of_files() -> None:
    assert read("cmd: [sh], stdin: ['run {{ params.lr }}']").transform.stdin == ("run 0.10",)
    assert "could become code of a shell" in problem("cmd: [sh], stdin: ['cat {{ datum.1 }}']")


def test_variables_of_a_datum_are_apart_from_the_others() -> None:
    env = "env: {A: '{{ params.lr }}', B: '{{ datum.1 }}/{{ params.lr }}', C: '{x}'}"
    found = read(f"cmd: [run], {env}").transform
    assert (found.env, found.datum_env) == ((("A", "0.10"), ("C", "{x}")), (("B", "{1}/0.10"),))
    assert "braces beside" in problem("cmd: [run], env: {B: '{x} {{ datum.1 }}'}")


def test_the_place_of_results_takes_plain_values() -> None:
    assert read("cmd: [run]", minipach="out: '{{ params.lr }}/{{ datum.1 }}/'").out == "0.10/{1}/"
    assert "cannot depend on the job" in problem("cmd: [run]", minipach="out: '{{ job.id }}/'")
    assert "reserved" in problem("cmd: [run]", minipach="out: '{{ params.x }}/', params: {x: code}")
    assert "has a slash" in problem("cmd: [run]", minipach="out: '{{ params.x }}/', params: {x: ../..}")
    assert "has braces" in problem("cmd: ['{{ params.x }}']", minipach="params: {x: '{images}'}")


def test_the_date_is_that_of_the_tick() -> None:
    inputs = f"{{cross: [{PFS}, {{cron: {{name: tick, spec: '@daily'}}}}]}}"
    assert read("cmd: ['{{ execution_date }}']", inputs=inputs).transform.cmd == ("{tick.name}",)


def test_a_value_of_a_datum_is_filled_in_once() -> None:
    from minipach.model.datum import Datum, Match

    match = Match("images", "images", None, "/{2}-b.png", ("{2}", "b"), "", "", False, False)
    assert fill("{1}/{2}", Datum("n", (match,))) == "{2}/b"
