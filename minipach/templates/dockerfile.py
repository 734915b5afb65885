"""A Dockerfile as a draft: its command and working directory. The image itself is built and registered by the user."""

from __future__ import annotations

import io
import json
from pathlib import Path

from minipach.support.errors import Problem, UserError


def read_dockerfile(file: Path) -> tuple[list[str], str, tuple[str, ...]]:
    """Return the command of the last stage, its working directory ("" if none is set), and what is left out.

    Raises:
        UserError: The file is no Dockerfile, or names no command.
    """
    from dockerfile_parse import DockerfileParser

    try:
        parsed = DockerfileParser(fileobj=io.BytesIO(file.read_bytes())).structure
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise UserError(Problem("new.no-dockerfile", str(file), f"no Dockerfile: {error}")) from None
    values: dict[str, str] = {}
    left_out = []
    for step in parsed:
        instruction = str(step["instruction"]).upper()
        if instruction == "FROM":
            values = {}
        elif instruction in ("CMD", "ENTRYPOINT", "WORKDIR", "USER", "VOLUME", "EXPOSE"):
            values[instruction] = str(step["value"])
    words = [*_words(values.get("ENTRYPOINT", "")), *_words(values.get("CMD", ""))]
    if not parsed or not any(str(step["instruction"]).upper() == "FROM" for step in parsed):
        raise UserError(Problem("new.no-dockerfile", str(file), "no Dockerfile: no FROM"))
    for instruction in ("USER", "VOLUME", "EXPOSE"):
        if instruction in values:
            left_out.append(f"{instruction} {values[instruction]}: the command runs as the user who starts it")
    return words, values.get("WORKDIR", ""), tuple(left_out)


def is_alone(file: Path) -> bool:
    """Return whether a Dockerfile needs no other file of its folder: it copies from other stages only."""
    from dockerfile_parse import DockerfileParser

    parsed = DockerfileParser(fileobj=io.BytesIO(file.read_bytes())).structure
    copies = [step for step in parsed if str(step["instruction"]).upper() in ("COPY", "ADD")]
    mounts = [step for step in parsed if "--mount" in str(step["value"])]
    return not mounts and all("--from=" in str(step["value"]) for step in copies)


def _words(value: str) -> list[str]:
    """Return the words of an instruction in its JSON form, or a shell that runs it in its other form."""
    if not value:
        return []
    try:
        words = json.loads(value)
    except json.JSONDecodeError:
        return ["/bin/sh", "-c", value]
    return [str(word) for word in words] if isinstance(words, list) else ["/bin/sh", "-c", value]
