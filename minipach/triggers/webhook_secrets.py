"""Secrets of webhooks: from the environment, a file, or the git configuration of this clone. Never a committed file.

They are only read here. `signatures.verify` checks events with them.
Several values count at once, so that a secret can be replaced without a gap.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minipach.git.repo import Repo
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted
from minipach.triggers.signatures import FORGES

PREFIX = "MINIPACH_WEBHOOK_"  # begins the variables; processes that serve starts don't get them
_SHORTEST = 8  # characters


@dataclass(frozen=True, slots=True)
class Access:
    """The senders that are accepted. secrets: by forge · unsigned: forges whose events need no signature."""

    secrets: Mapping[str, tuple[str, ...]]
    unsigned: frozenset[str]

    @property
    def forges(self) -> list[str]:
        """The forges from which events are accepted."""
        return [forge for forge in FORGES if self.secrets.get(forge) or forge in self.unsigned]


def access(repo: Repo) -> Access:
    """Return the secrets of all forges.

    Raises:
        UserError: A secret is in a committed file, can be read by others, is too short, or can't be read at all.
    """
    _refuse_committed(repo)
    secrets = {forge: found for forge in FORGES if (found := _secrets(repo, forge))}
    return Access(secrets, frozenset(forge for forge in FORGES if _is_unsigned(repo, forge)))


def need_access(repo: Repo) -> Access:
    """Return the same. Raises UserError also if no event would be accepted."""
    found = access(repo)
    if not found.forges:
        raise UserError(missing("github"))
    return found


def missing(forge: str) -> Problem:
    """Return the problem of a forge without a secret."""
    fix = f"set {_variable(forge, 'secret')}, or git config {_key(forge, 'secret-file')} FILE"
    return Problem("webhook.no-secret", "webhooks", f"no secret is set, such as that of {forge}", fix)


def _secrets(repo: Repo, forge: str) -> tuple[str, ...]:
    found = os.environ.get(_variable(forge, "secret"), "").split()
    where = _variable(forge, "secret")
    if not found:
        name = os.environ.get(_variable(forge, "secret-file")) or repo.config(_key(forge, "secret-file"))
        if name:
            found, where = _of_file(Path(name).expanduser()), name
            if not found:
                raise UserError(_empty(name, "this file of secrets is empty", f"openssl rand -hex 16 > {quoted(name)}"))
    if not found:
        out = repo.git("config", "--null", "--get-all", _key(forge, "secret"), ok=(0, 1))
        rows, where = os.fsdecode(out).split("\0")[:-1], _key(forge, "secret")
        found = [value for value in rows if value]
        if rows and not found:
            raise UserError(_empty(where, "this secret is empty", f"git config {where} $(openssl rand -hex 16)"))
    for value in found:
        if len(value) < _SHORTEST:
            fix = "use a random one of 32 characters: openssl rand -hex 16"
            raise UserError(
                Problem("webhook.short-secret", where, f"a secret has less than {_SHORTEST} characters", fix)
            )
    return tuple(dict.fromkeys(found))


def _empty(where: str, problem: str, fix: str) -> Problem:
    return Problem("webhook.empty-secret", where, problem, fix)


def _of_file(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                fix = f"chmod 600 {quoted(path)}"
                raise UserError(Problem("webhook.open-secret", str(path), "others can read this file of secrets", fix))
            return os.fsdecode(file.read(100_000)).split()
    except OSError as error:
        fix = "write the secret into it, or correct the setting"
        raise UserError(Problem("webhook.no-secret-file", str(path), error.strerror or "unreadable", fix)) from None


def _is_unsigned(repo: Repo, forge: str) -> bool:
    value = os.environ.get(_variable(forge, "unsigned")) or repo.config(_key(forge, "unsigned"))
    return (value or "").lower() in ("true", "yes", "on", "1")


def _refuse_committed(repo: Repo) -> None:
    """Raise UserError if a setting of webhooks comes from a file of the working tree, also through an include."""
    problem = "settings of webhooks must not be committed"
    committed = repo.path / ".datalad" / "config"
    if committed.is_file():
        listed = repo.git("config", "--file", str(committed), "--null", "--name-only", "--list", ok=(0, 128))
        if any(name.startswith("minipach.webhook.") for name in os.fsdecode(listed).split("\0")):
            fix = "remove them from it, and replace the secret"
            raise UserError(Problem("webhook.committed", ".datalad/config", problem, fix))
    shown = repo.git("config", "--show-origin", "--null", "--get-regexp", r"^minipach\.webhook\.", ok=(0, 1))
    for origin in os.fsdecode(shown).split("\0")[0:-1:2]:
        path = os.path.realpath(repo.path / origin.removeprefix("file:"))
        inside = Path(path).is_relative_to(os.path.realpath(repo.path))
        if origin.startswith("file:") and inside and not Path(path).is_relative_to(repo.common_dir):
            raise UserError(Problem("webhook.committed", path, problem, "move them into .git/config, or a file"))


def _variable(forge: str, name: str) -> str:
    return f"{PREFIX}{forge.upper()}_{name.replace('-', '_').upper()}"


def _key(forge: str, name: str) -> str:
    return f"minipach.webhook.{forge}.{name}"
