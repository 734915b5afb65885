"""The reason in what git-annex prints of a command that failed, in one line and whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REQUEST = re.compile(r"(?:\w+ )?Request \{(.*?)\n?\}\s*", re.DOTALL)
_FIELD = re.compile(r'^\s*(host|port)\s+= "?([^"\n]*)"?$', re.M)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)+)"')
_INNERMOST = re.compile(r"\(([^()]+)\)\)*\s*$")


def annex_reason(text: str) -> str:
    """Return the reason of a failure. Of a request over HTTP: the host with its port, and what happened.

    git-annex prints the whole request and the reason after it, in the notation of Haskell.
    """
    request = _REQUEST.search(text)
    if request is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if not re.search(r"\bfailed$|: \d+ failed", line)]
        return (telling or lines or [""])[-1]
    fields = dict(_FIELD.findall(request[1]))
    rest = next((line.strip() for line in text[request.end() :].splitlines() if line.strip()), "")
    quoted = _QUOTED.search(rest)
    inner = _INNERMOST.search(rest)
    why = quoted[1] if quoted else inner[1] if inner else rest.strip("()")
    where = ":".join(fields[name] for name in ("host", "port") if name in fields)
    return f"{where}: {why}" if where else why


def row_reason(row: Mapping[str, Any]) -> str:
    """Return the reason in what git-annex prints of one content (`--json-error-messages`), in one line; "" if none.

    A request over HTTP is one message of many lines, or a message for each line.
    """
    said = "\n".join(row.get("error-messages") or [str(row.get("note") or "")])
    return annex_reason(said) if _REQUEST.search(said) else " ".join(said.split())
