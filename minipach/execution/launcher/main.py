"""The start: the exit code of the launcher."""

from __future__ import annotations

import os
import sys

from minipach.execution.launcher.arguments import parse
from minipach.execution.launcher.core import (
    AT_FAULT,
    IMAGE_PATH,
    OWN_FAILURE,
    Ended,
    Failure,
    Fault,
    Suppress,
    as_json,
    put,
    say,
)
from minipach.execution.launcher.datums import Launcher
from minipach.execution.launcher.image import open_image
from minipach.execution.launcher.runtimes import pick_runtime


def main(words):
    """The exit code."""
    report = os.environ.pop("MINIPACH_REPORT", "")
    enough = os.environ.pop("MINIPACH_ENOUGH", "")
    os.environ.setdefault("MINIPACH_PATH", os.environ.get("PATH") or IMAGE_PATH)
    os.environ["PATH"] = os.environ["MINIPACH_PATH"] + ":/usr/sbin:/sbin"
    launcher: Launcher | None = None
    try:
        only_tell = words[:1] == ["--runtime"]
        if only_tell:
            words = words[1:]
        if not words:
            raise Failure("usage: sh .minipach/launch [--runtime] IMAGE OPTION... -d NAME OUT ... -- CMD [ARG...]")
        image = open_image(words[0])
        if only_tell:
            runtime = pick_runtime(image, os.path.realpath("."))
            put(1, (runtime.name + (" read-only" if runtime.protects else " copy") + "\n").encode())
            return 0
        if not report and "MINIPACH_INTERACTIVE" not in os.environ:
            image.report_drift(words)
        launcher = Launcher(image, parse(words[1:]), report, enough)
        return launcher.main()
    except Ended:
        assert launcher is not None
        return 128 + launcher.signals.asked
    except Fault as fault:
        say("datum: " + str(fault))
        return AT_FAULT
    except (Failure, OSError) as failure:
        text = " ".join(str(failure).split())
        say("launch: " + text)
        if report:
            with Suppress(OSError), open(os.path.join(report, "report.json"), "w") as file:
                file.write(as_json({"schema": 1, "failure": text}))
        return OWN_FAILURE


if __name__ == "__main__":
    os.closerange(3, 64)  # what the caller left open: a shell can name descriptors of one digit only
    code = main(sys.argv[1:])
    with Suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # for Python to clear its memory takes as long as to start
