"""The runtime apptainer."""

from __future__ import annotations

import os

from minipach.execution.launcher.core import HOME
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.runtime import Call, Runtime, host_env, plain_names, shell_words


class Apptainer(Runtime):
    """apptainer; from its manual, tried with a stand-in only."""

    name = "apptainer"
    odd = ',:"\n'

    def problem(self):
        """It must be there."""
        return plain_names(self.dataset, self.image.path) if find_program(self.name) else "not installed"

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """exec with nothing of the host."""
        image = self.image.path if not self.image.kind.endswith("-archive") else self.image.kind + ":" + self.image.path
        run = [self.name, "exec", "--cleanenv", "--containall", "--no-privs", "--home", box.home + ":" + HOME]
        for bind in (
            launcher.view + ":/project:ro",
            box.pfs + ":/pfs" + ("" if launcher.run.writable else ":ro"),
            box.live + ":/pfs/out",
            *(source + ":" + box.seen(target) + ":ro" for target, source in launcher.placed.mounts.items()),
            box.tmp + ":/tmp",
            box.vartmp + ":/var/tmp",
            box.shm + ":/dev/shm",
            *(launcher.scratch + "/secrets" + p + ":" + p + ":ro" for p in launcher.run.secret_files),
        ):
            run += ["--bind", bind]
        run += ["--pwd", workdir or "/"]
        if not launcher.run.network:
            run += ["--net", "--network", "none"]
        if os.path.exists("/dev/nvidiactl"):
            run.append("--nv")
        own = host_env()
        for name, value in {**env, **secrets}.items():
            if name != "HOME":
                own["APPTAINERENV_" + name] = own["SINGULARITYENV_" + name] = value
        return Call([*run, image, *shell_words(status, workdir or "/", env, words)], own)
