"""Two datums that write one path: told before anything runs, as far as results are known."""

from __future__ import annotations

import pytest

from minipach.model.datum import Datum, Task
from minipach.planning.collisions import Clash, clashes, shared_places
from minipach.planning.plan import Plan, PlannedDatum
from tests.fixtures.projects import Study
from tests.fixtures.stories import spec

SAID = "e: the datums 'a.txt' and 'b.txt' both write sum.txt. Fix: give each its own folder"


@pytest.mark.parametrize(
    ("outputs", "kept", "found"),
    [
        ({"a": ["x"], "b": ["y"]}, [], []),
        ({"a": ["x"], "b": ["x"]}, [], [Clash("x", "b", "a", "x")]),
        ({"a": ["d/x"], "b": ["d/y"]}, ["d/z"], []),
        ({"a": ["x"], "b": ["x/y"]}, [], [Clash("x", "b", "a", "x")]),
        ({"a": ["x/y"], "b": ["x"]}, [], [Clash("x", "b", "a", "x/y")]),
        ({"a": ["x"]}, ["x"], [Clash("x", "a", "", "x")]),
        ({"a": ["x"]}, ["x/y"], [Clash("x", "a", "", "x/y")]),
        ({"a": ["x/y/z"]}, ["x"], [Clash("x", "a", "", "x")]),
        ({n: ["p", "q"] for n in "abc"}, [], [Clash("p", "b", "a", "p"), Clash("p", "c", "a", "p")]),
    ],
)
def test_a_path_has_one_writer(outputs: dict[str, list[str]], kept: list[str], found: list[Clash]) -> None:
    assert list(clashes(outputs.items(), kept)) == found


def test_a_template_may_give_several_datums_one_place() -> None:
    def plan(*rows: tuple[str, str, str]) -> Plan:
        steps = (PlannedDatum(name, name, action, "", Task(Datum(name, ()), name, dest)) for name, dest, action in rows)  # type: ignore[arg-type]
        return Plan("e", tuple(steps))

    pair = plan(("a.jpg", "a", "current"), ("a.png", "a", "run"), ("b.jpg", "b", "run"))
    said = "a.jpg and a.png have one place, a/; if both write one name there, nothing is published"
    assert shared_places("{images.stem}/", pair) == said
    assert shared_places("all/", pair) == "", "nobody meant each to have its own"
    assert shared_places("{images.stem}/", plan(("a.jpg", "a", "current"), ("a.png", "a", "reuse"))) == ""
    assert shared_places("{images.stem}/", plan(("a.jpg", "a", "run"), ("b.jpg", "b", "run"))) == ""


@pytest.mark.slow
def test_what_is_known_to_collide_is_told_before_anything_runs(study: Study) -> None:
    for name in "ab":
        study.put(f"images/{name}.txt", name, save=False)
    study.save("images")
    study.pipeline("e", spec("images", "/*", "w"), w='cp "$images" "$PFS/out/sum.txt"\n')
    assert study.minipach("check").code == 0
    assert SAID in study.minipach("schedule").err
    study.put("images/c.txt", "c")
    for command in ("plan", "status", "check"):
        done = study.minipach(command)
        assert (done.code, SAID in done.err) == (2, True), done.err
    assert "e: 1 run, 2 reuse, 1 problem" in study.minipach("plan").out
    dag = study.minipach("dag")
    assert "└── e   blocked  3 datums, 2 stored, 1 missing  " in dag.out
    assert SAID in dag.err
    done = study.minipach("schedule")
    assert (done.code, SAID in done.err) == (2, True)
    assert "run" not in done.err
    assert study.minipach("plan", "--force").code == 0, "what runs again may write other files"
    study.put("e/spec.yml", spec("images", "/*", "w", "minipach: {out: '{name}/'}\n"))
    assert study.schedule()["e"]["counts"]["ran"] == 3
    assert study.minipach("plan").out.startswith("e: nothing to do")
