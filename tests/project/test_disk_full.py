"""Full disks: for scratch, for the object store, for the ledger. A clear line, nothing corrupt, and on with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fixtures.projects import Done, Study
from tests.fixtures.small_disks import small_disk

WRITES = 'cp "$images" "$PFS/out/"; dd if=/dev/urandom of="$PFS/out/$(basename "$images").big" bs=1024 count=%d\n'
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]}
datum_tries: 1
"""


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study.create(tmp_path_factory.mktemp("full") / "study")
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", SPEC, run=WRITES % 10)
    study.schedule()
    study.put("edges/code/run.sh", WRITES % 3000)
    return study


@pytest.fixture
def filled(computed: Study, tmp_path: Path) -> Study:
    return computed.duplicate(tmp_path / "study")


def is_whole(study: Study) -> None:
    for repo in ("edges", "."):
        study.git(repo, "fsck", "--strict", "--no-dangling")
    assert set(study.outputs("edges")) == {"a.txt", "a.txt.big"}
    assert (study.root / "edges" / "a.txt").read_text() == "alpha\n"


def told(done: Done) -> str:
    """The one line that says what is full."""
    assert "Traceback" not in done.err and "Errno" not in done.err, done.err
    (line,) = [line for line in done.err.splitlines() if " disk is full, " in line and not line.startswith(" ")]
    return line


@pytest.mark.slow
def test_scratch(filled: Study) -> None:
    with small_disk(filled.root / "edges" / ".git" / "minipach" / "slots", "1m") as disk:
        done = filled.minipach("schedule")
        assert done.code == 1
        slots = filled.root / "edges" / ".git" / "minipach" / "slots"
        line = told(done)
        assert line.startswith(f"edges: a.txt could not be run: {slots} (")
        assert ". Fix: make space there, " in line
        is_whole(filled)
        disk.grow()
        assert filled.schedule()["edges"]["counts"]["ran"] == 1
    is_whole(filled)
    assert (filled.root / "edges" / "a.txt.big").stat().st_size == 3000 * 1024


@pytest.mark.slow
def test_object_store(filled: Study) -> None:
    # the worktrees lie on another file system than the store, so that only the store is full
    objects = filled.root / "edges" / ".git" / "annex" / "objects"
    moved = filled.root / "objects"
    objects.rename(moved)
    with small_disk(objects, "1m") as disk:
        subprocess.run(["cp", "-a", f"{moved}/.", objects], check=True)
        done = filled.minipach("schedule")
        assert done.code == 1, done.err
        line = told(done)
        assert line.startswith(f"edges: a.txt could not be run: {objects} (")
        assert f"make space there (git -C {filled.root}/edges annex unused lists " in line
        attempts = filled.minipach("datums", "edges", "--state", "failed", "--json").json["datums"]
        assert len(attempts[0]["attempt"]["tried"]) == 1, "the command ran again, for nothing"
        is_whole(filled)
        disk.grow()
        assert filled.schedule()["edges"]["counts"]["ran"] == 1
        is_whole(filled)


def test_ledger_and_logs(filled: Study) -> None:
    with small_disk(filled.root / ".git" / "minipach", "64k") as disk:
        disk.fill()
        done = filled.minipach("schedule")
        assert done.code == 2, done.out
        assert told(done).startswith(f"{disk.folder} ("), done.err
        is_whole(filled)
        disk.grow()
        (disk.folder / "filler").unlink()
        assert filled.schedule()["edges"]["counts"]["ran"] == 1
        is_whole(filled)
