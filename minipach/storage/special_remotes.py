"""The special remote of a store in one repo: made once, enabled in each clone, proved before it is used."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import own_environment
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, take_in_locations
from minipach.storage.store import Store, dataset_id
from minipach.storage.store_kinds import S3, STORE_KINDS, StoreKind, clear, kind_of
from minipach.support.errors import Problem, UserError
from minipach.support.text import quoted

_CANARY = 65_536  # bytes
_NAMESPACE = uuid.UUID("6f1ad6c2-9d6b-4c6e-8f5e-2f0b4d3c1a77")  # of the ids of special remotes
_ESCAPED = re.compile(r"&(\d+);")
_OTHERS = {"name", "timestamp", "datacenter", "storageclass"}  # parameters that git-annex adds by itself
_IDENTITY = {f"GIT_{who}_{what}": "minipach" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def prove(store: Store, folder: Path, top: Repo | None = None) -> None:
    """Write an object into a store through git-annex, read it back, compare it and remove it.

    Args:
        store: The store. A bucket that does not exist is made.
        folder: A folder for a repository that lives for this proof.
        top: The superdataset, if somebody has confirmed the store in this clone: it may have the credentials.

    Raises:
        UserError: The store does not keep what it is given, or can't be reached.
    """
    kind = _kind_with_credentials(store, top)
    kind.prove()
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder))
    place = f"minipach-canary-{secrets.token_hex(8)}"
    try:
        kind.make(place)
        _prove_through_annex(kind, scratch, place)
    except UserError:
        with contextlib.suppress(UserError):
            kind.remove(place)
        raise
    finally:
        clear(scratch)
    kind.remove(place)


def has_remote(repo: Repo, store: Store) -> bool:
    """Return whether this clone of a repo has the special remote of a store, confirmed or not."""
    return repo.config(f"remote.{store.name}.annex-uuid") is not None


def is_usable(repo: Repo, store: Store) -> bool:
    """Return whether the special remote is confirmed here and has what is kept in no commit: folder, credentials."""
    name = f"remote.{store.name}"
    identity = identity_in(repo, store)
    verified = repo.config(f"{name}.annex-verified")  # None: git-annex is older than this question
    if repo.config(f"{name}.annex-uuid") != identity or verified not in (None, "verified"):
        return False
    return STORE_KINDS[store.kind](store).is_prepared(repo, dataset_id(repo), identity)


def enable(repo: Repo, store: Store, top: Repo | None = None) -> bool:
    """Make the special remote of a store in a repo, or enable and confirm the one that another clone has made.

    The caller makes sure that somebody has confirmed the store's address in this clone. The credentials are those of
    the environment, else those of the superdataset `top`.

    Returns:
        Whether something was to be done.

    Raises:
        UserError: A remote of another kind has this name, or git-annex refuses.
    """
    wanted = identity_in(repo, store)
    if is_usable(repo, store):
        return False
    found = repo.config(f"remote.{store.name}.annex-uuid")
    if found != wanted and (found is not None or store.name in repo.line("remote").splitlines()):
        fix = "choose another name for the store, or rename that remote"
        raise UserError(Problem("store.name-taken", str(repo.path), f'another remote is called "{store.name}"', fix))
    take_in_locations(repo)
    kind = _kind_with_credentials(store, top)
    words = kind.parameters(dataset_id(repo))
    known = described(repo, wanted)
    if known is not None:
        compare(repo, store.name, known, words)
    env = kind.environment()
    kind.make(dataset_id(repo))
    kind.prepare(repo, store.name)
    verb = ["enableremote", store.name] if known is not None else ["initremote", store.name, f"uuid={wanted}"]
    words = [word for word in words if not (known is not None and word.startswith(("type=", "encryption=")))]
    try:
        repo.git("annex", *verb, *words, env=env)
        if repo.config(f"remote.{store.name}.annex-verified") not in (None, "verified"):
            asked = os.fsdecode(repo.git("annex", "verifyremote", store.name, env=env))
            if identity := re.search(r"--safe (\S+)", asked):
                repo.git("annex", "verifyremote", store.name, "--safe", identity[1], env=env)
    except GitError as error:
        raise UserError(_refused(store, str(repo.path), error)) from None
    return True


def described(repo: Repo, identity: str) -> dict[str, str] | None:
    """Return the parameters of a special remote in the git-annex branch; None: it knows no such remote."""
    lines = os.fsdecode(repo.objects.read("git-annex:remote.log") or b"").splitlines()
    found = [
        dict(_ESCAPED.sub(_unescaped, w).split("=", 1) for w in line.split(" ")[1:] if "=" in w)
        for line in lines
        if line.startswith(f"{identity} ")
    ]
    return max(found, key=lambda values: float(values.get("timestamp", "0").rstrip("s") or 0), default=None)


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1]))


def compare(repo: Repo, name: str, known: Mapping[str, str], words: Sequence[str]) -> None:
    """Check that a remote which came with the git-annex branch is what has been asked for.

    Raises:
        UserError: It goes elsewhere, or has a parameter that this kind does not set.
    """
    wanted = dict(word.split("=", 1) for word in words)
    own = {"directory", "autoenable"}  # in no commit; whether new clones have it
    keys = (known.keys() | wanted.keys()) - own - _OTHERS
    others = sorted(key for key in keys if known.get(key) != wanted.get(key))
    if others:
        shown = ", ".join(f"{key}={known.get(key, '')}" for key in others[:3])
        problem = f"the git-annex branch describes {name} differently ({shown})"
        fix = f"ask who set it up; git -C {quoted(repo.path)} annex info {name}"
        raise UserError(Problem("store.described-differently", str(repo.path), problem, fix))


def identity_in(repo: Repo, store: Store) -> str:
    """Return the id of a store's special remote in a repo: equal in each clone, so that two that make it agree."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((dataset_id(repo), store.name, store.kind, store.place))))


