"""Uncommitted changes: never lost, never used, and the message says what was left out and what to do."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.project import uncommitted as uncommitted_module
from minipach.project.project import Project
from minipach.project.uncommitted import in_subdatasets, remarks, uncommitted
from minipach.support.disk_cache import Cache
from tests.fixtures.leftovers import Background, hold, leftovers, result_of, two_pipelines
from tests.fixtures.projects import Study, run


@pytest.fixture
def published(tmp_path: Path) -> Study:
    """`images` -> `edges` -> `montage`, published; edges/1.txt will change with the next `schedule`."""
    study = two_pipelines(tmp_path / "study")
    study.put("images/1.txt", "changed\n")
    return study


def in_the_way(study: Study, *paths: str, what: str = "uncommitted changes", do: str = "commit or move") -> None:
    """`schedule` computes, but does not publish over these paths of `edges`."""
    head = study.git("edges", "rev-parse", "HEAD")
    done = study.minipach("schedule")
    assert done.code == 2
    assert done.reports("publish.changes-in-the-way", "edges", what, f"({', '.join(paths)})", do)
    assert study.git("edges", "rev-parse", "HEAD") == head
    assert leftovers(study) == []


def nothing_is_computed_twice(study: Study) -> None:
    """The next `schedule` publishes what is known, and runs only what is downstream."""
    done = study.schedule()
    assert (done["edges"]["counts"]["ran"], done["edges"]["counts"]["reused"]) == (0, 1)
    assert study.read("edges/1.txt") == b"changed\n"
    assert done["montage"]["counts"]["ran"] == 1
    result_of(study)


def test_an_edited_output_is_in_the_way_until_it_is_moved(published: Study) -> None:
    there = published.root / "edges/1.txt"
    there.unlink()
    there.write_text("mine")
    in_the_way(published, "1.txt")
    assert there.read_text() == "mine"
    there.unlink()
    nothing_is_computed_twice(published)


@pytest.mark.slow
def test_an_edited_output_that_is_committed_is_replaced_but_stays_in_history(published: Study) -> None:
    there = published.root / "edges/1.txt"
    there.unlink()
    there.write_text("mine")
    in_the_way(published, "1.txt")
    published.save("edges")
    mine = published.git("edges", "rev-parse", "HEAD")
    nothing_is_computed_twice(published)
    assert published.git("edges", "merge-base", mine, "HEAD") == mine
    assert published.git("edges", "log", "-1", "--format=%s", mine) == "test"


@pytest.mark.slow
def test_a_staged_output_is_in_the_way(published: Study) -> None:
    there = published.root / "edges/1.txt"
    there.unlink()
    there.write_text("mine")
    published.git("edges", "-c", "annex.largefiles=nothing", "add", "1.txt")
    staged = published.git("edges", "rev-parse", ":1.txt")
    in_the_way(published, "1.txt")
    assert published.git("edges", "rev-parse", ":1.txt") == staged
    published.git("edges", "reset", "--quiet", "--hard")
    nothing_is_computed_twice(published)


@pytest.mark.slow
def test_a_deleted_output_comes_back_with_its_next_state(published: Study) -> None:
    (published.root / "edges/1.txt").unlink()
    (published.root / "edges/0.txt").unlink()
    done = published.minipach("schedule")
    assert done.code == 0, done.err
    assert "edges: uncommitted changes are left out (0.txt, 1.txt)" in done.err
    assert published.read("edges/1.txt") == b"changed\n"
    assert published.git("edges", "status", "--porcelain") == " D 0.txt"  # unchanged by this run, so it stays deleted


@pytest.mark.slow
def test_an_untracked_file_where_an_output_will_land_is_in_the_way(published: Study) -> None:
    published.put("images/new.txt", "new\n")
    there = published.root / "edges/new.txt"
    there.write_text("mine")
    in_the_way(published, "new.txt", what="new files", do="move")
    assert there.read_text() == "mine"
    there.unlink()
    done = published.schedule()["edges"]["counts"]
    assert (done["ran"], done["reused"]) == (0, 2)
    result_of(published)


def test_changes_that_are_not_in_the_way_are_left_out_and_stay(published: Study) -> None:
    code, notes = published.root / "edges/code/copy.sh", published.root / "edges/notes.txt"
    code.write_text("exit 1\n")
    notes.write_text("mine")
    published.git("edges", "add", "code/copy.sh")
    code.write_text("exit 2\n")
    picture = published.root / "images/0.txt"
    picture.unlink()
    picture.write_text("not saved")
    (published.root / "images/loose.txt").write_text("not saved")
    done = published.minipach("schedule")
    assert done.code == 0, done.err
    assert (
        "edges: uncommitted changes are left out (code/copy.sh, notes.txt); "
        f"datalad save -d {published.root}/edges" in done.err
    )
    assert (
        "images: uncommitted changes are left out (0.txt, loose.txt); "
        f"datalad save -d {published.root}/images" in done.err
    )
    assert (code.read_text(), notes.read_text()) == ("exit 2\n", "mine")
    assert published.git("edges", "show", ":code/copy.sh") == "exit 1"
    assert picture.read_text() == "not saved"
    assert sorted(published.outputs("edges")) == ["0.txt", "1.txt"]
    assert (published.read("edges/0.txt"), published.read("edges/1.txt")) == (b"picture 0\n", b"changed\n")


@pytest.mark.slow
def test_changes_of_the_superdataset_stay_as_they_are(published: Study) -> None:
    root = published.root
    (root / "tracked").write_text("committed")
    (root / "other").write_text("committed")
    published.git(".", "add", "tracked", "other")
    published.git(".", "commit", "--quiet", "-m", "notes")
    (root / "tracked").write_text("staged")
    published.git(".", "add", "tracked")
    (root / "other").write_text("not staged")
    (root / "untracked").write_text("untracked")
    published.schedule()
    assert published.git(".", "status", "--porcelain").splitlines() == [" M other", "M  tracked", "?? untracked"]
    assert published.git(".", "show", ":tracked") == "staged"
    assert published.git(".", "show", "HEAD:tracked") == "committed"
    assert (root / "other").read_text() == "not staged"


@pytest.mark.slow
def test_commits_of_people_to_a_pipelines_branch_are_kept(published: Study) -> None:
    (published.root / "edges/README.md").write_text("# Edges\n")
    (published.root / "edges/by-hand.txt").write_text("drawn\n")
    published.save("edges")
    mine = published.git("edges", "rev-parse", "HEAD")
    published.schedule()
    assert published.git("edges", "merge-base", mine, "HEAD") == mine
    assert published.read("edges/README.md") == b"# Edges\n"
    assert published.read("edges/by-hand.txt") == b"drawn\n"
    assert published.read("edges/1.txt") == b"changed\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "what"),
    [
        (("switch", "--quiet", "--detach"), "no branch is checked out"),
        pytest.param(
            *(("switch", "--quiet", "-c", "adjusted/main(unlocked)"), "the adjusted branch adjusted/main(unlocked) is"),
            marks=pytest.mark.soak,
        ),
    ],
    ids=["detached", "adjusted"],
)
def test_a_pipeline_whose_branch_is_not_checked_out_is_told_of_before_any_work(
    published: Study, switch: tuple[str, ...], what: str
) -> None:
    branch = published.git("edges", "symbolic-ref", "--short", "HEAD")
    published.git("edges", "branch", "-M", branch, "main")
    head = published.git("edges", "rev-parse", "HEAD")
    published.git("edges", *switch)
    line = f"edges: {what}"
    way = f". Fix: git -C {published.root / 'edges'} switch main"
    for command, code in (("plan", 0), ("status", 0), ("check", 2), ("schedule", 2)):
        done = published.minipach(command)
        assert done.code == code, command
        (said,) = (told for told in done.err.splitlines() if told.startswith(line))
        assert said.endswith(way), command
    assert published.git("edges", "rev-parse", "HEAD") == published.git("edges", "rev-parse", "main") == head
    assert leftovers(published) == []
    published.git("edges", "switch", "--quiet", "main")
    assert published.schedule()["edges"]["counts"]["ran"] == 1, "nothing had run"
    assert published.minipach("check").code == 0
    result_of(published)


@pytest.mark.slow
def test_a_pipeline_whose_branch_is_left_while_it_runs_is_not_published(published: Study) -> None:
    held = hold(published)
    scheduler = Background(published, "schedule").waiting()
    published.git("edges", "switch", "--quiet", "--detach")
    held.unlink()
    done = scheduler.end()
    assert done.code == 2
    assert "edges: " in done.err and " switch " in done.err
    published.git("edges", "switch", "--quiet", "-")
    nothing_is_computed_twice(published)


# --- committed while datums run -----------------------------------------------------------------------------


def commit_meanwhile(study: Study, path: str, text: str) -> Background:
    """A schedule, with a file of `edges` changed and committed while its datum runs."""
    held = hold(study)
    scheduler = Background(study, "schedule").waiting()
    (study.root / "edges" / path).write_text(text)
    study.git("edges", "add", path)
    study.git("edges", "commit", "-qm", "meanwhile")
    held.unlink()
    return scheduler


@pytest.mark.slow
@pytest.mark.parametrize("path", ["README.md", "spec.yml"])
def test_what_is_committed_while_datums_run_stays(published: Study, path: str) -> None:
    there = published.root / "edges" / path
    text = (there.read_text() if there.exists() else "") + "description: new\n"
    done = commit_meanwhile(published, path, text).end()
    assert done.code == 0, done.err
    assert there.read_text() == text
    assert published.git("edges", "show", f"HEAD:{path}") == text.strip()
    assert published.read("edges/1.txt") == b"changed\n"
    assert published.git("edges", "status", "--porcelain") == ""
    assert leftovers(published) == []


@pytest.mark.slow
def test_code_that_is_changed_while_datums_run_is_for_the_next_schedule(published: Study) -> None:
    there = published.root / "edges/code/copy.sh"
    text = there.read_text() + "# changed\n"
    done = commit_meanwhile(published, "code/copy.sh", text).end()
    assert done.code == 2
    assert any(line.startswith("edges: ") and ". Fix: " in line for line in done.err.splitlines())
    assert there.read_text() == text
    assert published.schedule()["edges"]["counts"]["ran"] == 2
    assert published.read("edges/1.txt") == b"changed\n"
    assert published.git("edges", "show", "HEAD:code/copy.sh") == text.strip()


def test_plan_and_status_tell_what_is_left_out(published: Study) -> None:
    published.put("images/sketch.txt", "not yet", save=False)
    published.put("edges/code/new.sh", "true\n", save=False)
    for command in ("plan", "status"):
        done = published.minipach(command, "--json")
        assert "images: uncommitted changes are left out (sketch.txt); datalad save -d" in done.err
        left_out = {row["repo"]: row["paths"] for row in done.json["uncommitted"]}
        assert left_out == {"images": ["sketch.txt"], "edges": ["code/new.sh"]}


def test_of_a_merge_that_is_not_finished_nobody_is_told_to_save_it(published: Study) -> None:
    ours = published.git("images", "branch", "--show-current")
    published.git("images", "switch", "-qc", "theirs", "HEAD~1")
    published.put("images/1.txt", "theirs\n")
    published.git("images", "switch", "-q", ours)
    run("git", "merge", "-q", "theirs", cwd=published.root / "images")
    done = published.minipach("plan")
    where = published.root / "images"
    assert f"images: uncommitted changes are left out (1.txt); finish the merge: git -C {where} merge --co" in done.err


@pytest.mark.slow
def test_an_upstream_that_moved_and_changed_nothing_is_nothing_to_take_in(published: Study) -> None:
    published.schedule()
    published.put("images/.gitignore", "*.bak\n")
    rows = published.minipach("status", "--json").json["pipelines"]
    assert {row["name"]: (row["state"], row["counts"]["upstream"]) for row in rows} == {
        "edges": ("current", 0),
        "montage": ("current", 0),
    }


@pytest.mark.slow
def test_changes_in_nested_subdatasets_of_an_input_are_told(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    images = study.root / "images"
    for place in ("sub-01", "sub-01/ses-1", "inputs/raw"):
        study.ok("datalad", "create", "-d", str(images), str(images / place))
        (images / place / "a.txt").write_text("a\n")
    study.ok("datalad", "save", "-r", "-d", str(study.root), "-m", "inputs")
    study.copier(glob="/**.txt", more="minipach: {out: 'all/{name}/'}\n")
    study.save("edges")
    edited = images / "sub-01/ses-1/a.txt"
    edited.unlink()
    edited.write_text("edited\n")
    (images / "inputs/raw/new.txt").write_text("new\n")
    line = "images: uncommitted changes are left out (inputs/raw/new.txt, sub-01/ses-1/a.txt); "
    line += f"datalad save -r -d {images}"
    for command in (("plan",), ("status",), ("run-one", "edges:sub-01/a.txt"), ("schedule",)):
        done = study.minipach(*command)
        assert done.code == 0, done.err
        assert done.err.splitlines().count(line) == 1, (command, done.err)
    assert study.read("edges/all/sub-01/ses-1/a.txt/a.txt") == b"a\n"
    study.ok("datalad", "save", "-r", "-d", str(images), "-m", "changes")
    assert "uncommitted" not in study.minipach("plan").err


def test_git_is_asked_once_about_a_subdataset_that_stays_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, past = Repo(tmp_path / "images"), time.time() - 10
    top.path.mkdir()
    top.git("init", "--quiet")
    for name in ("one", "two"):
        sub = Repo(top.path / name)
        sub.path.mkdir()
        sub.git("init", "--quiet")
        for file in ("scan.dat", "other.dat"):
            (sub.path / file).write_text(name)
            os.utime(sub.path / file, (past, past))
        sub.git("add", "--", ".")
        sub.git("commit", "--quiet", "-m", "a scan")
        top.git("config", "--file", ".gitmodules", f"submodule.{name}.path", name)
    asked: list[Path] = []
    git, look = Repo.git, uncommitted_module.dirty_paths

    def counting(repo: Repo, *paths: str) -> list[str]:
        asked.append(repo.path)
        return look(repo, *paths)

    monkeypatch.setattr(uncommitted_module, "dirty_paths", counting)
    cache = Cache(tmp_path / "cache")
    assert in_subdatasets(top.path, cache) == []
    assert sorted(path.name for path in asked) == ["one", "two"]
    asked.clear()
    assert in_subdatasets(top.path, cache) == []
    assert asked == []
    (top.path / "one/scan.dat").write_text("another")
    assert in_subdatasets(top.path, cache) == ["one/scan.dat"]
    assert {path.name for path in asked} == {"one"}
    git(Repo(top.path / "two"), "rm", "--quiet", "--cached", "scan.dat")
    (top.path / "two/scan.dat").unlink()
    git(Repo(top.path / "two"), "write-tree")  # the index names its tree
    assert in_subdatasets(top.path, cache) == ["one/scan.dat", "two/scan.dat"]
    git(Repo(top.path / "two"), "commit", "--quiet", "-m", "one less")
    assert in_subdatasets(top.path, cache) == ["one/scan.dat"]
    (top.path / "two/.git/HEAD").write_text(git(Repo(top.path / "two"), "rev-parse", "HEAD~1").decode())
    assert in_subdatasets(top.path, cache) == ["one/scan.dat", "two/scan.dat"], "the index is not that of the commit"


def test_nobody_is_told_to_save_an_unfinished_upload(study: Study) -> None:
    project = Project(study.root)
    where = study.root / "images"
    (where / "incoming").mkdir()
    (where / "incoming/a.raw.part").write_text("half")
    (where / "b.raw").write_text("whole")
    (line,) = remarks(project, uncommitted(project, ["images"]))
    assert "incoming/a.raw.part seems to be an unfinished upload" in line and line.endswith(f"-d {where} FILE...")
    (where / "incoming/a.raw.part").unlink()
    (line,) = remarks(project, uncommitted(project, ["images"]))
    assert line.endswith(f"datalad save -d {where}")


def test_what_a_watcher_saves_is_left_to_it(study: Study) -> None:
    project = Project(study.root)
    (study.root / "images/incoming").mkdir()
    (study.root / "images/incoming/a.raw").write_text("perhaps half")
    project.local.folder.mkdir(exist_ok=True)
    project.local.watch.write_text(json.dumps({"drop": {"patterns": ["images/incoming/**", "[bad"]}}))
    where = study.root / "images"
    (line,) = remarks(project, uncommitted(project, ["images"]))
    assert line.endswith(f"datalad save -d {where}"), "no watcher runs"
    with project.local.watching.open("a") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        (line,) = remarks(project, uncommitted(project, ["images"]))
        assert "minipach watch saves" in line and "datalad" not in line
        (where / "b c.raw").write_text("x")
        (line,) = remarks(project, uncommitted(project, ["images"]))
        assert line.endswith(f"datalad save -d {where} 'b c.raw'")
    project.local.watch.write_text("{}")
