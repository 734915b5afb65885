"""Settings: git configuration `minipach.*` and the environment `MINIPACH_*`."""

from __future__ import annotations

import os
import re

from minipach.git.repo import Repo
from minipach.model.failures import GIVE_UP_AFTER
from minipach.support.errors import Problem, UserError
from minipach.support.sizes import parse_size


def local_setting(repo: Repo, name: str) -> str | None:
    """Return a setting that may name a program, a host or a number of processes.

    Read from the environment or this machine's git configuration only, never from a committed file:
    a person who can push to the project must not be able to choose what runs here.
    """
    return os.environ.get(_variable(name)) or repo.config(f"minipach.{name}")


def _variable(name: str) -> str:
    return "MINIPACH_" + name.replace("-", "_").replace(".", "_").upper()


def bad_setting(name: str, problem: str, instead: str) -> UserError:
    """Return what to say of a setting that can't be used, where it was made. instead: a value that can."""
    variable = _variable(name)
    if os.environ.get(variable):
        return UserError(Problem("setting.bad-value", variable, problem, f"set it to {instead}, or unset it"))
    return UserError(Problem("setting.bad-value", f"minipach.{name}", problem, f"git config minipach.{name} {instead}"))


def give_up_after(repo: Repo) -> int:
    """Return how many datums at a job's beginning must fail in the same way for it to stop; 0: it never does.

    Raises:
        UserError: `minipach.give-up-after` is no number.
    """
    value = local_setting(repo, "give-up-after")
    if value is None:
        return GIVE_UP_AFTER
    if not value.isdecimal():
        raise bad_setting("give-up-after", f'"{value}" is not a valid number of datums', str(GIVE_UP_AFTER))
    return int(value)


def slots(repo: Repo, asked: int | None) -> int:
    """Return how many datum sets run at once: the option, else `minipach.jobs`, else the cores of this machine."""
    if asked is not None:
        return asked
    value = local_setting(repo, "jobs")
    if value is None:
        return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if not value.isdecimal() or int(value) < 1:
        raise bad_setting("jobs", f'"{value}" is not a valid number of slots', "4")
    return int(value)


NETWORK_LIMIT = 3600.0  # seconds


def network_limit(repo: Repo) -> float:
    """Return how many seconds one git command of a pass may take that speaks to a remote.

    Raises:
        UserError: `minipach.network-limit` is no number.
    """
    value = local_setting(repo, "network-limit")
    if value is None:
        return NETWORK_LIMIT
    if not value.isdecimal() or not 1 <= int(value) <= 10**7:
        raise bad_setting("network-limit", f'"{value[:20]}" is not a number of seconds', str(int(NETWORK_LIMIT)))
    return float(value)


def image_cache_size(repo: Repo) -> int | None:
    """Return the bytes that unpacked images may take here, by `minipach.image-cache-size`; None: no limit.

    Raises:
        UserError: `minipach.image-cache-size` is no size.
    """
    value = local_setting(repo, "image-cache-size")
    if value is None:
        return None
    try:
        return parse_size(value)
    except UserError:
        raise bad_setting("image-cache-size", f'"{value[:20]}" is not a size', "20G") from None


_LIMIT = re.compile(r"(memory|disk|file-size|processes)=([1-9][0-9]{0,17})")


def launcher_options(repo: Repo, *, in_container: bool) -> tuple[str, ...]:
    """Return options of the launcher that the local configuration gives; the records name them.

    `minipach.pass-env`: names of variables that commands get · `minipach.host-paths`: absolute paths, separated by
    colons, that commands without an image see · `minipach.network`: `false` takes the network away ·
    `minipach.limits`: `memory=`, `disk=`, `file-size=` (bytes) and `processes=` of each datum, where the spec has no
    limit. Lists are separated by blanks or commas. UserError for a value that can't be used.
    """
    found: list[str] = []
    for name in _words(repo, "pass-env"):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise bad_setting("pass-env", f'"{name}" is not a name of a variable', "OMP_NUM_THREADS")
        found += ["-E", name]
    for path in (local_setting(repo, "host-paths") or "").split(os.pathsep):
        if path and not path.startswith("/"):
            raise bad_setting("host-paths", f'"{path}" is not an absolute path', "/data/references")
        found += ["-R", path] if path and not in_container else []
    network = (local_setting(repo, "network") or "true").lower()
    if network not in ("true", "false"):
        raise bad_setting("network", f'"{network}" is neither true nor false', "false")
    found += ["-N"] if network == "false" else []
    for limit in _words(repo, "limits"):
        if not _LIMIT.fullmatch(limit):
            raise bad_setting("limits", f'"{limit}" is not a limit', "processes=512,memory=8000000000")
        found += ["-L", limit]
    return tuple(found)


def _words(repo: Repo, name: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", local_setting(repo, name) or "") if word]
