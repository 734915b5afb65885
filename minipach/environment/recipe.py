"""The recipe of an image: the committed files that `minipach.environment` names, and their digest."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from minipach.git.annex_keys import key_of_link
from minipach.git.repo import Repo, annex, is_dataset
from minipach.git.tree_entries import EXECUTABLE, FILE, SYMLINK
from minipach.model.recipe_kind import RecipeKind, kind_of
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.git_objects import blob_id
from minipach.support.text import quoted

SCHEME = "recipe://"
FIRST_LINE = "minipach environment"
_COMPANIONS = {
    "uv.lock": ("pyproject.toml", ".python-version"),
    "pyproject.toml": ("uv.lock", ".python-version"),
}
_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*([^\s#]+)", re.MULTILINE)
_MOST = 10_000  # files of a recipe


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file of a recipe. path: below the recipe's folder · content: a blob's id, an annex key, or a SHA-256."""

    path: str
    mode: str
    content: str


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """The recipe of an image.

    label: as the spec names it · name: the file's own · home: the folder on disk of the dataset or pipeline that holds
    it · folder: its own, below that · is_committed: whether the files are read from the commit, not from the disk.
    """

    kind: RecipeKind
    label: str
    name: str
    home: Path
    folder: str
    files: tuple[RecipeFile, ...]
    is_committed: bool
    at: str = ""
    allow_builds: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 of the names, modes and contents of all files."""
        rows = [self.kind, self.name, *(f"{f.path}\0{f.mode}\0{f.content}" for f in self.files)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def with_builds(self) -> ImageRecipe:
        """Return the same recipe, for a build that may run the code of source distributions."""
        return replace(self, allow_builds=True)

    def stage(self, target: Path) -> Path:
        """Copy the files to a folder. Returns the path of the recipe itself there."""
        repo = Repo(self.home) if self.is_committed else None
        for file in self.files:
            there = target / file.path
            there.parent.mkdir(parents=True, exist_ok=True)
            if repo is None:
                shutil.copyfile(self.home / self.folder / file.path, there)
            elif file.mode == SYMLINK:
                shutil.copyfile(_annexed(repo, file), there)
            else:
                there.write_bytes(repo.objects.read(file.content) or b"")
            there.chmod(0o755 if file.mode == EXECUTABLE else 0o644)
        if repo is not None:
            repo.close()
        return target / self.name

    def problem(self, code: str, message: str, fix: str = "") -> Problem:
        """Return a problem at the place where the spec names the recipe."""
        return Problem(code, self.at, f"environment {self.label}: {message}", fix)

    def describe(self) -> str:
        """Return the text that is committed beside the image. Its second line decides whether to build again."""
        rows = [f"file: {f.path} {f.content}" for f in self.files]
        return "\n".join([FIRST_LINE, f"recipe: sha256:{self.digest}", *rows]) + "\n"


def digest_in(text: str) -> str:
    """Return the digest in the text that is committed beside an image; "" where there is none."""
    found = re.match(rf"{FIRST_LINE}\nrecipe: sha256:([0-9a-f]{{64}})\n", text)
    return found[1] if found else ""


def read_recipe(project: Project, path: str, wanted: str, at: str) -> ImageRecipe:
    """Return the recipe that a pipeline's spec names: as seen from its folder, else from the project's root.

    Of a folder of its own, such as `environment/`, all files count. Beside a spec, or at the project's root, the file
    itself counts, and those that it includes.

    Raises:
        UserError: There is no such file in a commit, or it includes one outside of its folder.
    """
    kind = kind_of(wanted)
    assert kind is not None
    for base in (path, ""):
        place = posixpath.normpath(posixpath.join(base, wanted))
        if place.startswith(("../", "/")):
            continue
        found = _recipe_at(project, path, place, kind, wanted, at)
        if found is not None:
            return found
    raise UserError(
        Problem(
            "environment.no-such-file",
            at,
            f"{wanted} is in no commit of the pipeline, or of the project",
            "add it and commit it, or write its path as seen from the pipeline's folder",
        )
    )


def _recipe_at(project: Project, path: str, place: str, kind: RecipeKind, label: str, at: str) -> ImageRecipe | None:
    home = path if place.startswith(f"{path}/") else project.holder_of(place)
    root = project.root / home
    inside = posixpath.relpath(place, home or ".")
    folder, name = posixpath.split(inside)
    is_committed = is_dataset(root)
    there = _committed(root, folder) if is_committed else _lying(root, folder, name)
    if name not in there:
        return None
    chosen = there if folder and posixpath.basename(folder) != "code" else _companions(root, folder, name, there, at)
    files = tuple(sorted(chosen.values(), key=lambda file: file.path))
    if len(files) > _MOST:
        raise UserError(
            Problem(
                "environment.too-many-files", at, f"{folder}/ has over {_MOST} files", "give the recipe its own folder"
            )
        )
    return ImageRecipe(kind, label, name, root, folder, files, is_committed, at)


def _committed(root: Path, folder: str) -> dict[str, RecipeFile]:
    """Return the files of a folder in a dataset's commit. At the root, only those without a folder."""
    repo = Repo(root)
    try:
        if repo.head() is None or (folder and repo.resolve(f"HEAD:{folder}") is None):
            return {}
        rows = repo.ls_tree("HEAD", f":(top,literal){folder}", recursive=True) if folder else repo.ls_tree("HEAD")
        found = {}
        for row in rows:
            name = posixpath.relpath(row.path, folder) if folder else row.path
            key = key_of_link(repo.objects.read(row.sha) or b"") if row.mode == SYMLINK else None
            if row.mode in (FILE, EXECUTABLE) or key:
                found[name] = RecipeFile(name, row.mode, key or row.sha)
        return found
    finally:
        repo.close()


