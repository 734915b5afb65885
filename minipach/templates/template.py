"""A template: a pipeline with parameters, as data. It is read and checked here; no part of it runs.

Template values in a spec (`{{ params.lr }}`) are in `spec.template`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from minipach.model.repo_layout import CODE, SPEC
from minipach.spec.glob import GlobError, compile_glob
from minipach.spec.value_types import NAME
from minipach.spec.yaml_reader import Document, Loc, Mark, Null, Number, read_yaml
from minipach.support.errors import Problem, UserError, each_once
from minipach.support.text import printable
from minipach.templates.parameters import Schema, schema_problems

DESCRIPTION = "template.yml"
MAX_FILES = 200
MAX_BYTES = 2_000_000  # of all files together
_KEYS = frozenset({"version", "summary", "description", "inputs", "parameters", "needs", "sample"})
_SLOT_KEYS = frozenset({"name", "glob", "description"})
_SAMPLE_KEYS = frozenset({"values", "inputs", "stand_in"})
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
_MAX_DEPTH = 10


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A file of a template: its content, and whether it is executable."""

    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class TemplateInput:
    """An input of a template. glob: what is matched if the user names no glob; "" is guessed from the files."""

    name: str
    glob: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A template.

    Args:
        name: Its name, as `--from` takes it: `edges`, or `SOURCE/edges` for one of the user's own.
        version: Its version, any text.
        summary: What it makes, in a line.
        description: The same, in some sentences.
        inputs: The inputs that a user names, in this order.
        parameters: The JSON Schema of its parameters, an object.
        needs: Programs or data that the command needs and the template does not have.
        spec: The text of the spec, with `<<NAME>>` in the places of values.
        code: The files below `code/`, by path.
        sample: How CI runs the template on its sample: `values`, `inputs`, `stand_in`.
    """

    name: str
    version: str
    summary: str
    spec: str
    description: str = ""
    inputs: tuple[TemplateInput, ...] = ()
    parameters: Schema = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    code: Mapping[str, TemplateFile] = field(default_factory=dict)
    sample: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return a hash of all that a pipeline gets from the template."""
        found = hashlib.sha256(self.spec.encode())
        for path, file in sorted(self.code.items()):
            found.update(f"\0{path}\0{file.executable:d}{len(file.content)}\0".encode() + file.content)
        return found.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return the template as documented for `--json`."""
        inputs = [{"name": one.name, "glob": one.glob, "description": one.description} for one in self.inputs]
        texts = {"name": self.name, "version": self.version, "summary": self.summary, "description": self.description}
        rest = {"parameters": dict(self.parameters), "needs": list(self.needs), "digest": self.digest}
        return {**texts, "inputs": inputs, **rest, "spec": self.spec, "files": sorted(self.code)}


def wanted_path(path: str) -> bool:
    """Return whether a file of a template's folder is part of what a pipeline gets, or describes it."""
    return path in (DESCRIPTION, SPEC) or path.startswith(f"{CODE}/")


