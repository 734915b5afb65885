"""Previews: the kind follows from the content, and whatever a file holds, it has one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.console.previews import kind_of, preview
from tests.fixtures.stories import PIXEL


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        ("a.png", PIXEL, "picture"),
        ("a.txt", PIXEL, "picture"),
        ("a.png", b"<script>", "text"),
        ("a.svg", b"<svg onload=alert(1)>", "text"),
        ("a.html", b"<html>", "text"),
        ("a.csv", b"x,y\n1,2\n", "table"),
        ("a.tsv", b"x\ty\n1\t2\n", "table"),
        ("a.json", b'{"x": [1, 2]}', "json"),
        ("a.json", b'{"x": [1, 2', "text"),
        ("a.json", b'[{"x": 1}, {"x": 2, "y": "z"}]', "table"),
        ("a.json", b'[{"x": [1]}]', "json"),
        ("a.md", b"# x", "markdown"),
        ("a.nii", b"\0\1", "volume"),
        ("a.nii.gz", b"\x1f\x8b\0", "volume"),
        ("a.nii", b"text", "text"),
        ("a.bin", b"\0\1", "binary"),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "audio"),
        ("a.wav", b"plain text", "text"),
        ("a", b"cut in a character \xc3", "text"),
        ("a", b"\xff\xfe", "binary"),
    ],
)
def test_kinds(path: str, data: bytes, kind: str) -> None:
    assert preview(path, data, whole=True).kind == kind


def test_absent_content_is_said() -> None:
    assert preview("a.txt", None, whole=False).kind == "absent"


def test_no_file_is_served_as_a_page_or_a_script() -> None:
    for path in ("a.html", "a.svg", "a.js", "a.xml", "a.css"):
        assert kind_of(path, b"<html><script>alert(1)</script>") == "text/plain; charset=utf-8"


def test_tables_are_cut() -> None:
    found = preview("a.csv", b"a,b\n" + b"1,2\n" * 1000, whole=True)
    assert found.is_cut and len(found.rows) == 101 and found.rows[1] == ("1", "2")


@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.tsv", "a.json", "a.txt", "a.wav", "a"]), st.booleans())
def test_any_content_has_a_preview(data: bytes, path: str, whole: bool) -> None:
    assert preview(path, data, whole=whole).kind
