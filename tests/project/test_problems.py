"""The problems of a project's pipelines: names, repos, cycles, plain folders."""

from __future__ import annotations

from itertools import pairwise

import pytest

from minipach.project.project import Project
from minipach.support.errors import Problem
from tests.fixtures.plain_projects import dataset, plain, repo, root, spec
from tests.fixtures.refusals import refused
from tests.fixtures.repos import Files

__all__ = ["root"]  # the fixture


def problems(root: Files) -> tuple[Problem, ...]:
    project = Project(root.path)
    return tuple(project.trouble(project.order))


def brief(root: Files) -> list[tuple[str, str, str]]:
    """Code, location and fix of each problem."""
    return [(problem.code, problem.location, problem.fix) for problem in problems(root)]


def test_a_cycle_is_shown_as_one(root: Files) -> None:
    for path, upstream in {"a": "c", "b": "a", "c": "b"}.items():
        plain(root, path, spec(upstream))
    [problem] = problems(root)
    assert (problem.code, problem.location) == ("project.cycle", "a/spec.yml:1:30")
    circle = problem.message.rpartition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    upstream = {"a": "c", "b": "a", "c": "b"}
    # each waits for the next
    assert all(upstream[here] == there for here, there in pairwise(circle))


def test_a_pipeline_cannot_be_its_own_input(root: Files) -> None:
    plain(root, "a", spec("a"))
    assert "a -> a" in problems(root)[0].message


def test_a_missing_repo_is_named_with_the_nearest_one(root: Files) -> None:
    repo(root, "images")
    plain(root, "edges", spec("image"))
    plain(root, "other", spec("xyz"))
    assert brief(root) == [
        ("input.no-such-repo", "edges/spec.yml:1:30", 'use "images"'),
        ("input.no-such-repo", "other/spec.yml:1:30", "use one of: edges, images, other"),
    ]


def test_a_missing_repo_is_placed_in_any_combination_and_where_the_spec_has_other_problems_too(root: Files) -> None:
    repo(root, "images")
    text = """\
input:
  cross:
    - pfs: {repo: images, glob: /}
    - union:
        - pfs: {name: x, repo: "imags", glob: /}
        - join:
            - pfs: {glob: /, name: y, repo: image, join_on: $0}
            - group: [{pfs: {repo: edge, glob: /, join_on: $0, group_by: $0}}]
transform: {cmd: [x]}
"""
    plain(root, "edges", text)
    wanted = [
        ("edges/spec.yml:5:32", "images"),
        ("edges/spec.yml:7:45", "images"),
        ("edges/spec.yml:8:36", "edges"),
    ]
    told = [("input.no-such-repo", where, f'use "{near}"') for where, near in wanted]
    assert brief(root) == told
    (root.path / "edges/spec.yml").write_text(text + "nonsense: 1\n")
    *as_before, unknown = brief(root)
    assert as_before == told
    assert unknown[:2] == ("spec.unknown-field", "edges/spec.yml:10:1")


def test_a_dataset_that_nobody_registered_is_no_repo_and_the_way_out_is_said(root: Files) -> None:
    dataset(root.path / "images")
    plain(root, "edges", spec("images"))
    assert brief(root) == [("repo.not-registered", "edges/spec.yml:1:30", f"datalad save -d {root.path} images")]


def test_a_repo_that_is_a_link_or_has_no_commit_is_told_with_its_own_way_out(root: Files) -> None:
    repo(root, "images")
    (root.path / "pictures").symlink_to("images")
    fresh = Files.create(root.path / "fresh")
    plain(root, "edges", spec("pictures", "fresh"))
    link, no_commit = problems(root)
    assert '"pictures"' in link.message and '"images"' in link.fix
    fix = f"git -C {fresh.path} commit --allow-empty -m begin && datalad save -d {root.path} fresh"
    assert '"fresh"' in no_commit.message and no_commit.fix == fix
    assert [link.code, no_commit.code] == ["input.is-a-link", "repo.not-registered"]


