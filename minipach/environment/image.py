"""The image of a pipeline: what `image:` in a spec names, and the content id that it adds to identity."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from minipach.environment import host
from minipach.environment import recipe as recipes
from minipach.environment.oci_registry import SCHEME, parse_reference
from minipach.git.annex_keys import content_id, key_of_link
from minipach.git.content import classify
from minipach.git.object_reader import CatFile
from minipach.git.repo import Repo
from minipach.git.tree_entries import SYMLINK, TreeEntry
from minipach.model.recipe_kind import kind_of
from minipach.model.repo_layout import BASE_REF, CONTAINER, DATALAD_CONFIG, reserved_in_pipeline
from minipach.project import output_branch as outbranch
from minipach.project.project import Project
from minipach.support.disk_cache import user_cache
from minipach.support.errors import Problem, UserError
from minipach.support.text import nearest, quoted, suggest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

UNKNOWN_DIGEST = "unknown\n"  # beside a registry's image, where the program that fetched it printed no digest
_URL = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|(?:oci|file):)")  # ubuntu:22.04 is a registry's image with its tag
_NAME = re.compile(r"^[0-9A-Za-z-]+$")
_PATH = ("/", "./", "../", "~")  # what a path begins with that can be nothing else


@dataclass(frozen=True, slots=True)
class Image:
    """An image as identity and the record see it.

    content: its content id · path: where it lies in the pipeline's repo · source: the file, folder or URL that it
    is still to be taken from (None: it is in the repo already) · key: the annex key to keep, if the source has one
    · remote: the URL that it was or will be fetched from ("": none) · text: a host
    environment's fingerprint · label: how people call it · note: what a spec's author should know · recipe: what it is
    built from · is_changed: whether an image of an older state of the recipe is in the repo.
    """

    content: str
    path: str
    label: str
    source: str | None = None
    key: str | None = None
    text: str | None = None
    note: Problem | None = None
    remote: str = ""
    recipe: recipes.ImageRecipe | None = None
    is_changed: bool = False

    @property
    def is_away(self) -> bool:
        """Whether the image is still to be built from its recipe, or fetched from a registry or by its URL."""
        return self.source is not None and _URL.match(self.source) is not None

    @property
    def digest_path(self) -> str:
        """The path of the digest by which a registry's image was fetched, if it was."""
        return posixpath.join(posixpath.dirname(self.path), "digest")

    @property
    def recipe_path(self) -> str:
        """The path of the text about the recipe that the image was built from, if it was."""
        return posixpath.join(posixpath.dirname(self.path), "recipe")

    @property
    def absence(self) -> str:
        """The reason why the image is not here, for people; "" if it is."""
        if not self.is_away:
            return ""
        if self.recipe is None:
            return f"image not fetched yet: {self.label}"
        return f"environment {'changed since it was built' if self.is_changed else 'not built yet'}: {self.label}"


class _Branches(Repo):
    """A pipeline's repo, and where its images may be: what is checked out, the base, the branch of its results."""

    def __init__(self, path: Path, output_branch: str | None, reader: Repo | None) -> None:
        super().__init__(path)
        self._output_branch = output_branch
        self._reader = reader

    @property
    def objects(self) -> CatFile:
        """The object reader of whoever asks, if it has one for this repository."""
        return self._reader.objects if self._reader is not None else super().objects

    @cached_property
    def revs(self) -> tuple[str, ...]:
        branch = outbranch.other_branch(self, self._output_branch)
        tip = outbranch.tip(self, branch) if branch else None
        return ("HEAD", BASE_REF, *([tip] if tip else []))


