"""The start of a project, and plain folders in it that become pipelines' datasets."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from minipach.project.adoption import adopt_all
from minipach.project.project import find_project
from tests.fixtures.projects import MINIPACH, Study, run
from tests.fixtures.stories import counts, spec


def init(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = run(*MINIPACH, "init", *arguments, cwd=folder)
    return done.code, done.out, done.err


@pytest.mark.soak
def test_the_folder_of_a_subdataset_becomes_a_dataset_of_that_one(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", "images", "group")
    study.put("images/a.txt", "alpha\n")
    study.copier("group/edges")
    study.ok("datalad", "save", "-d", "group")
    assert (study.root / "group/edges/spec.yml").is_symlink(), "as datalad create has it, all is annexed"
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert "registered group/edges in group, 2 files that group tracked moved over\n" in done.err
    assert study.read("group/edges/a.txt") == b"alpha\n"
    for repo in (".", "group", "group/edges"):
        assert study.git(repo, "status", "--porcelain") == ""
    edges = study.git("group/edges", "rev-parse", "HEAD")
    assert study.git("group", "rev-parse", "HEAD:edges") == edges
    assert study.git(".", "rev-parse", "HEAD:group") == study.git("group", "rev-parse", "HEAD")
    assert study.minipach("schedule").out == "nothing to do\n"


@pytest.mark.slow
def test_a_folder_that_the_superdataset_tracks_moves_over_in_one_commit(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", spec("images", "/*", "run"), run='cp "$images" "$PFS/out/"\n')
    study.put("edges/code/table.bin", bytes(range(256)) * 40, save=False)
    study.put("edges/README.md", "# Edges\n", save=False)
    study.put("edges/code/tool.sh", "#!/bin/sh\n", save=False)
    (study.root / "edges/code/tool.sh").chmod(0o755)
    study.put("notes.bin", bytes(range(256)) * 30, save=False)
    study.save(".")
    tracked = study.git(".", "ls-files", "edges").splitlines()
    assert len(tracked) == 5
    assert (study.root / "edges/code/table.bin").is_symlink(), "annexed in the superdataset"
    head = study.git(".", "rev-parse", "HEAD")

    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert "registered edges in the superdataset, 5 files that the superdataset tracked moved over" in done.err
    assert study.read("edges/a.txt") == b"alpha\n"
    assert study.read("edges/code/table.bin") == bytes(range(256)) * 40
    assert study.read("notes.bin") == bytes(range(256)) * 30
    inside = study.git("edges", "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert {t.removeprefix("edges/") for t in tracked} <= set(inside)
    assert study.git("edges", "ls-tree", "HEAD", "code/tool.sh").startswith("100755 ")
    assert study.git("edges", "show", "HEAD:spec.yml").startswith("input:")
    assert study.git("edges", "status", "--porcelain") == ""
    study.git("edges", "annex", "fsck", "--quiet")

    commits = study.git(".", "rev-list", "--reverse", f"{head}..HEAD").split()
    first = commits[0]
    assert study.git(".", "ls-tree", first, "edges").startswith("160000 commit ")
    assert "edges becomes a dataset" in study.git(".", "log", "-1", "--format=%s", first)
    assert "Tracked there now, and no longer here: 5 files." in study.git(".", "log", "-1", "--format=%B", first)
    assert study.git(".", "config", "--file", ".gitmodules", "submodule.edges.url") == "./edges"
    assert study.git(".", "status", "--porcelain") == ""
    assert counts(study.schedule()["edges"]) == {"current": 1}
    assert run("datalad", "-f", "json", "subdatasets", cwd=study.root).out.count('"status": "ok"') == 2


@pytest.mark.slow
def test_a_dataset_that_nobody_registered_is_taken_in(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.ok("datalad", "create", "--force", "edges")
    study.save("edges")
    head = study.git("edges", "rev-parse", "HEAD")
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert "registered edges in the superdataset\n" in done.err
    study.git("edges", "merge-base", "--is-ancestor", head, "HEAD")
    assert study.git(".", "ls-tree", "HEAD", "edges").startswith("160000 commit ")


@pytest.mark.slow
def test_content_of_a_tracked_file_that_is_not_here_stops_it_before_anything_moves(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.put("edges/code/table.bin", bytes(range(256)) * 40, save=False)
    study.save(".")
    study.git(".", "annex", "drop", "--force", "edges/code/table.bin")
    head = study.git(".", "rev-parse", "HEAD")
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("spec.content-missing", study.root / "edges/code/table.bin", "datalad get")
    assert not (study.root / "edges/.git").exists()
    assert (study.git(".", "rev-parse", "HEAD"), study.git(".", "status", "--porcelain")) == (head, "")


def secretive(root: Path) -> Study:
    """A project that ignores secrets, in several ways, with a pipeline's folder that has some."""
    study = Study.create(root)
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.put(".gitignore", ".env\n__pycache__\n*.log\n!/edges/code/kept.log\n/edges/code/my *.pem\n", save=False)
    with (study.root / ".git/info/exclude").open("a") as file:
        file.write("token\n")
    study.ok("git", "config", "core.excludesFile", str(root.with_name("excludes")))
    root.with_name("excludes").write_text("hidden\n")
    for name in SECRETS:
        study.put(f"edges/{name}", "SECRET=1\n", save=False)
    for name in KEPT:
        study.put(f"edges/{name}", "public\n", save=False)
    return study


