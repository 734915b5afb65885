"""The settings `minipach.kubernetes.*`: of this machine's git configuration, never of a committed file."""

from __future__ import annotations

import hashlib
import os
import re

from minipach.executors.kubernetes.argo import WorkflowOptions
from minipach.executors.kubernetes.client import Client
from minipach.project.project import Project
from minipach.project.settings import bad_setting, local_setting
from minipach.support.errors import Problem, UserError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_IDENTITY = re.compile(r"(.+) <([^<>]*)> \d+ [-+]\d+")
_PODS = 32
_FINISHED = 3600  # seconds for which the cluster keeps a Job that has ended


class KubernetesOptions:
    """The settings of one project. Each property raises UserError for a value that can't be used."""

    def __init__(self, project: Project) -> None:
        self._repo = project.repo

    def _setting(self, name: str) -> str | None:
        return local_setting(self._repo, f"kubernetes.{name}")

    def _name(self, name: str) -> str | None:
        value = self._setting(name)
        if value is not None and not _NAME.fullmatch(value):
            raise bad_setting(f"kubernetes.{name}", f'"{value}" is not a name of Kubernetes', "minipach")
        return value

    def client(self) -> Client:
        """Return what calls kubectl for this project."""
        return Client(self._setting("context"), self._name("namespace"))

    @property
    def mark(self) -> str:
        """The project's mark, hexadecimal, by which its objects are known: each clone has its own."""
        uuid = self._repo.config("annex.uuid") or str(self._repo.path)
        return hashlib.sha256(uuid.encode()).hexdigest()[:16]

    @property
    def author(self) -> tuple[str, str] | None:
        """The name and address of this user, for commits in pods; None: git does not know them."""
        found = _IDENTITY.fullmatch(os.fsdecode(self._repo.git("var", "GIT_COMMITTER_IDENT", ok=(0, 128))).strip())
        return (found[1], found[2]) if found else None

    @property
    def git(self) -> str:
        """The address of the project, as pods reach it."""
        return self._need("git", "the address of this project, as pods reach it", "ssh://git@HOST/PATH")

    @property
    def image(self) -> str:
        """The image of workers: it has minipach, git, git-annex and a container runtime."""
        return self._need("image", "an image that has minipach", "REGISTRY/minipach:TAG")

    def _need(self, name: str, what: str, instead: str) -> str:
        value = self._setting(name)
        if not value:
            raise UserError(
                Problem(
                    "kubernetes.no-setting",
                    f"minipach.kubernetes.{name}",
                    f"not set; it is {what}",
                    f"git config minipach.kubernetes.{name} {instead}",
                )
            )
        return value

    @property
    def is_nested(self) -> bool:
        """Whether the worker runs every command itself, in a container within its own."""
        value = self._setting("command") or "image"
        if value not in ("image", "nested"):
            raise bad_setting("kubernetes.command", f'"{value}" is neither image nor nested', "image")
        return value == "nested"

    @property
    def workflow(self) -> WorkflowOptions:
        """The settings of exported workflows."""
        claim = self._need("claim", "the volume claim that has the project, for workflows", "study")
        return WorkflowOptions(self.image, claim, self.service_account)

    @property
    def pods(self) -> int:
        """The largest number of pods of a pipeline at once."""
        return self._number("pods", _PODS, 1, 2000)

    @property
    def finished(self) -> int:
        """Seconds for which the cluster keeps a Job that has ended."""
        return self._number("ttl", _FINISHED, 60, 30 * 86400)

    def _number(self, name: str, default: int, least: int, most: int) -> int:
        value = self._setting(name)
        if value is None:
            return default
        if not value.isdecimal() or not least <= int(value) <= most:
            raise bad_setting(f"kubernetes.{name}", f'"{value}" is not a number from {least} to {most}', str(default))
        return int(value)

    @property
    def service_account(self) -> str | None:
        """The service account of pods."""
        return self._name("service-account")

    @property
    def pull_secret(self) -> str | None:
        """The secret with which nodes fetch the image."""
        return self._name("pull-secret")

    @property
    def ssh_secret(self) -> str | None:
        """The secret whose files are the folder `.ssh` of pods (`id_ed25519`, `known_hosts`)."""
        return self._name("ssh-secret")

    @property
    def env_secret(self) -> str | None:
        """The secret whose keys are variables of the worker: `MINIPACH_SECRET_*`, credentials of stores."""
        return self._name("env-secret")

    def missing_secrets(self, client: Client) -> list[Problem]:
        """Return a problem for each secret that a setting names and the namespace does not have. Raises UserError."""
        found = []
        for setting in ("pull-secret", "ssh-secret", "env-secret"):
            name = self._name(setting)
            if name and client.lacks("secret", name):
                where = f"minipach.kubernetes.{setting}"
                message = f'namespace {client.namespace or "default"} has no secret "{name}"'
                found.append(
                    Problem("kubernetes.no-secret", where, message, f"kubectl create secret, or unset {where}")
                )
        return found

    @property
    def queue(self) -> str | None:
        """The local queue of Kueue that admits the Jobs."""
        return self._name("queue")

    @property
    def priority_class(self) -> str | None:
        """The priority class of pods, where the spec names none."""
        return self._name("priority-class")
