"""Outputs under their names in a folder, on a host or in a bucket, by git-annex's export.

First what is new, then the manifest, then deletions. So a file that the manifest names is there at any time, unless a
file is replaced under its name. What an interrupted export has sent stays, and the next one continues.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.annex_errors import annex_reason, row_reason
from minipach.git.annex_keys import key_of_link, size_of
from minipach.git.git_error import GitError
from minipach.git.repo import Repo, annex, is_dataset, need_identity
from minipach.git.tree_entries import FILE, GITLINK, SYMLINK, TreeEntry
from minipach.model.repo_layout import reserved_in_data, reserved_in_pipeline
from minipach.project.project import Project
from minipach.project.settings import local_setting
from minipach.publish.results_exchange import without_credentials
from minipach.storage.s3 import bucket, given_credentials, make_bucket, private_addresses
from minipach.storage.special_remotes import compare, described
from minipach.storage.store import Store, dataset_id, is_confirmed, stores
from minipach.storage.store_kinds import Ssh, ssh_address
from minipach.support.errors import Problem, UserError
from minipach.support.text import byte_count, many, quoted
from minipach.support.validation import InvalidError, parse_object

MANIFEST = "minipach-manifest.json"
_NAMESPACE = uuid.UUID("a3c1b4a0-2a53-4f0a-9f5d-0f6f0d0f9f11")  # of the ids of these special remotes
_CONFIRMED = "minipach-egress.confirmed"  # in a clone of a pipeline's repo: the place of the spec that may be used
_SENT = "minipach-egress.sent"  # the commit that is there, and the place
_MOST_BEGUN = 300
_EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's empty tree
_AMAZON = "https://s3.amazonaws.com"
_NAME_SERVER = "git config minipach.egress-endpoint URL, if the bucket is on another server"
_ALLOWED = "annex.security.allowed-ip-addresses"


@dataclass(frozen=True, slots=True)
class Exported:
    """The changes of one export.

    Args:
        repo: The path in the project.
        place: The address.
        new: Files with a content that was not there.
        size: Their bytes, as far as they are known.
        renamed: Files whose content was there under another name.
        gone: Files that were removed there.
    """

    repo: str
    place: str
    new: int
    size: int
    renamed: int
    gone: int

    @property
    def text(self) -> str:
        """The line for people."""
        sizes = f"{self.new} new ({byte_count(self.size)}), {self.renamed} renamed (0 B), {self.gone} gone"
        return f"{self.repo}: {sizes}"

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach egress --json`."""
        return {
            "repo": self.repo,
            "place": self.place,
            "new": self.new,
            "bytes": self.size,
            "renamed": self.renamed,
            "gone": self.gone,
        }


def egress(project: Project, name: str, place: str | None) -> Exported:
    """Bring a place to the outputs of a pipeline, or the files of a repo with data, as they are committed.

    Args:
        project: The project, whose lock the caller holds.
        name: A pipeline, or the path of a repo.
        place: A folder, `ssh://HOST/PATH`, or `s3://BUCKET/PREFIX`. None: that of the pipeline's spec, which this call
            confirms for later passes in this clone.

    Raises:
        UserError: The place can't be used, a content is not here, or the export was interrupted.
    """
    path = name if name in project.repos and name not in project.order else project.path_of(name)
    if not is_dataset(project.root / path):
        raise UserError(Problem("pipeline.not-a-dataset", path, "not a dataset yet", f"minipach schedule {name}"))
    need_identity(project.repo)  # git-annex notes what is where, in commits
    pipeline = project.pipelines.get(path)
    asked = pipeline.egress if pipeline else ""
    if place is None and not asked:
        fix = f"name one: minipach egress {name} DIR; or add egress: {{URL: ...}} to the spec"
        raise UserError(Problem("egress.no-place", path, "the spec names no place", fix))
    if place is not None and place != place.encode("utf-8", "replace").decode():
        raise UserError(Problem("egress.unusable", place, "no UTF-8", "name a folder in UTF-8"))
    with contextlib.closing(Repo(project.root / path)) as repo, crash_cleanup.cleared(repo):
        if place is not None:
            return _export(project, path, _place_of(place))
        repo.git("config", "--local", _CONFIRMED, asked)
        done = _export(project, path, _place_of(asked))
        repo.git("config", "--local", _SENT, f"{_head(project, path, repo)} {asked}")
        return done


