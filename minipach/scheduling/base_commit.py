"""The base commit of a pipeline: its branch less the outputs, with inputs pinned, scripts and image registered.

Workers run in this small tree, so that the cost of a datum does not grow with the number of outputs; the publisher
takes these entries over when it builds the branch's next state. It is kept alive by `refs/minipach/base`.
"""

from __future__ import annotations

import functools
import os
import posixpath
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from minipach.environment.image import committed_entries
from minipach.environment.image_cache import share_with_others
from minipach.environment.import_image import fetch_entries, import_image
from minipach.git import config_text
from minipach.git.fast_import import Stream, committer
from minipach.git.git_error import GitError
from minipach.git.object_ids import tree_id
from minipach.git.repo import Repo, lacks_objects, need_annex
from minipach.git.tree_entries import EXECUTABLE, FILE, GITLINK, SYMLINK, TreeEntry
from minipach.model import launch_protocol, run_record
from minipach.model.launch_protocol import SCRATCH
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import (
    BASE_REF,
    CODE,
    CONTAINER,
    DATALAD_CONFIG,
    FOLDER,
    INPUTS,
    LAUNCHER,
    OWN_FILES,
    PINNED_CODE,
)
from minipach.model.work_set import Base
from minipach.planning.assessment import Assessment
from minipach.project.settings import launcher_options
from minipach.records.own_files import listing
from minipach.scheduling.pinned_code import pin_shared_code
from minipach.scheduling.pipeline_launcher import pipeline_launcher
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import blob_id
from minipach.support.text import quoted

_ATTRIBUTES = b"* annex.largefiles=nothing -text -ident -working-tree-encoding\n"  # no clone converts the launcher
_TRIES = 5
_IGNORE = f"/{SCRATCH}\n".encode()


def build_base(assessment: Assessment) -> Base:
    """Build (or find again) the base commit for the pipeline as it stands. Idempotent: same state, same commit."""
    repo = assessment.repo
    need_annex(repo)
    for left in reversed(range(_TRIES)):
        try:
            tree = _build_tree(assessment)
            old = repo.resolve(BASE_REF)
            if old and repo.resolve(f"{old}^{{tree}}") == tree.id:
                if not lacks_objects(repo, old):
                    return _base(assessment, old, tree)
            else:
                return _base(assessment, _commit(repo, tree, assessment.path), tree)
        except GitError:
            if not left:
                raise
        repo.close()  # what git was seen to have may be gone
    raise UserError(
        Problem(
            "git.objects-lost",
            str(repo.path),
            "git loses objects that were just made",
            "wait until no git gc --prune=now runs there",
        )
    )


def scratch_base(assessment: Assessment) -> Base:
    """Return the same for a trial, which leaves no ref and imports no image: UserError if one must still be fetched.

    An image file that is not in the dataset yet is used where it lies.
    """
    image = assessment.image
    lying: list[TreeEntry] | None = None
    if image.source is not None:
        there = os.path.realpath(image.source)
        if image.is_away or not os.path.exists(there):
            raise UserError(
                Problem(
                    "image.not-fetched",
                    assessment.path,
                    f"the image {image.label} is not in its dataset yet",
                    f"minipach schedule {assessment.pipeline.name}",
                )
            )
        lying = [TreeEntry(SYMLINK, assessment.repo.hash_blob(os.fsencode(there)), image.path)]
    tree = _build_tree(assessment, lying)
    for data in tree.new.values():
        assessment.repo.hash_blob(data)
    assessment.repo.write_tree(tree.entries.values())
    epoch = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}  # the same tree is the same commit
    commit = assessment.repo.commit_tree(tree.id, f"{SUBJECT}a trial\n", env=epoch)
    return _base(assessment, commit, tree)