def _kind_with_credentials(store: Store, top: Repo | None) -> StoreKind:
    kind = kind_of(store)
    if isinstance(kind, S3) and top is not None:  # the id has the address: credentials go to no other place
        kind.held = top.common_dir / "annex" / "creds" / identity_in(top, store)
    return kind


def _prove_through_annex(kind: StoreKind, scratch: Path, place: str) -> None:
    store = kind.store
    env = own_environment(_IDENTITY) | dict(kind.environment())
    repo = Repo(scratch)
    try:
        repo.git("init", "--quiet", env=env)
        repo.git("annex", "init", "--quiet", "canary", env=env)
        kind.prepare(repo, "canary")
        repo.git("annex", "initremote", "canary", *kind.parameters(place), env=env)
        (scratch / "canary").write_bytes(secrets.token_bytes(_CANARY))
        repo.git("annex", "add", "--quiet", "canary", env=env)
        key = repo.line("annex", "lookupkey", "canary", env=env)
        repo.git("annex", "copy", "--quiet", "--to=canary", "canary", env=env)
        repo.git("annex", "drop", "--quiet", "--force", "canary", env=env)
        repo.git("annex", "get", "--quiet", "--from=canary", "canary", env=env)  # compares the checksum
        repo.git("annex", "drop", "--quiet", "--force", "--from=canary", "canary", env=env)
        still = repo.git("annex", "checkpresentkey", key, "canary", env=env, ok=(0, 1))
    except GitError as error:
        raise UserError(_refused(store, store.place, error)) from None
    finally:
        repo.close()
    if b"1" in still:
        problem = "an object that was removed is still there: it is no store that forgets"
        raise UserError(Problem("store.unusable", store.place, problem, "use another store"))


def _refused(store: Store, where: str, error: GitError) -> Problem:
    said = [
        line
        for line in error.stderr.splitlines()
        if line.strip() and not line.startswith(("git-annex: initremote", "init"))
    ]
    why = " ".join((said or [error.stderr])[0].split())
    fix = "check the address, the credentials and the free space; then the same command again"
    return Problem("store.unusable", where, f"git-annex can't use {store.name}: {why}", fix)


@dataclass(frozen=True, slots=True)
class Contents:
    """A number of contents, and their bytes as far as these are known."""

    number: int
    size: int


def contents_missing(repo: Repo, store: Store, branches: Sequence[str]) -> Contents:
    """Return the contents of branches that are not in a store, as far as this clone knows."""
    sizes: dict[str, int] = {}
    for branch in branches:
        out = annex(repo, "find", "--json", "--not", f"--in={store.name}", f"--branch={branch}")
        for row in map(json.loads, out.splitlines()):
            sizes[row["key"]] = int(row.get("bytesize") or 0)
    return Contents(len(sizes), sum(sizes.values()))
