"""Checked specs of earlier: to read one again would import the checker, which takes longer than an unchanged plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from minipach.model import pipeline as types
from minipach.model.pipeline import Pipeline
from minipach.support.disk_cache import Cache

_TYPES = {name: found for name, found in vars(types).items() if isinstance(found, type) and is_dataclass(found)}


def read_spec(
    text: str, *, source: str, folder: str, cache: Cache, params: Mapping[str, Any] | None = None
) -> Pipeline:
    """Read a spec as `spec.load.load_spec` does; use the cache if the text is the one that was checked last."""
    key = (text, source, folder, *([repr(params)] if params else []))
    kept = cache.get("spec", source)
    if kept is not None and kept[0] == key:
        pipeline = _unpacked(kept[1])
        assert isinstance(pipeline, Pipeline)
        return pipeline
    from minipach.spec.load import load_spec

    pipeline = load_spec(text, source=source, folder=folder, params=params)
    cache.put("spec", source, (key, _packed(pipeline)))
    return pipeline


def _packed(value: Any) -> Any:
    """Return plain values, which the cache can keep: an object is a list of its type's name and its fields."""
    if isinstance(value, tuple):
        return tuple(map(_packed, value))
    if is_dataclass(value):
        return [type(value).__name__, *(_packed(getattr(value, field.name)) for field in fields(value))]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_unpacked, value))
    if isinstance(value, list):
        return _TYPES[value[0]](*map(_unpacked, value[1:]))
    return value
