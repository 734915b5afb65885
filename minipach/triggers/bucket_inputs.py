"""Buckets as inputs: a dataset whose files are the objects of a bucket. Each pass looks, and imports what changed.

`git annex import` downloads new objects once, for their checksums. Where the bucket keeps versions, their contents are
dropped here afterwards; a datum that needs one fetches it. The bucket's address is in the configuration of this clone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minipach.git.annex_errors import annex_reason
from minipach.git.checkout import InTheWay
from minipach.git.child_environment import entered, own_environment
from minipach.git.git_error import GitError
from minipach.git.merging import NotMergedError, merge, settle
from minipach.git.network import unattended
from minipach.git.repo import Repo, is_dataset
from minipach.git.settings import MERGE
from minipach.model.messages import SUBJECT
from minipach.project.lock import project_lock
from minipach.project.problems import absent
from minipach.project.project import Project, find_project
from minipach.project.settings import network_limit
from minipach.publish.superdataset import commit_gitlinks
from minipach.scheduling.events import Message, Reporter
from minipach.storage.private_store import is_private, read_credentials
from minipach.storage.s3 import (
    Bucket,
    Credentials,
    bucket,
    given_credentials,
    listing,
    make_bucket,
    private_addresses,
    prove,
    stored_credentials,
)
from minipach.support.errors import Problem, UserError, problems_json
from minipach.support.files import write_whole
from minipach.support.text import quoted, suggest
from minipach.support.validation import InvalidError, parse_object
from minipach.triggers.trigger import TriggerRow

REMOTE = "bucket"  # the git-annex remote of each such dataset
IMPORTED = "refs/minipach/imported"  # the last import, without objects that are gone
_SECTION = "minipach.bucket."


@dataclass(frozen=True, slots=True)
class BucketInput:
    """An input whose files are the objects of a bucket. versions: the bucket keeps them · listen: ask it for events."""

    path: str
    place: Bucket
    versions: bool
    listen: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as documented for `minipach input list --json`."""
        return {
            "name": self.path,
            "s3": self.place.url,
            "bucket": self.place.name,
            "prefix": self.place.prefix,
            "versions": self.versions,
            "listen": self.listen,
        }


def bucket_inputs(project: Project) -> list[BucketInput]:
    """Return the inputs of this clone that are buckets."""
    out = os.fsdecode(project.repo.git("config", "--local", "--null", "--get-regexp", rf"^{_SECTION}", ok=(0, 1)))
    found: dict[str, dict[str, str]] = {}
    for row in out.split("\0"):
        key, _, value = row.partition("\n")
        path, _, name = key.removeprefix(_SECTION).rpartition(".")
        if path:
            found.setdefault(path, {})[name] = value
    return [
        BucketInput(
            path,
            Bucket(values["url"], values["name"], values.get("prefix", "")),
            values.get("versions") == "true",
            values.get("listen") == "true",
        )
        for path, values in sorted(found.items())
        if {"url", "name"} <= values.keys()
    ]


def add(project: Project, path: str, url: str, name: str, prefix: str, *, listen: bool, reporter: Reporter) -> None:
    """Make a dataset of a bucket, import the objects, and register it in the project.

    Raises:
        UserError: The path is taken or is none; the store can't be used; an import failed.
    """
    place = bucket(url, name, prefix)
    path = os.path.normpath(path)
    if os.path.isabs(path) or path.startswith("..") or path == "." or path.split("/")[0] in (".git", ".datalad"):
        raise UserError(
            Problem("input.bad-name", path, "not a path in the project", "write a path such as raw, or data/raw")
        )
    folder = project.root / path
    if os.path.lexists(folder):
        raise UserError(Problem("input.exists", path, "exists already", "choose another name"))
    key = (read_credentials(project.local) if is_private(project.local, place) else None) or given_credentials(
        place.url
    )
    if is_private(project.local, place) and make_bucket(place, key):
        reporter.report(Message(f"{path}: made the bucket {name}"))
    versions = prove(place, key)
    _create(project, path)
    repo = Repo(folder)
    for address in private_addresses(place.host):
        repo.git("config", "--add", "annex.security.allowed-ip-addresses", address)
    config = [
        *("type=S3", "importtree=yes", "encryption=none", "embedcreds=no", "requeststyle=path"),
        *(f"host={place.host}", f"port={place.port}", f"protocol={'https' if place.secure else 'http'}"),
        *(f"bucket={place.name}", *([f"fileprefix={place.prefix}"] if place.prefix else [])),
        *(["versioning=yes"] if versions else []),
    ]
    try:
        keys = {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}
        repo.git("annex", "initremote", REMOTE, *config, env=keys)
    except GitError as error:
        problem = f"git-annex can't use the bucket: {_last(error)}"
        fix = f"datalad remove --reckless kill -d . {quoted(path)}, then correct what is wrong"
        raise UserError(Problem("input.no-remote", path, problem, fix)) from None
    values = {"url": place.url, "name": place.name, "prefix": place.prefix}
    values |= {"versions": str(versions).lower(), "listen": str(listen).lower()}
    for setting, value in values.items():
        project.repo.git("config", "--local", f"{_SECTION}{path}.{setting}", value)
    problems = import_changes(find_project(project.root), reporter, [path])
    if problems:
        raise UserError(problems)


