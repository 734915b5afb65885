"""Identity: the id of a datum is the hash of what decides its result. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipach.datum import Datum
from minipach.snapshot import FileEntry, Snapshot
from minipach.spec import Pipeline

VERSION = 1  # a new version makes every result be computed again: a decision, guarded by fixed ids in the tests
COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z"})
Snapshots = Mapping[tuple[str, str | None], Snapshot]
Row = tuple[str, str, bool]  # path as far as it counts, content id, executable
Inputs = Mapping[str, Sequence[Row]]
_PARTS = re.compile(r"[/~]")
_PLACE = re.compile(r"\0(\d+)\0")
_text = json.encoder.encode_basestring_ascii
_JSON = {True: "true", False: "false"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The part of identity that all datums of a pipeline share, as canonical data."""

    transform: dict[str, Any]
    image: str
    code: str

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON data."""
        return {"transform": self.transform, "image": self.image, "code": self.code}


def recipe(
    pipeline: Pipeline, image: str, code: str, commits: Mapping[tuple[str, str | None], str] | None = None
) -> Recipe:
    """The recipe of a pipeline, from the content ids of its image and its `code/`.

    commits: of the inputs. They count only with `reprocess_spec: every_job`: each new state of any input is a new
    job, in which every datum runs again.
    """
    t = pipeline.transform
    transform: dict[str, Any] = {"cmd": list(t.cmd), "out": pipeline.out}
    # what isn't used is left out, so that a later version can add a field and keep every id
    if t.stdin:
        transform["stdin"] = list(t.stdin)
    if t.env:
        transform["env"] = dict(t.env)
    if t.accept_return_code:
        transform["accept_return_code"] = list(t.accept_return_code)
    if t.working_dir:
        transform["working_dir"] = t.working_dir
    if t.err_cmd:
        transform["err_cmd"] = list(t.err_cmd)
    if t.err_stdin:
        transform["err_stdin"] = list(t.err_stdin)
    if t.secrets:  # by name only: nothing that is kept may tell a value
        transform["secrets"] = [[s.env_var, s.name, *([s.file] if s.file else [])] for s in t.secrets]
    if not pipeline.network:
        transform["network"] = False
    if pipeline.salt:
        transform["salt"] = pipeline.salt
    if pipeline.reprocess == "every_job":
        transform["every_job"] = sorted(f"{repo}@{branch or ''} {c}" for (repo, branch), c in (commits or {}).items())
    return Recipe(transform, image, code)


def code_id(files: Mapping[str, FileEntry]) -> str:
    """The content id of a folder: the hash of its paths, content ids and executable bits."""
    return _hash([[path, f.content, f.executable] for path, f in sorted(files.items())])


def input_files(datum: Datum, snapshots: Snapshots, *, by_path: bool) -> dict[str, list[Row]]:
    """Per input name, the files as (path as far as it counts, content id, executable), sorted.

    What the datum's name tells of a path does not count, as that is for reuse to judge. The name of a match of its own
    (`pfs`, `cross`) tells all: what is left is the path below a matched folder, and a matched file's suffix. That of a
    join or group tells the key: what is left is the whole path, with places for the words of the name in it. With
    `by_path` the whole path counts, and so it does with `empty_files`, where nothing but names is to be had.
    """
    found: dict[str, list[Row]] = {}
    matches = datum.matches
    inputs = Counter(match.input for match in matches) if len(matches) > 1 else {}
    for match in matches:
        files = snapshots[match.repo, match.branch]
        base = match.path[1:]
        rows = found.setdefault(match.input, [])
        single = files.files.get(base)
        below = ((base, single),) if single is not None else files.below(match.path)
        if by_path or match.empty_files:
            rows += [(path, "" if match.empty_files else entry.content, entry.executable) for path, entry in below]
        elif inputs.get(match.input, 1) > 1 or not names_path(datum.name, match.path):
            words = split_name(datum.name)
            rows += [(masked(path, words), entry.content, entry.executable) for path, entry in below]
        elif single is not None:
            rows.append((suffix(base), single.content, single.executable))
        else:
            cut = len(base) + 1 if base else 0
            rows += [(path[cut:], entry.content, entry.executable) for path, entry in below]
    for rows in found.values():
        if len(rows) > 1:
            rows.sort()
    return found


def split_name(name: str) -> tuple[str, ...]:
    """The words of a datum's name."""
    return tuple(word for word in _PARTS.split(name) if word)