def resolve_image(project: Project, path: str, reader: Repo | None = None) -> Image:
    """Return the image of the pipeline at `path`. Reads only; UserError where the name leads nowhere.

    Also of one whose spec is broken elsewhere, if it names an image.
    """
    wanted, at = project.image(path)
    pipeline = project.pipelines.get(path)
    repo = _Branches(project.root / path, pipeline.output_branch if pipeline else None, reader)
    try:
        if wanted is None:
            return _host(project, repo, project.pipeline(path).transform.cmd)
        if kind_of(wanted) and not _URL.match(wanted):
            return _built(project, path, repo, wanted, at)
        if _URL.match(wanted):
            slug = "url-" + hashlib.sha256(wanted.encode()).hexdigest()[:12]
            return _from_afar(repo, wanted, slug, wanted)
        found = None if wanted.startswith(_PATH) else _container(project, repo, wanted, at)
        found = found or _file(project, path, repo, wanted, at) or _kept(repo, wanted)
        if found is None:
            found = _of_registry(project, path, repo, wanted, at)
        return found
    finally:
        repo.close()


def slug_of(name: str) -> str:
    """Return the name under which a container is registered: each character but letters, digits and dashes is `-`."""
    return re.sub(r"[^0-9A-Za-z-]", "-", name)


def _container(project: Project, repo: _Branches, wanted: str, at: str) -> Image | None:
    """Return the container that is registered under a name, in the pipeline's repo, the project or a subdataset."""
    for name in dict.fromkeys((wanted, slug_of(wanted))):
        if _NAME.match(name) and name != CONTAINER:
            found = _registered_here(repo, name, at) or _registered_in(project, repo, "", name, at)
            if found:
                return found
    # as `datalad containers-run -n containers/box` has it
    for folder in sorted((p for p in project.repos if wanted.startswith(p + "/")), key=len, reverse=True):
        name = wanted.removeprefix(folder + "/")
        found = _registered_in(project, repo, folder, name, at) or _registered_in(
            project, repo, folder, slug_of(name), at
        )
        if found:
            return found
    names = [name for name in dict.fromkeys((wanted, slug_of(wanted))) if _NAME.match(name) and name != CONTAINER]
    places = [p for p in project.repos if _listed(project, p, names)]
    if len(places) > 1:
        ways = " or ".join(f"{p}/{names[-1]}" for p in places[:3])
        raise UserError(
            Problem("image.ambiguous", at, f'image "{wanted}" is registered in several datasets', f"write {ways}")
        )
    for name in names if places else ():
        if found := _registered_in(project, repo, places[0], name, at):
            return found
    return None


def _listed(project: Project, folder: str, names: Sequence[str]) -> bool:
    config = project.root / folder / ".datalad" / "config"
    return config.is_file() and any(f'"containers.{name}"' in config.read_text("utf-8", "replace") for name in names)


def _kept(repo: _Branches, wanted: str) -> Image | None:
    """Return an image that was recorded before, and that is no longer where the spec says: in a clone, most likely."""
    for name in dict.fromkeys((file_slug(wanted), slug_of(wanted))):
        place = f".datalad/environments/{name}/image"
        content = _content_at(repo, place) if name else None
        if content is not None and _digest_at(repo, place) is None:
            of_registry = _beside(repo, place) == UNKNOWN_DIGEST
            return Image(content, place, wanted, remote=SCHEME + wanted if of_registry else "")
    return None


def _of_registry(project: Project, path: str, repo: _Branches, wanted: str, at: str) -> Image:
    reference = None if wanted.startswith(_PATH) else parse_reference(wanted)
    names = _container_names(project, repo)
    if wanted == posixpath.basename(path) or _is_pipeline(project, wanted):
        name = slug_of(posixpath.basename(wanted))
        build = f"podman build -t {name.lower()} . && podman save -o {name}.tar {name.lower()}"
        fix = f"{build} && datalad containers-add {name} --url {name}.tar"
        raise UserError(Problem("image.unknown", at, f'image "{wanted}" is not registered', fix))
    if reference is None or any(wanted.startswith(p + "/") for p in project.repos):
        fix = suggest(wanted, names) if _NAME.match(wanted) else "write its path as seen from the project"
        raise UserError(
            Problem("image.unknown", at, f'image "{wanted}" is neither a registered container nor a file', fix)
        )
    image = _from_afar(repo, wanted, slug_of(wanted), SCHEME + wanted)
    if not _NAME.match(wanted):
        return image
    meant = nearest(wanted, names)
    what = f'no container "{wanted}" is registered, so the registry\'s {reference.full} is used'
    return replace(image, note=Problem("image.not-registered", "", what, meant))


