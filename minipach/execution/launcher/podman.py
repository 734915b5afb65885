"""The runtime podman."""

from __future__ import annotations

import json
import os
import re
import subprocess

from minipach.execution.launcher.core import HOME, OWN_FAILURE, Failure, Suppress, put
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.runtime import Call, Runtime, devices, host_env, plain_names

MOUNTING = [
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "setns",
    "umount",
    "umount2",
    "unshare",
]
CLONING = [
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],  # no new namespace
        "excludes": {"arches": ["s390", "s390x"]},
    },
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 1, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        "includes": {"arches": ["s390", "s390x"]},
    },
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},  # ENOSYS: a C library then takes clone
]
NO_MACHINES = [
    {
        "names": ["socket"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 40, "valueTwo": 0, "op": "SCMP_CMP_NE"}],
    }
]


class Podman(Runtime):
    """podman, and docker by the same options."""

    name = "podman"
    odd = ',:"\n'
    is_engine = True

    def problem(self):
        """It must answer."""
        if not find_program(self.name):
            return "not installed"
        done = subprocess.run([self.name, "ps", "-q"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return "installed, but `" + self.name + " ps` fails"
        return plain_names(self.dataset, self.image.path)

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """A container with a name of our own, which is how it is ended."""
        loaded = self._loaded(launcher.scratch)
        self.container = "minipach-" + os.urandom(8).hex()
        with open(os.path.join(launcher.scratch, "container"), "w") as file:  # for a worker, if we are killed
            file.write(self.container + "\n")
        run = [self.name, "run", "--rm", "--name", self.container, "--read-only", "--cap-drop", "ALL"]
        run += ["--security-opt", "no-new-privileges", "--security-opt", "label=disable", "--entrypoint", ""]
        run += ["--user", f"{os.getuid()}:{os.getgid()}", "--shm-size", launcher.run.shm() or "1g"]
        run += ["--log-driver", "none", "--pids-limit", str(launcher.run.limits["processes"])]
        if "memory" in launcher.run.limits:
            run += ["--memory", str(launcher.run.limits["memory"])]
        if self.name == "podman":
            run += self._filter(launcher.scratch, launcher.run.network)
            run.append("--read-only-tmpfs=false")
            if os.getuid() != 0:
                run.append("--userns=keep-id")
        if not launcher.run.network:
            run += ["--network", "none"]
        if workdir:
            run += ["--workdir", workdir]
        for source, target, writable in (
            (launcher.view, "/project", False),
            (box.pfs, "/pfs", launcher.run.writable),
            (box.live, "/pfs/out", True),
            *((source, box.seen(target), False) for target, source in launcher.placed.mounts.items()),
            (box.tmp, "/tmp", True),
            (box.vartmp, "/var/tmp", True),
            (box.home, HOME, True),
            *((launcher.scratch + "/secrets" + p, p, False) for p in launcher.run.secret_files),
        ):
            run += ["--mount", "type=bind,source=" + source + ",target=" + target + ("" if writable else ",readonly")]
        for device in devices():
            run += ["--device", device]
        if launcher.interactive:
            run += ["--interactive", *(["--tty"] if os.isatty(0) else [])]
        elif launcher.run.stdin:
            run.append("--interactive")
        for name, value in env.items():
            run += ["--env", name + "=" + value]
        for name in secrets:  # by name alone: an argument is seen by everybody
            run += ["--env", name]
        return Call([*run, loaded, *words], {**host_env(), **secrets})

    def _filter(self, scratch, network):
        """podman's option for its default filter of system calls, without those that make namespaces and mounts.

        docker refuses them by default. podman allows them, and root could then mount the host's control groups.
        """
        for path in ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"):
            with Suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                with open(path) as file:
                    profile = json.load(file)
                for rule in profile["syscalls"]:
                    if rule["action"] == "SCMP_ACT_ALLOW" and not (rule.get("includes") or {}).get("caps"):
                        rule["names"] = [name for name in rule["names"] if name not in (*MOUNTING, "clone", "clone3")]
                rules = [*profile["syscalls"], *CLONING]
                if not network:  # AF_VSOCK is of no namespace
                    for rule in rules:
                        rule["names"] = [name for name in rule["names"] if name not in ("socket", "socketcall")]
                    rules += NO_MACHINES
                profile["syscalls"] = [rule for rule in rules if rule["names"]]
                own = os.path.join(scratch, "filter.json")
                with open(own, "w") as file:
                    json.dump(profile, file)
                return ["--security-opt", "seccomp=" + own]
        return []

    def code_of(self, code, started, line):
        """podman and docker have an exit code of their own for what is theirs, and say what."""
        return None if code == OWN_FAILURE and re.match(r"(Error|docker|podman): ", line) else code

    def ask(self, launcher):
        """Its first process gets the signal."""
        self._quietly("kill", "--signal", "TERM", self.container)

    def clear(self, launcher):
        """One that was only just being made when its client was ended."""
        if launcher.child is not None and launcher.child.returncode != 0:
            self._quietly("kill", self.container)
            self._quietly("rm", "-f", self.container)

    def _quietly(self, *words):
        if getattr(self, "container", None):
            subprocess.run(
                [self.name, *words], env=host_env(), capture_output=True, stdin=subprocess.DEVNULL, check=False
            )

    def _loaded(self, scratch):
        """The image's name in the store of podman or docker; it is loaded once."""
        known = os.path.join(self.image.cache(), self.name)
        loaded = ""
        with Suppress(OSError), open(known) as file:
            loaded = file.read(300).strip()
        if (
            re.fullmatch(r"[\w.:/@-]+", loaded)
            and subprocess.run(
                [self.name, "image", "inspect", loaded], env=host_env(), capture_output=True, check=False
            ).returncode
            == 0
        ):
            return loaded
        plain = self.image.plain(scratch)
        if self.name == "podman":
            loaded = self._say("pull", "-q", self.image.kind + ":" + plain)
        else:
            said = self._say("load", "-q", "-i", plain)
            name = re.search(r"^Loaded image(?: ID)?: (\S+)", said, re.MULTILINE)
            loaded = self._say("image", "inspect", "--format", "{{.Id}}", name[1]) if name else ""
        if plain != self.image.path:
            os.unlink(plain)
        if not re.fullmatch(r"[\w.:/@-]+", loaded):
            raise Failure(self.name + " can't load " + self.image.name)
        with open(known, "w") as file:
            file.write(loaded + "\n")
        return loaded

    def _say(self, *words):
        done = subprocess.run(
            [self.name, *words], env=host_env(), capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
        put(2, done.stderr)
        return done.stdout.decode(errors="replace").strip()
