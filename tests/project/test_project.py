"""A project: which repos and pipelines there are, in which order, and what is wrong with it, clearly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from minipach.project.create import init_project
from minipach.project.discovery import PipelineLocation
from minipach.project.project import Project, find_project
from minipach.support.errors import Problem
from minipach.support.text import suggest
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


# Where a project is


def test_a_project_is_found_from_any_folder_in_it(root: Files) -> None:
    inner = repo(root, "raw/t1")
    (inner.path / "sub-1").mkdir()
    for start in (root.path, root.path / "raw", inner.path / "sub-1"):
        assert find_project(start).root == root.path


def test_a_marked_project_inside_another_dataset_is_the_project(root: Files) -> None:
    outer = dataset(root.path.parent / "outer")
    root.path.rename(outer.path / "project")
    assert find_project(outer.path / "project").root == outer.path / "project"
    assert find_project(outer.path).root == outer.path


def test_a_git_repository_alone_is_told_the_way_that_init_tells(tmp_path: Path) -> None:
    (tmp_path / "old/.git").mkdir(parents=True)
    (tmp_path / "old/sub").mkdir()
    way = f"datalad create --force {tmp_path}/old, then minipach init {tmp_path}/old"
    with refused("project.not-found", tmp_path / "old/sub", way):
        find_project(tmp_path / "old/sub")
    with refused("project.not-a-dataset", tmp_path / "old", way):
        init_project(tmp_path / "old")


def test_no_project_begins_inside_another(root: Files) -> None:
    inner = dataset(root.path / "raw")
    before = (inner.path / ".datalad/config").read_bytes()
    for folder in ("raw", "new"):
        with refused("project.inside-another", root.path / folder, str(root.path)):
            init_project(root.path / folder)
    assert (inner.path / ".datalad/config").read_bytes() == before and not (root.path / "new").exists()


def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    with refused("project.create-failed", "/proc/x"):
        init_project(Path("/proc/x"))


def test_without_a_mark_the_topmost_dataset_is_the_project(tmp_path: Path) -> None:
    top = dataset(tmp_path / "top")
    dataset(top.path / "inner")
    assert find_project(top.path / "inner").root == top.path


def test_a_clone_of_a_pipeline_alone_is_no_project(tmp_path: Path) -> None:
    alone = dataset(tmp_path / "edges")
    alone.put("spec.yml", "input: {}\n")
    assert find_project(alone.path).root == alone.path, "a dataset to adopt, with whatever files"
    alone.put(".minipach/launch", "")
    with refused("project.pipeline-alone"):
        find_project(alone.path)


def test_outside_a_project_the_way_out_is_said(tmp_path: Path) -> None:
    with refused("project.not-found", tmp_path, "minipach init"):
        find_project(tmp_path)
    with refused("project.no-such-folder"):
        find_project(tmp_path / "nothing")


# What it holds


def test_repos_are_found_at_any_depth(root: Files) -> None:
    raw = repo(root, "raw")
    repo(root, "t1", holder=raw)
    repo(root, "deep/er/t2")
    root.git("config", "--file", str(root.path / ".gitmodules"), "submodule.away.path", "../away")
    root.git("config", "--file", str(root.path / ".gitmodules"), "submodule.gone.path", "gone")
    assert Project(root.path).repos == ("deep/er/t2", "gone", "raw", "raw/t1")


def test_what_is_not_installed_is_known_but_for_what_data_repos_hold(root: Files) -> None:
    raw = repo(root, "raw")
    repo(root, "deep/er/t2")
    for holder, path in ((raw, "t1"), (root, "deep/gone")):
        holder.git("config", "--file", str(holder.path / ".gitmodules"), f"submodule.{path}.path", path)
        holder.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{path}")
    project = Project(root.path)
    assert project.repos == ("deep/er/t2", "deep/gone", "raw", "raw/t1")
    assert project.not_installed == ("deep/gone",)


def test_the_inputs_of_a_pipeline_are_no_repos_of_their_own(root: Files) -> None:
    edges = repo(root, "edges")
    repo(root, "inputs/images", holder=edges)
    assert Project(root.path).repos == ("edges",)


def test_pipelines_are_folders_with_a_spec(root: Files) -> None:
    repo(root, "images")
    edges = repo(root, "a/edges")
    edges.put("spec.yml", spec("images"))
    edges.put("code/spec.yml", "no pipeline")
    edges.commit()
    plain(root, "montage", spec("a/edges"))
    plain(root, "b/tracked", spec("images"))
    root.git("add", "b/tracked/spec.yml")
    project = Project(root.path)
    assert project.places == (
        PipelineLocation("a/edges", True),
        PipelineLocation("b/tracked", False),
        PipelineLocation("montage", False),
    )
    assert {path: p.name for path, p in project.pipelines.items()} == {
        "a/edges": "edges",
        "b/tracked": "tracked",
        "montage": "montage",
    }


def test_of_a_dataset_the_committed_spec_counts(root: Files) -> None:
    repo(root, "images")
    edges = repo(root, "edges")
    edges.put("spec.yml", spec("images"))
    edges.commit()
    (edges.path / "spec.yml").write_text("not: valid")
    assert Project(root.path).pipelines["edges"].transform.cmd == ("x",)


# The order


@pytest.fixture
def diamond(root: Files) -> Project:
    """images → a, b → c; and d by itself."""
    repo(root, "images")
    for path, inputs in {"a": ["images"], "b": ["images"], "c": ["b", "a"], "d": ["images"]}.items():
        plain(root, path, spec(*inputs))
    return Project(root.path)


def test_each_pipeline_comes_after_its_inputs(diamond: Project) -> None:
    order = diamond.order
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") > max(order.index("a"), order.index("b"))
    assert diamond.upstream("c") == ("a", "b")
    assert diamond.upstream("a") == ()


def test_downstream_and_selection(diamond: Project) -> None:
    assert diamond.downstream(["a"]) == ("a", "c")
    assert set(diamond.select(["b", "d"])) == {"b", "c", "d"}
    assert diamond.select([]) == diamond.order


def test_a_pipeline_goes_by_its_path_or_its_name(root: Files) -> None:
    repo(root, "images")
    plain(root, "steps/edges", spec("images"))
    project = Project(root.path)
    assert (
        project.path_of("edges") == project.path_of("steps/edges") == project.path_of("steps/edges/") == "steps/edges"
    )
    assert project.name_of("steps/edges") == "edges"
    with refused("project.no-such-pipeline", "egdes", '"edges"'):
        project.path_of("egdes")
    with refused("project.no-such-pipeline", "images", "edges"):
        project.path_of("images")


# What can be wrong


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


def test_a_pipeline_is_found_by_any_spelling_of_its_path(root: Files) -> None:
    plain(root, "deep/edges", spec("images"))
    for name in ("edges", "deep/edges", "deep/edges/", "./deep//edges"):
        assert Project(root.path).path_of(name) == "deep/edges"


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


def test_suggestions() -> None:
    assert suggest("imags", ["images", "edges"]) == 'use "images"'
    assert suggest("zzz", ["b", "a"]) == "use one of: a, b"
    assert suggest("zzz", "abcdefghij") == "use one of: a, b, c, d, e, f, g, h and 2 more"
    assert suggest("mooon", ["moon", *(f"sub-{i:05}" for i in range(5000))]) == 'use "moon"'
    assert suggest("zzz", []) == ""


# Plain folders as inputs


def test_a_plain_folder_is_an_input_of_the_dataset_that_has_it(root: Files) -> None:
    inner = repo(root, "raw")
    (inner.path / "t1").mkdir()
    (root.path / "data" / "deep").mkdir(parents=True)
    plain(root, "edges", spec("data", "data/deep", "raw/t1", "raw", ".").replace(".,", "., name: all,"))
    project = Project(root.path)
    assert project.holders == {"data": "", "data/deep": "", "raw/t1": "raw", ".": ""}
    found = {pfs.repo: (pfs.name, pfs.holder, pfs.folder) for pfs in project.pipelines["edges"].pfs_inputs()}
    assert found["raw/t1"] == ("t1", "raw", "t1") and found["data/deep"] == ("deep", "", "data/deep")
    assert found["raw"] == ("raw", None, "") and found["."] == ("all", "", "")
    assert project.dataset_of("data/deep") == project.dataset_of(".") == root.path
    assert project.dataset_of("raw/t1") == project.dataset_of("raw") == inner.path
    assert not problems(root)


def test_a_folder_that_only_the_commit_has_is_an_input(root: Files) -> None:
    root.put("data/a.txt", "alpha")
    root.commit()
    (root.path / "data" / "a.txt").unlink()
    (root.path / "data").rmdir()
    plain(root, "edges", spec("data"))
    assert Project(root.path).holders == {"data": ""} and not problems(root)


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