def _built(project: Project, path: str, repo: _Branches, wanted: str, at: str) -> Image:
    """Return the image that was built from a recipe as it stands in git, or that is to be built from it."""
    recipe = recipes.read_recipe(project, path, wanted, at)
    place = f".datalad/environments/{file_slug(wanted)}/image"
    beside = posixpath.join(posixpath.dirname(place), "recipe")
    is_changed = False
    for rev in repo.revs if (repo.path / ".git").exists() else ():
        text = repo.objects.read(f"{rev}:{beside}")
        if text is None:
            continue
        content = _content_in(repo, rev, place)
        if recipes.digest_in(text.decode("utf-8", "replace")) == recipe.digest and content:
            return Image(content, place, wanted, recipe=recipe)
        is_changed = True
    source = recipes.SCHEME + wanted
    return Image(f"recipe:{recipe.digest}", place, wanted, source, remote=source, recipe=recipe, is_changed=is_changed)


def _from_afar(repo: _Branches, wanted: str, slug: str, url: str) -> Image:
    """Return an image that is fetched once. Its digest, where it is known, is its content id."""
    place = f".datalad/environments/{slug}/image"
    content = _content_at(repo, place)
    reference = parse_reference(url) if url.startswith(SCHEME) else None
    digest = (_digest_at(repo, place) if content else None) or (reference.digest if reference else "")
    known = f"OCI--{digest}" if digest else content
    return Image(known or f"url:{url}", place, wanted, None if content else url, remote=url)


def _digest_at(repo: _Branches, place: str) -> str | None:
    """Return the digest that is committed beside an image, hex."""
    found = re.fullmatch(r"sha256:([0-9a-f]{64})\n?", _beside(repo, place))
    return found[1] if found else None


def _beside(repo: _Branches, place: str) -> str:
    """Return the text that is committed beside an image of a registry: its digest, or that it is unknown."""
    texts = (repo.objects.read(f"{rev}:{posixpath.dirname(place)}/digest") for rev in repo.revs)
    return next((text.decode("utf-8", "replace") for text in texts if text), "")


def file_slug(wanted: str) -> str:
    """Return the name under which an image that was named by its path is kept."""
    return re.sub(r"[^0-9A-Za-z]+", "-", wanted).strip("-")


def _host(project: Project, repo: _Branches, cmd: tuple[str, ...]) -> Image:
    """Return the recorded fingerprint; a new one only where none was ever written."""
    text: bytes | None = None
    if (repo.path / ".git").exists():
        text = _committed_host(project, repo)
    recorded = text.decode("utf-8", "replace") if text else host.fingerprint(cmd, user_cache(), fresh=host.ONE_LOOK)
    return Image(host.content_of(recorded), host.PATH_IN_REPO, "the host environment", text=recorded)


def _committed_host(project: Project, repo: _Branches) -> bytes | None:
    """Return the fingerprint that is committed. Kept in the cache with the commits that it was read from."""
    commits = [repo.resolve(rev) for rev in repo.revs]
    kept = project.cache.get("host", str(repo.path))
    if kept is not None and kept[0] == commits:
        return bytes(kept[1])
    found = next((t for rev in repo.revs if (t := repo.objects.read(f"{rev}:{host.PATH_IN_REPO}"))), None)
    if found is not None:
        project.cache.put("host", str(repo.path), (commits, found))
    return found


