"""Previews of files: what a content is, by its first bytes, and how it is shown. Pure.

The kind follows from the content, not from the name alone, so that no file can pass as a page or a script.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Literal

from minipach.support.validation import InvalidError, parse

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
MOST = 200_000  # bytes of a file that a preview reads
_ROWS, _COLUMNS, _CELL = 100, 30, 200
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_MEDIA = {".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".wav": "audio/wav", ".mp4": "video/mp4", ".webm": "video/webm"}
VOLUMES = (".nii", ".nii.gz")
Kind = Literal["picture", "table", "json", "markdown", "text", "audio", "video", "volume", "binary", "absent"]


@dataclass(frozen=True, slots=True)
class FilePreview:
    """A file for people. text: of `text`, `markdown` and `json` · rows: of a table · is_cut: whether there is more."""

    kind: Kind
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    is_cut: bool = False


def is_picture(data: bytes) -> bool:
    """Return whether a content begins as a picture that browsers show and that can hold no script."""
    return kind_of("", data).startswith("image/")


def kind_of(path: str, data: bytes) -> str:
    """Return the media type that a content may be served with."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    ending = next((end for end in _MEDIA if path.lower().endswith(end)), "")
    if ending and _text(data) is None:
        return _MEDIA[ending]
    return "text/plain; charset=utf-8" if _text(data) is not None else "application/octet-stream"


def preview(path: str, data: bytes | None, *, whole: bool) -> FilePreview:
    """Return the preview of a file from its first bytes (None: its content is not on this machine)."""
    if data is None:
        return FilePreview("absent")
    kind = kind_of(path, data)
    if kind.startswith("image/"):
        return FilePreview("picture", is_cut=not whole)
    if kind.startswith("audio/"):
        return FilePreview("audio", is_cut=not whole)
    if kind.startswith("video/"):
        return FilePreview("video", is_cut=not whole)
    text = _text(data)
    name = path.lower()
    if text is None:
        return FilePreview("volume" if name.endswith(VOLUMES) else "binary", is_cut=not whole)
    if name.endswith((".md", ".markdown")):
        return FilePreview("markdown", text, is_cut=not whole)
    if name.endswith(".json") and whole and (found := _parsed(text)) is not None:
        table = _records(found[0])
        return (
            FilePreview("table", rows=table, is_cut=len(found[0]) > _ROWS) if table else FilePreview("json", found[1])
        )
    if name.endswith((".csv", ".tsv")):
        return _table(text, "\t" if name.endswith(".tsv") else ",", whole=whole)
    return FilePreview("text", text, is_cut=not whole)


def _text(data: bytes) -> str | None:
    """Return a content as text; None: it is binary. Its end may be in the middle of a character."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return None
        return data[: error.start].decode()


def _parsed(text: str) -> tuple[Any, str] | None:
    """Return a value of JSON, and as indented text."""
    try:
        found = parse(text)
        return found, json.dumps(found, indent=2, ensure_ascii=False)
    except (InvalidError, RecursionError):
        return None


def _records(found: Any) -> tuple[tuple[str, ...], ...]:
    """Return a list of flat objects as a table with a head; empty if it is something else."""
    if not isinstance(found, list) or not found or not all(isinstance(row, dict) and row for row in found):
        return ()
    if any(isinstance(value, dict | list) for row in found for value in row.values()):
        return ()
    names = list(dict.fromkeys(name for row in found for name in row))[:_COLUMNS]
    shown = [tuple(_cell(row.get(name, "")) for name in names) for row in found[:_ROWS]]
    return (tuple(name[:_CELL] for name in names), *shown)


def _cell(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:_CELL]


def _table(text: str, delimiter: str, *, whole: bool) -> FilePreview:
    rows: list[tuple[str, ...]] = []
    more = False
    try:
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            if len(rows) > _ROWS:
                more = True
                break
            more = more or len(row) > _COLUMNS
            rows.append(tuple(cell[:_CELL] for cell in row[:_COLUMNS]))
    except csv.Error:
        return FilePreview("text", text, is_cut=not whole)
    return FilePreview("table", rows=tuple(rows), is_cut=more or not whole)
