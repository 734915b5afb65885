"""`minipach.templates.stage_draft`: a stage's files at the paths that its commands know."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minipach.project.project import find_project
from minipach.support.errors import UserError
from minipach.templates.stage_draft import Stage, draft_from_stage, stage_script
from tests.fixtures.plain_projects import repo, root
from tests.fixtures.repos import Files

__all__ = ["root"]


def test_the_script_finds_every_file(root: Files, tmp_path: Path) -> None:
    repo(root, "data")
    root.put("tools/it's.sh", 'cat "$@"')
    root.commit()
    command = "sh \"tools/it's.sh\" 'data/a b.txt' data/sub/c.txt > 'out/$(x).txt'"
    stage = Stage(
        "Makefile:x", root.path, ["data/a b.txt", "data/sub/c.txt", "tools/it's.sh"], ["out/$(x).txt"], [command]
    )
    parts = draft_from_stage(find_project(root.path), stage, "n")
    pfs, here = tmp_path / "pfs", tmp_path / "here"
    for place in ("data/a b.txt", "data2/sub/c.txt"):
        (pfs / place).parent.mkdir(parents=True)
        (pfs / place).write_text(place)
    (pfs / "out").mkdir()
    for file in parts.files:
        (here / file.path).parent.mkdir(parents=True, exist_ok=True)
        (here / file.path).write_bytes(file.content)
    subprocess.run(["sh", "code/run.sh"], cwd=here, env={"PFS": str(pfs), "PATH": "/usr/bin:/bin"}, check=True)
    assert (pfs / "out/out/$(x).txt").read_text() == "data/a b.txtdata2/sub/c.txt"


@pytest.mark.parametrize(
    ("reads", "code"),
    [(["../../etc/passwd"], "new.outside"), (["/etc/passwd"], "new.outside"), (["x"], "new.no-input")],
)
def test_what_is_refused(root: Files, reads: list[str], code: str) -> None:
    with pytest.raises(UserError) as caught:
        draft_from_stage(find_project(root.path), Stage("s", root.path, reads, ["o"], ["x"]), "n")
    assert [problem.code for problem in caught.value.problems] == [code]


def test_an_untracked_file_is_left_out(root: Files) -> None:
    repo(root, "data")
    (root.path / "secret.txt").write_text("x")
    parts = draft_from_stage(
        find_project(root.path), Stage("s", root.path, ["data/a", "secret.txt"], ["o"], ["x"]), "n"
    )
    assert next(line.partition(":")[0] for line in parts.left_out) == "secret.txt"
    assert [file.path for file in parts.files] == ["code/run.sh"]


def test_each_command_has_a_shell_of_its_own(tmp_path: Path) -> None:
    commands = ["X=1; cd /", "false; echo $X. > o", "cat >> o <<E\nhere\nE", "cat <<E >> o"]
    text = stage_script(Stage("dvc.yaml:s", tmp_path, [], ["o"], commands), [], [])
    (tmp_path / "pfs/out").mkdir(parents=True)
    env = {"PFS": str(tmp_path / "pfs"), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    subprocess.run(["sh", "-c", text], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "pfs/out/o").read_text() == ".\nhere\n"
