"""The protocol between minipach and its launcher: options, environment, exit codes, files. The launcher has the same.

The launcher (`execution/launcher/`) is kept in every pipeline's dataset and imports nothing of minipach; a test
compares its table with this one. `docs/design/formats.md` says what each of them means.
"""

from __future__ import annotations

from minipach.model.repo_layout import LAUNCHER

LAUNCH = f"sh {LAUNCHER}"  # what a record's command begins with

# --- exit codes ---
TIME_OVER = 124
OWN_FAILURE = 125  # the launcher's: no datum is at fault
NOT_KEPT = 126  # a program that can't be executed, or an output that can't be kept
NOT_FOUND = 127  # no such program
INTERRUPTED = 130

# --- how many words an option takes, itself included ---
COMMON_SIZES = {
    **dict.fromkeys(("-W", "-N", "-b"), 1),
    **dict.fromkeys(("-t", "-e", "-i", "-a", "-w", "-P", "-E", "-R", "-L", "-s", "-S", "-q", "-I"), 2),
}
DATUM_SIZES = {"-d": 3, "-v": 2, "-n": 3, "-r": 3, "-f": 4, "-l": 4, "-z": 4}
ERROR_SIZES = {"-x": 2, "-j": 2}  # after the datums: the command that runs after a failure
OF_SETTINGS = frozenset({"-E", "-R", "-N", "-L"})  # what settings can give; the others follow from the spec

# --- environment ---
ENOUGH = "MINIPACH_ENOUGH"  # seconds after which it begins no other datum; nor does it after one that failed
REPORT = "MINIPACH_REPORT"  # a folder for REPORT_FILE
INTERACTIVE = "MINIPACH_INTERACTIVE"
RUNTIME = "MINIPACH_RUNTIME"
TESTED = "MINIPACH_TESTED"  # a runtime that the launcher has named before: it is not tested again
POD_FOLDER = "MINIPACH_POD_FOLDER"  # shared with a container that the image runs in already
USER_PATH = "MINIPACH_PATH"
USER_LOCALE = "MINIPACH_LOCALE"
PYTHON = "MINIPACH_PYTHON"  # which Python runs the launcher
SECRET_PREFIX = "MINIPACH_SECRET_"
DATUM_NAME = "MINIPACH_DATUM"
PFS = "PFS"  # where /pfs is, without a container

# --- files ---
REPORT_FILE = "report.json"
SCRATCH = "tmp.*"  # in FOLDER of a slot: what one run of the launcher works in
NOW = "now"  # in SCRATCH: which datum runs

# --- seconds between asking something to end and ending it: each waits longer than what it holds ---
GRACE = 2.0  # a command
LAUNCHER_GRACE = 4.0  # a launcher, which ends its command
TRIAL_GRACE = 5.0  # a run outside of a job
WORKER_GRACE = 7.0  # a child of an RQ worker
PASS_GRACE = 10.0  # a pass
SET_GRACE = 15.0  # a child of the scheduler: it may keep what its set has finished
CLONE_GRACE = 20.0  # a child of a worker with clones: it pushes what its set has finished
