"""A store: its kind and address, which `.datalad/config` of the superdataset keeps. It never holds a credential."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from minipach.git.repo import TRANSFERS, Repo
from minipach.model.repo_layout import DATALAD_CONFIG, STORE_SECTION
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.files import replace_file
from minipach.support.text import quoted, suggest

Kind = Literal["dir", "s3", "ssh", "ria", "rclone"]
STORE_KINDS: tuple[Kind, ...] = get_args(Kind)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
# git-annex sends the head and the body of a request apart, and waits 40 ms for the server between them
_S3_TRANSFERS = 16
_FIELDS = ("kind", "url", "bucket", "prefix")


@dataclass(frozen=True, slots=True)
class Store:
    """A place for contents.

    Args:
        name: The name of the special remote in each repo.
        kind: `dir`, `s3`, `ssh`, `ria` or `rclone`.
        url: A folder, the address of a server or of a RIA store, or a remote and path of rclone.
        bucket: The bucket of an S3 store.
        prefix: The beginning of the keys of an S3 store; "" or a path that ends with "/".
    """

    name: str
    kind: Kind
    url: str
    bucket: str = ""
    prefix: str = ""

    @property
    def place(self) -> str:
        """The address for people."""
        return f"{self.url}/{self.bucket}/{self.prefix}".rstrip("/") if self.kind == "s3" else self.url

    @property
    def transfers(self) -> int:
        """The number of contents that git-annex sends there at once."""
        return _S3_TRANSFERS if self.kind == "s3" else TRANSFERS


def check_name(name: str) -> None:
    """Check the name of a store. Raises UserError."""
    if not _NAME.fullmatch(name) or name in ("origin", "here", "web", "bittorrent"):
        fix = "letters, digits, - and _, such as lab-store; not origin"
        raise UserError(Problem("store.bad-name", "NAME", f'"{name}" can\'t name a store', fix))


def check_address(project: Project, store: Store) -> None:
    """Check that a new store can be written into `.datalad/config` and read back, and that it is not in the project.

    Raises:
        UserError: It can't be.
    """
    if not is_plain(store.url, store.bucket, store.prefix):
        fix = "name one in UTF-8 without line breaks, which does not begin with -"
        raise UserError(Problem("store.bad-address", store.name, "its address can't be written into a setting", fix))
    folder = store.url.removeprefix("ria+file://")
    if store.kind in ("dir", "ria") and folder.startswith("/"):
        there, root = Path(folder).resolve(), project.root.resolve()
        if there == root or root in there.parents:
            problem = f"{folder} is in the project, which would keep the contents as its own files"
            raise UserError(Problem("store.bad-address", store.name, problem, "name a folder outside of the project"))


def is_plain(url: str, *others: str) -> bool:
    """Return whether settings and command lines can hold an address and what belongs to it."""
    try:
        "".join((url, *others)).encode()
    except UnicodeEncodeError:
        return False
    return bool(url) and not url.startswith("-") and not any(ord(c) < 32 for value in (url, *others) for c in value)


def stores(project: Project) -> dict[str, Store]:
    """Return the stores of a project by name. Raises UserError if `.datalad/config` has one that can't be read."""
    file = project.root / DATALAD_CONFIG
    try:
        if STORE_SECTION.encode() not in file.read_bytes():
            return {}
    except OSError:
        return {}
    return stores_in(project.repo, "--file", str(file))


def stores_in(repo: Repo, *source: str) -> dict[str, Store]:
    """Return the stores in settings. source: of `git config`, such as `--local`. Raises UserError."""
    pattern = rf"^{re.escape(STORE_SECTION)}\."
    out = repo.git("config", *source, "-z", "--get-regexp", pattern, ok=(0, 1))
    found: dict[str, dict[str, str]] = {}
    for row in out.split(b"\0"):
        key, _, value = os.fsdecode(row).partition("\n")
        name, _, setting = key.removeprefix(f"{STORE_SECTION}.").rpartition(".")
        if name:
            found.setdefault(name, {})[setting] = value
    return {name: _store(name, values) for name, values in sorted(found.items())}


