"""Files that are replaced in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.support.files import replace_file


@pytest.fixture
def private() -> Iterator[None]:
    """A umask with which files are the user's alone."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("mode", [0o664, 0o755, 0o600])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "params.yml"
    file.write_text("old")
    file.chmod(mode)
    replace_file(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", mode)


@pytest.mark.usefixtures("private")
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    replace_file(tmp_path / "params.yml", b"new")
    assert (tmp_path / "params.yml").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("private")
def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_text("annexed")
    content.chmod(0o444)
    (tmp_path / "params.yml").symlink_to(content)
    replace_file(tmp_path / "params.yml", b"new")
    assert (content.read_text(), (tmp_path / "params.yml").stat().st_mode & 0o777) == ("annexed", 0o600)


def test_a_file_that_can_t_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "params.yml").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "params.yml", b"new")
    assert os.listdir(tmp_path) == ["params.yml"]
