"""`minipach check`: all that is wrong is told at once, by file and line, however many layers it has."""

from __future__ import annotations

import os

from minipach.planning.checks import problems_of
from minipach.project.project import find_project
from tests.fixtures.projects import Study
from tests.fixtures.stories import spec


def test_all_that_is_wrong_is_checked_at_once(study: Study) -> None:
    for name in ("a\nb", "c\nd", "e"):
        study.put(f"images/{name}", name, save=False)
    study.save("images")
    study.copier()
    (study.root / "images" / os.fsdecode(b"f\xff")).write_text("f")
    study.ok("git", "add", ".", cwd=study.root / "images")
    study.ok("git", "commit", "-qm", "odd", cwd=study.root / "images")
    branches = (
        "input: {cross: [{pfs: {repo: images, glob: /, branch: mian}},\n {pfs: {name: x, repo: imags, glob: /}}]}\n"
    )
    study.pipeline("fresh", f"{branches}transform: {{cmd: [x], image: nowhere.sif}}\nnonsense: 1\n")
    study.pipeline("more", f"{branches}transform: {{cmd: [x], image: nowhere.sif}}\n")
    study.pipeline("one", spec("two", "/", "run"), run="true\n")
    study.pipeline("two", spec("one", "/", "run"), run="true\n")
    study.pipeline("three", spec("three", "/", "run"), run="true\n")
    result = study.minipach("check", "more", "nobody", "fresh", "edges", "one", "three")
    assert result.code == 2
    assert result.refusals == [
        ("input.no-such-branch", "fresh/spec.yml:1:55"),
        ("input.no-such-repo", "fresh/spec.yml:2:24"),
        ("image.unknown", "fresh/spec.yml:3:30"),
        ("spec.unknown-field", "fresh/spec.yml:4:1"),
        *[("file.bad-name", "images")] * 3,
        ("input.no-such-branch", "more/spec.yml:1:55"),
        ("input.no-such-repo", "more/spec.yml:2:24"),
        ("image.unknown", "more/spec.yml:3:30"),
        ("project.no-such-pipeline", "nobody"),
        ("project.cycle", "one/spec.yml:1:21"),
        ("project.cycle", "three/spec.yml:1:21"),
    ]
    assert [
        name in problem.message
        for problem, name in zip(result.problems[4:7], ("'a\\nb'", "'c\\nd'", "b'/f\\xff'"), strict=True)
    ] == [True] * 3
    assert ["one -> two -> one" in problem.message for problem in result.problems[-2:]] == [True, False]


def test_a_broken_input_hides_no_repo_branch_or_image(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.pipeline(
        "edges",
        "input:\n"
        "  cross:\n"
        "  - pfs: {repo: imags, glob: '/(', nmae: a}\n"
        "  - pfs: {repo: images, name: b, glob: '/[', branch: mian}\n"
        "  - union: [{pfs: {repo: nowhere, glob: 7, lazy: 3}}, {pfs: {repo: ../x, glob: /, branch: -x}}]\n"
        "transform: {cmd: run, image: nix.sif}\n",
    )
    study.pipeline("after", spec("edges", "/*", "run"), run="true\n")
    problems = sorted(problems_of(find_project(study.root), ["after"]), key=str)
    assert [(problem.location.removeprefix("edges/spec.yml:"), problem.code) for problem in problems] == [
        ("3:17", "input.no-such-repo"),
        ("3:32", "spec.bad-glob"),
        ("3:36", "spec.unknown-field"),
        ("4:42", "spec.bad-glob"),
        ("4:54", "input.no-such-branch"),
        ("5:26", "input.no-such-repo"),
        ("5:50", "spec.bad-value"),
        ("5:68", "spec.bad-repo"),
        ("5:91", "spec.bad-value"),
        ("6:18", "spec.bad-value"),
        ("6:30", "image.unknown"),
    ]
    assert find_project(study.root).upstream_of(["after"]) == ("edges", "after")


def test_a_spec_file_in_a_project_is_checked_against_that(study: Study) -> None:
    study.pipeline("edges", "input: {pfs: {repo: imags, glob: '/('}}\ntransform: {cmd: [run], image: nix.sif}\n")
    inside = study.minipach("check", "edges/spec.yml")
    assert inside == study.minipach("check", "edges")
    assert inside.refusals == [
        ("input.no-such-repo", "edges/spec.yml:1:21"),
        ("spec.bad-glob", "edges/spec.yml:1:36"),
        ("image.unknown", "edges/spec.yml:2:32"),
    ]
    study.pipeline("edges", spec("imags", "/*", "run"), run="true\n")
    assert study.minipach("check", "edges/spec.yml").code == 2
    (study.root / "edges/spec.yml").rename(study.root / "draft.yml")
    assert study.minipach("check", "draft.yml").out == "1 spec checked, no problems\n", "the text alone"


def test_a_pipeline_is_as_sound_as_what_it_depends_on_and_no_less(study: Study) -> None:
    study.put("images/a.txt", "alpha")
    study.copier("first")
    study.copier("second", repo="first")
    study.pipeline("other", "input: {}\n")
    project = find_project(study.root)
    assert problems_of(project, ["second"]) == (), "what first will give isn't known yet, and no problem"
    (study.root / "first/spec.yml").write_text(spec("images", "/*", "copy").replace("{cmd", "{image: nix.sif, cmd"))
    [problem] = problems_of(find_project(study.root), ["second"])
    assert (problem.code, problem.location) == ("image.unknown", "first/spec.yml:2:20")


def test_of_very_many_bad_names_some_are_told(study: Study) -> None:
    for n in range(30):
        study.put(f"images/a\n{n:02}", "a", save=False)
    study.save("images")
    study.copier()
    problems = problems_of(find_project(study.root), ["edges"])
    assert len(problems) == 21
    assert problems[-1].location == "images" and "10" in problems[-1].message
