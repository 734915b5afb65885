"""Numbers with their nouns, and paths that people copy into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from minipach.support.text import many, quoted, suggest


def test_one_is_not_many() -> None:
    assert [many(n, "datum") for n in (0, 1, 2, 1000)] == ["0 datums", "1 datum", "2 datums", "1000 datums"]
    assert [many(n, "try", "tries") for n in (1, 2)] == ["1 try", "2 tries"]
    assert [many(n, "CPU") for n in (0.5, 1.0, 8.0)] == ["0.5 CPUs", "1 CPU", "8 CPUs"]


@pytest.mark.parametrize("path", ["/data/study", "/data/my study", "/data/it's $(touch x)", "-rf", "a\nb"])
def test_a_path_is_one_word_to_a_shell(path: str) -> None:
    assert shlex.split(f"git -C {quoted(Path(path))} status") == ["git", "-C", path, "status"]


def test_a_plain_path_stays_plain() -> None:
    assert quoted("/data/study-1/images") == "/data/study-1/images"


def test_suggestions() -> None:
    assert suggest("imags", ["images", "edges"]) == 'use "images"'
    assert suggest("zzz", ["b", "a"]) == "use one of: a, b"
    assert suggest("zzz", "abcdefghij") == "use one of: a, b, c, d, e, f, g, h and 2 more"
    assert suggest("mooon", ["moon", *(f"sub-{i:05}" for i in range(5000))]) == 'use "moon"'
    assert suggest("zzz", []) == ""