def store_of(project: Project, name: str) -> Store:
    """Return a store by its name. Raises UserError."""
    known = stores(project)
    if name not in known:
        raise UserError(Problem("store.not-found", name, "no store of this project", suggest(name, known)))
    return known[name]


def keep(project: Project, store: Store) -> None:
    """Write a store into `.datalad/config` (not committed), in one step: half a store is one that nobody can read."""
    with _changed_file(project) as file:
        write(project.repo, store, "--file", str(file))


def write(repo: Repo, store: Store, *target: str) -> None:
    """Write a store into settings. target: of `git config`, such as `--local`."""
    for setting in _FIELDS:
        if value := str(getattr(store, setting)):
            repo.git("config", *target, f"{STORE_SECTION}.{store.name}.{setting}", value)


def forget(project: Project, name: str) -> None:
    """Remove a store from `.datalad/config` (not committed)."""
    if name in stores(project):
        with _changed_file(project) as file:
            project.repo.git("config", "--file", str(file), "--remove-section", f"{STORE_SECTION}.{name}")


def committed(project: Project) -> dict[str, Store]:
    """Return the stores of the commit that is checked out. Raises UserError as `stores` does."""
    if project.repo.objects.read(f"HEAD:{DATALAD_CONFIG}") is None:
        return {}
    return stores_in(project.repo, f"--blob=HEAD:{DATALAD_CONFIG}")


@contextlib.contextmanager
def _changed_file(project: Project) -> Iterator[Path]:
    """Yield a copy of `.datalad/config` to change, which takes its place afterwards."""
    file = project.root / DATALAD_CONFIG
    with tempfile.TemporaryDirectory(dir=project.repo.common_dir, prefix="minipach-config.") as folder:
        copy = Path(folder, "config")
        copy.write_bytes(file.read_bytes())
        yield copy
        replace_file(file, copy.read_bytes())


def is_confirmed(top: Repo, store: Store) -> bool:
    """Return whether somebody has named this store, at this address, in this clone of the superdataset."""
    return top.config(_confirmation(store)) == _fingerprint(store)


def confirm(top: Repo, store: Store) -> None:
    """Note in a clone of the superdataset that somebody has named this store there."""
    top.git("config", "--local", _confirmation(store), _fingerprint(store))


def confirmed_place(top: Repo, name: str) -> str | None:
    """Return the address that a store had when it was confirmed in this clone; None: nobody has."""
    found = top.config(f"{STORE_SECTION}.{name}.confirmed")
    return found.partition(" ")[2] if found else None


def _confirmation(store: Store) -> str:
    return f"{STORE_SECTION}.{store.name}.confirmed"


def _fingerprint(store: Store) -> str:
    return f"{store.kind} {store.place}"


def dataset_id(repo: Repo) -> str:
    """Return the id of a repo in a store: that of its dataset. Raises UserError.

    A worker's clone has no file of it, but a setting.
    """
    key, file = "datalad.dataset.id", repo.path / DATALAD_CONFIG
    found = repo.config(key, str(file)) if file.is_file() else repo.config(key)
    if not found or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", found):
        fix = f"datalad create --force {quoted(repo.path)}"
        raise UserError(Problem("store.no-dataset-id", str(repo.path), "no dataset id", fix))
    return found


def _store(name: str, values: Mapping[str, str]) -> Store:
    """Return a store from committed values, which may come from anybody."""
    where = f"{DATALAD_CONFIG}: {STORE_SECTION}.{name}"
    kind = values.get("kind", "")
    check_name(name)
    url = values.get("url", "")
    if kind not in STORE_KINDS or not is_plain(url, *values.values()):
        fix = f"kind is one of {', '.join(STORE_KINDS)}, url is its address"
        raise UserError(Problem("store.bad-setting", where, "no store", fix))
    if urllib.parse.urlsplit(url).password:
        raise UserError(Problem("store.bad-setting", where, "its address has a password", "remove it, and change it"))
    chosen = next(k for k in STORE_KINDS if k == kind)
    return Store(name, chosen, url, values.get("bucket", ""), values.get("prefix", ""))
