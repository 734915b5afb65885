"""Edits of specs: comments stay, what others wrote is kept, and each save is a commit that git takes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates import library
from minipach.templates.draft import to_yaml
from minipach.templates.edit import (
    SpecText,
    committed_spec,
    datum_to_exclude,
    input_of,
    inputs_in,
    new_spec,
    preview,
    read_values,
    save_spec,
    save_template,
    with_datum,
    with_values,
    without_datum,
)
from tests.fixtures.projects import Study
from tests.fixtures.stories import sky

TEXT = """\
# why this pipeline is here
input:
  pfs: {repo: images, glob: "/*"}  # all of them
transform:
  cmd:
  - sh   # a shell
  - code/upper.sh
datumTries: 2
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return sky(tmp_path / "sky")


@pytest.fixture
def project(study: Study) -> Project:
    return find_project(study.root)


def code(error: pytest.ExceptionInfo[UserError]) -> str:
    return error.value.problems[0].code


def test_comments_and_all_else_stay() -> None:
    text = with_values(TEXT, {"transform.image": "docker://debian", "datum_tries": 5})
    kept = [line for line in TEXT.splitlines() if "datumTries" not in line]
    assert [line for line in text.splitlines() if "image" not in line or "glob" in line][: len(kept)] == kept
    assert "  image: docker://debian" in text and "datumTries: 5" in text
    back = with_values(text, {"transform.image": None, "datum_tries": 2})
    assert back == TEXT


@pytest.mark.parametrize("value", ["- x", "a: b", "'", '"', "#", "{{ x }}", "yes", "1e3", "\\n", "é\u202e", "null"])
def test_any_text_comes_back(value: str) -> None:
    data = read_values(with_values(TEXT, {"description": value, "transform.cmd": ["sh", value]}))
    assert data is not None and data["description"] == value and data["transform"]["cmd"] == ["sh", value]


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "a: &x [*x]\n", "input: 3\ntransform: x\n"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        with_values(text, {"transform.image": "x"})
    assert code(error) == "compose.broken-yaml"


@pytest.mark.parametrize(
    "data",
    [
        {"pfs": {"repo": "a", "glob": "/*"}},
        {"join": [{"pfs": {"repo": "a", "glob": "/(*)", "join_on": "$1"}}, {"pfs": {"repo": "b", "glob": "/*"}}]},
    ],
)
def test_inputs_of_a_form_are_those_of_the_spec(data: dict[str, Any]) -> None:
    found = inputs_in({"input": data})
    assert found is not None and input_of(*found) == data


def test_nested_inputs_are_no_form() -> None:
    assert inputs_in({"input": {"cross": [{"union": []}]}}) is None
    assert inputs_in({"input": {"cron": {"name": "t", "spec": "@daily"}}}) is None


@pytest.mark.slow
def test_the_effect_is_shown_before_anything_is_written(project: Project, study: Study) -> None:
    assert study.minipach("schedule").code == 0
    spec = committed_spec(project, "edges")
    before = study.git("edges", "status", "--porcelain"), study.git("edges", "rev-parse", "HEAD")
    seen = preview(project, replace(spec, text=with_values(spec.text, {"salt": "again"})))
    assert seen.plan is not None and seen.plan.counts["run"] == 3 and "3 datums" in seen.cost
    assert preview(project, spec).plan.is_current  # type: ignore[union-attr]
    new = new_spec(project, "more", spec.text.replace("code/upper.sh", "x"))
    made = preview(project, new)
    assert made.plan is not None and made.plan.counts["run"] == 3
    broken = preview(project, replace(spec, text="input: {}\n"))
    assert broken.problems and broken.plan is None
    assert not (study.root / "more").exists()
    assert before == (study.git("edges", "status", "--porcelain"), study.git("edges", "rev-parse", "HEAD"))
    assert "current" in study.minipach("status").out


@pytest.mark.slow
def test_a_save_is_a_commit_that_git_takes_back(project: Project, study: Study) -> None:
    assert study.minipach("schedule").code == 0
    spec = committed_spec(find_project(study.root), "edges")
    changed = replace(spec, text=with_values(spec.text, {"description": "a new word"}))
    saved = save_spec(project, changed, "describe it")
    assert study.git("edges", "log", "-1", "--format=%s") == "describe it"
    assert study.git("edges", "show", "--stat", "--format=", saved.commit).strip().startswith("spec.yml")
    with pytest.raises(UserError) as error:
        save_spec(project, replace(changed, text=spec.text), "another")
    assert code(error) == "compose.changed"
    study.git("edges", "revert", "--no-edit", saved.commit)
    assert committed_spec(find_project(study.root), "edges").text == spec.text


@pytest.mark.slow
def test_uncommitted_changes_are_not_overwritten(project: Project, study: Study) -> None:
    assert study.minipach("schedule").code == 0
    spec = committed_spec(find_project(study.root), "edges")
    study.put("edges/spec.yml", spec.text + "# mine\n", save=False)
    with pytest.raises(UserError) as error:
        save_spec(project, replace(spec, text=spec.text + "# other\n"), "")
    assert code(error) == "compose.uncommitted"
    assert (study.root / "edges/spec.yml").read_text().endswith("# mine\n")


@pytest.mark.slow
def test_a_branch_leaves_the_checkout_as_it_is(project: Project, study: Study) -> None:
    assert study.minipach("schedule").code == 0
    spec = committed_spec(find_project(study.root), "edges")
    changed = replace(spec, text=spec.text + "# later\n")
    saved = save_spec(project, changed, "", "idea")
    assert study.git("edges", "show", "idea:spec.yml").endswith("# later")
    assert study.git("edges", "status", "--porcelain") == "" and saved.branch == "idea"
    for name, wanted in (
        ("idea", "branch-exists"),
        ("-x", "bad-branch"),
        ("a..b", "bad-branch"),
        ("a b", "bad-branch"),
    ):
        with pytest.raises(UserError) as error:
            save_spec(project, changed, "", name)
        assert code(error) == f"compose.{wanted}"