SECRETS = (".env", "code/__pycache__/a.pyc", "code/my [1].pem", "token", "code/hidden", "run.log")
KEPT = ("code/kept.log", "code/notes.txt")


@pytest.mark.slow
def test_what_the_superdataset_ignores_is_not_committed_and_stays_ignored(tmp_path: Path) -> None:
    study = secretive(tmp_path / "study")
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    for name in SECRETS:
        assert study.read(f"edges/{name}") == b"SECRET=1\n"
    history = study.git("edges", "log", "--all", "--name-only", "--format=").splitlines()
    assert set(SECRETS).isdisjoint(history)
    assert set(KEPT) <= set(study.git("edges", "ls-tree", "-r", "--name-only", "HEAD").splitlines())

    for later in ("code/sub/.env", "code/my other.pem", "code/sub/__pycache__/b.pyc"):
        study.put(f"edges/{later}", "SECRET=2\n", save=False)
    assert study.git("edges", "status", "--porcelain", "--untracked-files=all") == ""
    assert study.git(".", "status", "--porcelain") == "?? .gitignore"
    study.ok("datalad", "save", "-r", "-m", "all")
    assert study.git("edges", "grep", "-l", "public", "HEAD").count("\n") == 1
    assert run("git", "grep", "-l", "SECRET=", "HEAD", cwd=study.root / "edges").code == 1


@pytest.mark.slow
def test_what_is_tracked_against_a_rule_moves_over_too(tmp_path: Path) -> None:
    study = secretive(tmp_path / "study")
    study.git(".", "add", "--force", "edges/run.log")
    study.git(".", "commit", "-qm", "on purpose")
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert study.git("edges", "show", "HEAD:run.log") == "SECRET=1"
    assert study.git("edges", "ls-files", ".env", "token", "code/hidden", "code/__pycache__") == ""
    assert study.git("edges", "status", "--porcelain") == ""


@pytest.mark.slow
def test_in_a_dataset_that_somebody_made_nothing_is_committed_for_them(tmp_path: Path) -> None:
    study = secretive(tmp_path / "study")
    study.ok("datalad", "create", "--force", "edges")
    head = study.git("edges", "rev-parse", "HEAD")
    done = study.minipach("schedule")
    assert (done.code, done.refusals) == (2, [("spec.not-committed", "edges/spec.yml")])
    assert study.git("edges", "rev-parse", "HEAD") == head
    study.git("edges", "add", "spec.yml", "code/copy.sh")
    study.git("edges", "commit", "-qm", "by hand")
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert study.git("edges", "ls-files", *SECRETS) == ""


