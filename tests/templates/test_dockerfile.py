"""`minipach.templates.dockerfile`: the command of a Dockerfile's last stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.support.errors import UserError
from minipach.templates.dockerfile import read_dockerfile


def read(folder: Path, text: str) -> tuple[list[str], str, tuple[str, ...]]:
    (folder / "Dockerfile").write_text(text)
    return read_dockerfile(folder / "Dockerfile")


def test_the_last_stage_counts(tmp_path: Path) -> None:
    text = 'FROM a AS b\nWORKDIR /x\nCMD ["no"]\nFROM c\nWORKDIR /app\nUSER me\n'
    text += 'ENTRYPOINT ["run",\\\n "it"]\nCMD ["--all"]\n'
    words, folder, left_out = read(tmp_path, text)
    assert (words, folder) == (["run", "it", "--all"], "/app")
    assert [line.split()[0] for line in left_out] == ["USER"]


def test_a_command_for_a_shell(tmp_path: Path) -> None:
    assert read(tmp_path, "FROM a\nCMD echo $HOME\n")[0] == ["/bin/sh", "-c", "echo $HOME"]


@pytest.mark.parametrize("text", ["", "hello\n", "CMD x\n", "\0\1\n"])
def test_what_is_no_dockerfile(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        read(tmp_path, text)