@dataclass
class _Tree:
    """The tree of a base commit, not stored yet.

    entries: by their paths · new: the blobs that may not be stored, by their ids · commits: those that it pins.
    """

    entries: dict[str, TreeEntry]
    new: dict[str, bytes] = field(default_factory=dict)
    commits: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def write(self, mode: str, data: bytes, path: str) -> None:
        """Set a path to a content."""
        sha = blob_id(data)
        self.new[sha] = data
        self.entries[path] = TreeEntry(mode, sha, path)

    def read(self, repo: Repo, path: str) -> bytes:
        """Return the content at a path; nothing where there is none."""
        if path not in self.entries:
            return b""
        sha = self.entries[path].sha
        return self.new[sha] if sha in self.new else repo.objects.read(sha) or b""

    @cached_property
    def id(self) -> str:
        """The id of the tree, when all of it is there."""
        return tree_id(self.entries.values())


def _build_tree(assessment: Assessment, image: list[TreeEntry] | None = None) -> _Tree:
    """Return the tree. image: its entries, where they are known."""
    repo = assessment.repo
    if assessment.source is None:
        raise UserError(
            Problem("repo.no-commit", assessment.path, "no commit yet", f"datalad save -d {quoted(repo.path)}")
        )
    tree = _Tree({e.path: e for e in assessment.reserved if not e.path.startswith(f"{PINNED_CODE}/")})
    tree.write(FILE, listing(assessment.own, assessment.path), OWN_FILES)
    for entry in pin_shared_code(repo, assessment.shared):
        tree.entries[entry.path] = entry
    if image is None and assessment.image.text is not None:
        tree.write(FILE, assessment.image.text.encode(), assessment.image.path)
    else:
        for entry in image or _image_entries(assessment):
            tree.entries[entry.path] = entry
    tree.write(EXECUTABLE, pipeline_launcher(assessment, tree.entries), LAUNCHER)
    tree.write(FILE, _ATTRIBUTES, f"{FOLDER}/.gitattributes")
    tree.write(FILE, _IGNORE, f"{FOLDER}/.gitignore")
    _set_config(assessment, tree)
    _set_inputs(assessment, tree)
    return tree


def _base(assessment: Assessment, commit: str, tree: _Tree) -> Base:
    repo = assessment.repo
    code = [
        replace(e, path=e.path.removeprefix(f"{CODE}/")) for e in tree.entries.values() if e.path.startswith(f"{CODE}/")
    ]
    return Base(
        commit,
        tree.id,
        assessment.image.path,
        tree_id(code) if code else "",
        tree.commits,
        _dataset_id(repo, commit, tree.read(repo, DATALAD_CONFIG)),
        assessment.source or "",
        launcher_options(assessment.project.repo, in_container=assessment.pipeline.transform.image is not None),
    )


def _commit(repo: Repo, tree: _Tree, path: str) -> str:
    """Store the tree, and a commit of it that `refs/minipach/base` keeps."""
    stream = Stream(BASE_REF, None, committer(repo))
    stream.commit(f"{SUBJECT}what the datums of {path} start from\n", repo.ident("AUTHOR"))
    for name, entry in sorted(tree.entries.items()):
        if entry.sha in tree.new:
            stream.write(entry.mode, tree.new[entry.sha], name)
        else:
            stream.put(entry.mode, entry.sha, name)
    new = stream.run(repo)
    assert new is not None
    return new


def _dataset_id(repo: Repo, commit: str, config: bytes) -> str:
    """Return the id of a dataset. config: its `.datalad/config` at a commit."""
    with suppress(config_text.NotPlainConfigError):
        return config_text.values(config).get("datalad.dataset.id", "")
    return repo.config("datalad.dataset.id", f"blob:{commit}:{DATALAD_CONFIG}") or ""


def _image_entries(assessment: Assessment) -> list[TreeEntry]:
    """Return the image's entry in the tree; its content is recorded where it isn't in the repo yet."""
    repo, image = assessment.repo, assessment.image
    if image.source is None:
        if entries := committed_entries(repo, image, assessment.head):
            return entries
        raise UserError(
            Problem("image.not-committed", assessment.path, f"image {image.label} is not committed", "datalad save")
        )
    found = fetch_entries(repo, image) if image.is_away else [import_image(repo, image)]
    project = assessment.project
    others = [project.root / path for path in project.pipelines if path != assessment.path]
    for entry in found:
        if entry.mode == SYMLINK:
            target = os.fsdecode(repo.objects.read(entry.sha) or b"")
            share_with_others(repo.path, target, [project.root, *others])
    return found


