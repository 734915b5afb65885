"""The command line: arguments, exit codes, text and JSON on a terminal.

Its modules are imported late, so that an interrupt during the imports ends the process without a traceback.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading

from minipach.support.streams import open_all


def program() -> None:
    """Run `app.main`, and then end the process at once where nobody minds. It is the entry point of `minipach`.

    To take millions of small objects apart, one by one, takes Python as long as a good part of a plan.
    """
    open_all()
    if sys.getfilesystemencoding() != "utf-8":  # names of files would be other ones than in git
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})
    try:
        if "_MINIPACH_COMPLETE" in os.environ:  # a shell, which waits for a Tab's answer
            from minipach.cli import completion

            completion.main(sys.argv[1:])
            sys.exit()
        # plans, and imported modules, are many small objects without cycles. To look for those after each 700 costs a
        # third of the time of a plan, and a tenth of that of the imports
        gc.set_threshold(200_000, 20, 100)
        if sys.argv[1:2] == ["schedule"]:
            from minipach.executors.early_start import start_early

            start_early(sys.argv[1:])
        from minipach.cli.app import main

        main()
    except KeyboardInterrupt:  # before a command has begun; for the rest of the time see `common.guarded`
        print("interrupted; the same command continues from here", file=sys.stderr, flush=True)
        os._exit(130)  # Python itself could take the interrupt for one that nobody caught
    except SystemExit as end:
        others = threading.active_count() > 1 or "datalad" in sys.modules  # they have something to do at the end
        watched = sys.gettrace() or sys.getprofile() or "coverage" in sys.modules
        if others or watched or not isinstance(end.code, int | None):
            raise
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(end.code or 0)
