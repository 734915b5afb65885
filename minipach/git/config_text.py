"""Plain configuration files of git as text: read and changed without a process. What is not plain is git's to change.

Source: https://git-scm.com/docs/git-config#_configuration_file
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECTION = re.compile(r'\[([a-z0-9-]+)(?: "([^"\\\n]+)")?\]')
_VALUE = re.compile(r"\t([a-z][a-z0-9-]*) = ([!-~]|[!-~][ -~]*[!-~])")
_SPECIAL = re.compile(r'["\\;#]')


class NotPlainConfigError(Exception):
    """The file, or a value, has something that git must read or write."""


def values(text: bytes) -> dict[str, str]:
    """Return the settings of a plain file, by their keys; of several, the last. Raises NotPlainError."""
    return dict(pairs(text))


def pairs(text: bytes) -> list[tuple[str, str]]:
    """Return the keys and values of a plain file, in their order. Raises NotPlainError."""
    return [(key, value) for key, value in _lines(text) if key]


def changed(text: bytes, wanted: Mapping[str, str]) -> bytes:
    """Return the file with these settings, as `git config --replace-all` would write it. Raises NotPlainError."""
    lines = text.decode().splitlines(keepends=True) if text else []
    for key, value in wanted.items():
        found = list(_lines("".join(lines).encode()))
        section, _, name = key.rpartition(".")
        line = f"\t{name} = {value}\n"
        if not _VALUE.fullmatch(line[:-1]) or _SPECIAL.search(value):
            raise NotPlainConfigError
        there = [at for at, (known, _) in enumerate(found) if known == key]
        if len(there) > 1:
            raise NotPlainConfigError
        if there:
            lines[there[0]] = line if found[there[0]][1] != value else lines[there[0]]
            continue
        inside = [at for at, (known, _) in enumerate(found) if known.rpartition(".")[0] == section and known]
        if inside:
            lines.insert(inside[-1] + 1, line)
        elif any(known == "" and given == section for known, given in found):
            raise NotPlainConfigError  # a section without settings
        else:
            lines += [_header(section), line]
    return "".join(lines).encode()


def _header(section: str) -> str:
    name, dot, below = section.partition(".")
    header = f'[{name} "{below}"]' if dot else f"[{name}]"
    if not _SECTION.fullmatch(header):
        raise NotPlainConfigError
    return header + "\n"


def _lines(text: bytes) -> list[tuple[str, str]]:
    """Return (key, value) of each line; ("", section) where a section begins."""
    try:
        plain = text.decode()
    except UnicodeDecodeError:
        raise NotPlainConfigError from None
    if plain and not plain.endswith("\n"):
        raise NotPlainConfigError
    found: list[tuple[str, str]] = []
    section = ""
    for line in plain.split("\n")[:-1]:
        if header := _SECTION.fullmatch(line):
            section = header[1] + (f".{header[2]}" if header[2] else "")
            found.append(("", section))
        elif (value := _VALUE.fullmatch(line)) and section and not _SPECIAL.search(value[2]):
            found.append((f"{section}.{value[1]}", value[2]))
        else:
            raise NotPlainConfigError
    return found
