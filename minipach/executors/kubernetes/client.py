"""kubectl, each call under a timeout. What passes (a busy or restarted API server) is asked again, with jitter."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minipach.model.launch_protocol import SECRET_PREFIX
from minipach.support.errors import Problem, UserError
from minipach.support.validation import InvalidError, parse_object

_PATIENCE = 30.0  # seconds for one call
_TRIES = 4
_PAUSE = 0.5  # seconds before the second try, about twice as long before each that follows
# what passes: no connection, a server that is busy or starts again, somebody else's change in between
_PASSES = re.compile(
    r"connection refused|connection reset|i/o timeout|timeout|timed out|EOF|no route to host|TLS handshake|"
    r"unable to connect to the server|the server is currently unable|too many requests|\(Conflict\)|"
    r"internal error|internalerror|serviceunavailable|has asked for the client to provide credentials temporarily|"
    r"etcdserver|server was unable to return a response|error from server: *$",
    re.IGNORECASE,
)


_NO_KUBECTL = Problem(
    "kubernetes.no-kubectl",
    "kubectl",
    "not found, and minipach.executor is kubernetes",
    "install kubectl, or git config minipach.executor local",
)


class ClusterAwayError(UserError):
    """The API server does not answer, or only with errors of its own."""


class ClusterRefusedError(UserError):
    """The API server answers that this can't be done."""


@dataclass
class Client:
    """One cluster, as kubectl is configured for this user.

    context, namespace: None: kubectl's own · calls: how many were made · sleep: waits between tries.
    """

    context: str | None = None
    namespace: str | None = None
    calls: int = 0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Create an object. One that is there already under this name is ours: an answer was lost."""
        try:
            self.ask("create", "-f", "-", "--validate=false", stdin=json.dumps(manifest))
        except ClusterRefusedError as error:
            if "AlreadyExists" not in str(error):
                raise

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """Create an object, or change it to this. Raises UserError."""
        options = ("--server-side", "--force-conflicts", "--field-manager=minipach", "--validate=false")
        self.ask("apply", "-f", "-", *options, stdin=json.dumps(manifest))

    def listed(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """Return the objects of a kind that have these labels. Raises UserError."""
        return self.rows("get", kind, "--selector", selector)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the items of a list that kubectl prints as JSON. Raises UserError."""
        try:
            items = parse_object(self.ask(*arguments, "--output=json")).get("items")
        except InvalidError as error:
            raise ClusterAwayError(_away(f"kubectl {arguments[0]}: {error}")) from None
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    def events(self) -> list[dict[str, Any]]:
        """Return the warnings of the namespace; none where this user may not list them, or the server is away."""
        try:
            return self.rows("get", "events", "--field-selector=type=Warning")
        except UserError:
            return []

    def delete(self, kind: str, names: Sequence[str], *, wait: bool = False) -> None:
        """Delete objects; those that are gone do no harm. wait: until their pods have ended, half a minute at most."""
        for start in range(0, len(names), 100):
            options = ["--cascade=foreground", "--wait=true", "--timeout=30s"] if wait else ["--wait=false"]
            try:
                self.ask(
                    "delete", kind, *names[start : start + 100], "--ignore-not-found", *options, patience=_PATIENCE + 35
                )
            except ClusterRefusedError as error:
                if "timed out waiting" not in str(error):
                    raise

    def may(self, verb: str, resource: str, group: str = "") -> bool:
        """Return whether this user has a right in the namespace. resource: `jobs`, `pods/log`. Raises UserError."""
        name, _, sub = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": name, "subresource": sub}
        if self.namespace:
            attributes["namespace"] = self.namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        out = self.ask("create", "-f", "-", "--validate=false", "--output=json", stdin=json.dumps(review))
        try:
            return parse_object(out)["status"]["allowed"] is True
        except (InvalidError, KeyError, TypeError) as error:
            raise ClusterAwayError(_away(f"kubectl create: {error}")) from None

    def lacks(self, kind: str, name: str) -> bool:
        """Return whether the namespace has no object of this name; False where this user may not know."""
        try:
            self.ask("get", kind, name, "--output=name")
        except ClusterRefusedError as error:
            return "NotFound" in str(error)
        return False

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a kubectl that prints for as long as it takes. Raises ClusterRefusedError where there is none."""
        try:
            return subprocess.Popen(
                [*self._kubectl(), *arguments],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise ClusterRefusedError(_NO_KUBECTL) from None

    def _kubectl(self) -> list[str]:
        options = [f"--{name}={value}" for name in ("context", "namespace") if (value := getattr(self, name))]
        return ["kubectl", *options]

    def ask(self, *arguments: str, stdin: str = "", patience: float = _PATIENCE) -> str:
        """Return what kubectl prints. Tries again what passes.

        Raises:
            AwayError: It still doesn't answer after the last try.
            ClusterRefusedError: It answers that it can't be done.
        """
        for number in range(1, _TRIES + 1):
            try:
                return self._ask_once(arguments, stdin, patience)
            except ClusterAwayError:
                if number == _TRIES:
                    raise
                self.sleep(_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _ask_once(self, arguments: Sequence[str], stdin: str, patience: float) -> str:
        self.calls += 1
        command = [*self._kubectl(), f"--request-timeout={int(patience)}s", *arguments]
        try:
            done = subprocess.run(
                command,
                env=_environment(),
                input=stdin.encode(),
                capture_output=True,
                timeout=patience + 10,
                check=False,
            )
        except FileNotFoundError:
            raise ClusterRefusedError(_NO_KUBECTL) from None
        except subprocess.TimeoutExpired:
            raise ClusterAwayError(_away(f"kubectl {arguments[0]}: no answer for {patience:g} s")) from None
        said = os.fsdecode(done.stderr).strip()
        if done.returncode == 0:
            return os.fsdecode(done.stdout)
        line = _line(said) or f"exit code {done.returncode}"
        if _PASSES.search(said):
            raise ClusterAwayError(_away(f"kubectl {arguments[0]}: {line}"))
        raise ClusterRefusedError(
            Problem("kubernetes.refused", "kubectl", f"{arguments[0]}: {line}", "run minipach doctor; see kubectl")
        )


def _line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "")


def _away(why: str) -> Problem:
    return Problem("kubernetes.away", "Kubernetes", f"the API server is away ({why})", "see kubectl cluster-info")


def _environment() -> dict[str, str]:
    """Return the environment for kubectl and its helpers for logins, without the secrets of commands."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIX)}
