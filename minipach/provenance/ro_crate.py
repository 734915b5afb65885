"""The origin of files as an RO-Crate: a folder with the files and `ro-crate-metadata.json`.

The metadata follow RO-Crate 1.1 and the profile Process Run Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5).
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minipach.git.repo import Repo
from minipach.provenance.lineage import Commit, Computation, FileVersion, Lineage
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, quoted

METADATA = "ro-crate-metadata.json"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_NO_LICENSE = "#no-license"


def write_crate(root: Path, found: Lineage, folder: Path) -> int:
    """Write a new folder with the files that were asked for, and their metadata. Return the number of files.

    Raises:
        UserError: The folder exists, or the content of a file is not here.
    """
    if os.path.lexists(folder):
        raise UserError(Problem("crate.exists", str(folder), "this exists already", "name a new folder"))
    if not folder.parent.is_dir():
        raise UserError(Problem("crate.no-folder", str(folder.parent), "no such folder", "create it first"))
    files = [found.files[key] for key in found.wanted]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".minipach-crate.") as made:
        crate = Path(made) / "crate"
        for file in files:
            _copy(root, file, crate / _place(file))
        text = json.dumps(as_crate(found), indent=2, ensure_ascii=True)
        (crate / METADATA).write_text(text + "\n")
        crate.rename(folder)
    return len(files)


def as_crate(found: Lineage) -> dict[str, Any]:
    """Return the metadata of the crate of files."""
    entities: dict[str, dict[str, Any]] = {}
    for entity in _entities(found):
        entities.setdefault(entity["@id"], entity)
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": list(entities.values())}


def _entities(found: Lineage) -> Iterator[dict[str, Any]]:
    files = [found.files[key] for key in found.wanted]
    dates = [file.change.when for file in files if file.change is not None]
    version = {"@id": "https://w3id.org/ro/crate/1.1"}
    yield {"@id": METADATA, "@type": "CreativeWork", "conformsTo": version, "about": {"@id": "./"}}
    names = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": _text(names),
        "description": _text(f"{many(len(files), 'file')} with the computations that made them, from minipach"),
        "datePublished": _time(max(dates, default="1970-01-01T00:00:00Z")),
        "author": _refs(_agent(file.change) for file in files if file.change is not None),
        "license": {"@id": _NO_LICENSE},
        "conformsTo": {"@id": _PROFILE},
        "hasPart": _refs(_file_id(found, key) for key in found.wanted),
        "mentions": _refs(_action(one) for one in found.computations.values()),
    }
    yield {
        "@id": _NO_LICENSE,
        "@type": "CreativeWork",
        "name": "No license is stated",
        "description": "Ask the authors of the files before you use them.",
    }
    yield {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    for file in found.files.values():
        yield _file(found, file)
        if file.change is not None:
            yield _person(file.change)
    for one in found.computations.values():
        yield from _computation(found, one)


def _file(found: Lineage, file: FileVersion) -> dict[str, Any]:
    inside = file.key in found.wanted
    about: dict[str, Any] = {
        "@id": _file_id(found, file.key),
        "@type": "File" if inside else "CreativeWork",
        "name": _text(file.name),
        "identifier": _text(file.annex or file.content or file.key),
        "description": f"version {file.change.commit if file.change else file.at} in git",
    }
    if inside:
        about["encodingFormat"] = mimetypes.guess_type(file.path)[0] or "application/octet-stream"
    if inside and file.size is not None:
        about["contentSize"] = str(file.size)
    if file.change is not None:
        about["author"] = {"@id": _agent(file.change)}
        about["dateModified"] = _time(file.change.when)
    if file.web:
        about["url"] = [_text(url) for url in file.web]
    return about


def _computation(found: Lineage, one: Computation) -> Iterator[dict[str, Any]]:
    version = one.code.commit.commit if one.code else "unknown"
    program = (one.code.commit.url if one.code else "") or f"urn:git:{_part(one.pipeline)}:{version}"
    image = f"urn:minipach:environment:{_part(one.environment.content or one.environment.path)}"
    made = [file.key for file in found.files.values() if file.computation == one.key]
    yield {
        "@id": _action(one),
        "@type": "CreateAction",
        "name": _text(f"{one.pipeline}: {one.datum}"),
        "description": _text(shlex.join(one.command)),
        "endTime": _time(one.record.when),
        "agent": {"@id": _agent(one.record)},
        "instrument": {"@id": program},
        "object": _refs(_file_id(found, use.key) for use in one.inputs),
        "result": _refs(_file_id(found, key) for key in made),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "identifier": one.datum_id,
        **({"url": one.record.url} if one.record.url else {}),
    }
    yield _person(one.record)
    yield {
        "@id": program,
        "@type": "SoftwareApplication",
        "name": _text(f"pipeline {one.pipeline}"),
        "softwareVersion": version,
        "url": program,
        "softwareRequirements": {"@id": image},
    }
    yield {
        "@id": image,
        "@type": "SoftwareApplication",
        "name": _text(one.environment.name or ("host environment" if one.environment.is_host else "image")),
        "softwareVersion": _text(one.environment.digest or one.environment.content or "unknown"),
        "url": image,
        **({"description": _text(one.environment.text)} if one.environment.text else {}),
    }


def _person(commit: Commit) -> dict[str, Any]:
    return {"@id": _agent(commit), "@type": "Person", "name": _text(commit.author), "email": _text(commit.email)}


def _agent(commit: Commit) -> str:
    return f"#person-{_digest(commit.author, commit.email)}"


def _action(one: Computation) -> str:
    return f"#run-{_digest(one.key)}"


def _file_id(found: Lineage, key: str) -> str:
    if key in found.wanted:
        return quote(os.fsencode(_place(found.files[key])))
    return f"#file-{_digest(key)}"


def _place(file: FileVersion) -> str:
    return f"data/{file.name}"


def _refs(ids: Iterable[str]) -> Any:
    """Return references: one by itself, several as a list."""
    found = [{"@id": one} for one in dict.fromkeys(ids)]
    return found[0] if len(found) == 1 else found


def _time(when: str) -> str:
    return when.replace("Z", "+00:00")


def _part(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="")


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _copy(root: Path, file: FileVersion, target: Path) -> None:
    """Copy the content of a file as its commit has it. Links and paths that lead out of the crate are refused."""
    if any(part in ("", ".", "..") for part in _place(file).split("/")):
        raise UserError(Problem("crate.bad-path", file.name, "this path leads out of the crate", "name other files"))
    repo = Repo(root / file.repo)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.annex:
            shown = os.fsdecode(repo.git("annex", "contentlocation", file.annex, ok=(0, 1))).strip("\n")
            if not shown:
                fix = f"git -C {quoted(repo.path)} annex get --key={quoted(file.annex)}"
                raise UserError(Problem("crate.no-content", file.name, "the content of this file is not here", fix))
            shutil.copyfile(repo.path / shown, target)
            return
        if not file.content.startswith("git:"):
            raise UserError(Problem("crate.link", file.name, "a symbolic link has no content", "name other files"))
        target.write_bytes(repo.objects.read(file.content.removeprefix("git:")) or b"")
    finally:
        repo.close()
