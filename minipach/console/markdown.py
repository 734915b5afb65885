"""Markdown as HTML: no markup of its own, no picture, no address that could run something. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from minipach.support.text import printable

_DEEPEST = 6  # of headings: the page has its own of the first three levels


def as_html(text: str) -> Markup:
    """Return Markdown as HTML. What it can't be is shown as text."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    try:
        tokens = _parser().parse(lines)
    except (RecursionError, ValueError):
        return Markup("<pre>{}</pre>").format(lines)
    _tame(tokens)
    return Markup(_parser().renderer.render(tokens, _parser().options, {}))


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "maxNesting": 30}).enable("table").disable(["image", "html_inline"])


def _tame(tokens: Sequence[Token]) -> None:
    """Make headings smaller than those of the page, and links ones that name no page they come from."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_DEEPEST, int(token.tag[1:]) + 3)}"
        if token.type == "link_open":
            where = str(token.attrGet("href") or "")
            if where.startswith(("http://", "https://", "mailto:")):
                token.attrSet("rel", "noreferrer noopener nofollow")
            else:
                token.attrs.pop("href", None)  # it would lead to somewhere in the console
        if token.children:
            _tame(token.children)
