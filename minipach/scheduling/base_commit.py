"""The base commit of a pipeline: its branch less the outputs, with inputs pinned, scripts and image registered.

Workers run in this small tree, so that the cost of a datum does not grow with the number of outputs; the publisher
takes these entries over when it builds the branch's next state. It is kept alive by `refs/minipach/base`.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from minipach.environment.image_cache import share_with_others
from minipach.environment.import_image import fetch_entries, import_image
from minipach.git.repo import (
    EXECUTABLE,
    FILE,
    GITLINK,
    SYMLINK,
    GitError,
    Repo,
    TreeEntry,
    lacks_objects,
    need_annex,
)
from minipach.model import launch_protocol, run_record
from minipach.model.launch_protocol import SCRATCH
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import BASE_REF, CODE, CONTAINER, DATALAD_CONFIG, FOLDER, INPUTS, OWN_FILES, PINNED_CODE
from minipach.model.work_set import Base
from minipach.planning.assessment import Assessment
from minipach.project.settings import launcher_options
from minipach.records.own_files import listing
from minipach.scheduling.pinned_code import pin
from minipach.support.errors import Problem, UserError
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
            tree, commits = _build_tree(assessment)
            old = repo.resolve(BASE_REF + "^{commit}")
            commit = old if old and repo.resolve(f"{old}^{{tree}}") == tree else _commit(repo, tree, assessment.path)
            if commit != old:
                repo.git("update-ref", BASE_REF, commit)
            # until the ref was there, a `git gc --prune=now` may have taken what was made; not any more
            if not lacks_objects(repo, commit):
                return _base(assessment, commit, tree, commits)
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
    tree, commits = _build_tree(assessment, lying)
    epoch = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}  # the same tree is the same commit
    commit = assessment.repo.commit_tree(tree, f"{SUBJECT}a trial\n", env=epoch)
    return _base(assessment, commit, tree, commits)


def _build_tree(
    assessment: Assessment, image: list[TreeEntry] | None = None
) -> tuple[str, dict[tuple[str, str | None], str]]:
    """Return the tree, and the commits that it pins. image: its entries, where they are known."""
    repo = assessment.repo
    if assessment.source is None:
        raise UserError(
            Problem("repo.no-commit", assessment.path, "no commit yet", f"datalad save -d {quoted(repo.path)}")
        )
    entries = {e.path: e for e in assessment.house if not e.path.startswith(f"{PINNED_CODE}/")}
    listed = listing(assessment.own, assessment.path)
    entries[OWN_FILES] = TreeEntry(FILE, repo.hash_blob(listed), OWN_FILES)
    for entry in pin(repo, assessment.shared):
        entries[entry.path] = entry
    for name, mode, data in _scripts():
        entries[f"{FOLDER}/{name}"] = TreeEntry(mode, repo.hash_blob(data), f"{FOLDER}/{name}")
    for entry in image or _image_entries(assessment):
        entries[entry.path] = entry
    _set_config(assessment, entries)
    commits = _set_inputs(assessment, entries)
    return repo.write_tree(entries.values()), commits


def _base(assessment: Assessment, commit: str, tree: str, commits: dict[tuple[str, str | None], str]) -> Base:
    repo = assessment.repo
    return Base(
        commit,
        tree,
        assessment.image.path,
        repo.resolve(f"{commit}:{CODE}") or "",
        commits,
        repo.config("datalad.dataset.id", f"blob:{commit}:{DATALAD_CONFIG}") or "",
        assessment.source or "",
        launcher_options(assessment.project.repo, in_container=assessment.pipeline.transform.image is not None),
    )


def _commit(repo: Repo, tree: str, path: str) -> str:
    return repo.commit_tree(tree, f"{SUBJECT}what the datums of {path} start from\n")


def _scripts() -> list[tuple[str, str, bytes]]:
    folder = resources.files("minipach") / "execution" / "scripts"
    found = [(name, EXECUTABLE, (folder / name).read_bytes()) for name in ("launch",)]
    return [*found, (".gitattributes", FILE, _ATTRIBUTES), (".gitignore", FILE, _IGNORE)]


def _image_entries(assessment: Assessment) -> list[TreeEntry]:
    """Return the image's entry in the tree; its content is recorded where it isn't in the repo yet."""
    repo, image = assessment.repo, assessment.image
    if image.text is not None:
        return [TreeEntry(FILE, repo.hash_blob(image.text.encode()), image.path)]
    if image.source is None:
        for rev in ("HEAD", BASE_REF, *([assessment.head] if assessment.head else [])):
            if repo.resolve(f"{rev}:{image.path}"):
                paths = [f":(top,literal){path}" for path in (image.path, image.digest_path)]
                return repo.ls_tree(rev, *paths, recursive=True)
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


def _set_config(assessment: Assessment, entries: dict[str, TreeEntry]) -> None:
    """Register the image with datalad-container, under our own name and with our launcher."""
    values = {
        f"datalad.containers.{CONTAINER}.image": assessment.image.path,
        f"datalad.containers.{CONTAINER}.cmdexec": f"{launch_protocol.LAUNCH} {{img}} {{cmd}}",
    }
    _edit(assessment.repo, entries, DATALAD_CONFIG, values)


def _set_inputs(assessment: Assessment, entries: dict[str, TreeEntry]) -> dict[tuple[str, str | None], str]:
    """Pin each input as an uninstalled subdataset: a gitlink and its lines in `.gitmodules`; stale ones go."""
    repo, project = assessment.repo, assessment.project
    folders = run_record.slugs(assessment.pipeline)
    commits = {pair: snapshot.commit for pair, snapshot in assessment.snapshots.items()}
    keep = {f"{INPUTS}{slug}" for slug in folders.values()}
    for path in [p for p, e in entries.items() if p.startswith(INPUTS) and e.mode == GITLINK]:
        if path not in keep:
            del entries[path]
    values: dict[str, str | None] = {}
    for pair, slug in sorted(folders.items(), key=lambda item: item[1]):
        path = f"{INPUTS}{slug}"
        entries[path] = TreeEntry(GITLINK, commits[pair], path)
        source = Repo(project.root / pair[0])
        dataset = source.config("datalad.dataset.id", f"blob:{commits[pair]}:{DATALAD_CONFIG}")
        url = posixpath.relpath(pair[0], assessment.path)
        values[f"submodule.{path}.path"] = path
        values[f"submodule.{path}.url"] = url if url.startswith(".") else f"./{url}"
        if dataset:
            values[f"submodule.{path}.datalad-id"] = dataset
    _edit(repo, entries, ".gitmodules", values, keep=keep)
    return commits


def _edit(
    repo: Repo,
    entries: dict[str, TreeEntry],
    path: str,
    values: Mapping[str, str | None],
    keep: set[str] | None = None,
) -> None:
    """Change a git configuration file of the tree through git itself, which knows how to quote."""
    old = repo.objects.read(entries[path].sha) if path in entries else b""
    with tempfile.NamedTemporaryFile(dir=repo.common_dir, prefix="minipach-config.") as file:
        file.write(old or b"")
        file.flush()
        if keep is not None:
            _drop_stale_inputs(repo, file.name, keep)
        for key, value in values.items():
            if value is not None and repo.config(key, file.name) != value:
                repo.git("config", "--file", file.name, "--replace-all", key, value)
        new = Path(file.name).read_bytes()
    if new != old:
        entries[path] = TreeEntry(FILE, repo.hash_blob(new), path)


def _drop_stale_inputs(repo: Repo, file: str, keep: set[str]) -> None:
    out = repo.git("config", "--file", file, "-z", "--get-regexp", r"^submodule\..*\.path$", ok=(0, 1))
    for row in out.split(b"\0"):
        key, _, path = os.fsdecode(row).partition("\n")
        if path.startswith(INPUTS) and path not in keep:
            repo.git("config", "--file", file, "--remove-section", key.removesuffix(".path"))