def remove(project: Project, path: str) -> None:
    """Import no more from a bucket. The dataset stays. Raises UserError if it is no such input."""
    _known(project, path)
    project.repo.git("config", "--local", "--remove-section", f"{_SECTION}{path}".removesuffix("."))


def _known(project: Project, path: str) -> BucketInput:
    known = {one.path: one for one in bucket_inputs(project)}
    if path not in known:
        raise UserError(Problem("input.unknown", path, "not an input from a bucket", suggest(path, known)))
    return known[path]


def update(project: Project, reporter: Reporter) -> tuple[Problem, ...]:
    """Import what has changed in all buckets; report and return what could not be done. Each pass does so."""
    problems = import_changes(project, reporter)
    for found in problems:
        reporter.report(Message(str(found)))
    return problems


def import_changes(project: Project, reporter: Reporter, names: Sequence[str] | None = None) -> tuple[Problem, ...]:
    """Import what has changed in these buckets (None: in all); return what could not be done.

    Raises:
        UserError: There is no such input.
    """
    chosen = bucket_inputs(project) if names is None else [_known(project, name) for name in names]
    if not chosen:
        return ()
    problems: list[Problem] = []
    moved: dict[str, str] = {}
    digests = _digests(project)

    def notify(line: str) -> None:
        reporter.report(Message(line))

    limit = unattended(network_limit(project.repo))
    with project_lock(project.local.lock, wait=True, notify=notify, without=()), limit:
        for one in chosen:
            repo = Repo(project.root / one.path)
            try:
                if not is_dataset(repo.path):
                    raise UserError(absent(project, one.path))
                settle(repo)
                key = key_of(repo, one.place)
                before = listing(one.place, key)
                if digests.get(one.path) == before.digest and repo.resolve(IMPORTED):
                    continue
                count = _import(repo, one, key)
                digests[one.path] = before.digest  # an object that came since then differs from it
                head = repo.head()
                if count and head:
                    moved[one.path] = head
                    notify(f"{one.path}: {count} object(s) changed in {one.place.name}")
            except UserError as error:
                problems += [problem.within(one.path) for problem in error.problems]
            except GitError as error:
                problem = f"the import failed: {_last(error)}"
                fix = f"git -C {quoted(repo.path)} annex import master --from {REMOTE}"
                problems.append(Problem("input.import-failed", one.path, problem, fix))
            finally:
                repo.close()
        if moved:
            commit_gitlinks(project, moved, f"{SUBJECT}import {', '.join(sorted(moved))}")
        _keep(project, digests, problems)
    return tuple(problems)


def key_of(repo: Repo, place: Bucket) -> Credentials:
    """Return the credentials for a dataset's bucket: git-annex's of this clone, or those given (see `storage.s3`)."""
    uuid = repo.config(f"remote.{REMOTE}.annex-uuid")
    kept = stored_credentials(repo.common_dir / "annex" / "creds" / uuid) if uuid and "/" not in uuid else None
    return kept or given_credentials(place.url)