def _set_config(assessment: Assessment, tree: _Tree) -> None:
    """Register the image with datalad-container, under our own name and with our launcher."""
    values = {
        f"datalad.containers.{CONTAINER}.image": assessment.image.path,
        f"datalad.containers.{CONTAINER}.cmdexec": f"{launch_protocol.LAUNCH} {{img}} {{cmd}}",
    }
    _edit(assessment.repo, tree, DATALAD_CONFIG, values)


def _set_inputs(assessment: Assessment, tree: _Tree) -> None:
    """Pin each input as an uninstalled subdataset: a gitlink and its lines in `.gitmodules`; stale ones go."""
    repo, project = assessment.repo, assessment.project
    folders = run_record.slugs(assessment.pipeline)
    commits = tree.commits = {pair: snapshot.commit for pair, snapshot in assessment.snapshots.items()}
    keep = {f"{INPUTS}{slug}" for slug in folders.values()}
    for path in [p for p, e in tree.entries.items() if p.startswith(INPUTS) and e.mode == GITLINK]:
        if path not in keep:
            del tree.entries[path]
    values: dict[str, str] = {}
    holders = {(pfs.repo, pfs.branch): pfs.holder for pfs in assessment.pipeline.pfs_inputs()}
    for pair, slug in sorted(folders.items(), key=lambda item: item[1]):
        path = f"{INPUTS}{slug}"
        tree.entries[path] = TreeEntry(GITLINK, commits[pair], path)
        holder = holders[pair]
        source = pair[0] if holder is None else holder or "."
        dataset = _input_id(project.root / source, commits[pair])
        url = posixpath.relpath(source, assessment.path)
        values[f"submodule.{path}.path"] = path
        # git takes a path for relative that begins with ./ or ../
        url = f"{url}/" if url.endswith("..") else url if url.startswith(".") else f"./{url}"
        values[f"submodule.{path}.url"] = url
        if dataset:
            values[f"submodule.{path}.datalad-id"] = dataset
    _edit(repo, tree, ".gitmodules", values, keep=keep)


@functools.lru_cache(maxsize=10_000)
def _input_id(source: Path, commit: str) -> str | None:
    """Return the id of an input's dataset, which a commit has for ever."""
    return Repo(source).config("datalad.dataset.id", f"blob:{commit}:{DATALAD_CONFIG}")


def _edit(repo: Repo, tree: _Tree, path: str, values: Mapping[str, str], keep: set[str] | None = None) -> None:
    """Change a git configuration file of the tree."""
    old = tree.read(repo, path)
    try:
        if keep is not None and any(_is_stale(k, v, keep) for k, v in config_text.values(old).items()):
            raise config_text.NotPlainConfigError
        new = config_text.changed(old, values)
    except config_text.NotPlainConfigError:
        new = _edited_by_git(repo, old, values, keep)
    if new != old:
        tree.write(FILE, new, path)


def _is_stale(key: str, value: str, keep: set[str]) -> bool:
    """Return whether a setting is the path of an input that is none any more."""
    return key.startswith("submodule.") and key.endswith(".path") and value.startswith(INPUTS) and value not in keep


def _edited_by_git(repo: Repo, old: bytes, values: Mapping[str, str], keep: set[str] | None) -> bytes:
    """Return a configuration file with these settings; git knows how to quote."""
    with tempfile.NamedTemporaryFile(dir=repo.common_dir, prefix="minipach-config.") as file:
        file.write(old)
        file.flush()
        if keep is not None:
            _drop_stale_inputs(repo, file.name, keep)
        for key, value in values.items():
            if repo.config(key, file.name) != value:
                repo.git("config", "--file", file.name, "--replace-all", key, value)
        return Path(file.name).read_bytes()


def _drop_stale_inputs(repo: Repo, file: str, keep: set[str]) -> None:
    out = repo.git("config", "--file", file, "-z", "--get-regexp", r"^submodule\..*\.path$", ok=(0, 1))
    for row in out.split(b"\0"):
        key, _, path = os.fsdecode(row).partition("\n")
        if path.startswith(INPUTS) and path not in keep:
            repo.git("config", "--file", file, "--remove-section", key.removesuffix(".path"))
