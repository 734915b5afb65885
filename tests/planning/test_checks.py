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
    branch = study.git("images", "branch", "--show-current")
    assert result.err.splitlines() == [
        f'fresh/spec.yml:1:55: no branch "mian" in images. Fix: use one of: {branch}',
        'fresh/spec.yml:2:24: no repo "imags" in this project. Fix: use "images"',
        'fresh/spec.yml:3:30: image "nowhere.sif" is neither a registered container nor a file. Fix: '
        "write its path as seen from the project",
        'fresh/spec.yml:4:1: unknown key "nonsense". Fix: use one of: '
        + result.err.partition('"nonsense". Fix: use one of: ')[2].partition("\n")[0],
        "images: the file name 'a\\nb' contains a line break, which datalad cannot save or rerun. Fix: rename it",
        "images: the file name 'c\\nd' contains a line break, which datalad cannot save or rerun. Fix: rename it",
        "images: the file name b'/f\\xff' is not UTF-8. Fix: rename it",
        f'more/spec.yml:1:55: no branch "mian" in images. Fix: use one of: {branch}',
        'more/spec.yml:2:24: no repo "imags" in this project. Fix: use "images"',
        'more/spec.yml:3:30: image "nowhere.sif" is neither a registered container nor a file. Fix: '
        "write its path as seen from the project",
        "nobody: no such pipeline in this project. Fix: use one of: edges, fresh, more, one, three, two",
        "one/spec.yml:1:21: these pipelines wait for each other: one -> two -> one. Fix: remove one of these inputs",
        "three/spec.yml:1:21: these pipelines wait for each other: three -> three. Fix: remove one of these inputs",
    ]


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
    problems = list(map(str, problems_of(find_project(study.root), ["after"])))
    told = [problem.partition(" ")[::2] for problem in sorted(problems)]
    assert [(place.removeprefix("edges/spec.yml:"), what[:22]) for place, what in told] == [
        ("3:17:", 'no repo "imags" in thi'),
        ("3:32:", 'the glob "/(" can\'t be'),
        ("3:36:", 'unknown key "nmae". Fi'),
        ("4:42:", 'the glob "/[" can\'t be'),
        ("4:54:", 'no branch "mian" in im'),
        ("5:26:", 'no repo "nowhere" in t'),
        ("5:50:", "true or false is neede"),
        ("5:68:", '"../x" leads out by `.'),
        ("5:91:", '"-x" can\'t be a branch'),
        ("6:18:", "a list of words is nee"),
        ("6:30:", 'image "nix.sif" is nei'),
    ]
    assert find_project(study.root).upstream_of(["after"]) == ("edges", "after")


def test_a_spec_file_in_a_project_is_checked_against_that(study: Study) -> None:
    study.pipeline("edges", "input: {pfs: {repo: imags, glob: '/('}}\ntransform: {cmd: [run], image: nix.sif}\n")
    inside = study.minipach("check", "edges/spec.yml")
    assert inside == study.minipach("check", "edges")
    assert [line[:22] for line in inside.err.splitlines()] == [
        "edges/spec.yml:1:21: n",
        "edges/spec.yml:1:36: t",
        "edges/spec.yml:2:32: i",
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
    [problem] = map(str, problems_of(find_project(study.root), ["second"]))
    assert problem.startswith('first/spec.yml:2:20: image "nix.sif" is neither a registered container')


def test_of_very_many_bad_names_some_are_told(study: Study) -> None:
    for n in range(30):
        study.put(f"images/a\n{n:02}", "a", save=False)
    study.save("images")
    study.copier()
    problems = list(map(str, problems_of(find_project(study.root), ["edges"])))
    assert len(problems) == 21
    assert problems[-1] == "images: there are 10 more such names"
