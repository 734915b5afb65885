"""Run the script or the Python code of a rule with what Snakemake would give it: RULE.json FILE [WILDCARD=VALUE...].

A pipeline that `minipach new` made from such a rule has a copy. It needs Python 3.8 and nothing else.
"""

import json
import os
import re
import shlex
import string
import subprocess
import sys
import types
from typing import Any


class Items(list):  # type: ignore[type-arg]
    """A list, some of whose items have names; in text they are joined by spaces."""

    def __init__(self, found: Any) -> None:
        super().__init__(found["items"])
        self._ranges = found["names"]
        for name in self._ranges:
            if not hasattr(list, name):
                setattr(self, name, self.get(name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return the items of a name."""
        if name not in self._ranges:
            return default
        start, end = self._ranges[name]
        return self[start] if end is None else Items({"items": self[start:end], "names": {}})

    def keys(self) -> Any:
        """Return the names."""
        return self._ranges.keys()

    def items(self) -> Any:
        """Return the names with their items."""
        return [(name, self.get(name)) for name in self._ranges]

    def __getitem__(self, key: Any) -> Any:
        return self.get(key) if isinstance(key, str) else super().__getitem__(key)

    def __str__(self) -> str:
        return " ".join(map(str, self))


class Words(string.Formatter):
    """The braces of a command: lists are joined by spaces, and `{x:q}` is quoted for a shell."""

    def format_field(self, value: Any, spec: str) -> str:
        """Return a value as text."""
        words = value if isinstance(value, (list, tuple)) else [value]
        if spec.endswith(("q", "u")):
            return " ".join(shlex.quote(str(word)) if spec == "q" else str(word) for word in words)
        return str(format(" ".join(map(str, words)) if isinstance(value, (list, tuple)) else value, spec))


def shell(command: str, *, iterable: bool = False, read: bool = False, bench_record: Any = None, **more: Any) -> Any:
    """Run a command with bash, with values of the caller's variables in its braces."""
    frame = sys._getframe(1)
    text = Words().vformat(command, (), {**frame.f_globals, **frame.f_locals, **more})
    out = subprocess.PIPE if iterable or read else None
    done = subprocess.run(["bash", "-c", "set -euo pipefail; " + text], stdout=out, check=True)
    if iterable:
        return iter(done.stdout.decode().splitlines())
    return done.stdout.decode() if read else None


def filled(value: Any, words: Any) -> Any:
    """Return data with the values of wildcards in the places of their tokens."""
    if isinstance(value, str):
        return re.sub(r"MPW_(\w+?)_WPM", lambda hit: words.get(hit[1], hit[0]), value)
    if isinstance(value, list):
        return [filled(one, words) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, words) for key, one in value.items()}
    return value


def main() -> None:
    """Run the file."""
    data, file, *pairs = sys.argv[1:]
    file = os.path.abspath(file)
    with open(data, encoding="utf-8") as stream:
        found = filled(json.load(stream), dict(pair.split("=", 1) for pair in pairs))
    lists: Any = {name: Items(found[name]) for name in ("input", "output", "params", "wildcards", "log")}
    names = {name: [n, None] for n, name in enumerate(found["resources"])}
    lists["resources"] = Items({"items": list(found["resources"].values()), "names": names})
    rest = {name: found[name] for name in ("threads", "config", "rule")}
    more = {"scriptdir": os.path.dirname(file), "bench_iteration": None}
    snakemake = types.SimpleNamespace(**lists, **rest, **more)
    parts: Any = {"snakemake": {"__path__": []}}
    parts["snakemake.script"], parts["snakemake.shell"] = {"snakemake": snakemake}, {"shell": shell}
    for name, content in parts.items():  # for `from snakemake.script import snakemake` and `import shell`
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(content)
    sys.path[0] = os.path.dirname(file)
    sys.argv = [file]
    with open(file, "rb") as stream:
        code = compile(stream.read(), file, "exec")
    if os.path.basename(file) == "rule_code.py":
        exec(code, {"__name__": "__main__", "__file__": file, "shell": shell, **lists, **rest})
    else:
        exec(code, {"__name__": "__main__", "__file__": file, "snakemake": snakemake})


if __name__ == "__main__":
    main()
