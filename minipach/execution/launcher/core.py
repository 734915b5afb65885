"""The common names of all parts: exit codes, errors, lines to standard error, names in messages."""

from __future__ import annotations

import json
import os
import re

GRACE = 2.0  # seconds between asking a process to end and ending it
UNENDING = 60.0  # seconds after which a process that was killed counts as one that can't be
PROCESSES = 4096  # processes and threads of a datum, unless -L says otherwise
POLL = 0.1  # seconds between two looks at limits
AT_FAULT = 126
NOT_FOUND = 127
TIME_OVER = 124
INTERRUPTED = 130
OWN_FAILURE = 125
IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/home/user"
POD = os.environ.get("MINIPACH_POD_FOLDER", "")  # a folder shared with a container of the image, which runs already


class Failure(Exception):
    """The launcher itself can't continue: the machine's fault, or that of who called it."""


def no_part(what):
    """The failure of a launcher that lacks a part, which was composed for another state of its pipeline."""
    return Failure(
        "this launcher has no part for " + what + ": its pipeline had none when it was composed; "
        "run the record as it was made, with its commit: datalad rerun --onto COMMIT COMMIT"
    )


class Fault(Exception):
    """A datum is at fault: what it left can't be kept, or what it names is not there.

    beside: the datum whose output is in the way, if that is why.
    """

    def __init__(self, text, beside=None):
        super().__init__(text)
        self.beside = beside


class Ended(Exception):
    """A signal asks the launcher to end."""


class NotBegun(Exception):
    """The namespaces of a set can't be used: nothing of the command has run."""


class Suppress:
    """Continue after errors of these kinds, as `contextlib.suppress` does. That module takes longer to import than most
    of a start."""

    def __init__(self, *kinds):
        self.kinds = kinds

    def __enter__(self):
        return None

    def __exit__(self, kind, error, trace) -> bool:
        return kind is not None and issubclass(kind, self.kinds)


def put(target, data):
    """Print bytes; what can't be printed is lost, and the command continues."""
    with Suppress(OSError):
        while data:
            data = data[os.write(target, data) :]


def say_of(datum, text):
    """Print a line about a datum."""
    say("datum: " + (datum.name + ": " if datum.name else "") + text)


def say(text):
    """Print a line of our own."""
    put(2, (text.encode("utf-8", "surrogateescape") + b"\n"))


def new_result():
    """The result of a datum that has not begun."""
    return {"code": 0, "fault": "", "recovered": False, "timed_out": False, "files": []}


def as_json(value):
    """A value as JSON, for the same reason without the module `json` where the texts are plain."""
    if isinstance(value, dict):
        return "{" + ", ".join(as_json(key) + ": " + as_json(item) for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(as_json, value)) + "]"
    if isinstance(value, str) and value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return '"' + value + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", False: "false", True: "true"}[value]
    return repr(value) if isinstance(value, (int, float)) else json.dumps(value)


def shown(name):
    """A name in a message."""
    text = json.dumps(os.fsdecode(name), ensure_ascii=False)
    return re.sub("[\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", text)


def parents(path):
    """The folders that a path lies in, from the outside in."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