def names_path(name: str, path: str) -> bool:
    """Whether a datum's name tells the whole path of a match (absolute, `/` the root): as one of its parts."""
    label = path[1:] or "/"
    return name == label or f"~{label}~" in f"~{name}~"


def masked(path: str, words: Sequence[str]) -> str:
    """A file's path, from `/` on, with a place (NUL, number, NUL) for each whole word of the name but in its suffix.

    Two paths that are masked alike are one and the same under the same name, and differ in nothing but the name's words
    under another.
    """
    end = len(path) - len(suffix(path))
    pieces = ["/" + path[:end]]  # every second one is a place
    for word, place in sorted(zip(words, range(len(words)), strict=True), key=lambda pair: -len(pair[0])):
        if word in path:
            pieces = [
                new for at, piece in enumerate(pieces) for new in ([piece] if at % 2 else _cut(piece, word, place))
            ]
    return "".join(pieces) + path[end:]


def unmasked(path: str, words: Sequence[str]) -> str:
    """The path that was masked so, under the name with these words."""
    return _PLACE.sub(lambda found: words[int(found[1])] if int(found[1]) < len(words) else "*", path)


def _cut(text: str, word: str, place: int) -> list[str]:
    """The text around each whole word, with its place between: bounded by what is neither a letter nor a digit."""
    pieces, begin, at = [], 0, text.find(word)
    while at >= 0:
        end = at + len(word)
        whole = not text[at - 1 : at].isalnum() and not text[end : end + 1].isalnum()
        if whole:
            pieces += [text[begin:at], f"\0{place}\0"]
            begin = end
        at = text.find(word, end if whole else at + 1)
    return [*pieces, text[begin:]]


def suffix(path: str) -> str:
    """A file name's suffix, and the one before it if the last is a compression's: `.nii.gz`, "" of `.profile`."""
    name = path[path.rfind("/") + 1 :].lstrip(".")
    at = name.rfind(".")
    if at > 0 and name[at:] in COMPRESSIONS:
        inner = name.rfind(".", 0, at)
        at = inner if inner > 0 else at
    return name[at:] if at > 0 else ""


def datum_id(shared: Recipe, files: Inputs, *, by_path: bool) -> str:
    """The id of a datum: SHA-256 (hex) of the canonical JSON of its recipe and inputs."""
    return Identifier(shared, by_path=by_path).id_of(files)


class Identifier:
    """Ids of many datums of one recipe.

    The canonical JSON (sorted keys, no spaces, ASCII) is put together around the inputs, which alone differ:
    three times as fast as encoding each datum's whole object.
    """

    def __init__(self, shared: Recipe, *, by_path: bool) -> None:
        before = {
            "code": shared.code,
            "identity": "path" if by_path else "content",
            "image": shared.image,
        }
        after = {"transform": shared.transform, "version": VERSION}
        self._head = hashlib.sha256((_canonical(before)[:-1] + ',"inputs":{').encode())
        self._tail = ("}," + _canonical(after)[1:]).encode()

    def id_of(self, files: Inputs) -> str:
        """The id of the datum with these inputs."""
        parts = []
        for name in sorted(files) if len(files) > 1 else files:
            rows = [f"[{_text(path)},{_text(content)},{_JSON[executes]}]" for path, content, executes in files[name]]
            parts.append(f"{_text(name)}:[{','.join(rows)}]")
        digest = self._head.copy()
        digest.update(",".join(parts).encode())
        digest.update(self._tail)
        return digest.hexdigest()


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(data: Any) -> str:
    return hashlib.sha256(_canonical(data).encode()).hexdigest()
