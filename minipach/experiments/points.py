"""The points of an experiment: what `-S edges.sigma=1,2,3` and `-S edges.lr=range(0,1,0.25)` stand for. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Any

from minipach.spec.yaml_reader import Number
from minipach.support.errors import Problem, UserError

Point = dict[str, str]
"""The parameters of a point: a chain of names (`deep.lr`), and the value as it is written.

Of several pipelines, the pipeline comes first (`edges:deep.lr`).
"""

MOST = 10_000  # points
_RANGE = re.compile(r"range\(([^()]*)\)")
_CHAIN = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*", re.ASCII)


def parse_points(words: Sequence[str]) -> tuple[tuple[str, ...], list[Point]]:
    """Return the names of the pipelines, and all combinations of the values.

    Raises:
        UserError: A word has another form, or there are too many points.
    """
    pipelines: dict[str, None] = {}
    found: dict[tuple[str, str], list[str]] = {}
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


def of_pipeline(point: Mapping[str, str], pipeline: str, main: str) -> Point:
    """Return the parameters of one pipeline at a point. main: the pipeline that the experiment is kept with."""
    prefix = f"{pipeline}:"
    own = {chain.removeprefix(prefix): value for chain, value in point.items() if chain.startswith(prefix)}
    return own | ({chain: value for chain, value in point.items() if ":" not in chain} if pipeline == main else {})


def nested(point: Mapping[str, str]) -> dict[str, Any]:
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
        at[last] = value
    return found


def flat(params: Mapping[str, Any], above: str = "") -> Point:
    """Return nested parameters as a point: texts, numbers and truth values. Lists have no place in a point."""
    found: Point = {}
    for name, value in params.items():
        chain = f"{above}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{chain}.")
        elif _CHAIN.fullmatch(chain) and isinstance(value, Number | str | int | float):
            text = value.text if isinstance(value, Number) else str(value)
            found[chain] = text.lower() if isinstance(value, bool) else text
    return found


def _values(word: str, text: str) -> list[str]:
    if found := _RANGE.fullmatch(text.strip()):
        return _range(word, found[1])
    try:
        (row,) = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        raise _wrong(word, "a value that cannot be read", "separate values by commas") from None
    if not row or any("\0" in value for value in row):
        raise _wrong(word, "no value", "write one, as in -S edges.sigma=1")
    return [value.strip() for value in row]


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
