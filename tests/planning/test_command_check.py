"""The program that a command names."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.planning.command_check import command_problems
from minipach.spec.load import load_spec

SPEC = "input: {pfs: {repo: images, glob: /}}\ntransform: {cmd: [./code/tool]}\n"


@pytest.mark.parametrize(("locked", "codes"), [(True, ["command.not-executable"]), (False, [])])
def test_a_locked_file_is_executable_in_its_own_annex_alone(tmp_path: Path, locked: bool, codes: list[str]) -> None:
    content = tmp_path / ".git/annex/objects/key"
    tool = tmp_path / "code/tool"
    for file in (content, tool):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"\x7fELF")
        file.chmod(0o755)
    if locked:
        tool.unlink()
        tool.symlink_to("../.git/annex/objects/key")
    pipeline = load_spec(SPEC, source="edges/spec.yml", folder="edges")
    found = list(command_problems(pipeline, lambda path: path == "code/tool", tmp_path))
    assert [problem.code for problem in found] == codes
    assert all(f"git -C {tmp_path} annex unlock ./code/tool" in problem.fix for problem in found)
