"""The environments of child processes: their programs, locale and settings of git."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from minipach.git import network, settings
from minipach.model.launch_protocol import PYTHON, USER_LOCALE, USER_PATH

# zlib needs 300 kB for each object that git or Python compresses. As it starts, glibc's malloc gives them back to the
# kernel each time, and gets new pages for the next: three quarters of the time for an object of 1 kB.
# Source: mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD. Elsewhere these variables mean nothing.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(16 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for every child process: this installation's programs come first on PATH.

    The git-annex wheel puts its binary beside the interpreter's scripts, where git's hooks must find it too.
    """
    return {**_kept_environments().plain, **(extra or {})}


class _Environments:
    """The environments of child processes that follow from one state of our own."""

    def __init__(self, source: Mapping[str, str]) -> None:
        self.source = source
        self.plain = _child_environment(source)
        self._with: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}

    def with_settings(self, wanted: tuple[tuple[str, str], ...]) -> dict[str, str]:
        """Return the environment with these settings of git."""
        if wanted not in self._with:
            self._with[wanted] = self.plain | settings.with_settings(self.plain, wanted)
        return self._with[wanted]


_KEPT_ENVIRONMENTS = 4  # a worker changes its environment for a while, and back
_kept: list[_Environments] = []  # the last ones: to compute one takes 0.3 ms


def _kept_environments() -> _Environments:
    now = dict(os.environ)
    found = next((kept for kept in tuple(_kept) if kept.source == now), None)
    if found is None:
        found = _Environments(now)
        if os.path.isabs(now.get("TMPDIR") or "/"):  # a relative path means another folder elsewhere
            _kept[:] = [*_kept[-_KEPT_ENVIRONMENTS + 1 :], found]
    return found


def _child_environment(source: Mapping[str, str]) -> dict[str, str]:
    env = {**_MALLOC, **source}  # the user's win
    # what the commands of datums get: the user's own
    env.setdefault(USER_PATH, user_path())
    env.setdefault(USER_LOCALE, " ".join(f"{k}={v}" for k, v in sorted(env.items()) if _is_locale(k)))
    settings.drop_variables(env)
    for name, value in settings.utf8_locale(env).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    if temporary := env.pop("TMPDIR", ""):
        temporary = os.path.abspath(temporary)  # a child may work elsewhere
        env |= {"TMPDIR": temporary} if can_write(temporary) else {}
    ours = [str(Path(sys.executable).parent), _scripts()]
    binary = _annex_wheel()
    if binary is not None:
        # the wheel's script of this name starts a Python only to exec the binary: 30 ms a call
        ours.insert(0, str(binary))
        if (binary / "magic.mgc").is_file():
            env["MAGIC"] = str(binary / "magic.mgc")
    env[PYTHON] = sys.executable  # runs the launcher
    path = env.get("PATH", os.defpath).split(os.pathsep)
    env["PATH"] = os.pathsep.join(dict.fromkeys([*ours, *path]))
    return env


@functools.lru_cache(maxsize=16)
def can_write(folder: str) -> bool:
    """Return whether a temporary file can be made in a folder (asked once in the life of a process)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def own_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the same for git, git-annex and DataLad in what is minipach's own (slots, new datasets).

    There no setting of the user decides what is stored, and no hook runs: docs/design/git-settings.md.
    """
    return _environment_with((*settings.PLUMBING, *settings.OWN), extra)


def _environment_with(wanted: tuple[tuple[str, str], ...], extra: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment for a child process with settings of git. extra: other variables."""
    if any(name.startswith("GIT_CONFIG") for name in extra or {}):
        env = child_environment(extra)
        return env | settings.with_settings(env, wanted)
    return {**_kept_environments().with_settings(wanted), **(extra or {})}


def enter_environment(values: Mapping[str, str]) -> None:
    """Make this process's own environment one of the above, for libraries that start processes by themselves."""
    for name in ("LC_ALL", *settings.DROPPED):
        if name not in values:
            os.environ.pop(name, None)
    os.environ.update(values)


@contextlib.contextmanager
def entered(values: Mapping[str, str]) -> Iterator[None]:
    """Enter the folder for a while."""
    before = dict(os.environ)
    enter_environment(values)
    try:
        yield
    finally:
        for name in [name for name in values if name not in before]:
            os.environ.pop(name, None)
        os.environ.update(before)


def _is_locale(variable: str) -> bool:
    return variable == "LANG" or variable.startswith("LC_")


def user_path() -> str:
    """Return PATH of the user, without the folders of this installation's programs."""
    return os.environ.get(USER_PATH) or os.environ.get("PATH") or os.defpath


@functools.cache
def _scripts() -> str:
    """Return the folder of this installation's programs. `sysconfig` needs 0.07 ms to find it, for each git call."""
    return sysconfig.get_path("scripts")


@functools.cache
def _annex_wheel() -> Path | None:
    """Return the folder of the git-annex wheel's own binary, if this environment has the wheel."""
    spec = importlib.util.find_spec("git_annex")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return folder if folder and os.access(folder / "git-annex", os.X_OK) else None


def environment_at(path: Path, extra: Mapping[str, str] | None = None, *, own: bool = False) -> dict[str, str]:
    """Return the environment for git in the repository at `path`, and in no other. own: see `own_environment`.

    If the `.git` there may not be entered, or is broken, git would use the repository around it: a pipeline's
    results would be published into the superdataset.
    """
    env = {"GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(path)), "LANGUAGE": "en"}  # messages are read
    env["MINIPACH_OWN_GIT"] = "1"  # triggers/hook starts no pass then
    env |= extra or {}
    if own:
        return own_environment(env)
    return _environment_with((*settings.PLUMBING, *network.settings_here()), env)
