"""Checks of values that others can write: Redis, Slurm's files, the job database, caches and notes.

A value that is not what it must be counts as one that is not there: its reader skips it, or makes it again.
"""

from __future__ import annotations

import functools
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_MOST = 256 * 1024 * 1024  # bytes of a text that is parsed
_LARGEST = 2**62  # of a whole number: SQLite and the kernel have 64 bits
_LATEST = 32503680000.0  # unix seconds: the year 3000, which every calendar function can still show
_TEXT = 1024 * 1024  # characters of one text
_Check = Callable[[Any], bool]


class InvalidError(ValueError):
    """A value that is not of the kind that its reader expects."""


def parse(text: str | bytes) -> Any:
    """Parse JSON. Raises InvalidError if it is too large or too deep, no UTF-8, or no strict JSON (NaN)."""
    if len(text) > _MOST:
        raise InvalidError(f"{len(text)} bytes of JSON are too many")
    try:
        return json.loads(text if isinstance(text, str) else text.decode(), parse_constant=_refuse)
    except RecursionError:
        raise InvalidError("JSON that is nested too deeply") from None
    except ValueError as error:
        raise InvalidError(f"no JSON: {str(error)[:200]}") from None


def _refuse(constant: str) -> None:
    raise InvalidError(f"{constant} is no number")


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises InvalidError."""
    found = parse(text)
    if not isinstance(found, dict):
        raise InvalidError("no JSON object")
    return found


def objects_in(lines: bytes) -> Iterator[dict[str, Any]]:
    """Yield the lines that are JSON objects; the others are skipped."""
    for line in lines.splitlines():
        try:
            yield parse_object(line)
        except InvalidError:
            continue


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value has exactly the type that a hint says, and its numbers and texts can be used.

    Whole numbers fit into 64 bits, other numbers are finite, and texts have at most a million characters and are
    valid Unicode or bytes as Python keeps them. Of a frozen dataclass, all fields are looked at.
    """
    return _checker(hint)(value)


def checked(value: T) -> T:
    """Return a dataclass whose fields conform to its hints. Raises InvalidError."""
    kind: Any = type(value)
    for name, check in _fields(kind):
        if not check(getattr(value, name)):
            raise InvalidError(f"{type(value).__name__}: {name} is {str(getattr(value, name))[:80]!r}")
    return value


def rows(kind: Callable[..., T], values: Sequence[Sequence[Any]]) -> list[T]:
    """Make a dataclass of each row of a table; a row with a value that does not conform is left out."""
    return [kind(*row) for row in conforming(kind, values)]


def conforming(kind: Callable[..., Any], values: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield the rows whose values could be the fields of a dataclass."""
    checks = [check for _, check in _fields(kind)]
    for row in values:
        if all(check(value) for check, value in zip(checks, row, strict=False)):
            yield row


def is_moment(value: Any) -> bool:
    """Return whether a value is a time in unix seconds that can be shown."""
    return conforms(value, float) and 0 <= value < _LATEST


def is_text(value: Any) -> bool:
    """Return whether a value is a text of bounded length."""
    return isinstance(value, str) and len(value) <= _TEXT


def texts(value: Any) -> list[str]:
    """Return a list of texts. Raises InvalidError."""
    if not isinstance(value, list) or not all(map(is_text, value)):
        raise InvalidError("no list of texts")
    return value


def clean(text: str) -> str:
    """Return a text that can be stored and sent anywhere: odd bytes are shown as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _is_whole(value: Any) -> bool:
    return type(value) is int and -_LARGEST < value < _LARGEST


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (type(value) is float and math.isfinite(value) and abs(value) < _LARGEST)


_SIMPLE: dict[Any, _Check] = {
    Any: lambda _: True,
    None: lambda value: value is None,
    type(None): lambda value: value is None,
    str: is_text,
    bool: lambda value: type(value) is bool,
    int: _is_whole,
    float: _is_number,
}


@functools.cache
def _checker(hint: Any) -> _Check:
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return lambda value: isinstance(value, str | int) and value in arguments
    if origin in (Union, types.UnionType):
        either = tuple(map(_checker, arguments))
        return lambda value: any(check(value) for check in either)
    if origin is tuple and arguments[1:] == (...,):
        each = _checker(arguments[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    if origin is tuple:
        parts = tuple(map(_checker, arguments))
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(c(v) for c, v in zip(parts, value, strict=True))
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = map(_checker, arguments)
        return lambda value: isinstance(value, dict) and all(key(k) and item(v) for k, v in value.items())
    if origin in (list, Sequence):
        one = _checker(arguments[0])
        return lambda value: isinstance(value, list) and all(map(one, value))
    if is_dataclass(hint) and isinstance(hint, type):
        own = _fields(hint)
        return lambda value: isinstance(value, hint) and all(check(getattr(value, name)) for name, check in own)
    if hint is dict:
        return lambda value: isinstance(value, dict)
    raise TypeError(f"no check for {hint}")


@functools.cache
def _fields(kind: Any) -> tuple[tuple[str, _Check], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, _checker(hints[field.name])) for field in fields(kind))
