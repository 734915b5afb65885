"""The points of an experiment: what `-S edges.sigma=1,2,3` and `-S edges.lr=range(0,1,0.25)` stand for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

from minipach.spec.yaml_reader import Number
from minipach.support.errors import Problem, UserError

Value = str | tuple[str, ...]
"""A value as it is written, or the items of a list."""

Point = dict[str, Value]
"""The parameters of a point: a chain of names (`deep.lr`), and the value.

Of several pipelines, the pipeline comes first (`edges:deep.lr`).
"""

MOST = 10_000  # points
_SINGLE = (Number, str, int, float)
_RANGE = re.compile(r"range\(([^()]*)\)")
_QUOTED = r'"(?:[^"]|"")*"'
_LIST = rf'\[(?:[^\[\]"]|{_QUOTED})*\]'
_PART = re.compile(rf'[ ]*(?:({_QUOTED})|({_LIST})|((?![ "\[])[^,\r\n]*))[ ]*(,|\Z)')
_CHAIN = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*", re.ASCII)


def parse_points(words: Sequence[str]) -> tuple[tuple[str, ...], list[Point]]:
    """Return the names of the pipelines, and all combinations of the values.

    Raises:
        UserError: A word has another form, or there are too many points.
    """
    pipelines: dict[str, None] = {}
    found: dict[tuple[str, str], list[Value]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        pipeline, dot, chain = key.partition(".")
        if not (equals and dot and pipeline and _CHAIN.fullmatch(chain)):
            raise _wrong(word, "not of the form PIPELINE.PARAMETER=VALUE,...", "write -S edges.sigma=1,2,3")
        pipelines[pipeline] = None
        found.setdefault((pipeline, chain), []).extend(_values(word, text))
    if not pipelines:
        raise _wrong("-S", "no parameter is set", "name parameters of a pipeline, as in -S edges.sigma=1,2,3")
    values = {chain if len(pipelines) == 1 else f"{pipeline}:{chain}": row for (pipeline, chain), row in found.items()}
    count = 1
    for row in values.values():
        count *= len(dict.fromkeys(row))
    if count > MOST:
        raise _wrong(" ".join(words), f"{count} points are more than {MOST}", "use fewer values")
    rows = product(*(dict.fromkeys(row) for row in values.values()))
    return tuple(pipelines), [dict(zip(values, row, strict=True)) for row in rows]


def read_point(data: Mapping[str, Any]) -> Point:
    """Return a point from JSON, in which it has lists."""
    return {chain: tuple(value) if isinstance(value, list) else value for chain, value in data.items()}


def shown(value: Value) -> str:
    """Return a value as `-S` takes it."""
    if isinstance(value, str):
        return _quoted(value) if value.startswith(("[", '"')) else value
    return f"[{', '.join(map(_item, value))}]"


def _item(text: str) -> str:
    return _quoted(text) if not text or set(text) & set('",[]') or text != text.strip() else text


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def of_pipeline(point: Mapping[str, Value], pipeline: str, main: str) -> Point:
    """Return the parameters of one pipeline at a point. main: the pipeline that the experiment is kept with."""
    prefix = f"{pipeline}:"
    own = {chain.removeprefix(prefix): value for chain, value in point.items() if chain.startswith(prefix)}
    return own | ({chain: value for chain, value in point.items() if ":" not in chain} if pipeline == main else {})


def nested(point: Mapping[str, Value]) -> dict[str, Any]:
    """Return a point as nested mappings, as `params.yml` has it."""
    found: dict[str, Any] = {}
    for chain, value in point.items():
        *above, last = chain.split(".")
        at = found
        for name in above:
            below = at.setdefault(name, {})
            if not isinstance(below, dict):
                raise _wrong(chain, "a value and a mapping of values", "name one of them")
            at = below
        if isinstance(at.get(last), dict):
            raise _wrong(chain, "a value and a mapping of values", "name one of them")
        at[last] = value if isinstance(value, str) else list(value)
    return found


def flat(params: Mapping[str, Any], above: str = "") -> Point:
    """Return nested parameters as a point: texts, numbers, truth values, and lists of these."""
    found: Point = {}
    for name, value in params.items():
        chain = f"{above}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{chain}.")
        elif not _CHAIN.fullmatch(chain):
            continue
        elif isinstance(value, list) and all(isinstance(one, _SINGLE) for one in value):
            found[chain] = tuple(map(_text, value))
        elif isinstance(value, _SINGLE):
            found[chain] = _text(value)
    return found


def _text(value: Number | str | float) -> str:
    text = value.text if isinstance(value, Number) else str(value)
    return text.lower() if isinstance(value, bool) else text


def _values(word: str, text: str) -> Sequence[Value]:
    if found := _RANGE.fullmatch(text.strip()):
        return _range(word, found[1])
    if not text or "\0" in text:
        raise _wrong(word, "no value", "write one, as in -S edges.sigma=1")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong(word, "not UTF-8 text", "write the value as UTF-8") from None
    return list(_parts(word, text))


def _parts(word: str, text: str) -> Iterator[Value]:
    """Yield the values between commas. Those in quotes are texts, those in brackets lists."""
    at = 0
    while True:
        part = _PART.match(text, at)
        if part is None:
            fix = "separate values by commas, write a list as [1,2], and quote a text that begins with [ or a quote"
            raise _wrong(word, "a value that cannot be read", fix)
        quoted, items, plain, comma = part.groups()
        if items is None:
            yield plain.strip() if quoted is None else quoted[1:-1].replace('""', '"')
        else:
            inside = items[1:-1].strip()
            yield tuple(one for one in _parts(word, inside) if isinstance(one, str)) if inside else ()
        if not comma:
            return
        at = part.end()


def _range(word: str, text: str) -> list[str]:
    fix = "write range(STOP), range(START,STOP) or range(START,STOP,STEP)"
    try:
        numbers = [Decimal(part.strip()) for part in text.split(",")]
    except InvalidOperation:
        raise _wrong(word, "a range needs numbers", fix) from None
    if not 1 <= len(numbers) <= 3 or not all(n.is_finite() and abs(n.adjusted()) < 30 for n in numbers):
        raise _wrong(word, "a range needs one to three numbers", fix)
    start, stop = (Decimal(0), numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else Decimal(1)
    if not step:
        raise _wrong(word, "a range with the step 0", fix)
    if (stop - start) / step > MOST:
        raise _wrong(word, f"a range of more than {MOST} values", fix)
    found = []
    while (start < stop) if step > 0 else (start > stop):
        found.append(format(start, "f"))
        start += step
    if not found:
        raise _wrong(word, "an empty range", fix)
    return found


def _wrong(where: str, what: str, fix: str) -> UserError:
    return UserError(Problem("exp.bad-parameter", where[:80], what, fix))
