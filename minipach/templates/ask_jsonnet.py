"""Evaluate a jsonnet template, as a program of its own with limits: FILE FOLDER [KEY=VALUE...]. Prints a line of JSON.

It reads files in the folder only, and knows neither the environment nor other sources.
"""

from __future__ import annotations

import json
import os
import sys

MARK = "minipach-jsonnet:"
_MOST = 1_000_000  # bytes of a file


def main() -> None:
    """Print the value of the template, or `error`."""
    file, folder, *pairs = sys.argv[1:]
    try:
        import _jsonnet
    except ImportError:
        sys.stdout.write(f"{MARK}{json.dumps({'missing': True})}\n")
        return

    def load(base: str, name: str) -> tuple[str, bytes]:
        path = os.path.realpath(os.path.join(base, name))
        if not path.startswith(folder.rstrip("/") + "/"):
            raise RuntimeError(f"the import {name!r} leads out of the folder of the template")
        with open(path, "rb") as stream:
            content = stream.read(_MOST + 1)
        if len(content) > _MOST:
            raise RuntimeError(f"the import {name!r} is too large")
        return path, content

    arguments = dict(pair.split("=", 1) for pair in pairs)
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
        value = _jsonnet.evaluate_snippet(file, text, tla_vars=arguments, import_callback=load, max_stack=300)
        found = {"value": json.loads(value)}
    except (RuntimeError, OSError, ValueError, RecursionError) as error:
        found = {"error": str(error)}
    sys.stdout.write(f"{MARK}{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