def test_a_new_pipeline_is_committed_and_planned(project: Project, study: Study) -> None:
    text = committed_spec_text().replace("code/upper.sh", "x")
    save_spec(project, new_spec(project, "shout", text), "add it")
    assert "shout" in find_project(study.root).order
    for name in ("edges", "a/../b", "../out", "/abs", ".git/x", "bad\0name", "", "x\ny"):
        with pytest.raises(UserError):
            new_spec(project, name, text)


def test_what_a_hook_refuses_is_not_left_behind(project: Project, study: Study) -> None:
    hook = study.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UserError) as error:
        save_spec(project, new_spec(project, "shout", committed_spec_text()), "add it")
    assert code(error) == "compose.not-committed"
    assert not (study.root / "shout").exists() and "shout" not in study.git(".", "status", "--porcelain")


def test_a_template_is_saved_with_its_files_or_not_at_all(project: Project, study: Study) -> None:
    draft = library.render(project, "edges", "outlines", {}, ["images"])
    spec = new_spec(project, "outlines", to_yaml(draft) + "# mine\n")
    hook = study.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UserError):
        save_template(project, spec, draft, "add it")
    assert not (study.root / "outlines").exists() and "outlines" not in study.git(".", "status", "--porcelain")
    hook.unlink()
    saved = save_template(project, spec, draft, "add it")
    names = study.git(".", "show", "--name-only", "--format=%s", saved.commit).split("\n")
    assert names[0] == "add it" and {"outlines/spec.yml", *(f"outlines/{f.path}" for f in draft.files)} <= set(names)
    assert (study.root / "outlines/spec.yml").read_text().endswith("# mine\n")
    with pytest.raises(UserError):
        save_template(project, spec, draft, "again")


def test_a_template_on_a_branch_leaves_the_checkout_as_it_is(project: Project, study: Study) -> None:
    draft = library.render(project, "edges", "contours", {}, ["images"])
    spec = new_spec(project, "contours", to_yaml(draft) + "# mine\n")
    saved = save_template(project, spec, draft, "", "with-files")
    names = study.git(".", "diff", "--name-only", "HEAD", "with-files").split("\n")
    assert set(names) == {"contours/spec.yml", *(f"contours/{file.path}" for file in draft.files)}
    assert study.git(".", "show", "with-files:contours/spec.yml").endswith("# mine")
    assert not (study.root / "contours").exists() and study.git(".", "log", "-1", "--format=%s", "with-files")
    assert saved.branch == "with-files" and saved.undo.endswith("branch -D with-files")
    with pytest.raises(UserError) as error:
        save_template(project, spec, draft, "", "with-files")
    assert code(error) == "compose.branch-exists"


def committed_spec_text() -> str:
    return 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/upper.sh]}\n'


def test_exclude_writes_the_spec_and_keeps_comments() -> None:
    spec = SpecText("edges", "edges/spec.yml", TEXT + "minipach:\n  exclude:\n    - datum: a  # old\n", "x")
    text = without_datum(spec, "moon.txt", "it is dark").text
    assert "# old" in text and "# a shell" in text
    assert read_values(text)["minipach"]["exclude"] == [  # type: ignore[index]
        {"datum": "a"},
        {"datum": "moon.txt", "reason": "it is dark"},
    ]
    with pytest.raises(UserError):
        without_datum(replace(spec, text=text), "moon.txt", "")


def test_an_exclusion_is_taken_back_and_the_others_stay() -> None:
    spec = SpecText("edges", "edges/spec.yml", TEXT, "x")
    two = without_datum(without_datum(spec, "a", ""), "b", "dark")
    one = with_datum(two, "a")
    assert read_values(one.text)["minipach"]["exclude"] == [{"datum": "b", "reason": "dark"}]  # type: ignore[index]
    assert "# a shell" in one.text and read_values(with_datum(one, "b").text) == read_values(TEXT)
    with pytest.raises(UserError) as error:
        with_datum(one, "a")
    assert (code(error), error.value.problems[0].location) == ("exclude.not-there", "edges/spec.yml")


@pytest.mark.parametrize(("word", "want"), [("nosuch", "datum.unknown"), ("*", "datum.ambiguous")])
def test_only_one_datum_can_be_excluded(project: Project, word: str, want: str) -> None:
    with pytest.raises(UserError) as error:
        datum_to_exclude(project, "edges", word)
    assert code(error) == want
    assert datum_to_exclude(project, "edges", "moon*") == "moon.txt"


@pytest.mark.slow
def test_the_command_exclude(study: Study) -> None:
    assert study.minipach("schedule").code == 0
    done = study.minipach("exclude", "edges:moon.txt", "-m", "it is dark")
    assert done.code == 0 and "is left out" in done.out
    assert study.minipach("schedule").code == 0
    assert not (study.root / "edges/moon.txt").exists() and (study.root / "edges/star.txt").exists()
    assert study.minipach("exclude", "edges:moon.txt").code == 2
    head = study.git("edges", "rev-parse", "HEAD")
    assert study.minipach("exclude", "edges:nosuch").code == 2 and study.git("edges", "rev-parse", "HEAD") == head
    assert study.minipach("exclude", "edges:star*").code == 0
    assert study.minipach("exclude", "--undo", "edges:moon.txt").code == 0
    assert "moon.txt" not in (study.root / "edges/spec.yml").read_text()
    assert study.minipach("exclude", "edges").code == 2
