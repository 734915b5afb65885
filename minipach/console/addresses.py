"""Addresses of pages: names of datums are bytes of any kind, so that they are in the query, percent-encoded. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

_MOST = 65_536  # bytes of a query


def address(prefix: str, page: str, /, **values: object) -> str:
    """Return the address of a page; values that are None or "" are left out."""
    pairs = [f"{name}={_quoted(str(value))}" for name, value in values.items() if value not in (None, "")]
    return f"{prefix}/{page}" + (f"?{'&'.join(pairs)}" if pairs else "")


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


def values_of(query: bytes, most: int = _MOST, fields: int = 100) -> dict[str, str]:
    """Return the values in a query, or in the body of a form; of several with one name, the last.

    most: bytes · fields: so many values at most; with more of either there are none.
    """
    if len(query) > most:
        return {}
    try:
        text = query.decode("latin-1")
        return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=fields))
    except ValueError:
        return {}
