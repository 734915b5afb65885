"""compose.yml without docker: read as Compose reads it, and its services started by podman, one by one.

All services share the network of the first one, which has none but its own loopback: so they find each other by name,
and nothing is open on the machine that runs the test.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.projects import Done

TOP = Path(__file__).parent.parent
_VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")


def read_compose(path: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in. KeyError with Compose's message, where one is needed that isn't set."""

    def value(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if env.get(name):
            return env[name]
        if kind == "?":
            raise KeyError(f"{name}: {text}")
        return text or ""

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(n) for key, n in node.items()}
        if isinstance(node, list):
            return [fill(n) for n in node]
        return _VARIABLE.sub(value, node) if isinstance(node, str) else node

    found: dict[str, Any] = fill(yaml.safe_load(path.read_text()))
    return found


@dataclass(frozen=True)
class Engine:
    """podman with a store of its own; containers and volumes get a prefix. env: its configuration · hosts: a file that
    names the services."""

    env: Mapping[str, str]
    hosts: Path
    prefix: str = "minipach-test-"
    started: list[str] = field(default_factory=list)

    def run(self, *arguments: str, seconds: float = 120) -> Done:
        """Run podman to its end."""
        done = subprocess.run(
            ["podman", *arguments],
            env=dict(self.env),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        # it schedules health checks by systemd only; without that it says so each time
        said = "".join(line for line in done.stderr.splitlines(keepends=True) if "systemd" not in line)
        return Done(done.returncode, done.stdout, said)

    def ok(self, *arguments: str, seconds: float = 120) -> str:
        """The same; its stdout. Fails the test if it fails."""
        done = self.run(*arguments, seconds=seconds)
        assert done.code == 0, f"podman {' '.join(arguments)}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def start(self, name: str, service: Mapping[str, Any], secrets: Mapping[str, Any], shared: str | None) -> None:
        """Start a service in the background. shared: the container whose network it has."""
        network = ["--network", f"container:{self.prefix}{shared}" if shared else "none"]
        self.started.append(name)
        network.append(f"--volume={self.hosts}:/etc/hosts:ro")
        self.ok(
            "run", "--detach", "--name", self.prefix + name, *network, *self._options(service, secrets),
            service["image"], *service["command"],
        )  # fmt: skip

    def _options(self, service: Mapping[str, Any], secrets: Mapping[str, Any]) -> list[str]:
        options = [f"--cap-drop={cap}" for cap in service["cap_drop"]]
        options += [f"--security-opt={o.removesuffix(':true')}" for o in service["security_opt"]]
        options += [f"--env={key}={value}" for key, value in service["environment"].items()]
        for volume in service["volumes"]:
            source = volume["source"] if volume["type"] == "bind" else self.prefix + volume["source"]
            options.append(f"--volume={source}:{volume['target']}")
        options += [f"--volume={secrets[s]['file']}:/run/secrets/{s}:ro" for s in service["secrets"]]
        if "working_dir" in service:
            options.append(f"--workdir={service['working_dir']}")
        if "healthcheck" in service:
            options.append(f"--health-cmd={json.dumps(service['healthcheck']['test'][1:])}")
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        return options + [f"--{name}={limits[name]}" for name in ("cpus", "memory") if name in limits]

    def healthy(self, name: str) -> bool:
        """Run the container's health check."""
        return self.run("healthcheck", "run", self.prefix + name).code == 0

    def inside(self, name: str, *command: str, seconds: float = 120) -> str:
        """Run a command in a container, as its user; its stdout and stderr. Fails the test if it fails."""
        done = self.run("exec", self.prefix + name, *command, seconds=seconds)
        assert done.code == 0, f"{command}: {done.code}\n{done.out}\n{done.err}\n{self.logs(name)}"
        return done.out + done.err

    def logs(self, name: str) -> str:
        """What a container has said."""
        done = self.run("logs", self.prefix + name)
        return done.out + done.err

    def stop(self, name: str) -> int:
        """End a container as Compose would; its exit code."""
        self.ok("stop", "--time", "60", self.prefix + name)
        return int(self.ok("wait", self.prefix + name))

    def remove(self, name: str) -> None:
        """End a container, if need be at once, and forget it."""
        self.ok("rm", "--force", "--time", "5", self.prefix + name)
        self.started.remove(name)

    def remove_all(self) -> None:
        """All of them, the one whose network they have last; their volumes too."""
        for name in reversed(self.started.copy()):
            self.remove(name)
        self.run("volume", "prune", "--force")