def _import(repo: Repo, one: BucketInput, key: Credentials) -> int:
    """Import, and merge the result into the branch that is checked out. Return how many paths changed."""
    _refuse_other_store(repo, one)
    branch = repo.branch()
    if branch is None:
        fix = f"git -C {quoted(repo.path)} switch master"
        raise UserError(Problem("input.detached", "", "no branch is checked out", fix))
    keys = {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}
    # git-annex's branch as it was checked above: what others have pushed may name another host
    own = ("-c", "annex.merge-annex-branches=false")
    repo.git(*own, "annex", "import", "--quiet", branch, "--from", REMOTE, env=keys)
    tip = repo.resolve(f"refs/remotes/{REMOTE}/{branch}")
    if tip is None:  # an empty bucket
        return 0
    # git-annex does not see every deletion in a bucket with versions: what the store lists now is what there is
    now = listing(one.place, key).names
    entries = [entry for entry in repo.ls_tree(tip, recursive=True) if entry.path in now]
    tree = repo.write_tree(entries)
    last = repo.resolve(IMPORTED)
    if last is not None and repo.line("rev-parse", f"{last}^{{tree}}") == tree:
        return 0
    commit = repo.commit_tree(tree, f"{SUBJECT}import from {one.place.name}\n", [last] if last else [])
    changed = repo.git("diff-tree", "-r", "-z", "--name-only", *([last, commit] if last else ["--root", commit]))
    paths = [os.fsdecode(path) for path in changed.split(b"\0") if path and path != commit.encode()]
    message = f"{SUBJECT}import from {one.place.name}"
    try:
        merge(repo, commit, (*MERGE, "--allow-unrelated-histories", "-m", message))
    except (NotMergedError, InTheWay):
        fix = f"git -C {quoted(repo.path)} merge --allow-unrelated-histories {commit[:12]}"
        raise UserError(Problem("input.conflict", "", "files were changed here and in the bucket", fix)) from None
    repo.update_refs([f"update {IMPORTED} {commit}"])
    if one.versions:
        there = [path for path in paths if path in now]
        repo.git(*own, "annex", "drop", "--quiet", "--batch", "-z", stdin=_nul(there), env=keys, ok=(0, 1))
    return len(paths)


def _nul(paths: list[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _refuse_other_store(repo: Repo, one: BucketInput) -> None:
    """Raise UserError if git-annex's branch names another store than this clone does: it would get the credentials."""
    uuid = repo.config(f"remote.{REMOTE}.annex-uuid") or ""
    rows = repo.git("show", "git-annex:remote.log", ok=(0, 128)).decode(errors="replace").splitlines()
    found = [dict(word.partition("=")[::2] for word in row.split()[1:]) for row in rows if row.split()[:1] == [uuid]]
    place = one.place
    wanted = {"type": "S3", "host": place.host, "port": str(place.port), "bucket": place.name}
    wanted |= {"protocol": "https" if place.secure else "http"}
    if not found or any(config.get(name) != value for config in found for name, value in wanted.items()):
        problem = f"git-annex's remote {REMOTE} is not the bucket of this clone's settings"
        raise UserError(Problem("input.other-store", "", problem, f"git -C {quoted(repo.path)} annex info {REMOTE}"))


def _create(project: Project, path: str) -> None:
    with entered(own_environment({"DATALAD_LOG_LEVEL": "error"})):
        from datalad.api import create
        from datalad.support.exceptions import CommandError, IncompleteResultsError

        try:
            create(path=path, dataset=str(project.root), result_renderer="disabled", return_type="list")
        except (IncompleteResultsError, CommandError) as error:
            problem = f"datalad create failed: {' '.join(str(error).split())}"
            raise UserError(Problem("input.create-failed", path, problem)) from None


def _last(error: GitError) -> str:
    return annex_reason(error.stderr) or f"exit code {error.code}"


def _digests(project: Project) -> dict[str, str]:
    try:
        found = parse_object(project.local.buckets.read_bytes()).get("digests")
    except (OSError, InvalidError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _keep(project: Project, digests: dict[str, str], problems: list[Problem]) -> None:
    data = {"schema": 1, "digests": digests, "problems": problems_json(problems)}
    write_whole(project.local.buckets, json.dumps(data))


def bucket_triggers(project: Project) -> list[TriggerRow]:
    """Return the lines of `minipach triggers`: one for each bucket."""
    found = bucket_inputs(project)
    if not found:
        return []
    try:
        problems = parse_object(project.local.buckets.read_bytes()).get("problems")
    except (OSError, InvalidError):
        problems = []
    why: dict[str, str] = {}
    for row in problems if isinstance(problems, list) else ():
        if isinstance(row, dict):
            why.setdefault(str(row.get("location", "")).partition(":")[0], str(row.get("text", "")))
    following = "each pass of a trigger looks; minipach input update"
    return [TriggerRow("bucket", one.path, "on", None, None, following, why.get(one.path, "")) for one in found]
