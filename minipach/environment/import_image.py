"""An image into a repository's annex: from a file or folder, a registry, a URL, or a recipe."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from minipach.environment.image import UNKNOWN_DIGEST, Image, archive_folder, entry_of
from minipach.environment.oci_registry import SCHEME, Reference, fetch, parse_reference
from minipach.environment.recipe import ImageRecipe
from minipach.git.child_environment import own_environment
from minipach.git.repo import Repo, annex
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import BASE_REF, DATALAD_CONFIG
from minipach.support.errors import Problem, UserError
from minipach.support.files import clone_file


def fetch_entries(repo: Repo, image: Image) -> list[TreeEntry]:
    """Fetch an image from where it is, or build it, into the annex. Returns its entries in the tree. UserError."""
    if image.recipe is not None:
        return _from_recipe(repo, image, image.recipe)
    reference = parse_reference(image.remote) if image.remote.startswith(SCHEME) else None
    return _from_registry(repo, image, reference) if reference else [_from_url(repo, image)]


def _from_registry(repo: Repo, image: Image, reference: Reference) -> list[TreeEntry]:
    """Fetch an image by the program that is there, into the annex, and note its digest beside it."""
    with tempfile.TemporaryDirectory(dir=repo.common_dir, prefix="minipach-image.") as scratch:
        copy = Path(scratch) / "image"
        digest = fetch(reference, copy)
        entries = [annexed_entry(repo, _into_annex(repo, copy), image.path)]
    text = f"sha256:{digest}\n" if digest else UNKNOWN_DIGEST
    return [*entries, TreeEntry(FILE, repo.hash_blob(text.encode()), image.digest_path)]


def _from_recipe(repo: Repo, image: Image, recipe: ImageRecipe) -> list[TreeEntry]:
    """Build an image into the annex, and note its recipe and its packages beside it."""
    from minipach.environment.image_builders import build

    with tempfile.TemporaryDirectory(dir=repo.common_dir, prefix="minipach-image.") as scratch:
        copy = Path(scratch) / "image"
        work = Path(scratch) / "work"
        work.mkdir()
        lines = build(recipe, copy, work)
        entries = [annexed_entry(repo, _into_annex(repo, copy), image.path)]
    text = recipe.describe() + "".join(f"{line}\n" for line in lines)
    return [*entries, TreeEntry(FILE, repo.hash_blob(text.encode()), image.recipe_path)]


def _into_annex(repo: Repo, file: Path, key: str | None = None) -> str:
    """Move a file into the annex, and return its key."""
    key = key or os.fsdecode(annex(repo, "calckey", "--backend=SHA256E", str(file))).strip()
    annex(repo, "setkey", key, str(file))
    return key


def import_image(repo: Repo, image: Image) -> TreeEntry:
    """Put an image file (or folder, as an archive) into the repo's annex, without touching its work tree."""
    assert image.source is not None
    source = Path(os.path.realpath(image.source))
    with tempfile.TemporaryDirectory(dir=repo.common_dir, prefix="minipach-image.") as scratch:
        copy = Path(scratch) / "image"
        if source.is_dir():
            with copy.open("wb") as stream:
                archive_folder(source, stream)
        elif source.is_file():
            # git-annex moves the file that it is given: it gets a copy of its own
            clone_file(source, copy)
        else:
            raise UserError(
                Problem(
                    "image.content-missing",
                    image.source,
                    "the image's content is not here",
                    f"datalad get {image.source}",
                )
            )
        key = _into_annex(repo, copy, image.key)
    return annexed_entry(repo, key, image.path)


def annexed_entry(repo: Repo, key: str, path: str) -> TreeEntry:
    """Return the locked symlink for a key at a path of the tree."""
    location = os.fsdecode(annex(repo, "contentlocation", key)).strip()
    target = "../" * path.count("/") + ".git/annex/objects/" + location.partition("annex/objects/")[2]
    return TreeEntry(SYMLINK, repo.hash_blob(os.fsencode(target)), path)


def _from_url(repo: Repo, image: Image) -> TreeEntry:
    """Let datalad-container fetch an image by its URL, in a worktree of our own, also if it was fetched before."""
    from minipach.git.worktrees import temporary_worktree

    with temporary_worktree(repo, "HEAD") as tree:
        name = image.path.split("/")[2]
        _forget(tree, name, image.path)
        # a process of its own: the command always prints to stdout, and that is for our JSON
        options = ["-d", str(tree.path), "--url", image.remote, "--image", image.path]
        done = subprocess.run(
            ["datalad", "-f", "json", "containers-add", *options, name],
            cwd=tree.path,
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        entry = entry_of(tree, "HEAD", image.path) if done.returncode == 0 else None
        if entry is None:
            raise UserError(
                Problem("image.fetch-failed", f"image {image.remote}", f"could not be fetched: {_reason(done)}")
            )
        repo.git("update-ref", BASE_REF, tree.line("rev-parse", "HEAD"))  # kept: the next plan finds it
        return entry


def _forget(tree: Repo, name: str, path: str) -> None:
    """Commit a worktree without an image, which datalad-container would not fetch over."""
    section = f"datalad.containers.{name}"
    known = tree.config(f"{section}.image", str(tree.path / DATALAD_CONFIG)) is not None
    if entry_of(tree, "HEAD", path) is None and not known:
        return
    tree.git("rm", "--quiet", "-r", "--ignore-unmatch", "--", f":(literal,top){path}")
    if known:
        tree.git("config", "--file", DATALAD_CONFIG, "--remove-section", section)
        tree.git("add", DATALAD_CONFIG)
    commit = tree.commit_tree(tree.line("write-tree"), f"{SUBJECT}fetch an image again\n", ["HEAD"])
    tree.git("update-ref", "HEAD", commit)


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return why datalad failed: git-annex's own words (its line begins with `>`), if there are some."""
    if b"No such file or directory: 'singularity'" in done.stdout + done.stderr:
        return "that takes apptainer, which isn't here; install it, or save the image as an archive and name that file"
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    said = [str(row.get("message") or "") for row in rows if row.get("status") in ("error", "impossible")]
    lines = "\n".join([*said, os.fsdecode(done.stderr)]).strip().splitlines() or [f"exit code {done.returncode}"]
    error = next((line.removeprefix("[ERROR]") for line in lines if line.startswith("[ERROR]")), lines[0])
    found = next((line[1:] for line in lines if line.startswith(">")), error)
    return found.partition(" [err:")[0].strip()
