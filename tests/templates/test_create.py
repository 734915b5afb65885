"""`minipach.templates.create`: a new pipeline's folder appears whole or not at all, and works as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates.create import NewPipeline, commit, draft_of, write
from tests.fixtures.plain_projects import plain, repo, root, spec
from tests.fixtures.projects import Study
from tests.fixtures.repos import Files

__all__ = ["root"]


@pytest.fixture
def project(root: Files) -> Project:
    """A project with one dataset of pictures."""
    images = repo(root, "images")
    images.put("a.png", "1")
    images.put("b.png", "2")
    images.commit()
    root.commit()
    return find_project(root.path)


def code_of(project: Project, wanted: NewPipeline) -> str:
    with pytest.raises(UserError) as caught:
        draft_of(project, wanted, project.root)
    return caught.value.problems[0].code


def test_the_files_are_there_and_the_pipeline_is_seen(project: Project) -> None:
    draft = draft_of(project, NewPipeline("sizes"), project.root)
    assert write(project, "sizes", draft) == ["sizes/code/run.sh", "sizes/spec.yml"]
    assert "sizes" in find_project(project.root).pipelines
    assert os.access(project.root / "sizes/code/run.sh", os.X_OK)
    assert list(project.local.drafts.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../x", "new.bad-name"),
        ("/tmp/x", "new.bad-name"),
        (".git/x", "new.bad-name"),
        ("a/../b", "new.bad-name"),
        ("with space", "new.bad-name"),
        ("-x", "new.bad-name"),
        ("link/x", "new.bad-name"),
        ("file/x", "new.bad-name"),
        ("images", "new.exists"),
        ("there", "new.exists"),
        ("deep/there", "new.exists"),
    ],
)
def test_names_that_are_refused(root: Files, project: Project, name: str, code: str, tmp_path: Path) -> None:
    (project.root / "link").symlink_to(tmp_path)
    (project.root / "file").write_text("")
    plain(root, "there", spec("images"))
    assert code_of(find_project(project.root), NewPipeline(name)) == code


def test_a_command_may_name_parameters_of_the_working_tree(project: Project) -> None:
    wanted = NewPipeline("sizes", command=["echo", "{{ params.level }}"])
    assert code_of(project, wanted) == code_of(project, NewPipeline("sizes", command=["echo", "{{ ().__class__ }}"]))
    (project.root / "params.yml").write_text("sizes: {level: 3}\n")
    assert draft_of(project, wanted, project.root).spec["transform"]["cmd"][1] == "{{ params.level }}"


def test_nothing_is_overwritten(project: Project) -> None:
    (project.root / "sizes/code").mkdir(parents=True)
    (project.root / "sizes/code/run.sh").write_text("mine")
    draft = draft_of(project, NewPipeline("sizes"), project.root)
    with pytest.raises(UserError):
        write(project, "sizes", draft)
    assert (project.root / "sizes/code/run.sh").read_text() == "mine"
    assert not (project.root / "sizes/spec.yml").exists()


def test_a_folder_with_other_files_keeps_them(project: Project) -> None:
    (project.root / "sizes").mkdir()
    (project.root / "sizes/notes.txt").write_text("mine")
    write(project, "sizes", draft_of(project, NewPipeline("sizes"), project.root))
    assert sorted(os.listdir(project.root / "sizes")) == ["code", "notes.txt", "spec.yml"]


def test_a_folder_of_an_input_is_no_place_for_a_pipeline(root: Files, project: Project) -> None:
    plain(root, "edges", spec("images"))
    project = find_project(project.root)
    with pytest.raises(UserError) as caught:
        write(project, "images/sizes", draft_of(project, NewPipeline("images/sizes"), project.root))
    assert caught.value.problems[0].code == "new.not-seen"
    assert not (project.root / "images/sizes").exists()


def test_a_commit_holds_the_new_files_alone(root: Files, project: Project) -> None:
    root.put("staged.txt", "mine")
    root.git("add", "staged.txt")
    paths = write(project, "sizes", draft_of(project, NewPipeline("sizes"), project.root))
    commit(project, "sizes", paths)
    assert root.git("show", "--name-only", "--format=%s", "HEAD").decode().splitlines() == [
        "add the pipeline sizes",
        "",
        *paths,
    ]
    assert root.git("diff", "--cached", "--name-only") == b"staged.txt\n"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (NewPipeline("n", "absent.py"), "new.no-source"),
        (NewPipeline("n", "Snakefile", ["images"]), "new.two-inputs"),
        (NewPipeline("n", "x.json", arguments=["a=1"]), "new.no-arguments"),
        (NewPipeline("n", "x.py:part"), "new.no-part"),
        (NewPipeline("n", "x.json", ["images"]), "new.two-inputs"),
        (NewPipeline("n", "x.json"), "new.no-spec"),
        (NewPipeline("n", inputs=["nowhere"]), "new.no-repo"),
        (NewPipeline("n", inputs=["images:/["]), "new.bad-glob"),
    ],
)
def test_sources_that_are_refused(project: Project, wanted: NewPipeline, code: str) -> None:
    for name, text in {"Snakefile": "rule a:", "x.jsonnet": "{}", "x.py": "pass", "x.json": "[]"}.items():
        (project.root / name).write_text(text)
    assert code_of(project, wanted) == code
    assert not (project.root / "n").exists()


def test_a_file_with_a_colon_in_its_name(project: Project) -> None:
    (project.root / "a:b.py").write_text("print(1)")
    draft = draft_of(project, NewPipeline("n", "a:b.py"), project.root)
    assert [file.path for file in draft.files] == ["code/a:b.py"]


def test_several_repos_and_no_input(root: Files, project: Project) -> None:
    repo(root, "other")
    assert code_of(find_project(project.root), NewPipeline("n")) == "new.no-input"


def test_a_command_and_an_image(project: Project) -> None:
    wanted = NewPipeline("n", inputs=["images:*.png"], command=["cp", "-r", "/pfs/images", "/pfs/out"], image="ubuntu")
    draft = draft_of(project, wanted, project.root)
    assert draft.spec == {
        "input": {"pfs": {"repo": "images", "glob": "/*.png"}},
        "transform": {"image": "ubuntu", "cmd": ["cp", "-r", "/pfs/images", "/pfs/out"]},
    }


@pytest.mark.slow
def test_from_nothing_to_results(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "texts")
    study.put("texts/a.txt", "one\n")
    (study.root / "Makefile").write_text("n.csv: texts/a.txt tools/count.sh\n\tsh tools/count.sh $< > $@\n")
    (study.root / "tools").mkdir()
    (study.root / "tools/count.sh").write_text('wc -c < "$1"\n')
    study.git(".", "add", "Makefile", "tools")
    study.git(".", "commit", "-qm", "tools")
    made = study.minipach("new", "count", "--from", "Makefile:n.csv", "--commit", "--json").json
    assert made["datums"] == 1 and made["committed"]
    assert "count" not in study.git(".", "status", "--porcelain")
    plain_one = study.minipach("new", "sizes", "--commit")
    assert plain_one.code == 0
    study.schedule()
    assert study.read("count/n.csv").split() == [b"4"]
    assert study.read("sizes/a.txt.bytes").split() == [b"4"]


@pytest.mark.parametrize(
    ("copies", "recipe"),
    [
        ("", "Dockerfile"),
        ("COPY --from=build /a /b\n", "Dockerfile"),
        ("COPY run.sh /b\n", None),
        ("RUN --mount=type=bind,target=/x true\n", None),
    ],
)
def test_a_dockerfile_that_needs_no_other_file_is_the_recipe(project: Project, copies: str, recipe: str | None) -> None:
    text = f'FROM ubuntu AS build\nFROM scratch\n{copies}WORKDIR /x\nCMD ["cat", "/pfs/images"]\n'
    (project.root / "Dockerfile").write_text(text)
    draft = draft_of(project, NewPipeline("p", "Dockerfile"), project.root)
    assert draft.spec.get("minipach", {}).get("environment") == recipe
    assert draft.spec["transform"] == {"cmd": ["cat", "/pfs/images"], "working_dir": "/x"} | (
        {} if recipe else {"image": "p"}
    )
    assert [file.path for file in draft.files] == ([recipe] if recipe else [])


def test_a_script_gets_the_path_of_each_file_whatever_the_dataset_is_called(root: Files) -> None:
    for name in ("bi lder", "bi-lder", "42", "ü"):
        repo(root, name).put("a.txt", "1")
    root.commit()
    (root.path / "c.sh").write_text('cp "$1" /pfs/out\n')
    inputs = [f"{name}:/*" for name in ("bi lder", "bi-lder", "42", "ü")]
    spec = draft_of(find_project(root.path), NewPipeline("p", "c.sh", inputs), root.path).spec
    assert [one["pfs"]["name"] for one in spec["input"]["cross"]] == ["bi_lder", "bi_lder2", "in_42", "u"]
    assert spec["transform"]["cmd"][2] == 'exec sh code/c.sh "$bi_lder" "$bi_lder2" "$in_42" "$u"'


def test_no_spec_goes_into_a_folder_of_data(root: Files, project: Project) -> None:
    root.put("data/a.csv", "1")
    root.put("begun/code/run.sh", "true")
    root.put("begun/README.md", "")
    root.put("begun/requirements.txt", "")
    root.commit()
    assert code_of(find_project(root.path), NewPipeline("data", inputs=["images:/*"])) == "new.exists"
    draft_of(find_project(root.path), NewPipeline("begun", inputs=["images:/*"]), root.path)
