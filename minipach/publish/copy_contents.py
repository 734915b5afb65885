"""Contents of branches to a store, and back from it to be compared. git-annex moves them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence

from minipach.git.annex_errors import annex_reason
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, at_once
from minipach.publish import results_exchange
from minipach.storage.setup import branches, keeps_contents
from minipach.support.errors import Problem, UserError
from minipach.support.text import many

_COPIES = 3  # times that contents are copied while a store fails


def copy_all(repo: Repo, store: str, named: Sequence[str], *, fast: bool) -> tuple[int, int]:
    """Copy the contents that are here to a store; return their number and bytes. Raises UserError.

    Where the store or the network fails for a while, what is left is copied again.
    """
    went: dict[str, int] = {}
    failed: set[str] = set()
    for attempt in range(_COPIES):
        copied, failures = _copy(repo, store, named, failed, fast=fast)
        went |= copied
        if not failures:
            return len(went), sum(went.values())
        if attempt == _COPIES - 1 or not results_exchange.passes("\n".join(failures)):
            break
        results_exchange.pause(attempt)
    reasons = [reason for reason in failures if reason] or ["git-annex gave no reason"]
    why = annex_reason(results_exchange.without_credentials(reasons[0]))
    if blocked := results_exchange.unverified(repo, " ".join(reasons)):
        raise UserError(blocked)
    problem = f"{many(len(failures), 'content')} could not be copied to {store}: {why}"
    raise UserError(Problem("push.content-not-sent", "", problem, "push again; what went stays"))


def _copy(
    repo: Repo, store: str, named: Sequence[str], failed: set[str], *, fast: bool
) -> tuple[dict[str, int], list[str]]:
    """Copy the contents that are here to a store; return their bytes by key, and the failures.

    failed: the keys that could not be copied before; it gets those of now. If such a content is there after all, it
    went, and the answer of the store was lost.
    """
    went: dict[str, int] = {}
    failures: list[str] = []
    for branch in named:
        words = ["copy", f"--branch={branch}", f"--to={store}", "--json", "--json-error-messages"]
        said, before = "", len(failures)
        try:
            out = annex(repo, *words, *at_once(repo), *(["--fast"] if fast else []))
        except GitError as error:
            out, said = error.stdout, error.stderr.strip() or "git-annex failed"
        for row in (json.loads(line) for line in out.splitlines() if line.startswith(b"{")):
            key = str(row.get("key") or row.get("file"))
            if row["success"]:
                if row.get("note") or key in failed:  # else git-annex has asked, and it was there
                    went[key] = _bytes(key)
            else:
                failed.add(key)
                failures.append(" ".join([*row["error-messages"], str(row.get("note") or "")]).strip())
        if said and len(failures) == before:  # it failed as a whole
            failures.append(said)
    return went, failures


def _bytes(key: str) -> int:
    """Return the size in a key (`SHA256E-s123--...`); 0 if it has none."""
    fields = key.partition("--")[0].split("-")[1:]
    return next((int(field[1:]) for field in fields if field[:1] == "s" and field[1:].isdigit()), 0)


def verify(repo: Repo, store: str, number: int) -> int:
    """Read contents that a store has back and compare them; return how many. Raises UserError."""
    if number <= 0:
        return 0
    keys = set()
    for branch in branches(repo):
        keys |= set(annex(repo, "find", "--format=${key}\\n", f"--in={store}", f"--branch={branch}").split(b"\n")) - {
            b""
        }
    chosen = random.sample(sorted(keys), min(number, len(keys)))
    for key in chosen:
        try:
            annex(repo, "fsck", f"--from={store}", f"--key={os.fsdecode(key)}")
        except GitError as error:
            why = " ".join(error.stderr.split())
            problem = f"{store} has another content of {os.fsdecode(key)}: {why}"
            raise UserError(Problem("push.content-damaged", "", problem, f"minipach store check {store}")) from None
    return len(chosen)


def has_contents(repo: Repo, named: Sequence[str]) -> bool:
    """Return whether a branch that is sent names annexed contents."""
    if not keeps_contents(repo):
        return False
    shown = ("--format=${key}\\n", "--anything")
    return any(annex(repo, "find", *shown, f"--branch={branch}", ok=(0,)) for branch in named)