def bad_path(path: str) -> str:
    """Return what is wrong with a path in a template's folder, or "". Such a template is not used at all."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts:
        return "leads out of its folder"
    if any(part.lower().startswith(".git") for part in parts):
        return "has a name that git reserves"
    if len(parts) > _MAX_DEPTH or not all(_PART.fullmatch(part) for part in parts):
        return "has a name that a template cannot have"
    return ""


def read_template(name: str, files: Mapping[str, TemplateFile], place: str) -> Template:
    """Return a template from its files, or raise UserError with all that is wrong with it.

    Args:
        name: The template's name.
        files: Those for which `wanted_path` is true.
        place: The folder or address, for messages.
    """
    for path in files:
        if problem := bad_path(path):
            raise _refused(place, f'"{printable(path)[:80]}" {problem}')
    if len(files) > MAX_FILES or sum(len(file.content) for file in files.values()) > MAX_BYTES:
        raise _refused(place, f"more than {MAX_FILES} files or {MAX_BYTES:,} bytes")
    if DESCRIPTION not in files or SPEC not in files:
        raise _refused(place, f"{DESCRIPTION if DESCRIPTION not in files else SPEC} is missing")
    where = f"{place}/{DESCRIPTION}"
    document = _document(files[DESCRIPTION].content, where)
    data = plain_data(document.data)
    found = list(_problems(data))
    if found:
        raise UserError(each_once(Problem("template.bad", _at(document, where, loc), m, f) for loc, m, f in found))
    spec = _decoded(files[SPEC].content, f"{place}/{SPEC}")
    slots = tuple(TemplateInput(s["name"], s.get("glob", ""), s.get("description", "")) for s in data.get("inputs", ()))
    return Template(
        name=name,
        version=str(data["version"]),
        summary=data["summary"],
        spec=spec,
        description=" ".join(data.get("description", "").split()),
        inputs=slots,
        parameters=data.get("parameters", {"type": "object", "properties": {}}),
        needs=tuple(data.get("needs", ())),
        code={path: file for path, file in files.items() if path.startswith(f"{CODE}/")},
        sample=data.get("sample", {}),
    )


def plain_data(value: Any) -> Any:
    """Return data of a YAML document as JSON has them: numbers for their text, None for no value."""
    if isinstance(value, Number):
        try:
            return int(value.text)
        except ValueError:
            return _float(value.text)
    if isinstance(value, Null):
        return None
    if isinstance(value, dict):
        return {str(key): plain_data(one) for key, one in value.items()}
    return [plain_data(one) for one in value] if isinstance(value, list) else value


def _float(text: str) -> Any:
    try:
        return float(text)
    except ValueError:  # 1_000, 0x10, .inf: YAML's numbers that JSON does not have
        return text


def _document(content: bytes, where: str) -> Document:
    document = read_yaml(_decoded(content, where))
    wrong = [(mark, problem) for mark, problem in document.problems if problem.code != "spec.no-value"]
    if wrong:
        raise UserError(each_once(p.within(f"{where}:{mark.line}:{mark.column}") for mark, p in wrong))
    return document


def _decoded(content: bytes, where: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UserError(Problem("template.bad", where, "no text in UTF-8", "save it as UTF-8")) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _problems(data: Any) -> Iterator[tuple[Loc, str, str]]:
    if not isinstance(data, dict):
        yield (), "no mapping", "write version, summary, inputs and parameters"
        return
    yield from _unknown(data, _KEYS, ())
    for key in ("version", "summary"):
        if not isinstance(data.get(key), str | int | float) or isinstance(data.get(key), bool):
            yield (key,), f"no {key}", f"add `{key}:` with a text"
        elif printable(str(data[key])) != str(data[key]) or not 0 < len(str(data[key])) <= 200:
            yield (key,), "no line of at most 200 characters that can be printed", "write one line"
    if not isinstance(data.get("summary"), str):
        yield ("summary",), "no text", "put it in quotes"
    if not isinstance(data.get("description", ""), str):
        yield ("description",), "no text", "put it in quotes"
    needs = data.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(one, str) and one.isprintable() for one in needs):
        yield ("needs",), "no list of texts", "write a list"
    yield from _slot_problems(data.get("inputs", []))
    if "parameters" in data:
        for loc, message, fix in schema_problems(data["parameters"]):
            yield ("parameters", *loc), message, fix
    sample = data.get("sample", {})
    if not isinstance(sample, dict):
        yield ("sample",), "no mapping", "write `values:` and `inputs:`"
    else:
        yield from _unknown(sample, _SAMPLE_KEYS, ("sample",))


def _slot_problems(slots: Any) -> Iterator[tuple[Loc, str, str]]:
    if not isinstance(slots, list) or not all(isinstance(one, dict) for one in slots):
        yield ("inputs",), "no list of mappings", "write `- name: NAME` for each input"
        return
    names: set[str] = set()
    for n, slot in enumerate(slots):
        yield from _unknown(slot, _SLOT_KEYS, ("inputs", n))
        name, glob = slot.get("name"), slot.get("glob", "")
        if not isinstance(name, str) or not re.fullmatch(NAME, name) or name in names or name == "out":
            yield ("inputs", n), "no name, or one that is there twice", "name it as its folder below /pfs"
        names.add(str(name))
        if not isinstance(slot.get("description", ""), str):
            yield ("inputs", n, "description"), "no text", "put it in quotes"
        try:
            compile_glob(glob if isinstance(glob, str) else "[")
        except GlobError as error:
            yield ("inputs", n, "glob"), f"no glob: {error}", "write a glob as in a spec"


def _unknown(data: Mapping[str, Any], known: frozenset[str], loc: Loc) -> Iterator[tuple[Loc, str, str]]:
    for key in data:
        if key not in known:
            yield (*loc, key), f'unknown key "{printable(str(key))[:40]}"', f"use {', '.join(sorted(known))}"


def _at(document: Document, where: str, loc: Loc) -> str:
    """Return the position of a value, or of what is nearest around it."""
    place = document.places[document.resolve(loc)]
    mark: Mark = place.key
    return f"{where}:{mark.line}:{mark.column}"


def _refused(place: str, why: str) -> UserError:
    return UserError(Problem("template.refused", printable(place), f"not used: {why}", "use another template"))