def send_outputs(project: Project, paths: Iterable[str], notify: Callable[[str], None]) -> list[Problem]:
    """Send the outputs of pipelines whose spec has `egress`, after a pass. What is sent already is not looked at again.

    A place gets nothing before somebody has confirmed it in this clone: anybody can write a spec.

    Args:
        project: The project.
        paths: Its pipelines that the pass was about.
        notify: Gets a line for what went, and for what is not confirmed.

    Returns:
        The failures. The next pass tries again.
    """
    problems: list[Problem] = []
    for path in paths:
        pipeline = project.pipelines.get(path)
        if pipeline is None or not pipeline.egress or not is_dataset(project.root / path):
            continue
        repo = Repo(project.root / path)
        state = f"{_head(project, path, repo)} {pipeline.egress}"
        if repo.config(_SENT) == state or not state.partition(" ")[0]:
            continue
        if repo.config(_CONFIRMED) != pipeline.egress:
            fix = f"minipach egress {quoted(pipeline.name)}, if you expect it"
            problem = f"{pipeline.egress} came with the spec and is not confirmed here, so nothing is sent"
            notify(str(Problem("egress.not-confirmed", path, problem, fix)))
            continue
        try:
            notify(_export(project, path, _place_of(pipeline.egress)).text)
        except UserError as error:
            problems += error.problems
        except GitError as error:
            why = annex_reason(without_credentials(error.stderr)) or f"exit code {error.code}"
            fix = "minipach schedule tries again"
            problems.append(Problem("egress.incomplete", path, f"the outputs could not be sent: {why}", fix))
        else:
            repo.git("config", "--local", _SENT, state)
    return problems


def is_export(repo: Repo, remote: str) -> bool:
    """Return whether a remote of a clone has files under their names, of which git-annex drops none by itself."""
    known = described(repo, repo.config(f"remote.{remote}.annex-uuid") or "") or {}
    return known.get("exporttree") == "yes"


def remove_exported(repo: Repo, path: str, remote: str, is_erased: Callable[[str, str | None], bool]) -> int:
    """Remove files from a place of `egress`, and from its manifest; return how many went.

    Args:
        repo: The clone that has the remote.
        path: The path of the repo in the project.
        remote: The remote of the place.
        is_erased: Gets the path and the key of a file that is there; None: its content is in git itself.

    Raises:
        UserError: The place can't be changed.
    """
    identity = repo.config(f"remote.{remote}.annex-uuid") or ""
    tree = _last_tree(repo, identity)
    there = {entry.path: entry for entry in repo.ls_tree(tree, recursive=True)} if tree else {}
    gone = {entry.path for entry in there.values() if is_erased(entry.path, _key(repo, entry))} - {MANIFEST}
    if not gone:
        complete = (repo.config(_begun_key(identity)) or "").partition(" ")[0]
        before = repo.ls_tree(complete, recursive=True) if complete else ()
        if any(is_erased(entry.path, _key(repo, entry)) for entry in before if entry.path != MANIFEST):
            problem = "an earlier removal failed, so files may still be there"
            fix = f"remove them there, then minipach egress {path}"
            raise UserError(Problem("egress.incomplete", path, problem, fix))
        return 0
    _need_answer(repo, path, remote, there.values())
    rest = [entry for entry in there.values() if entry.path not in gone]
    if MANIFEST in there:
        try:
            old = parse_object(repo.objects.read(there[MANIFEST].sha) or b"")
        except InvalidError:
            old = {}
        rest = [entry for entry in rest if entry.path != MANIFEST]
        text = _manifest(repo, str(old.get("commit", "")), {entry.path: entry for entry in rest})
        rest.append(TreeEntry(FILE, repo.hash_blob(text), MANIFEST))
    after = repo.write_tree(rest)
    _note_begun(repo, identity, [after])
    _send(repo, path, remote, after)
    repo.git("config", "--local", "--unset-all", _begun_key(identity), ok=(0, 5))
    return len(gone)


def _need_answer(repo: Repo, path: str, remote: str, entries: Iterable[TreeEntry]) -> None:
    """Raise UserError if a place does not answer: git-annex takes no file for removed that it has tried to remove."""
    key = next((key for entry in entries if (key := _key(repo, entry))), None)
    if key is None:
        return
    try:
        repo.git("annex", "checkpresentkey", key, remote, ok=(0, 1))
    except GitError as error:
        problem = f"the place does not answer: {without_credentials(error.reason)}"
        raise UserError(
            Problem("egress.incomplete", path, problem, f"minipach get {path}, then the same again")
        ) from None


def _head(project: Project, path: str, repo: Repo) -> str:
    """Return the commit with the outputs; "" if there is none."""
    pipeline = project.pipelines.get(path)
    branch = pipeline.output_branch if pipeline else None
    return (repo.resolve(f"refs/heads/{branch}") if branch else repo.head()) or ""


def _place_of(url: str) -> str:
    return url.removeprefix("file://")


