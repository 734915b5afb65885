"""The plan: each datum's action, and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.datums.identity import IdentityRecipe
from minipach.model.datum import Datum, Match, Task
from minipach.model.job_entries import FailedJob, Failure, Repeated
from minipach.model.outside import Outside, beside
from minipach.planning.plan import (
    ACTIONS,
    Plan,
    PlannedDatum,
    equal_content_hint,
    force_datums,
    make_plan,
    mark_failures,
    mark_new_names,
    publish_forced,
    reason_for,
    skip_repeated_failures,
    visible_names_note,
)
from minipach.records.published_state import Published
from minipach.records.results_branch import Result
from minipach.support.text import short

RECIPE = IdentityRecipe({"cmd": ["sh", "code/x.sh"], "out": "/"}, "SHA256--aaaaaaaaaa", "code1")


class Shelf:
    """Known results in memory."""

    def __init__(self, *results: tuple[Result, Sequence[str]]) -> None:
        self._results = [r for r, _ in results]
        self._files = {(r.id, r.name): paths for r, paths in results}

    def __contains__(self, datum_id: str) -> bool:
        return any(r.id == datum_id for r in self._results)

    def of(self, datum_id: str) -> tuple[Result, ...]:
        return tuple(r for r in self._results if r.id == datum_id)

    def named(self, datum_id: str, name: str) -> Result | None:
        return next((r for r in self.of(datum_id) if r.name == name), None)


def match(path: str, input: str = "images", **more: Any) -> Match:
    values: dict[str, Any] = {"captures": (), "join_on": "", "group_by": "", "lazy": False, "empty_files": False}
    return Match(input=input, repo=input, branch=None, path=path, **{**values, **more})


def task(name: str, datum_id: str, dest: str = "") -> Task:
    return Task(Datum(name, (match("/" + name),)), datum_id, dest)


def result(name: str, datum_id: str, dest: str = "", **more: Any) -> Result:
    values: dict[str, Any] = {
        "where": f"{datum_id[:2]}/{datum_id}",
        "tree": "tree",
        "words": (),
        "matches": (("images", "images", "/" + name),),
        "recipe": RECIPE.as_json(),
        "inputs": {},
        "variables": {},
        "record": "record",
        "author": "A",
        "code_tree": "",
    }
    return Result(id=datum_id, name=name, dest=dest, **{**values, **more})


def published(*rows: tuple[str, str, str]) -> dict[str, Published]:
    return {name: Published(name, datum_id, dest) for name, datum_id, dest in rows}


def plan(
    *tasks: Task, state: Mapping[str, Published] | None = None, known: Shelf | None = None, blocked: str = ""
) -> dict[str, tuple[str, str]]:
    """Name → (action, reason)."""
    return {s.name: (s.action, s.reason) for s in steps(*tasks, state=state, known=known, blocked=blocked).steps}


def steps(
    *tasks: Task, state: Mapping[str, Published] | None = None, known: Shelf | None = None, blocked: str = ""
) -> Plan:
    return make_plan(
        "edges",
        tasks,
        state=state or {},
        known=known or Shelf(),
        explain=lambda t, before: f"{before.id} became {t.id}",
        blocked=blocked,
    )


# Actions


def test_what_is_new_runs() -> None:
    assert plan(task("a", "1")) == {"a": ("run", "new content")}


def test_what_changed_runs_and_is_explained() -> None:
    assert plan(task("a", "2"), state=published(("a", "1", ""))) == {"a": ("run", "1 became 2")}


def test_what_is_published_is_current_even_if_its_result_is_lost() -> None:
    assert plan(task("a", "1"), state=published(("a", "1", ""))) == {"a": ("current", "")}


def test_a_new_place_is_no_longer_current() -> None:
    found = steps(task("a", "1", "new"), state=published(("a", "1", "old")), known=Shelf((result("a", "1"), ["a"])))
    assert [(s.action, s.reason) for s in found.steps] == [("reuse", "computed before")]


def test_what_was_computed_before_is_reused() -> None:
    stored = result("a", "1")
    [step] = steps(task("a", "1"), known=Shelf((stored, ["a.txt"]))).steps
    assert (step.action, step.reason, step.source) == ("reuse", "computed before", stored)


def test_ones_own_result_goes_before_anothers() -> None:
    known = Shelf((result("a", "1"), ["a.txt"]), (result("b", "1"), ["b.txt"]))
    assert plan(task("b", "1"), known=known) == {"b": ("reuse", "computed before")}


def test_of_equal_datums_the_first_runs_and_the_others_wait_for_it() -> None:
    found = steps(task("a", "1"), task("b", "1"), task("c", "1"), task("d", "2"))
    assert [(s.name, s.action, s.reason) for s in found.steps] == [
        ("a", "run", "new content"),
        ("b", "reuse", "same content as a"),
        ("c", "reuse", "same content as a"),
        ("d", "run", "new content"),
    ]
    assert all(s.source is None for s in found.steps)


def test_what_is_no_longer_matched_is_removed_last() -> None:
    found = steps(task("m", "1"), state=published(("z", "3", ""), ("b", "2", "")))
    assert [(s.name, s.id, s.action, s.reason, s.task) for s in found.steps[1:]] == [
        ("b", "2", "remove", "no longer matched", None),
        ("z", "3", "remove", "no longer matched", None),
    ]


def test_blocked_decides_nothing_but_what_is_current() -> None:
    state = published(("a", "1", ""), ("b", "1", ""), ("gone", "9", ""))
    known = Shelf((result("c", "3"), ["c"]))
    found = plan(task("a", "1"), task("b", "2"), task("c", "3"), state=state, known=known, blocked="waits for x")
    waits = ("blocked", "waits for x")
    assert found == {"a": ("current", ""), "b": waits, "c": waits, "gone": waits}


def test_an_empty_plan_is_current() -> None:
    assert steps().is_current
    assert steps(blocked="waits").is_current


# Names


def test_a_datum_whose_names_stay_visible_says_why() -> None:
    seen = task("a", "1")._replace(visible='"a" is in its name twice')
    made = steps(seen)
    assert made.steps[0].reason == 'new content; its names stay visible: "a" is in its name twice'
    assert made.as_json()["datums"][0]["visible"] == '"a" is in its name twice'
    part = task("a", "1")._replace(words=("a.b",), visible='{images.stem} is "a", a part of its name')
    wanted = 'new content; a part of its name is visible: {images.stem} is "a", a part of its name'
    assert steps(part).steps[0].reason == wanted
    assert visible_names_note([seen]) == '1 datum with visible names, which count: a: "a" is in its name twice'
    assert visible_names_note([seen, seen, seen]).endswith("twice (and 2 more; minipach plan --json)")


def test_what_would_pay_is_said_in_plain_words() -> None:
    assert equal_content_hint(12) == (
        '12 datums have the same content as others; with "identity: content" they would be computed once '
        "(docs/design/identity.md)"
    )
    assert equal_content_hint(1).startswith('1 datum has the same content as others; with "identity: content" it would')


# Counts, JSON


def test_counts_follow_from_the_steps() -> None:
    found = Plan(
        "p",
        (
            PlannedDatum("0", "id", "run", ""),
            PlannedDatum("1", "id", "run", ""),
            PlannedDatum("2", "id", "current", ""),
        ),
    )
    assert found.counts == {"run": 2, "reuse": 0, "current": 1, "remove": 0, "skip": 0, "blocked": 0}
    assert not found.is_current
    assert [s.name for s in found.of("run")] == ["0", "1"]


def test_the_json_is_as_documented() -> None:
    assert steps(task("a", "1")).as_json() == {
        "name": "edges",
        "counts": {"run": 1, "reuse": 0, "current": 0, "remove": 0, "skip": 0, "blocked": 0},
        "datums": [{"name": "a", "id": "1", "action": "run", "reason": "new content"}],
    }


def test_the_json_says_for_whom_it_waits() -> None:
    assert Plan("montage", (), "waits for edges").as_json()["waits"] == "waits for edges"


_tasks = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)


@given(_tasks, _tasks, st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("123")), unique=True))
def test_a_plan_is_whole(now: dict[str, str], before: dict[str, str], stored: list[tuple[str, str]]) -> None:
    """Each datum has one step, nothing that is known runs, and of one id at most one datum runs without need."""
    known = Shelf(*((result(name, i), [f"{name}.txt"]) for name, i in stored))
    state = published(*((name, i, "") for name, i in before.items()))
    found = steps(*(task(name, i) for name, i in now.items()), state=state, known=known)
    assert [s.name for s in found.steps] == [*now, *sorted(before.keys() - now.keys())]
    assert sum(found.counts.values()) == len(found.steps)
    assert tuple(found.counts) == ACTIONS
    runs = [s.id for s in found.of("run")]
    assert len(set(runs)) == len(runs)
    assert not any(i in known for i in runs)
    for step in found.of("current"):
        assert before[step.name] == step.id == now[step.name]
    for step in found.of("reuse"):
        assert (step.source is not None) == (step.id in known)
        assert step.source is not None or step.id in runs


@given(
    _tasks,
    _tasks,
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("123")), unique=True),
    st.integers(0, 20),
)
def test_a_plan_from_an_earlier_one_is_the_same(
    now: dict[str, str], before: dict[str, str], stored: list[tuple[str, str]], kept: int
) -> None:
    """Of the same tasks and the same state, when more results are known than then."""
    results = [(result(name, i), [f"{name}.txt"]) for name, i in stored]
    state = published(*((name, i, "") for name, i in before.items()))
    tasks = [task(name, i) for name, i in now.items()]
    earlier = steps(*tasks, state=state, known=Shelf(*results[:kept]))
    fresh = steps(*tasks, state=state, known=Shelf(*results))
    again = make_plan(
        "edges",
        tasks,
        state=state,
        known=Shelf(*results),
        explain=lambda t, b: f"{b.id} became {t.id}",
        earlier=earlier,
    )
    assert again == fresh
    of_then = {s.name: s for s in earlier.of("current")}
    assert all(s is of_then[s.name] for s in again.of("current"))


# Forced


def test_forced_datums_run_whatever_is_known() -> None:
    known = Shelf((result("b", "2"), ["b"]))
    made = steps(task("a", "1"), task("b", "2"), task("c", "3"), state=published(("a", "1", "")), known=known)
    found = force_datums(made, {"a", "b", "c"})
    assert [(s.action, s.reason, s.source) for s in found.steps] == [
        ("run", "forced", None),
        ("run", "forced", None),
        ("run", "new content", None),
    ]
    assert force_datums(made, set()) == made


def test_what_is_removed_cannot_be_forced() -> None:
    made = steps(state=published(("a", "1", "")))
    assert force_datums(made, {"a"}) == made


def test_a_forced_result_is_published_again() -> None:
    stored = result("a", "1")
    made = steps(task("a", "1"), task("b", "2"), state=published(("a", "1", ""), ("b", "2", "")))
    found = publish_forced(made, {"a"}, Shelf((stored, ["a"])))
    assert [(s.action, s.source) for s in found.steps] == [("reuse", stored), ("current", None)]


# Names


def skipped(*kept: str, limit: float | None = 60.0, others: Sequence[Task] = ()) -> tuple[str, str]:
    """What becomes of a datum that failed so in as many jobs."""
    failed = {"1": Repeated(tuple(FailedJob("a", "it failed", one) for one in kept))}
    limits = {} if limit is None else {"time": limit}
    step = skip_repeated_failures(steps(task("a", "1"), *others), failed, lambda: Outside(limits, "/")).steps[0]
    return step.action, step.reason


def test_what_failed_in_two_jobs_is_skipped_until_its_limit_is_higher() -> None:
    skip = ("skip", "failed in 2 jobs with this content: it failed")
    assert skipped("", "", limit=120.0) == skip
    assert skipped("time=60", "time=60") == skip
    assert skipped("time=60", "time=60", limit=30.0) == skip
    assert skipped("time=60", "time=60", limit=120.0) == (
        "run",
        "failed at the limit of 60 s, which is 120 s now: runs again",
    )
    assert skipped("time=60", "", limit=120.0)[0] == "run"  # of the rest, one is too few
    assert skipped("time=60", "", "", limit=120.0)[0] == "skip"
    assert skipped("time=60", "time=60", limit=None)[1].endswith("which is gone now: runs again")


def test_a_limit_that_cannot_be_known_changes_nothing() -> None:
    failed = {"1": Repeated((FailedJob("a", "it failed", "time=60"),) * 2)}
    assert skip_repeated_failures(steps(task("a", "1")), failed, lambda: None).steps[0].action == "skip"


def test_what_was_in_the_way_of_another_datum_counts_while_it_is_there() -> None:
    kept = beside("2", "b", "a", "/")
    assert skipped(kept, kept, others=[task("b", "2")])[0] == "skip"
    assert skipped(kept, kept, others=[task("b", "3")])[0] == "run"
    assert skipped(kept, kept)[0] == "run"


def test_a_renamed_datum_has_a_new_name_and_no_new_content() -> None:
    contents = {"1": "x", "2": "x", "3": "y", "4": "z", "5": "z"}
    made = steps(
        task("b", "2"), task("c", "3"), task("d", "4"), task("e", "5"), state=published(("a", "1", ""), ("d", "4", ""))
    )
    found = mark_new_names(made, lambda step: contents[step.id])
    assert {s.name: s.reason for s in found.steps} == {
        "b": "new name (the content is that of a)",
        "c": "new content",
        "d": "",
        "e": "new name (the content is that of d)",
        "a": "no longer matched",
    }
    assert mark_new_names(made, lambda step: None) == made, "whose content nobody knows"
    only_new = replace(made, steps=tuple(step for step in made.steps if step.action == "run"))
    asked: list[str] = []
    assert mark_new_names(only_new, lambda step: asked.append(step.name)) == only_new and asked == []


# What failed before


def test_what_failed_last_time_says_so() -> None:
    made = steps(*(task(n, i) for n, i in zip("abcdef", "123456", strict=True)), state=published(("d", "0", "")))
    failures = {
        "a": Failure("1", "failed", "the command exited with 3", 1),
        "b": Failure("2", "lost", "no remote has it", 4),
        "c": Failure("0", "failed", "of other content", 1),
        "d": Failure("4", "failed", "timed out after 5 s", 2),
        "e": Failure("5", "recovered", "the command exited with 1", 1),
    }
    assert [s.reason for s in mark_failures(made, failures).steps] == [
        "failed last time: the command exited with 3",
        "could not be run the last 4 times: no remote has it",
        "new content",
        "0 became 4; failed the last 2 times: timed out after 5 s",
        "recovered, without output, last time: the command exited with 1",
        "new content",
    ]
    assert mark_failures(made, {}) is made


# Reasons


def reason(
    old: Result | None,
    *,
    new: IdentityRecipe = RECIPE,
    inputs: Mapping[str, Sequence[Any]] | None = None,
    of: Task | None = None,
    code: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> str:
    return reason_for(
        old=old,
        new=new,
        inputs=inputs or {},
        task=of or task("a.png", "2"),
        code_changes=lambda: code,
        image_label="opencv",
        variables=variables,
    )


def test_the_image_is_named_with_both_contents() -> None:
    found = reason(result("a", "1"), new=replace(RECIPE, image="SHA256--bbbbbbbbbb"))
    assert found == "image opencv changed (sha256 aaaaaaaa… → sha256 bbbbbbbb…)"


def test_changed_code_is_named_by_file() -> None:
    new = replace(RECIPE, code="code2")
    assert (
        reason(result("a", "1"), new=new, code=["code/x.sh", "../lib/y.py"]) == "code/x.sh changed; ../lib/y.py changed"
    )
    assert reason(result("a", "1"), new=new) == "code/ or another of its own files changed"


def test_many_changes_are_counted() -> None:
    new = replace(RECIPE, code="code2")
    assert reason(result("a", "1"), new=new, code=list("abcde")).endswith("c changed; and 2 more")


def test_a_changed_transform_is_named_by_field() -> None:
    new = replace(RECIPE, transform={"cmd": ["sh"], "out": "/", "env": {"A": "1"}})
    assert reason(result("a", "1"), new=new) == "cmd changed; env changed"


def _with(*rows: tuple[str, str, bool], input: str = "images") -> Result:
    return result("a", "1", inputs={input: [list(row) for row in rows]})


def test_a_changed_file_is_named_by_its_path() -> None:
    old = _with(("a.png", "1", False))
    assert reason(old, inputs={"images": [("a.png", "2", False)]}) == "inputs images:/a.png changed"


def test_a_changed_file_in_a_folder_is_named_by_its_path() -> None:
    old = _with(("d/b/x.png", "1", False), ("d/y.png", "1", False), ("d/same", "1", False))
    new = {"images": [("d/b/x.png", "2", False), ("d/z.png", "1", False), ("d/same", "1", False)]}
    found = reason(old, inputs=new, of=task("d", "2"))
    assert found == "inputs images:/d/b/x.png changed; inputs images:/d/y.png changed; inputs images:/d/z.png changed"


def test_a_changed_file_is_named_as_people_know_it_where_the_command_does_not() -> None:
    hidden = Task(Datum("s1", (match("/s1"),)), "2", "", ("s1",))
    rows = [["datum/x.nii", "1", False], ["datum/y.nii", "1", False]]
    old = result("s1", "1", words=("s1",), inputs={"images": rows})
    new = {"images": [("datum/x.nii", "2", False), ("datum/y.nii", "1", False)]}
    assert reason(old, inputs=new, of=hidden) == "inputs images:/s1/x.nii changed"


def test_another_identity_is_no_change_of_the_inputs() -> None:
    hidden = Task(Datum("s1", (match("/s1"),)), "2", "", ("s1",))
    new = {"images": [("datum/x.nii", "1", False)]}
    assert reason(_with(("s1/x.nii", "1", False)), inputs=new, of=hidden) == "minipach.identity changed"


def test_a_changed_variable_is_named() -> None:
    old = result("a", "1", inputs={"images": []}, variables={"MINIPACH_DATUM": "a", "{1}": "x"})
    found = reason(old, inputs={"images": []}, variables={"MINIPACH_DATUM": "a", "{1}": "y"})
    assert found == "{1} changed"


def test_an_input_that_is_no_longer_there_is_named() -> None:
    old = result("a", "1", inputs={"images": [[".png", "1", False]], "t2": [[".nii", "1", False]]})
    assert reason(old, inputs={"images": [(".png", "1", False)]}) == "inputs t2 changed"


def test_without_the_old_result_there_is_no_more_to_say() -> None:
    assert reason(None) == "its published result isn't known here"
    assert reason(result("a", "1")) == "identity changed"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("SHA256--0123456789", "sha256 01234567…"),
        ("git:0123456789", "git 01234567…"),
        ("", ""),
    ],
)
def test_contents_are_short_for_people(content: str, shown: str) -> None:
    assert short(content) == shown