def _content_at(repo: _Branches, place: str) -> str | None:
    """Return the content id of what is committed at a path (on the branch, or kept for its next state)."""
    if not (repo.path / ".git").exists():
        return None
    return next((content for rev in repo.revs if (content := _content_in(repo, rev, place))), None)


def _content_in(repo: Repo, rev: str, place: str) -> str | None:
    """Return the content id of what a commit has at a path."""
    if repo.resolve(f"{rev}:{place}") is None:
        return None
    found = repo.ls_tree(rev, f":(literal){place}", recursive=True)
    if len(found) == 1 and found[0].path == place:
        return classify(repo, found)[found[0].sha, found[0].mode == SYMLINK][1]
    return f"tree:{repo.resolve(f'{rev}:{place}')}" if found else None


def _registered_here(repo: _Branches, name: str, at: str) -> Image | None:
    if not (repo.path / ".git").exists():
        return None
    place = repo.config(f"datalad.containers.{name}.image", f"blob:HEAD:{DATALAD_CONFIG}")
    if place is None or place.startswith("/") or ".." in place.split("/"):
        return None
    content = _content_at(repo, place)
    if content is None:
        raise UserError(
            Problem(
                "image.not-committed",
                at,
                f'container "{name}" is registered, but {place} is not committed',
                f"datalad save -d {quoted(repo.path)}",
            )
        )
    return Image(content, place, name)


def _registered_in(project: Project, repo: _Branches, folder: str, name: str, at: str) -> Image | None:
    """Return the container that the project (folder "") or a subdataset of it has registered under this name."""
    config = project.root / folder / ".datalad" / "config"
    if not _NAME.match(name) or not config.is_file():
        return None
    place = project.repo.config(f"datalad.containers.{name}.image", str(config))
    if place is None or place.startswith("/") or ".." in place.split("/"):
        return None
    kept = f"{slug_of(folder)}-{name}" if folder else name
    return _taken_from(project, repo, project.root / folder / place, kept, at)


def _file(project: Project, path: str, repo: _Branches, wanted: str, at: str) -> Image | None:
    """Return a path: as seen from the pipeline's folder, else from the project's root."""
    for folder in (project.root / path, project.root):
        there = folder / wanted
        if not os.path.lexists(there):
            continue
        if _is_pipeline(project, os.path.relpath(os.path.normpath(there), project.root)):
            continue  # the folder of a pipeline is no root file system
        inside = os.path.relpath(os.path.normpath(there), project.root / path)
        if not inside.startswith("..") and reserved_in_pipeline(inside.split("/")[0]):
            content = _content_at(repo, inside)
            if content is not None:
                return Image(content, inside, wanted)
        return _taken_from(project, repo, there, file_slug(wanted) or "image", at)
    return None


def _is_pipeline(project: Project, path: str) -> bool:
    return any(place.path == path for place in project.places)


def _taken_from(project: Project, repo: _Branches, there: Path, name: str, at: str) -> Image:
    place = f".datalad/environments/{name}/image"
    target = os.readlink(there) if there.is_symlink() else ""
    key = key_of_link(os.fsencode(target))
    if key is not None:
        content = content_id(key)
    elif there.is_dir() or there.is_file():
        content = f"SHA256--{_cached_digest(project, there)}"
    else:
        raise UserError(
            Problem("image.no-such-file", at, f"there is no image file {there}", "add it, or name another image")
        )
    if _content_at(repo, place) == content:
        return Image(content, place, name)
    return Image(content, place, name, source=str(there), key=key)


def _container_names(project: Project, repo: _Branches) -> set[str]:
    files = [project.root / ".datalad" / "config", repo.path / ".datalad" / "config"]
    names = set()
    for file in files:
        if file.is_file():
            out = project.repo.git(
                "config",
                "--file",
                str(file),
                "--name-only",
                "--get-regexp",
                r"^datalad\.containers\..*\.image$",
                ok=(0, 1),
            )
            names |= {row.split(".")[2] for row in os.fsdecode(out).splitlines()}
    return names - {CONTAINER}


