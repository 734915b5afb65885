"""Dockerfile, compose.yml and their scripts, read: what a look can tell. test_docker_image.py builds and runs them."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.compose_stack import TOP, read_compose
from tests.fixtures.projects import MINIPACH, run

SCRIPTS = TOP / "containers/minipach"
PROJECT = {"MINIPACH_PROJECT": "/data/study"}
COMPILERS = re.compile(r"\b(build-essential|gcc|g\+\+|clang|cmake|make|python3-dev)\b")
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "restart", "secrets",
    "security_opt", "stop_grace_period", "volumes", "working_dir",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    """A line of a Dockerfile: `words` without the options that come first."""

    name: str
    options: tuple[str, ...]
    words: tuple[str, ...]


def instructions() -> list[Instruction]:
    """The Dockerfile."""
    lines = [line for line in (TOP / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, *words = line.split()
            count = next((n for n, word in enumerate(words) if not word.startswith("--")), len(words))
            found.append(Instruction(name, tuple(words[:count]), tuple(words[count:])))
    return found


def of(name: str) -> list[Instruction]:
    return [i for i in instructions() if i.name == name]


def test_each_step_is_a_script_that_is_copied_before() -> None:
    copied: set[str] = set()
    folder = "/"
    steps = []
    for each in instructions():
        if each.name == "FROM":
            copied = set()
        elif each.name == "WORKDIR":
            folder = each.words[0]
        elif each.name == "COPY" and not each.options:
            *sources, target = each.words
            for source in sources:
                assert (TOP / source).exists(), source
                name = os.path.basename(source)
                copied.add(os.path.join(folder, target, name) if target.endswith("/") else os.path.join(folder, target))
        elif each.name == "RUN":
            shell, script, *_ = each.words
            assert shell == "sh" and os.path.join(folder, script) in copied, each
            steps.append(os.path.basename(script))
    assert steps == ["apt.sh", "python.sh", "python.sh", "apt.sh", "user.sh"]


def test_only_what_is_copied_goes_to_the_engine() -> None:
    lines = [x for x in (TOP / ".dockerignore").read_text().splitlines() if x and not x.startswith("#")]
    assert lines[0] == "*"
    let_in = [line[1:] for line in lines if line.startswith("!")]
    sources = {s for i in of("COPY") if not i.options for s in i.words[:-1]}
    assert all(any(fnmatch.fnmatch(s, p) or s.startswith(p + "/") for p in let_in) for s in sources)
    assert all(any(s == p or s.startswith(p + "/") for s in sources) for p in let_in), "lets in what nobody copies"
    assert run("git", "check-ignore", "redis-password", cwd=TOP).code == 0


def test_the_end_image_is_not_roots_and_builds_nothing() -> None:
    assert {i.words[0] for i in of("FROM")} == {"debian:bookworm-slim"}
    last = instructions()[[n for n, i in enumerate(instructions()) if i.name == "FROM"][-1] :]
    users = [i.words[0] for i in last if i.name == "USER"]
    assert users == ["minipach"] and [i.name for i in last].index("USER") > max(
        n for n, i in enumerate(last) if i.name in ("RUN", "COPY")
    )
    assert [i.words for i in last if i.name == "HEALTHCHECK"] == [("CMD", '["minipach-health"]')]
    packages = " ".join(w for i in of("RUN") for w in i.words)
    assert not COMPILERS.search(packages)
    assert "--no-install-recommends" in (SCRIPTS / "apt.sh").read_text()
    assert run("sh", str(SCRIPTS / "user.sh"), "0", "0", cwd=TOP).code == 2


def test_what_is_installed_is_pinned() -> None:
    text = (SCRIPTS / "python.sh").read_text()
    assert "--constraint constraints.txt" in text and "--only-binary :all:" in text
    pins = {
        line.split("==")[0].lower().replace("_", "-") for line in (TOP / "constraints.txt").read_text().splitlines()
    }
    wanted = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=~!; ]", name)[0].lower().replace("_", "-") for name in wanted} <= pins


@pytest.mark.parametrize("name", ["apt.sh", "python.sh", "redis.sh", "user.sh"])
def test_scripts_are_sh(name: str) -> None:
    done = subprocess.run(["sh", "-n", SCRIPTS / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_becomes_a_program_can_be_executed() -> None:
    programs = [i.words[0] for i in of("COPY") if i.words[-1].startswith("/usr/local/bin/")]
    assert len(programs) == 2 and all(os.access(TOP / p, os.X_OK) for p in programs)


def test_redis_does_not_start_without_a_password(tmp_path: Path) -> None:
    none = run("sh", str(SCRIPTS / "redis.sh"), cwd=tmp_path)
    assert none.code == 2 and "MINIPACH_REDIS_PASSWORD_FILE" in none.err
    (tmp_path / "empty").touch()
    empty = run("sh", str(SCRIPTS / "redis.sh"), cwd=tmp_path, env={"MINIPACH_REDIS_PASSWORD_FILE": "empty"})
    assert empty.code == 2 and "is empty" in empty.err


def test_services_run_what_there_is_and_nothing_is_open() -> None:
    compose = read_compose(TOP / "compose.yml", PROJECT)
    assert set(compose["services"]) == {"redis", "server", "worker"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, f"{name}: {set(service) - SERVICE_KEYS}"  # no ports, no privileged
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
        assert {v["source"] for v in service["volumes"] if v["type"] == "volume"} <= set(compose["volumes"])
        assert set(service["secrets"]) <= set(compose["secrets"])
        if service["command"][0] == "minipach":
            done = run(*MINIPACH, *service["command"][1:], "--help", cwd=TOP)
            assert done.code == 0, done.err
        else:
            assert f"/usr/local/bin/{service['command'][0]}" in [i.words[-1] for i in of("COPY")]


def test_no_password_is_written_down() -> None:
    compose = read_compose(TOP / "compose.yml", PROJECT)
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or value.startswith("/run/secrets/"), name
            assert "@" not in value
    assert not [i for i in instructions() if i.name in ("ARG", "ENV") and "PASS" in " ".join(i.words).upper()]


def test_compose_says_what_is_missing_and_the_manual_what_can_be_set() -> None:
    with pytest.raises(KeyError, match="MINIPACH_PROJECT: the absolute path"):
        read_compose(TOP / "compose.yml", {})
    manual = (TOP / "docs/howto-docker.md").read_text()
    names = set(re.findall(r"\$\{([A-Z_]+)", (TOP / "compose.yml").read_text()))
    assert {name for name in names if f"`{name}`" not in manual} == set()
    nested = read_compose(SCRIPTS / "nested.yml", {})["services"]
    assert set(nested) == {"worker"} and set(nested["worker"]) == {"security_opt"}
    assert all(f"`{option}`" in manual for option in nested["worker"]["security_opt"])


def test_the_health_check_says_what_is_wrong(tmp_path: Path) -> None:
    env = {"MINIPACH_REDIS": "unix:///nowhere/redis.sock"}
    done = run(sys.executable, str(SCRIPTS / "health.py"), cwd=tmp_path, env=env)
    assert done.code == 1 and done.err.startswith("unhealthy: Redis at unix:///nowhere/redis.sock: ")