@pytest.mark.slow
def test_where_only_some_files_are_not_ignored_those_are_committed(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.put(".gitignore", "*\n!*/\n!*.sh\n!*.yml\n", save=False)
    study.put("edges/password", "SECRET=1\n", save=False)
    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert study.git("edges", "ls-files", "code", "password", "spec.yml") == "code/copy.sh\nspec.yml"
    assert study.git("edges", "status", "--porcelain") == ""
    study.put("edges/code/more.txt", "more\n", save=False)
    assert study.git("edges", "status", "--porcelain") == "?? code/more.txt", "the rule `*` is not for a dataset"


def test_a_spec_that_the_superdataset_ignores_is_no_pipeline_yet(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.copier()
    study.put(".gitignore", "# not mine\nedges/\n", save=False)
    done = study.minipach("schedule")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.reports("spec.ignored-by-git", "edges/spec.yml", ".gitignore, line 2")
    assert not (study.root / "edges/.git").exists()


@pytest.mark.soak
@pytest.mark.parametrize("committed", [True, False])
def test_the_superdatasets_annex_has_no_hold_on_what_moved_over(tmp_path: Path, committed: bool) -> None:
    study = Study(tmp_path / "old")
    study.root.mkdir()
    study.ok("datalad", "create", "--force", ".")  # without any configuration: all is annexed
    study.ok("datalad", "create", "-d", ".", "images")
    study.put("images/a.txt", "alpha\n")
    study.copier()
    study.put("edges/code/data", "data\n", save=False)
    study.ok("git", "annex", "add", "--quiet", "edges")
    if committed:
        study.git(".", "commit", "-qm", "a pipeline")
    assert init(study.root)[0] == 0
    files = ("edges/spec.yml", "edges/code/copy.sh", "edges/code/data")
    assert all((study.root / f).is_symlink() for f in files)
    before = {f: study.read(f) for f in files}

    done = study.minipach("schedule")
    assert done.code == 0, done.err
    assert "3 files that the superdataset tracked moved over" in done.err
    assert study.ok("git", "annex", "unused").count("MD5E-") == 3
    dropped = run("git", "annex", "dropunused", "--force", "all", cwd=study.root)
    assert (dropped.code, dropped.err) == (0, "")
    assert {f: study.read(f) for f in files} == before
    for repo in ("edges", "."):
        assert study.git(repo, "status", "--porcelain") == ""
    study.git("edges", "annex", "fsck", "--quiet")


@pytest.mark.slow
def test_lock_takes_a_changed_environment_in_only_when_asked(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    study.copier()
    early = study.minipach("lock", "edges")
    assert early.code == 2
    assert early.reports("pipeline.not-a-dataset", "edges", "minipach schedule edges")
    study.schedule()
    unchanged = study.minipach("lock", "edges")
    assert (unchanged.code, unchanged.out) == (0, "edges: the environment on record is the one of now; nothing to do\n")

    tools = tmp_path / "tools"
    tools.mkdir()
    shutil.copy(shutil.which("sh") or "/bin/sh", tools / "sh")
    with (tools / "sh").open("ab") as program:
        program.write(b"\0")
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tools / "python3").chmod(0o755)
    other = {"MINIPACH_PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    plan = study.minipach("plan", env=other)
    assert plan.out == "edges: nothing to do\n", "a drift alone runs nothing"
    assert "minipach lock edges" in plan.err
    assert "program: sh" in study.git("edges", "show", "HEAD:.datalad/environments/host/image")
    assert any("minipach lock edges" in row for row in study.minipach("doctor", env=other).out.splitlines())
    locked = study.minipach("lock", "edges", env=other)
    assert locked.code == 0, locked.err
    assert "sh sha256:" in locked.out
    assert study.git("edges", "status", "--porcelain") == ""
    reasons = {(d["action"], d["reason"].split(" (")[0]) for d in study.plan()["edges"]["datums"]}
    assert reasons == {("run", "image the host environment changed")}


def test_all_new_folders_become_datasets_with_one_commit(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.put("images/a.txt", "alpha\n")
    for name in ("edges", "masks", "odd name", "binary"):
        study.copier(name)
    (study.root / "binary/code/table.bin").write_bytes(bytes(range(256)) * 4)
    (study.root / ".gitignore").write_text("masks/\n")
    study.git(".", "add", ".gitignore"), study.git(".", "commit", "-qm", "ignore")
    before = study.git(".", "rev-parse", "HEAD")
    project = find_project(study.root)
    done, _ = adopt_all(project, project.places)
    assert [line for line in done if line.startswith("registered")] == [
        "registered binary in the superdataset",
        "registered edges in the superdataset",
        "registered odd name in the superdataset",
    ], "a folder whose spec is ignored is left as it is"
    assert study.git(".", "rev-list", "--count", f"{before}..HEAD") == "1"
    assert study.git(".", "log", "-1", "--format=%s") == "minipach: 3 folders become datasets"
    listed = json.loads(
        "[" + run("datalad", "-f", "json", "subdatasets", cwd=study.root).out.replace("\n", ",")[:-1] + "]"
    )
    ids = {row["gitmodule_name"]: row["gitmodule_datalad-id"] for row in listed}
    for name in ("binary", "edges", "odd name"):
        assert ids[name] == study.git(name, "config", "--file", ".datalad/config", "datalad.dataset.id")
        assert study.git(name, "status", "--porcelain") == ""
        assert f":{study.root / name}" in study.git(name, "show", "git-annex:uuid.log")
        study.git(name, "annex", "fsck", "--quiet")
    assert len(set(ids.values())) == len(ids)
    # what is binary is annexed, as `git add` does it
    assert study.git("binary", "show", "HEAD:code/table.bin").startswith("/annex/objects/")
    assert study.git(".", "status", "--porcelain") == " M images", "what was not ours to commit"
    assert adopt_all(find_project(study.root), [p for p in project.places if p.path != "masks"])[0] == []