def _cached_digest(project: Project, path: Path) -> str:
    """Return the SHA-256 of an image file (of its archive, for a folder), remembered by size and time of change."""
    stamp = _stamp(path)
    memo = project.local.image_digests / hashlib.sha256(os.fsencode(path)).hexdigest()
    if memo.is_file():
        known, _, digest = memo.read_text().partition(" ")
        if known == stamp:
            return digest
    digest = _digest(path)
    memo.parent.mkdir(parents=True, exist_ok=True)
    memo.write_text(f"{stamp} {digest}")
    return digest


def _stamp(path: Path) -> str:
    if path.is_file():
        info = path.stat()
        return f"{info.st_size}:{info.st_mtime_ns}:{info.st_ino}"
    seen = hashlib.sha256(b"with annexed contents\0")
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted([*files, *folders]):
            info = os.lstat(os.path.join(folder, name))
            seen.update(f"{info.st_mode}:{info.st_size}:{info.st_mtime_ns}".encode() + os.fsencode(name) + b"\0")
    return seen.hexdigest()


def _digest(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    sink = _Hashing()
    archive_folder(path, sink)
    return sink.digest.hexdigest()


class _Hashing(io.RawIOBase):
    """A file object that only hashes what is written to it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Buffer, /) -> int:
        """Hash the data."""
        self.digest.update(data)
        return memoryview(data).nbytes


def archive_folder(folder: Path, sink: IO[bytes] | _Hashing) -> None:
    """Write a root file system's folder as a tar that depends on its content alone (order, no times, no owners).

    A folder can't be kept in git as it is: modes, empty folders and internal links would be lost. Where it is in a
    dataset, the contents of its annexed files are archived, not their links. UserError where one isn't here.
    """
    with tarfile.open(fileobj=cast(IO[bytes], sink), mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for place in sorted(folder.rglob("*"), key=lambda p: os.fsencode(p.relative_to(folder))):
            path = _content_of(folder, place)
            info = tar.gettarinfo(path, arcname="./" + str(place.relative_to(folder)))
            if info.ischr() or info.isblk() or info.isfifo():
                continue
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            if info.isfile():
                with path.open("rb") as stream:
                    tar.addfile(info, stream)
            else:
                tar.addfile(info)


def _content_of(folder: Path, place: Path) -> Path:
    """Return the content of an annexed file of an image's folder; any other file as it is."""
    if not place.is_symlink() or key_of_link(os.fsencode(os.readlink(place))) is None:
        return place
    content = Path(os.path.realpath(place))
    if not content.is_file():
        raise UserError(
            Problem(
                "image.content-missing", str(folder), "the image's content is not here", f"datalad get {quoted(folder)}"
            )
        )
    return content


def committed_entries(repo: Repo, image: Image, tip: str | None) -> list[TreeEntry]:
    """Return the entries of an image that is in the repo, with the texts beside it; nothing where none is committed.

    tip: the commit of the branch of results. Of an image with a recipe, the one whose content counts.
    """
    paths = [f":(top,literal){path}" for path in (image.path, image.digest_path, image.recipe_path)]
    for rev in ("HEAD", BASE_REF, *([tip] if tip else [])):
        if repo.resolve(f"{rev}:{image.path}") and (
            image.recipe is None or _content_in(repo, rev, image.path) == image.content
        ):
            return repo.ls_tree(rev, *paths, recursive=True)
    return []


def entry_of(repo: Repo, rev: str, place: str) -> TreeEntry | None:
    """Return the tree entry at a path of a commit (a folder's entry is its tree), or None."""
    found = repo.ls_tree(rev, f":(literal){place}") if repo.resolve(f"{rev}:{place}") else []
    return found[0] if found else None