def _lying(root: Path, folder: str, name: str) -> dict[str, RecipeFile]:
    """Return the files of a folder that is no dataset yet, as they lie. The superdataset may have annexed them."""
    found = {}
    base = root / folder
    for there in sorted(base.rglob("*") if folder else base.glob("*")) if base.is_dir() else ():
        if there.is_file() and not there.is_symlink():
            path = str(there.relative_to(base))
            mode = EXECUTABLE if os.access(there, os.X_OK) else FILE
            found[path] = RecipeFile(path, mode, blob_id(there.read_bytes()))
        elif there.is_symlink() and (key := key_of_link(os.fsencode(os.readlink(there)))):
            path = str(there.relative_to(base))
            if path == name and not there.is_file():
                fix = f"datalad get {quoted(there)}"
                message = "the content of this part of the recipe is not here"
                raise UserError(Problem("image.content-missing", str(there), message, fix))
            found[path] = RecipeFile(path, SYMLINK, key)
    return found


def _companions(root: Path, folder: str, name: str, there: dict[str, RecipeFile], at: str) -> dict[str, RecipeFile]:
    """Return a recipe beside other files, with what it includes."""
    found: dict[str, RecipeFile] = {}
    waiting = [name, *(other for other in _COMPANIONS.get(name, ()) if other in there)]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        if one not in there:
            raise UserError(
                Problem(
                    "environment.no-such-file",
                    at,
                    f"{name} includes {one}, which is not in its folder and commit",
                    "commit it beside the recipe, without `..`",
                )
            )
        found[one] = there[one]
        if one.endswith(".txt"):
            text = _text(root, folder, there[one])
            waiting += [posixpath.normpath(posixpath.join(posixpath.dirname(one), w)) for w in _INCLUDED.findall(text)]
    return found


def _text(root: Path, folder: str, file: RecipeFile) -> str:
    if not is_dataset(root):
        return (root / folder / file.path).read_text("utf-8", "replace")
    repo = Repo(root)
    try:
        if file.mode == SYMLINK:
            return _annexed(repo, file).read_text("utf-8", "replace")
        return (repo.objects.read(file.content) or b"").decode("utf-8", "replace")
    finally:
        repo.close()


def _annexed(repo: Repo, file: RecipeFile) -> Path:
    found = os.fsdecode(annex(repo, "contentlocation", file.content, ok=(0, 1))).strip()
    if not found:
        raise UserError(
            Problem(
                "image.content-missing",
                f"{repo.path}/{file.path}",
                "the content of this part of the recipe is not here",
                f"datalad get {quoted(repo.path)}",
            )
        )
    return repo.path / found
