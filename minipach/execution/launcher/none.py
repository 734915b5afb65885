"""No container: the command is a process of the host."""

from __future__ import annotations

from minipach.execution.launcher.core import Failure
from minipach.execution.launcher.runtime import Call, Runtime, shell_words


class Bare(Runtime):
    """No container: the command is the host's, in a private copy."""

    name = "none"
    protects = False
    has_pfs = False
    wraps = False

    def problem(self):
        """It always works."""
        return ""

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """The command behind a shell."""
        for path in launcher.run.secret_files:
            raise Failure("a secret is mounted at " + path + ", which takes a container; install bubblewrap")
        if not launcher.run.network:
            raise Failure("the record says that there is no network, which takes a container; install bubblewrap")
        return Call(shell_words(status, workdir, env, words), {**env, **secrets})