def _check_folder(project: Project, place: str) -> None:
    """Check that files at a place are not among those of the project. UserError: they would be."""
    if "://" in place:
        return
    there, root = Path(place).resolve(), project.root.resolve()
    if place == "" or there == root or root in there.parents or there in root.parents:
        problem = "it is in the project, or above it"
        raise UserError(Problem("egress.unusable", place or "''", problem, "name a folder outside of the project"))


def _export(project: Project, path: str, place: str) -> Exported:
    _check_folder(project, place)
    with contextlib.closing(Repo(project.root / path)) as repo:
        is_reserved = reserved_in_pipeline if path in {one.path for one in project.places} else reserved_in_data
        head = _head(project, path, repo)
        new = {
            entry.path: entry
            for entry in (repo.ls_tree(head, recursive=True) if head else ())
            if entry.mode != GITLINK and not is_reserved(entry.path.split("/", 1)[0]) and entry.path != MANIFEST
        }
        remote, identity = _remote(project, repo, place)
        old = {path: entry for path, entry in _exported(repo, identity).items() if path != MANIFEST}
        had, has = {entry.sha for entry in old.values()}, {entry.sha for entry in new.values()}
        changed = [entry for path, entry in new.items() if path not in old or old[path].sha != entry.sha]
        fresh = [entry for entry in changed if entry.sha not in had]
        gone = {p: entry for p, entry in old.items() if p not in new}
        _fetch(repo, fresh)
        manifest = TreeEntry(FILE, repo.hash_blob(_manifest(repo, head or "", new)), MANIFEST)
        before = [entry for entry in _exported(repo, identity).values() if entry.path == MANIFEST]
        kept = [entry for entry in gone.values() if entry.sha not in has]
        steps = [[*new.values(), *kept, *before], [*new.values(), *kept, manifest], [*new.values(), manifest]]
        trees = [repo.write_tree(entries) for entries in steps]
        _note_begun(repo, identity, trees)
        for tree in trees:
            _send(repo, path, remote, tree)
        repo.git("config", "--local", "--unset-all", _begun_key(identity), ok=(0, 5))
        sizes = [_size(repo, entry) for entry in fresh]
        return Exported(path, place, len(fresh), sum(sizes), len(changed) - len(fresh), len(kept))


def _fetch(repo: Repo, entries: Iterable[TreeEntry]) -> None:
    """Fetch contents that are to be sent and are not here. What can't be fetched is reported by the export."""
    keys = {key for entry in entries if (key := _key(repo, entry))}
    if keys:
        annex(repo, "get", "--quiet", "--batch-keys", stdin="".join(f"{k}\n" for k in sorted(keys)).encode(), ok=(0, 1))


def _key(repo: Repo, entry: TreeEntry) -> str | None:
    return key_of_link(repo.objects.read(entry.sha) or b"") if entry.mode == SYMLINK else None


def _manifest(repo: Repo, commit: str, files: Mapping[str, TreeEntry]) -> bytes:
    """Return the manifest (schema 1): the commit, and the key or blob of each file."""
    rows = {path: _content(repo, entry) for path, entry in sorted(files.items())}
    return json.dumps({"schema": 1, "commit": commit, "files": rows}, indent=1).encode() + b"\n"


def _content(repo: Repo, entry: TreeEntry) -> str:
    return _key(repo, entry) or entry.sha


def _size(repo: Repo, entry: TreeEntry) -> int:
    key = _key(repo, entry)
    return (size_of(key) or 0) if key else len(repo.objects.read(entry.sha) or b"")


def _send(repo: Repo, path: str, remote: str, tree: str) -> None:
    """Bring the place to a tree. Raises UserError; what went stays."""
    try:
        repo.git("annex", "export", "--quiet", "--json", "--json-error-messages", tree, f"--to={remote}")
    except GitError as error:
        rows = [json.loads(line) for line in error.stdout.splitlines() if line.startswith(b"{")]
        failed = [row for row in rows if not row.get("success")]
        why = row_reason(failed[0]) if failed else " ".join(error.reason.split())
        problem = f"{many(len(failed) or 1, 'file')} could not be exported: {why}"
        raise UserError(
            Problem("egress.incomplete", path, problem, f"minipach get {path}, then the same again")
        ) from None


def _exported(repo: Repo, identity: str) -> dict[str, TreeEntry]:
    """Return the files of the last tree that was exported as a whole to a special remote.

    git-annex notes a tree in its branch when it begins with it.
    """
    tree = _last_tree(repo, identity)
    complete, *begun = (repo.config(_begun_key(identity)) or "").split() or [""]
    if tree in begun:
        tree = complete
    return {entry.path: entry for entry in repo.ls_tree(tree, recursive=True)} if tree else {}


def _last_tree(repo: Repo, identity: str) -> str:
    lines = os.fsdecode(repo.objects.read("git-annex:export.log") or b"").splitlines()
    found = [words for words in map(str.split, lines) if len(words) >= 3 and words[1].endswith(f":{identity}")]
    return max(found, key=lambda words: float(words[0].rstrip("s")))[2] if found else ""


