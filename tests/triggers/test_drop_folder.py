"""The drop folder: complete new files are saved, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minipach.project.project import Project
from minipach.support.errors import Problem
from minipach.triggers.drop_folder import DropFolder, DropOptions
from minipach.triggers.inotify import Folders
from minipach.triggers.open_files import open_for_writing
from minipach.triggers.save_files import files_of, save_files
from tests.fixtures.projects import Study, run
from tests.fixtures.refusals import refused

_ODD = (b"-dash", b"new\nline", b"no utf-8 \xff", b"a 'b' \"c\" $(touch x); *?", b":(glob)x", "ä".encode())


def status(study: Study, repo: str) -> set[bytes]:
    out = run("git", "status", "--porcelain", "-z", "-uall", cwd=study.root / repo).out
    return {line for line in os.fsencode(out).split(b"\0") if line}


class Drop:
    """A drop folder whose saves are made at once, in this process."""

    def __init__(self, study: Study, *patterns: str, excludes: tuple[str, ...] = (), quiet: float = 0.05) -> None:
        self.study = study
        self.project = Project(study.root)
        self.troubles: dict[str, Problem | None] = {}
        self.woken = 0
        self.folders = Folders(lambda: None)
        self.drop = DropFolder(
            self.project,
            DropOptions(patterns, excludes, quiet),
            self.wake,
            lambda line: None,
            self.troubles.__setitem__,
            poll=False,
            interval=3600,
        )

    def wake(self) -> None:
        self.woken += 1

    def scan(self) -> list[str]:
        """Scan; the files that wait."""
        self.drop._scanned = 0.0
        self.drop.touched()
        self.drop._again = float("inf")
        self.drop.work(self.project, self.folders)
        return sorted(self.drop._pending)


@pytest.fixture
def incoming(study: Study) -> Path:
    folder = study.root / "images/incoming"
    folder.mkdir()
    return folder


def test_which_files_wait(study: Study, incoming: Path) -> None:
    (incoming / "deep/er").mkdir(parents=True)
    study.put("images/incoming/old", "old")
    for name in ("a.png", "deep/er/b.png", "c.txt", "d.raw", "notes.png", "skip/x.png"):
        (incoming / name).parent.mkdir(exist_ok=True)
        (incoming / name).write_text("x")
    for name in (
        "e.png.part",
        "f.crdownload",
        ".~lock.g.png#",
        ".h.png.Ab3dE9",
        "i.tmp",
        "~$j.png",
        "k.png~",
        "l.filepart",
    ):
        (incoming / name).write_text("x")
    (incoming / "m.png").write_text("")
    (incoming / "m.png.part").write_text("x")
    (study.root / "images/elsewhere.png").write_text("x")
    (study.root / "images/.gitignore").write_text("*.raw\n")
    os.mkfifo(incoming / "pipe.png")
    drop = Drop(study, "images/incoming/**", excludes=("notes.*", "images/incoming/skip/*"))
    assert drop.scan() == [f"images/incoming/{name}" for name in ("a.png", "c.txt", "deep/er/b.png")]
    assert Drop(study, "images/incoming/*.png").scan() == ["images/incoming/a.png", "images/incoming/notes.png"]
    assert Drop(study, "images/incoming").scan() == sorted({*drop.scan(), *Drop(study, "images/incoming/**").scan()})


def test_names_that_no_pipeline_takes_stay_unsaved(study: Study, incoming: Path) -> None:
    drop = Drop(study, "images/incoming/**")
    for name in (b"new\nline", b"no utf-8 \xff", b"$(touch x) *"):
        Path(os.fsdecode(os.fsencode(incoming) + b"/" + name)).write_text("x")
    assert drop.scan() == ["images/incoming/$(touch x) *"]
    problem = drop.troubles["name"]
    assert problem is not None and "\\n" in str(problem) and "\n" not in str(problem) and problem.fix == "rename it"
    (incoming / "new\nline").unlink()
    Path(os.fsdecode(os.fsencode(incoming) + b"/no utf-8 \xff")).unlink()
    drop.scan()
    assert drop.troubles["name"] is None


def test_quiet_files_alone_are_saved(study: Study, incoming: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Ended:
        returncode = 0

        @staticmethod
        def poll() -> int:
            return 0

    monkeypatch.setattr(
        "minipach.triggers.drop_folder.start_saving", lambda root, paths, log: started.append(paths) or Ended
    )
    drop = Drop(study, "images/incoming/**", quiet=1000.0)
    (incoming / "a").write_text("x")
    (incoming / "b").write_text("x")
    with (incoming / "c").open("w") as writer:
        assert len(drop.scan()) == 3
        drop.drop._again = 0.0
        drop.drop.work(drop.project, drop.folders)
        assert started == []  # not quiet yet
        for item in drop.drop._pending.values():
            item.since = -2000.0
        (incoming / "b").write_text("more")  # after the scan, before the save
        drop.drop.work(drop.project, drop.folders)
        assert started == [["images/incoming/a"]]
        writer.write("x")
    assert drop.drop.due() is not None


def test_failed_save_is_reported_and_tried_again(study: Study, incoming: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        returncode = 2

        @staticmethod
        def poll() -> int:
            return 2

    def start(root: Path, paths: list[str], log: int) -> type[Failed]:
        os.write(log, b"first line\nthe reason\n")
        return Failed

    monkeypatch.setattr("minipach.triggers.drop_folder.start_saving", start)
    drop = Drop(study, "images/incoming/**", quiet=1000.0)
    (incoming / "a").write_text("x")
    drop.scan()
    drop.drop._pending["images/incoming/a"].since = -2000.0
    drop.drop._again = 0.0
    drop.drop.work(drop.project, drop.folders)
    drop.drop.work(drop.project, drop.folders)
    assert "the reason" in str(drop.troubles["save"]) and drop.drop._again > time.monotonic() + 200
    assert drop.drop.as_json()["waiting"] == 1


def test_new_folders_are_watched(study: Study, incoming: Path) -> None:
    drop = Drop(study, "images/incoming/**")
    drop.scan()
    (incoming / "new").mkdir()
    until(lambda: drop.woken)
    drop.scan()
    before = drop.woken
    (incoming / "new/file").write_text("x")
    until(lambda: drop.woken > before)
    assert drop.scan() == ["images/incoming/new/file"]
    drop.folders.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_files_that_a_process_writes_to(tmp_path: Path) -> None:
    written, read = tmp_path / "written", tmp_path / "read"
    read.write_text("x")
    with written.open("w"), read.open():
        both = {os.fsencode(os.path.realpath(file)) for file in (written, read)}
        assert open_for_writing(both) == {os.fsencode(os.path.realpath(written))}
    assert open_for_writing(both) == set()


@pytest.mark.parametrize(
    ("pattern", "code", "location"),
    [
        ("**", "watch.bad-pattern", "--save"),
        ("images/nowhere/*", "watch.no-folder", "--save images/nowhere"),
        ("images/[", "watch.bad-pattern", "--save images/["),
        ("link/*", "watch.is-a-link", "--save link"),
        ("/etc/**", "watch.outside", "--save /etc/**"),
        ("../other/*", "watch.outside", "--save ../other/*"),
        ("images/../edges/**", "watch.outside", "--save images/../edges/**"),
        ("edges/**", "watch.is-a-pipeline", "--save edges"),
        ("edges/code/*", "watch.is-a-pipeline", "--save edges/code"),
        ("images/own/*", "watch.foreign-repo", "--save images/own"),
        ("images/own/deep/*", "watch.foreign-repo", "--save images/own/deep"),
    ],
)
def test_bad_pattern_is_one_line(study: Study, pattern: str, code: str, location: str) -> None:
    (study.root / "link").symlink_to("images")
    study.copier("edges")
    (study.root / "images/own/deep").mkdir(parents=True)
    study.git("images/own", "init", "-q")
    with refused(code, location):
        Drop(study, pattern)


def test_an_absolute_pattern_gets_the_one_that_is_meant(study: Study) -> None:
    with refused("watch.outside") as found:
        Drop(study, f"{study.root}/images/incoming/**")
    assert found.problem.fix == "write 'images/incoming/**'"


def test_what_is_left_out_has_a_line_of_its_own(study: Study, incoming: Path) -> None:
    """A link that leads out would hold back each pipeline that takes it."""
    drop = Drop(study, "images/incoming/**")
    (incoming / "good").write_text("x")
    (incoming / "inside").symlink_to("good")
    (incoming / "out").symlink_to("/etc/hostname")
    (incoming / "up").symlink_to("../../.gitmodules")
    (incoming / "own").mkdir()
    study.git("images/incoming/own", "init", "-q")
    (incoming / "own/file").write_text("x")
    assert drop.scan() == ["images/incoming/good", "images/incoming/inside"]
    link, foreign = drop.troubles["link"], drop.troubles["foreign"]
    assert link is not None and link.code == "watch.link" and link.location.startswith("images/incoming/")
    assert foreign is not None and foreign.location == "images/incoming/own/"
    for name in ("out", "up"):
        (incoming / name).unlink()
    (incoming / "own").rename(study.root.parent / "away")
    drop.scan()
    assert drop.troubles["link"] is None and drop.troubles["foreign"] is None


@pytest.mark.slow
def test_any_name_is_saved_and_no_other_change(study: Study, incoming: Path, tmp_path: Path) -> None:
    study.put("images/tracked", "tracked")
    (study.root / "images/tracked").unlink()
    (study.root / "images/tracked").write_text("edited")
    (study.root / "images/staged").write_text("staged")
    study.git("images", "add", "staged")
    (study.root / "edited").write_text("x")
    for name in _ODD:
        (Path(os.fsdecode(os.fsencode(incoming) + b"/" + name))).write_bytes(name)
    before = status(study, "images")
    paths = [os.fsdecode(b"images/incoming/" + name) for name in _ODD]
    save_files(
        Project(study.root), [*files_of(b"".join(os.fsencode(p) + b"\0" for p in paths)), "images/incoming/gone"]
    )
    after = status(study, "images")
    assert {line[3:] for line in before - after} == {b"incoming/" + name for name in _ODD}
    assert after == {b"A  staged", b" T tracked"} or {line[3:] for line in after} == {b"staged", b"tracked"}
    assert not (study.root / "images/x").exists()
    assert study.git(".", "rev-parse", "HEAD:images") == study.git("images", "rev-parse", "HEAD")
    assert status(study, ".") >= {b"?? edited"}


def test_save_that_fails_is_one_line(study: Study, incoming: Path) -> None:
    (incoming / "a").write_text("x")
    (study.root / "images/.git/index.lock").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "minipach", "save-files"],
        cwd=study.root,
        input=b"images/incoming/a\0",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"could not be saved" in done.stderr
