"""Configuration files changed as text are those that git itself would write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minipach.git import config_text

DATASET = '[datalad "dataset"]\n\tid = 7a1b\n'
MODULES = (
    '[submodule "inputs/images"]\n\tpath = inputs/images\n\turl = ../images\n'
    '[submodule "inputs/masks"]\n\tpath = inputs/masks\n\turl = ../masks\n'
)


def by_git(folder: Path, text: str, wanted: dict[str, str]) -> bytes:
    file = folder / "config"
    file.write_text(text)
    for key, value in wanted.items():
        subprocess.run(["git", "config", "--file", file, "--replace-all", key, value], check=True)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {"submodule.inputs/a b.path": "inputs/a b", "submodule.inputs/a b.url": "../a b"}),
        (
            DATASET,
            {"datalad.containers.minipach.image": "x/image", "datalad.containers.minipach.cmdexec": "sh x {img}"},
        ),
        (DATASET, {"datalad.dataset.id": "7a1b"}),
        (DATASET, {"datalad.dataset.id": "another"}),
        (MODULES, {"submodule.inputs/images.datalad-id": "1", "submodule.inputs/masks.url": "../other"}),
    ],
)
def test_a_plain_file_is_changed_as_git_changes_it(tmp_path: Path, text: str, wanted: dict[str, str]) -> None:
    changed = config_text.changed(text.encode(), wanted)
    assert changed == by_git(tmp_path, text, wanted)
    assert config_text.values(changed).items() >= wanted.items()


@pytest.mark.parametrize(
    "text",
    [
        b"[core]\n\tbare\n",
        b"[a]\n\tb = c # why\n",
        b'[a]\n\tb = "c d"\n',
        b"[a]\n\tb = c\\\n d\n",
        b"[A]\n\tb = c\n",
        b"[a.b]\n\tc = d\n",
        b"[a] b = c\n",
        b"\tb = c\n",
        b"[a]\n\tb = c",
        b"[a]\r\n\tb = c\r\n",
        b"[a]\n\tb = \xff\n",
        b"[include]\n\n",
    ],
)
def test_what_is_not_plain_is_left_to_git(text: bytes) -> None:
    with pytest.raises(config_text.NotPlainConfigError):
        config_text.values(text)


@pytest.mark.parametrize("value", ["", " a", "a;b", "a#b", 'a"b', "a\\b", "a\nb", "ü"])
def test_a_value_that_needs_quotes_is_left_to_git(value: str) -> None:
    with pytest.raises(config_text.NotPlainConfigError):
        config_text.changed(b"", {"a.b": value})


def test_a_key_with_several_values_is_left_to_git() -> None:
    with pytest.raises(config_text.NotPlainConfigError):
        config_text.changed(b"[a]\n\tb = c\n\tb = d\n", {"a.b": "e"})