def _begun_key(identity: str) -> str:
    """Return the setting with the last tree that is there as a whole, and those that were begun since."""
    return f"minipach-egress.{identity}.begun"


def _note_begun(repo: Repo, identity: str, trees: Sequence[str]) -> None:
    """Note which trees an export begins with, and which one was there before as a whole."""
    last = _last_tree(repo, identity)
    complete, *begun = (repo.config(_begun_key(identity)) or "").split() or [""]
    before = complete if last in begun else last
    repo.git("config", "--local", _begun_key(identity), " ".join([before or _EMPTY, *[*begun, *trees][-_MOST_BEGUN:]]))


def _remote(project: Project, repo: Repo, place: str) -> tuple[str, str]:
    """Return the special remote of a place and its id; it is made if need be."""
    identity = str(uuid.uuid5(_NAMESPACE, f"{dataset_id(repo)}\n{place}"))
    name = f"egress-{identity[:8]}"
    if repo.config(f"remote.{name}.annex-uuid") == identity:
        return name, identity
    parameters = _parameters(project, repo, place, name)
    known = described(repo, identity)
    words = [*parameters, "encryption=none", "exporttree=yes"]
    if known is not None:
        compare(repo, name, known, words)
        words = [word for word in parameters if not word.startswith("type=")]
    verb = ["initremote", name, f"uuid={identity}"] if known is None else ["enableremote", name]
    try:
        repo.git("annex", *verb, *words, env=_environment(project, place))
        asked = os.fsdecode(repo.git("annex", "verifyremote", name, ok=(0, 1))) if known is not None else ""
        if found := re.search(r"--safe (\S+)", asked):  # who exports has named the place
            repo.git("annex", "verifyremote", name, "--safe", found[1])
    except GitError as error:
        why = without_credentials(error.reason)
        problem = Problem("egress.unusable", place, f"git-annex can't use it: {why}", "correct the place")
        raise UserError(problem) from None
    return name, identity


def _server_of(project: Project, name: str) -> str:
    """Return the address of the S3 server with a bucket: as set, that of a store with this bucket, or Amazon's."""
    if found := local_setting(project.repo, "egress-endpoint"):
        return found
    for store in stores(project).values():
        if store.kind == "s3" and store.bucket == name and is_confirmed(project.repo, store):
            return store.url
    return os.environ.get("AWS_ENDPOINT_URL") or _AMAZON


def _parameters(project: Project, repo: Repo, place: str, remote: str) -> list[str]:
    if place.startswith("s3://"):
        parts = urllib.parse.urlsplit(place)
        at = bucket(_server_of(project, parts.netloc), parts.netloc, parts.path.strip("/"))
        try:
            make_bucket(at, given_credentials(at.url))
        except UserError as error:
            if at.url != _AMAZON:  # else nobody has named a server
                raise
            raise UserError([replace(problem, fix=_NAME_SERVER) for problem in error.problems]) from None
        known = set((repo.config(_ALLOWED) or "").split())
        if missing := set(private_addresses(at.host)) - known:
            repo.git("config", "--local", _ALLOWED, " ".join(sorted(known | missing)))
        where = [f"host={at.host}", f"port={at.port}", f"protocol={'https' if at.secure else 'http'}"]
        return ["type=S3", "requeststyle=path", "embedcreds=no", *where, f"bucket={at.name}", f"fileprefix={at.prefix}"]
    if place.startswith("ssh://"):
        host = Ssh(Store(remote, "ssh", place))
        try:
            host.check()
            host.make(".")  # rsync makes one folder, and not those above it
        except UserError as error:
            first = error.problems[0]
            raise UserError(Problem("egress.unusable", place, first.message, "correct the place")) from None
        host.prepare(repo, remote)
        there = ssh_address(remote, place)
        return ["type=rsync", f"rsyncurl={there.host}:{there.path}/"]
    if "://" in place:
        raise UserError(
            Problem(
                "egress.unusable",
                place,
                "not a place to write to",
                "name a folder, ssh://HOST/PATH or s3://BUCKET/PREFIX",
            )
        )
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Problem("egress.unusable", place, str(error.strerror), "name a folder to write to")) from None
    return ["type=directory", f"directory={place}"]


def _environment(project: Project, place: str) -> dict[str, str]:
    if not place.startswith("s3://"):
        return {}
    parts = urllib.parse.urlsplit(place)
    key = given_credentials(bucket(_server_of(project, parts.netloc), parts.netloc, "").url)
    return {"AWS_ACCESS_KEY_ID": key.access, "AWS_SECRET_ACCESS_KEY": key.secret}