def test_a_spec_whose_content_is_elsewhere_is_a_problem_and_not_overlooked(root: Files) -> None:
    """In a clone of a project that annexes all, before its first schedule."""
    repo(root, "images")
    for name in ("link", "pointer"):
        plain(root, name, spec("images"))
    (root.path / "link/spec.yml").unlink()
    (root.path / "link/spec.yml").symlink_to("../.git/annex/objects/x/y/MD5E-s3--aa.yml/MD5E-s3--aa.yml")
    (root.path / "pointer/spec.yml").write_text("/annex/objects/MD5E-s3--0123456789abcdef0123456789abcdef.yml\n")
    assert brief(root) == [
        ("spec.content-missing", f"{name}/spec.yml", f"datalad get {root.path}/{name}/spec.yml")
        for name in ("link", "pointer")
    ]


def test_what_is_broken_keeps_nothing_else_from_being_known(root: Files) -> None:
    """images -> good; good and a broken one -> after; two that wait for each other."""
    repo(root, "images")
    plain(root, "good", spec("images"))
    plain(root, "bad", spec("images") + "nonsense: 1\n")
    plain(root, "after", spec("bad", "good"))
    plain(root, "one", spec("two"))
    plain(root, "two", spec("one", "good"))
    project = Project(root.path)
    assert set(project.pipelines) == {"good", "after", "one", "two"}
    assert project.problems.keys() == {"bad", "one", "two"}
    assert project.problems["one"] == project.problems["two"]
    assert project.upstream("bad") == (), "images is no pipeline"
    assert project.order.index("after") > max(map(project.order.index, ("good", "bad")))
    assert project.trouble(["good"]) == ()
    assert project.trouble(["after"]) == project.problems["bad"]
    assert set(project.downstream(["good"])) == {"good", "after", "one", "two"}
    assert [p.location for p in project.trouble(project.order)] == ["bad/spec.yml:3:1", "one/spec.yml:1:30"]
    with refused("spec.unknown-field", "bad/spec.yml:3:1"):
        project.pipeline("bad")


def test_two_pipelines_of_one_name_are_both_named(root: Files) -> None:
    repo(root, "images")
    plain(root, "a/edges", spec("images"))
    plain(root, "b/edges", spec("images"))
    [problem] = problems(root)
    assert (problem.code, problem.location) == ("project.name-taken", "b/edges/spec.yml")
    assert "'edges'" in problem.message and "a/edges" in str(problem)


def test_the_problems_of_all_specs_come_at_once(root: Files) -> None:
    plain(root, "a", "input: {}\n")
    plain(root, "b", "nonsense: 1\n")
    (root.path / "c").mkdir()
    (root.path / "c" / "spec.yml").write_bytes(b"\xff")
    found = problems(root)
    assert {problem.location.split("/")[0] for problem in found} == {"a", "b", "c"}
    assert "spec.not-utf8" in {problem.code for problem in found}


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("edges", "project.cycle"),
        ("edges/code", "input.in-pipeline"),
        (".git/hooks", "input.not-data"),
        (".datalad/x", "input.not-data"),
        ("inside", "input.is-a-link"),
        ("outside", "input.is-a-link"),
        ("data/up/etc", "input.is-a-link"),
        ("data/a.txt", "input.is-a-file"),
        ("data/annexed", "input.is-a-file"),
        ("dat", "input.no-such-repo"),
    ],
)
def test_what_is_no_plain_folder_is_refused_in_one_line(root: Files, named: str, code: str) -> None:
    root.put("data/a.txt", "alpha")
    (root.path / "inside").symlink_to("data")
    (root.path / "outside").symlink_to("/etc")
    (root.path / "data" / "up").symlink_to("/")
    (root.path / ".git" / "key").write_text("beta")
    (root.path / "data" / "annexed").symlink_to("../.git/key")
    root.put(".datalad/x/y")
    plain(root, "edges", spec(named))
    (root.path / "edges" / "code").mkdir()
    assert [problem.code for problem in problems(root)] == [code]
    assert Project(root.path).holders == {}


def test_a_folder_with_a_similar_name_is_suggested(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    plain(root, "edges", spec("Data"))
    ((_, _, fix),) = brief(root)
    assert "data" in fix and ".git" not in fix


def test_a_trigger_of_a_plain_folder_is_refused(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    plain(root, "edges", spec("data").replace("repo: data", "repo: data, trigger: {commits: 2}"))
    assert [problem.code for problem in problems(root)] == ["input.trigger-of-folder"]
