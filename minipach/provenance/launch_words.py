"""The command of a run record, read back: what the launcher was asked to run for one datum. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minipach.model.launch_protocol import COMMON_SIZES, DATUM_SIZES, ERROR_SIZES, LAUNCH
from minipach.model.neutral_names import hide


@dataclass
class Launch:
    """A datum's part of a record.

    matches: (input, folder below `inputs/`, path, the content is hidden) · words: those of names that the command
    did not see.
    """

    image: str
    command: list[str] = field(default_factory=list)
    stdin: list[str] = field(default_factory=list)
    variables: list[tuple[str, str]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    network: bool = True
    matches: list[tuple[str, str, str, bool]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def read_launch(record: Mapping[str, Any], datum: str) -> Launch | None:
    """Return what a record runs for the datum of this name; None if the record is not one of the launcher."""
    text = record.get("cmd")
    before = shlex.split(LAUNCH)
    try:
        words = shlex.split(text.replace("{{", "{").replace("}}", "}")) if isinstance(text, str) else []
    except ValueError:
        return None
    if words[: len(before)] != before or len(words) <= len(before):
        return None
    found = Launch(words[len(before)])
    replaced: dict[str, str] = {}
    at, mine = len(before) + 1, True
    while at < len(words) and words[at] != "--":
        option = words[at]
        size = COMMON_SIZES.get(option) or DATUM_SIZES.get(option) or ERROR_SIZES.get(option)
        values = words[at + 1 : at + size] if size else []
        if size is None or len(values) < size - 1:
            return None
        if option == "-d":
            mine = values[0] == datum
        elif mine:
            _take(found, option, values, replaced)
        at += size
    found.command = [_filled(word, replaced, found) for word in words[at + 1 :]]
    return found


def _take(found: Launch, option: str, values: list[str], replaced: dict[str, str]) -> None:
    if option in ("-e", "-v"):
        name, _, value = values[0].partition("=")
        found.variables.append((name, value))
    elif option == "-i":
        found.stdin.append(values[0])
    elif option in ("-s", "-S"):
        found.secrets.append(values[0].partition("=")[0])
    elif option == "-N":
        found.network = False
    elif option == "-n":
        found.words.append(values[1])
    elif option == "-r":
        replaced[values[0]] = values[1]
    elif option in ("-f", "-l", "-z"):
        found.matches.append((values[0], values[1], values[2], option == "-z"))


def _filled(word: str, replaced: Mapping[str, str], found: Launch) -> str:
    """Return a word with the values of its placeholders, as the launcher fills them in."""
    known = {"out": "/pfs/out"}
    for name, _, path, _ in found.matches:
        only = {path for other, _, path, _ in found.matches if other == name} == {path}
        known[name] = f"/pfs/{name}{hide(path.rstrip('/'), found.words)}" if only else f"/pfs/{name}"
    known |= replaced
    return re.sub(r"(?<![${])\{([^{}]+)\}(?!\})", lambda hit: known.get(hit[1], hit[0]), word)
