"""The reasons that git-annex and git give, out of the errors of DataLad."""

from __future__ import annotations

from typing import Any


def of_error(error: Exception) -> str:
    """Return why a command failed, in the words of the program itself where it gave some, on one line."""
    found = of_records(getattr(error, "kwargs", {}).get("stdout_json") or ())
    said = [line.strip() for line in str(getattr(error, "stderr", None) or "").splitlines()]
    said = [line for line in said if line and not line.endswith(" failed") and not line.startswith("(")]
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return found or next((line for line in said if line.startswith(("git-annex:", "fatal:", "error:"))), "") or first


def of_records(records: Any) -> str:
    """Return the first error message of git-annex's JSON, with the file that it is about."""
    for record in records:
        if isinstance(record, dict) and not record.get("success", True):
            messages = " ".join(" ".join(record.get("error-messages") or ()).split())
            about = record.get("file") or record.get("key") or ""
            if messages:
                return f"git annex {record.get('command', '')} {about}: {messages.removeprefix('git-annex: ')}"
    return ""
