"""`minipach.templates.library`: what there is, also in folders and git repositories of the user's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from minipach.project.project import Project, find_project
from minipach.support.errors import UserError
from minipach.templates.create import NewPipeline, draft_of, write
from minipach.templates.draft import to_yaml
from minipach.templates.library import add, available, describe, render
from minipach.templates.sources import add_source, remove_source, sources, update_source
from minipach.templates.template import MAX_BYTES, MAX_FILES
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]

TEMPLATE = """\
version: "1"
summary: A copy
inputs: [{name: images, glob: "/*"}]
parameters:
  type: object
  properties:
    word: {type: string, default: x}
"""
SPEC = """\
input: {pfs: {name: images, repo: <<images.repo>>, glob: <<images.glob>>}}
transform: {cmd: [sh, code/run.sh, <<word>>]}
"""


@pytest.fixture
def project(root: Files) -> Project:
    images = repo(root, "images")
    images.put("a.png", "1")
    images.commit()
    root.commit()
    return find_project(root.path)


def template(folder: Path, text: str = TEMPLATE, spec: str = SPEC) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "template.yml").write_text(text)
    (folder / "spec.yml").write_text(spec)
    (folder / "code/run.sh").write_text("echo\n")
    return folder


def committed(folder: Path) -> str:
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return f"file://{folder}"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert all("\n" not in str(problem) for problem in caught.value.problems)
    return caught.value.problems[0].code


def written(project: Project) -> list[Path]:
    return sorted(path for path in project.root.rglob("*") if ".git" not in path.parts)


def test_a_template_becomes_a_pipeline(project: Project) -> None:
    draft = render(project, "edges", "deep/lines", {"blur": 7}, ["images:/*.png"])
    text = to_yaml(draft)
    assert text.startswith("# made by minipach new, from the template edges 1.1\n")
    assert "repo: images" in text and "params: {blur: 7}" in text and "image:" not in text
    assert draft.spec["minipach"]["params"] == {"blur": 7}
    assert [file.path for file in draft.files] == ["code/edges.py", ".minipach/template.json"]


def test_the_inputs_of_a_template(project: Project, root: Files) -> None:
    second = repo(root, "more")
    second.put("x.tsv", "1")
    second.commit()
    project = find_project(project.root)
    for words in (["more", "images"], ["tests=images", "models=more"], ["models=more", "images"]):
        spec = render(project, "evaluate", "e", {}, words).spec
        assert [member["pfs"]["repo"] for member in spec["input"]["cross"]] == ["more", "images"]
    one = render(project, "freesurfer", "e", {}, ["images:/(*)_T1.nii"]).spec["input"]["join"]
    assert [member["pfs"]["repo"] for member in one] == ["images", "images"]
    assert [member["pfs"]["glob"] for member in one] == ["/(*)_T1.nii", "/(sub-*)/anat/*_T2w.nii.gz"]
    assert code_of(lambda: render(project, "edges", "e", {}, ["images", "more"])) == "template.no-input"
    assert code_of(lambda: render(project, "edges", "e", {}, ["nothing"])) == "new.no-repo"
    assert code_of(lambda: render(project, "edges", "e", {}, ["images:/["])) == "new.bad-glob"
    assert code_of(lambda: render(project, "edges", "e")) == "new.no-input"


def test_what_is_asked_wrongly(project: Project, tmp_path: Path) -> None:
    def asked(**words: object) -> str:
        return code_of(lambda: draft_of(project, NewPipeline("new", **words), tmp_path))  # type: ignore[arg-type]

    assert asked(source="edgse") == "new.no-source"
    assert asked(source="edges", values=["blur"]) == "template.bad-set"
    assert asked(source="edges", values=["blur=x"]) == "template.bad-value"
    assert asked(source="edges", values=["blur=6"]) == "template.bad-value"  # no odd number
    assert asked(source="edges", values=["blru=1"]) == "template.no-parameter"
    assert asked(source="bids-app") == "template.no-value"
    assert asked(source="edges", command=["x"]) == "new.not-of-template"
    assert asked(source="edges", image="x") == "new.not-of-template"
    assert asked(values=["x=1"]) == "new.no-values"
    (tmp_path / "x.sh").write_text("echo")
    assert asked(source="x.sh", values=["x=1"]) == "new.no-values"
    assert code_of(lambda: describe("edgse")) == "template.not-found"


def test_a_name_like_that_of_a_template_is_suggested(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        draft_of(project, NewPipeline("new", "wordcount"), tmp_path)
    assert caught.value.problems[0].fix.split('"')[1] == "wordcount-map"


def test_a_file_of_the_name_of_a_template_is_the_file(project: Project, tmp_path: Path) -> None:
    (tmp_path / "edges").write_text("#!/bin/sh\necho /pfs\n")
    assert draft_of(project, NewPipeline("new", "edges"), tmp_path).files[0].path == "code/edges"


def test_a_folder_of_ones_own(project: Project, tmp_path: Path) -> None:
    template(tmp_path / "lab/copy")
    add_source(project, "lab", "lab", tmp_path)
    assert [one.name for one in available(project)][-1] == "lab/copy"
    text = to_yaml(render(project, "lab/copy", "c", {"word": "a, b: c"}))
    assert "cmd: [sh, code/run.sh, 'a, b: c']" in text
    template(tmp_path / "lab/another")
    assert [one.name for one in available(project)][-2:] == ["lab/another", "lab/copy"]
    remove_source(project, "lab")
    assert all("/" not in one.name for one in available(project))


def test_of_a_new_source_a_template_is_usable(project: Project, tmp_path: Path) -> None:
    template(tmp_path / "lab/bad", text="summary: [x]\n")
    assert code_of(lambda: add(project, "lab", "lab", tmp_path)) == "template.bad"
    assert [one.name for one in sources(project)] == [""]
    template(tmp_path / "lab/copy")
    found = add(project, "lab", "lab", tmp_path)
    assert [(one.name, bool(one.problems)) for one in found] == [("lab/bad", True), ("lab/copy", False)]


def test_a_git_repository_of_ones_own(project: Project, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    template(origin / "copy")
    template(origin / "copy" / "deeper" / "not")
    url = committed(origin)
    source = add_source(project, "lab", url, tmp_path)
    assert sorted(source.folders()) == ["lab/copy"]
    assert describe("lab/copy", project).code["code/run.sh"].content == b"echo\n"
    (origin / "copy/template.yml").write_text(TEMPLATE.replace('"1"', '"2"'))
    committed(origin)
    assert describe("lab/copy", project).version == "1"
    assert update_source(project, sources(project)[1])
    assert not update_source(project, sources(project)[1])
    assert describe("lab/copy", project).version == "2"
    remove_source(project, "lab")
    assert list(project.local.templates.iterdir()) == []


def test_a_repository_that_is_one_template(project: Project, tmp_path: Path) -> None:
    url = committed(template(tmp_path / "copy"))
    assert sorted(add_source(project, "copy", url, tmp_path).folders()) == ["copy/copy"]
    assert describe("copy/copy", project).summary == "A copy"


@pytest.mark.parametrize(
    ("name", "url", "code"),
    [
        ("a/b", "x", "templates.bad-name"),
        ("-a", "x", "templates.bad-name"),
        ("a", "nothing", "templates.bad-source"),
        ("a", "--upload-pack=touch owned", "templates.bad-source"),
        ("a", "ext::sh -c touch% owned", "templates.no-answer"),
        ("a", "file:///nowhere", "templates.no-answer"),
        ("a", "empty", "templates.empty"),
        ("a", "x\x1b[2J:", "templates.bad-source"),
    ],
)
def test_a_source_that_is_refused(project: Project, tmp_path: Path, name: str, url: str, code: str) -> None:
    (tmp_path / "empty").mkdir()
    before = written(project)
    assert code_of(lambda: add_source(project, name, url, tmp_path)) == code
    assert written(project) == before
    assert not project.local.templates.is_dir() or list(project.local.templates.iterdir()) == []
    assert len(sources(project)) == 1


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijkl"))
HOSTILE: dict[str, Callable[[Path], object]] = {
    "a link": lambda folder: (folder / "code/passwd").symlink_to("/etc/passwd"),
    "a linked folder": lambda folder: (folder / "code/etc").symlink_to("/etc"),
    "a linked spec": lambda folder: ((folder / "spec.yml").unlink(), (folder / "spec.yml").symlink_to("/etc/passwd")),
    "a pipe": lambda folder: os.mkfifo(folder / "code/pipe"),
    "a name of git": lambda folder: (folder / "code/.gitattributes").write_text("* filter=x"),
    "a name of the terminal": lambda folder: (folder / "code/x\x1b[2Jy").write_text(""),
    "a name that begins like an option": lambda folder: (folder / "code/-rf").write_text(""),
    "a huge file": lambda folder: (folder / "code/huge").write_bytes(b"x" * (MAX_BYTES + 1)),
    "many files": lambda folder: [(folder / f"code/{n}").write_text("") for n in range(MAX_FILES + 1)],
    "no spec": lambda folder: (folder / "spec.yml").unlink(),
    "a bad schema": lambda folder: (folder / "template.yml").write_text(TEMPLATE.replace("string", "spring")),
    "a reference": lambda folder: (folder / "template.yml").write_text(TEMPLATE.replace("default: x", "$ref: x")),
    "a bomb": lambda folder: (folder / "template.yml").write_text(BOMB),
    "a tag": lambda folder: (folder / "template.yml").write_text("version: !!python/object/apply:os.system [ls]\n"),
    "bytes": lambda folder: (folder / "template.yml").write_bytes(b"\xff\xfe\x00"),
    "an unknown mark": lambda folder: (folder / "spec.yml").write_text(SPEC.replace("<<word>>", "<<wrod>>")),
    "a spec that leads out": lambda folder: (folder / "spec.yml").write_text(
        SPEC.replace("<<images.repo>>", "../../etc")
    ),
    "an out that leads out": lambda folder: (folder / "spec.yml").write_text(SPEC + "minipach: {out: ../x}\n"),
}


@pytest.mark.parametrize("place", ["folder", "git"])
def test_a_hostile_template_writes_nothing(project: Project, tmp_path: Path, place: str) -> None:
    lab = tmp_path / "lab"
    template(lab / "good")
    kinds = [kind for kind in HOSTILE if (place, kind) != ("git", "a pipe")]  # git has no pipes
    for kind in kinds:
        HOSTILE[kind](template(lab / kind.replace(" ", "-")))
    add_source(project, "lab", committed(lab) if place == "git" else str(lab), tmp_path)
    before = written(project)
    for kind in kinds:
        wanted = NewPipeline("new", f"lab/{kind.replace(' ', '-')}")
        code_of(lambda wanted=wanted: write(project, "new", draft_of(project, wanted, tmp_path)))  # type: ignore[misc]
    assert written(project) == before
    usable = [one.name for one in available(project) if one.name.startswith("lab/") and not one.problems]
    late = {"lab/an-unknown-mark", "lab/a-spec-that-leads-out", "lab/an-out-that-leads-out"}  # found when rendered
    assert set(usable) - late == {"lab/good"}


def test_paths_in_git_that_lead_out(project: Project, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    url = committed(template(lab / "bad").parent)
    blob = subprocess.run(
        ["git", "rev-parse", "HEAD:bad/spec.yml"], cwd=lab, capture_output=True, check=True, text=True
    )

    def tree(*rows: str) -> str:
        data = "".join(f"{row}\n" for row in rows)
        done = subprocess.run(["git", "mktree"], cwd=lab, input=data, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    one = f"100644 blob {blob.stdout.strip()}"
    up = tree(f"{one}\tx")
    code = tree(f"040000 tree {up}\t..")
    bad = tree(f"{one}\tspec.yml", f"{one}\ttemplate.yml", f"040000 tree {code}\tcode")
    top = tree(f"040000 tree {bad}\tbad")
    words = ["git", "-c", "user.name=x", "-c", "user.email=x", "commit-tree", top, "-m", "x"]
    commit = subprocess.run(words, cwd=lab, capture_output=True, check=True, text=True).stdout.strip()
    subprocess.run(["git", "update-ref", "HEAD", commit], cwd=lab, check=True)
    add_source(project, "lab", url, tmp_path)
    assert code_of(lambda: describe("lab/bad", project)) == "template.refused"
