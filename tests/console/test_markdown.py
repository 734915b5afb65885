"""Markdown: it is shown with its structure, and nothing in it runs, loads or leads into the console."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.console.markdown import as_html


def test_structure_is_kept() -> None:
    html = as_html("# Title\n\n- one\n- **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[site](https://example.org)\n")
    assert "<h4>Title</h4>" in html and "<strong>two</strong>" in html and "<td>1</td>" in html
    assert 'href="https://example.org"' in html and "noreferrer" in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](https://example.org/x.png)",
        "[x](../act)",
        "<img src=x onerror=alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]",
        '[x](https://example.org "t\\" onclick=alert(1)")',
    ],
)
def test_nothing_runs_or_loads(text: str) -> None:
    tags = re.findall("<[^>]*>", as_html(text))
    assert not [t for t in tags if re.match("<(script|img|iframe|object)", t) or " on" in re.sub('"[^"]*"', "", t)]
    assert not [t for t in tags if "href" in t and "https://example.org" not in t]


@given(st.text(alphabet="#*_`[]()<>!|-\n \t\0\x1bab:/&;", max_size=80))
def test_any_text_is_html(text: str) -> None:
    assert "\x1b" not in as_html(text) and "<script" not in as_html(text)
