"""The origin of files as W3C PROV in JSON-LD (https://www.w3.org/submissions/prov-jsonld/). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from minipach.provenance.lineage import Commit, Computation, FileVersion, Lineage

_PREFIX = "minipach"
CONTEXT: list[Any] = [
    {_PREFIX: "urn:minipach:", "xsd": "http://www.w3.org/2001/XMLSchema#"},
    "https://openprovenance.org/prov-jsonld/context.jsonld",
]


def as_prov(found: Lineage) -> dict[str, Any]:
    """Return a PROV-JSONLD document: files are entities, datums are activities, code and image are their plan."""
    graph: dict[str, dict[str, Any]] = {}
    for statement in _statements(found):
        graph.setdefault(repr(sorted(statement.items(), key=lambda item: item[0])), statement)
    return {"@context": CONTEXT, "@graph": list(graph.values())}


def _statements(found: Lineage) -> Iterator[dict[str, Any]]:
    for file in found.files.values():
        yield _file(file)
        if file.origin == "committed" and file.change is not None:
            yield from _person(file.change)
            yield {"@type": "Attribution", "entity": _id(file.key), "agent": _agent(file.change)}
        for url in file.web:
            source = _id(f"web {url}")
            yield {"@type": "Entity", "@id": source, "label": _texts(url), "location": [_id(url)]}
            yield {"@type": "Derivation", "generatedEntity": _id(file.key), "usedEntity": source}
    for computation in found.computations.values():
        yield from _computation(found, computation)


def _computation(found: Lineage, one: Computation) -> Iterator[dict[str, Any]]:
    activity = {
        "@type": "Activity",
        "@id": _id(one.key),
        "endTime": one.record.when,
        "label": _texts(f"{one.pipeline}: {one.datum}"),
        f"{_PREFIX}:command": _texts(*one.command),
        f"{_PREFIX}:datumId": _texts(one.datum_id),
        f"{_PREFIX}:record": _texts(one.record.commit),
    }
    if one.seconds is not None:
        activity[f"{_PREFIX}:seconds"] = _texts(f"{one.seconds:.3f}")
    yield activity
    yield from _person(one.record)
    plan: dict[str, Any] = {"@type": "Association", "activity": _id(one.key), "agent": _agent(one.record)}
    if one.code is not None:
        code = _id(f"{one.pipeline}@{one.code.commit.commit}")
        label = _texts(f"code of {one.pipeline} at {one.code.commit.commit}")
        yield {"@type": "Entity", "@id": code, "type": ["prov:Plan"], "label": label}
        plan["plan"] = code
    yield plan
    environment = _id(f"environment {one.environment.content or one.environment.path}")
    yield {
        "@type": "Entity",
        "@id": environment,
        "label": _texts(one.environment.name or ("host environment" if one.environment.is_host else "image")),
        f"{_PREFIX}:content": _texts(one.environment.content),
    }
    yield {"@type": "Usage", "activity": _id(one.key), "entity": environment}
    used = list(dict.fromkeys(_id(use.key) for use in one.inputs))
    for entity in used:
        yield {"@type": "Usage", "activity": _id(one.key), "entity": entity}
    for file in found.files.values():
        if file.computation != one.key:
            continue
        made = _id(file.key)
        yield {"@type": "Generation", "entity": made, "activity": _id(one.key), "time": one.record.when}
        yield {"@type": "Attribution", "entity": made, "agent": _agent(one.record)}
        for entity in used:
            yield {"@type": "Derivation", "generatedEntity": made, "usedEntity": entity, "activity": _id(one.key)}


def _file(file: FileVersion) -> dict[str, Any]:
    about = {"path": file.name, "content": file.content, "annexKey": file.annex}
    reported = {f"{_PREFIX}:{name}": _texts(value) for name, value in about.items() if value}
    return {"@type": "Entity", "@id": _id(file.key), "label": _texts(file.name), **reported}


def _person(commit: Commit) -> Iterator[dict[str, Any]]:
    yield {"@type": "Agent", "@id": _agent(commit), "type": ["prov:Person"], "label": _texts(commit.author)}


def _agent(commit: Commit) -> str:
    who = hashlib.sha256(f"{commit.author} <{commit.email}>".encode("utf-8", "surrogateescape")).hexdigest()
    return _id(f"person {who[:16]}")


def _texts(*values: str) -> list[dict[str, str]]:
    return [{"@value": value.encode("utf-8", "backslashreplace").decode()} for value in values]


def _id(text: str) -> str:
    """Return a qualified name: each character that such a name cannot have is percent-encoded."""
    return f"{_PREFIX}:{quote(text.encode('utf-8', 'surrogateescape'), safe='/')}"
