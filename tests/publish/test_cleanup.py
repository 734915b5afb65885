"""`minipach du` and `gc`: where the space is, what can go, and what never goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.git.worktrees import Owner, Slot, slots_dir
from minipach.project.project import find_project
from minipach.publish.cleanup import Cleanup
from tests.fixtures.container_images import Images, images, need
from tests.fixtures.projects import Study

pytestmark = pytest.mark.slow

__all__ = ["images"]

LATER = 40 * 86400.0


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of images of its own for each test."""
    monkeypatch.setenv("MINIPACH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three jobs, and a result that was never published: only the results branch has it."""
    study = Study.create(tmp_path_factory.mktemp("cleanup") / "study")
    study.put("images/a.txt", "a, as it was\n" * 9, save=False)
    study.put("images/b.txt", "b, as it was\n" * 9)
    study.copier()
    assert study.schedule("edges:a.txt")["edges"]["state"] == "partial"
    for name in ("a.txt", "b.txt"):
        study.put(f"images/{name}", f"{name}, as it is\n" * 9)
        study.schedule()
    return study


@pytest.fixture
def study_(grown: Study, tmp_path: Path) -> Study:
    shutil.copytree(grown.root, tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")


def found(study: Study, *, keep_days: float = 30, later: float = LATER) -> dict[str, str]:
    """What could go, by kind."""
    cleanup = Cleanup(find_project(study.root), keep_days=keep_days, now=time.time() + later)
    return {waste.kind: waste.what for waste in cleanup.found()}


def free(study: Study, *, keep_days: float = 30, later: float = LATER) -> dict[str, int]:
    """Remove it: the bytes by kind."""
    cleanup = Cleanup(find_project(study.root), keep_days=keep_days, now=time.time() + later)
    return {waste.kind: waste.bytes for waste in cleanup.free()}


def contents(study: Study) -> list[str]:
    """The annexed contents that the pipeline has."""
    return sorted(p.name for p in (study.root / "edges/.git/annex/objects").rglob("*") if p.is_file())


def test_it_lists_first_and_changes_nothing(study_: Study) -> None:
    before = contents(study_)
    assert found(study_, later=0.0) == {}
    assert found(study_) == {"results": "1 result", "logs": "logs of 2 jobs"}
    listed = study_.minipach("gc", "--keep-days", "0")
    assert (listed.code, listed.err) == (0, "")
    assert "results  1 result" in listed.out
    assert listed.out.endswith("minipach gc --yes removes it\n")
    assert found(study_) == {"results": "1 result", "logs": "logs of 2 jobs"}
    assert contents(study_) == before


def test_yes_removes_it_and_all_that_is_needed_stays(study_: Study) -> None:
    outputs = {name: study_.read(f"edges/{name}") for name in ("a.txt", "b.txt")}
    before = contents(study_)
    done = study_.minipach("gc", "--keep-days", "0", "--yes", "--json")
    assert done.code == 0, done.err
    assert [row["kind"] for row in done.json["removed"]] == ["results", "logs"]
    assert {name: study_.read(f"edges/{name}") for name in outputs} == outputs
    assert contents(study_) == before, "the only copy of a content was dropped"
    assert study_.minipach("gc", "--keep-days", "0").out == "nothing to remove\n"
    assert study_.minipach("schedule").out == "nothing to do\n"
    assert study_.minipach("logs", "edges").code == 0
    study_.ok("git", "annex", "fsck", "--quiet", cwd=study_.root / "edges")


def test_contents_go_that_another_repository_has(study_: Study, tmp_path: Path) -> None:
    edges, store = study_.root / "edges", tmp_path / "store"
    store.mkdir()
    study_.ok(
        "git", "annex", "initremote", "store", "type=directory", f"directory={store}", "encryption=none", cwd=edges
    )
    study_.ok("git", "annex", "copy", "--quiet", "--all", "--to", "store", cwd=edges)
    before = contents(study_)
    assert free(study_)["results"] == len("a, as it was\n") * 9
    assert len(contents(study_)) == len(before) - 1
    assert (study_.read("edges/a.txt"), study_.read("edges/b.txt")) == (
        b"a.txt, as it is\n" * 9,
        b"b.txt, as it is\n" * 9,
    )


def test_worktrees_go_of_processes_that_are_gone_alone(study_: Study) -> None:
    repo = Repo(study_.root / "edges")
    owner = Owner(repo)
    mine = Slot(repo, slots_dir(repo) / f"{owner.name}.0")
    base = repo.resolve("HEAD")
    assert base
    mine.reset(base)
    script = (
        "import os, signal, sys; from pathlib import Path; from minipach.git.repo import Repo\n"
        "from minipach.git.worktrees import Owner, Slot, slots_dir\n"
        "repo = Repo(Path(sys.argv[1])); owner = Owner(repo)\n"
        "Slot(repo, slots_dir(repo) / f'{owner.name}.0').reset(sys.argv[2]); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, study_.root / "edges", base], check=False)
    assert done.returncode == -signal.SIGKILL
    assert found(study_)["worktrees"] == "1 worktree of processes that are gone"
    assert free(study_)["worktrees"] > 0
    assert (mine.path / "a.txt").is_symlink()
    assert "worktrees" not in found(study_)
    mine.remove()
    owner.release()
    repo.close()


def test_logs_stay_while_work_is_pending(study_: Study) -> None:
    pending = find_project(study_.root).local.pending_work
    pending.write_text("{}")
    assert "logs" not in found(study_)
    pending.unlink()
    assert "logs" in found(study_)


def test_images_go_that_nobody_uses_and_the_oldest_beyond_the_size(study_: Study, tmp_path: Path) -> None:
    day = 86400.0
    for number, age in enumerate((0.0, 2 * day, 3 * day, 60 * day)):
        folder = tmp_path / "cache" / "images" / (str(number) * 64)
        (folder / "rootfs").mkdir(parents=True)
        (folder / "rootfs" / "file").write_bytes(b"x" * 100_000)
        os.utime(folder, (time.time() - age, time.time() - age))
    cleanup = Cleanup(find_project(study_.root), keep_days=30, now=time.time())
    assert [Path(w.place).name[0] for w in cleanup.found() if w.kind == "images"] == ["3"]
    study_.git(".", "config", "minipach.image-cache-size", "250k")
    assert [Path(w.place).name[0] for w in cleanup.found() if w.kind == "images"] == ["2", "3"]
    assert [Path(w.place).name[0] for w in cleanup.free() if w.kind == "images"] == ["2", "3"]
    assert sorted(p.name[0] for p in (tmp_path / "cache" / "images").iterdir()) == ["0", "1"]
    study_.git(".", "config", "minipach.image-cache-size", "much")
    refused = study_.minipach("gc")
    assert (refused.code, refused.out) == (2, "")
    assert refused.reports(
        "setting.bad-value", "minipach.image-cache-size", '"much"', "git config minipach.image-cache-size"
    )


def test_no_command_of_a_project_that_runs_is_disturbed(study_: Study) -> None:
    held = find_project(study_.root).local.lock
    script = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
    script += "print(flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", script, held], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        done = study_.minipach("gc", "--keep-days", "0", "--yes", "--no-wait")
        assert done.code == 2
        assert "held by" in done.err
    finally:
        process.kill()
        process.communicate()
    assert found(study_) == {"results": "1 result", "logs": "logs of 2 jobs"}


def test_du_counts_what_is_there(study_: Study) -> None:
    (study_.root / ".git/minipach/logs/edges/1/large.log").write_bytes(b"x" * 1_000_000)
    done = study_.minipach("du", "--json")
    assert done.code == 0, done.err
    uses = {(use["kind"], use["place"]): use["bytes"] for use in done.json["uses"]}
    assert 1_000_000 <= uses["logs", "."] < 1_200_000
    assert uses["results", "edges"] > 0
    assert uses["data", "images"] > 0
    assert done.json["bytes"] == sum(uses.values())
    assert study_.minipach("du").out.splitlines()[0].split() == ["SIZE", "KIND"]
    rows = study_.minipach("du", "--all").out
    assert "logs" in rows
    assert ".git/minipach/logs" in rows


@pytest.mark.slow
def test_pipelines_of_a_project_share_one_copy_of_an_image(study: Study, images: Images) -> None:
    need("bwrap")
    shutil.copy(images.tar(), study.root / "box.tar")
    study.put("images/a.txt", "a\n")
    spec = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {image: ../box.tar, cmd: [sh, code/copy.sh]}\n'
    for name in ("first", "second"):
        study.pipeline(name, spec, copy='cp "$images" /pfs/out/\n')
    study.schedule()
    objects = [
        max((study.root / name / ".git/annex/objects").glob("*/*/*/*"), key=lambda path: path.stat().st_size)
        for name in ("first", "second")
    ]
    assert objects[0].samefile(objects[1])
    for name in ("first", "second"):
        study.ok("git", "annex", "fsck", "--quiet", "--all", cwd=study.root / name)
    objects[0].chmod(0o444)  # fsck takes an object with two names for one of an unlocked file
    shutil.copy(objects[0], study.root / "another")
    objects[1].parent.chmod(0o755)
    (study.root / "another").rename(objects[1])  # as one of an earlier version
    assert "copies" in found(study)
    assert free(study)["copies"] >= objects[0].stat().st_size
    assert objects[0].samefile(objects[1])
    clone = study.root.parent / "clone"
    study.ok("git", "clone", "--quiet", str(study.root / "second"), str(clone))
    study.ok("git", "annex", "get", "--quiet", ".", cwd=clone)
    assert study.minipach("schedule").out == "nothing to do\n"
