"""Evaluate a jsonnet template, as a program of its own with limits: FILE FOLDER [KEY=VALUE...]. Prints a line of JSON.

It reads files in the folder only, and knows neither the environment nor other sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys

MARK = "minipach-jsonnet:"
_MOST = 1_000_000  # bytes of a file, and of the value
_MOST_FILES = 100


def main() -> None:
    """Print the value of the template and the hashes of the files that it was made of, or `error`."""
    file, folder, *pairs = sys.argv[1:]
    try:
        import _jsonnet
    except ImportError:
        sys.stdout.write(f"{MARK}{json.dumps({'missing': True})}\n")
        return

    files: dict[str, str] = {}

    def load(base: str, name: str) -> tuple[str, bytes]:
        path = os.path.realpath(os.path.join(base, name))
        if not path.startswith(folder.rstrip("/") + "/"):
            raise RuntimeError(f"the import {name!r} leads out of the folder of the template")
        return path, content_of(path, f"the import {name!r}")

    def content_of(path: str, called: str) -> bytes:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RuntimeError(f"{called} is no file")
        with open(path, "rb") as stream:
            content = stream.read(_MOST + 1)
        if len(content) > _MOST:
            raise RuntimeError(f"{called} is too large")
        files[os.path.relpath(path, folder)] = hashlib.sha256(content).hexdigest()
        if len(files) > _MOST_FILES:
            raise RuntimeError(f"more than {_MOST_FILES} imports")
        return content

    arguments = dict(pair.split("=", 1) for pair in pairs)
    try:
        text = content_of(file, "the template").decode()
        files.clear()  # it has its own name in what is found
        value = _jsonnet.evaluate_snippet(file, text, tla_vars=arguments, import_callback=load, max_stack=300)
        if len(value) > _MOST:
            raise RuntimeError(f"the template makes a spec of more than {_MOST // 1_000_000} MB")
        own = hashlib.sha256(text.encode()).hexdigest()
        found = {"value": json.loads(value), "own": own, "files": files}
    except UnicodeDecodeError:
        found = {"error": "not UTF-8 text"}
    except (RuntimeError, OSError, ValueError, RecursionError) as error:
        found = {"error": str(error)}
    sys.stdout.write(f"{MARK}{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
