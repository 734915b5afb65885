"""The common part of all container runtimes, and the start of their programs."""

from __future__ import annotations

import os
import subprocess

from minipach.execution.launcher.arguments import is_identifier
from minipach.execution.launcher.box import Box
from minipach.execution.launcher.core import IMAGE_PATH, Fault
from minipach.execution.launcher.processes import leave_keyring, spawn


class Call:
    """The start of a runtime: words, environment, folder, and descriptors that it inherits."""

    def __init__(self, words, env, cwd=None, fds=()):
        self.words = words
        self.env = env
        self.cwd = cwd
        self.fds = fds

    def start(self, launcher, source, out, err, status):
        """The runtime's process, with these descriptors; None: those of the launcher. Raises OSError."""
        leave_keyring()
        before = launcher.before()
        if os.path.isabs(self.words[0]) and before is None and source is not None:
            return spawn(self.words, self.env, (status, *self.fds), {0: source, 1: out, 2: err})
        return subprocess.Popen(
            self.words,
            env=self.env,
            cwd=self.cwd or "/",
            stdin=source,
            stdout=out,
            stderr=err,
            pass_fds=(status, *self.fds),
            start_new_session=not launcher.interactive,
            preexec_fn=before,
        )


RUNTIMES: dict[str, type[Runtime]] = {}  # by their names; a launcher has those for its kind of image


class Runtime:
    """The base of all runtimes. protects: inputs are read-only · has_pfs: /pfs is there · wraps: its own process is not
    the command's · is_engine: its containers are no children of ours."""

    name = ""
    protects = True
    has_pfs = True
    wraps = True
    is_engine = False
    odd: str | None = None  # characters of a path that can't be mounted; None: no single file can
    ends_with_us = False  # if we are killed
    ends_all = False  # nothing that a command started outlives the process that was started for it

    def __init_subclass__(cls):
        if cls.name:
            RUNTIMES[cls.name] = cls

    def __init__(self, image, dataset):
        self.image = image
        self.dataset = dataset

    def problem(self):
        """The reason why it does not work here, or ""."""
        raise NotImplementedError

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """The start of the command."""
        raise NotImplementedError

    def code_of(self, code, started, line):
        """The command's exit code; None if the command was never begun.

        started: what came of the mark that our shell makes before it · line: the last that was printed.
        """
        return None if code != 0 and not started else code

    def shut_off(self, run):
        """Give up what the command must not reach, before it is started."""

    def new_box(self, launcher):
        """The folders of a datum."""
        return Box(launcher.scratch, launcher.run.writable)

    def view(self, scratch):
        """The folder for the pipeline's own files."""
        return os.path.join(scratch, "view")

    def is_setuid(self):
        """Whether it needs a program that changes its user."""
        return False

    def ask(self, launcher):
        """Ask a container to end, beside the processes that are seen."""

    def clear(self, launcher):
        """Take away what a container left."""

    def close(self):
        """Give up what the sandboxes of a set share."""


SHELL = 'printf s >&%d; exec %d>&-; cd -- "$1" || exit 126; shift; exec "$@"'


def shell_words(status, workdir, env, words):
    """The command behind a shell that marks its begin, and the variables that a shell would not pass on."""
    known = ("PFS", "HOME", "TMPDIR", "PATH", "TERM", "TZ", "LANG", "XDG_CACHE_HOME")
    ours = ("LC_", "MINIPACH_", "PACH_", "PPS_", "CUDA_", "NVIDIA_")
    odd = [
        k + "=" + v
        for k, v in env.items()
        if not is_identifier(k) or not (k != k.upper() or k in known or k.startswith(ours))
    ]
    if "=" in words[0]:
        raise Fault("the command's name holds an equals sign: " + words[0])
    return ["/bin/sh", "-c", SHELL % (status, status), "sh", workdir or ".", *(["env", *odd] if odd else []), *words]


def host_env():
    """The environment of the runtimes themselves: nothing that the record says."""
    keep = (
        "HOME",
        "USER",
        "LOGNAME",
        "XDG_RUNTIME_DIR",
        "CONTAINERS_CONF",
        "CONTAINERS_STORAGE_CONF",
        "DOCKER_HOST",
        "TMPDIR",
        "TERM",
    )
    return {"PATH": os.environ.get("PATH") or IMAGE_PATH, **{k: os.environ[k] for k in keep if k in os.environ}}


def devices():
    """The host's graphics devices."""
    found = (
        [os.path.join("/dev", n) for n in sorted(os.listdir("/dev")) if n.startswith("nvidia")]
        if os.path.isdir("/dev")
        else []
    )
    return [*found, *(d for d in ("/dev/dri", "/dev/kfd") if os.path.exists(d))]


def plain_names(*paths):
    """The reason why a path can't be mounted: options separate their fields with these characters."""
    return "can't mount a path with a comma, colon or double quote" if any(c in p for p in paths for c in ',:"') else ""


TESTED = os.environ.pop("MINIPACH_TESTED", "")  # the runtime that a worker has asked for, and so knows to work here
