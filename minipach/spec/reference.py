"""The reference of spec.yml, written from its models: `python -m minipach.spec.reference [--check FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from minipach.spec.schema import PipelineSpec
from minipach.spec.value_types import Label, Noted, Refused

INTRO = """\
# spec.yml: every field

Written by `python -m minipach.spec.reference` from the models that check a spec; don't edit it by hand.

A spec is one YAML or JSON document in `spec.yml`, `spec.yaml` or `spec.json`.
Keys are written in snake_case (`join_on`) or camelCase (`joinOn`).
A key that is not listed here is an error, and so is a key without a value.

- **Text**: a number counts as it is written (`1.10` stays `1.10`);
  `true`, `false`, `yes`, `no`, `on` and `off` need quotes.
- **Whole number**: digits, in quotes or without.
- **Not built yet**, **not supported**: giving the field a value is an error;
  `false`, `""` and `[]` are no value.
- **No effect**: the field is accepted, and a note says so.

## Placeholders

`minipach.out`, `transform.cmd` and `transform.err_cmd` may hold placeholders:

| placeholder | value for a datum |
|---|---|
| `{name}` | its name |
| `{key}` | its join or group key |
| `{1}`, `{2}`, ... | a capture of the glob (of the first input by name that has so many) |
| `{INPUT.name}`, `{INPUT.dir}` | the last part of the matched path, and its folder |
| `{INPUT.stem}`, `{INPUT.ext}` | the last part up to its suffixes, and the suffixes: `a` and `.nii.gz` |
| `{INPUT.1}` | a capture of that input's glob |
| `{INPUT}` | in `out`: the matched path; in a command: `/pfs/INPUT/PATH` |
| `{out}` | in a command only: `/pfs/out` |

The values count in the datum's identity. In `out`, braces themselves are written `{{` and `}}`.
Commands may have braces of their own:

- `${x}`, `{{x}}`, `{}`, `{a,b}` and `[0-9]{4}` are never placeholders.
- In a plain argument, a `{word}`, `{word.word}` or `{number}` that is no placeholder is an error of `minipach check`.
- In a word with blanks, quotes or other signs of a program (a script after `-c`, an awk program), only what is listed
  above is replaced; all other braces stay. An input that is called `name` or `key` is meant by `{name}` or `{key}`.
"""


def reference() -> str:
    """Return the whole page, in Markdown."""
    return "\n".join([INTRO, *(part for model, paths in _objects().items() for part in _section(model, paths))])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page, or compare it with a file: then 1 if they differ."""
    parser = argparse.ArgumentParser(prog="python -m minipach.spec.reference", description=__doc__)
    parser.add_argument("--check", metavar="FILE", type=Path, help="exit with 1 if FILE is not this page")
    file: Path | None = parser.parse_args(arguments).check
    if file is None:
        sys.stdout.write(reference())
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == reference():
        return 0
    sys.stderr.write(f"{file}: not what the models say; run `python -m minipach.spec.reference > {file}`\n")
    return 1


def _objects() -> dict[type[BaseModel], list[str]]:
    """Return every model and where it stands, in the order of reading."""
    found: dict[type[BaseModel], list[str]] = {}

    def visit(model: type[BaseModel], path: str) -> None:
        first = model not in found
        found.setdefault(model, []).append(path)
        for name, field in model.model_fields.items() if first else ():
            for inner in _models(field.annotation):
                if inner is not model:
                    visit(inner, f"{path}.{name}" if path else name)

    visit(PipelineSpec, "")
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _section(model: type[BaseModel], paths: Sequence[str]) -> Iterator[str]:
    yield f"## {_heading(paths)}\n"
    yield f"{(model.__doc__ or '').strip()}\n"
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", _type(field.annotation, field.metadata), _default(field), _meaning(field))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _heading(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths) if paths[0] else "The whole spec"


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    for mark in reversed(metadata):  # the last one is the narrowest
        if isinstance(mark, Label):
            return mark.text
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        paths = _objects()[annotation]
        anchor = _heading(paths).lower()
        for sign in "`.,":
            anchor = anchor.replace(sign, "")
        return f"[`{paths[0]}`](#{anchor.replace(' ', '-')})"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0], parts[1:])
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in parts if part is not type(None))
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"{_type(parts[0])} (list)"
    if origin is dict:
        return f"{_type(parts[1])} by name"
    return "any"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | int) and value != "" else ""


def _meaning(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|")
    for mark in field.metadata:
        if isinstance(mark, Refused):
            return f"**{mark.why.capitalize()}**: {mark.fix}. {text}"
        if isinstance(mark, Noted):
            return f"**No effect**: {mark.text}. {text}"
    return text


if __name__ == "__main__":
    sys.exit(main())
