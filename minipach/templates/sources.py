"""Places of templates: those that come with minipach, and folders and git repositories that a user has added.

The user's own are in the local git configuration: `minipach-templates.NAME.url`. A git repository is copied without
a checkout, and its files are read from it: no hook, no filter and no link of it has an effect.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipach.git.child_environment import child_environment
from minipach.git.network import TIMED_OUT, run_within
from minipach.git.repo import Repo
from minipach.model.repo_layout import CODE
from minipach.project.project import Project
from minipach.support.errors import Problem, UserError
from minipach.support.text import printable, suggest
from minipach.templates.template import DESCRIPTION, MAX_BYTES, MAX_FILES, TemplateFile, bad_path, wanted_path

_BUILT_IN = Path(__file__).parent / "specs"
_SECTION = "minipach-templates"
_SECONDS = 300.0  # for a clone
_MAX_TEMPLATES = 1000  # of a source
_MAX_ENTRIES = 100_000  # of a repository
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
_PROTOCOLS = "file:git:http:https:ssh"
_ADDRESS = re.compile(r"[A-Za-z0-9+]+://|[^/\s]+@?[^/\s]*:")


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """A place of templates.

    Args:
        name: The first part of its templates' names; "" for those that come with minipach.
        url: A folder, or the address of a git repository.
        copy: The copy of the repository; None for a folder.
    """

    name: str
    url: str
    copy: Path | None = None

    @property
    def is_git(self) -> bool:
        """Return whether the templates are in a copied git repository."""
        return self.copy is not None

    def folders(self) -> dict[str, str]:
        """Return the templates: for each name, its folder in the source ("" is the source itself).

        Raises:
            UserError: The source cannot be read.
        """
        if self.copy is None:
            return _folders_on_disk(self)
        entries = _entries(self)
        tops = sorted({path.rpartition("/")[0] for path in entries if path.count("/") < 2 and _describes(path)})
        return {self._called(top): top for top in tops[:_MAX_TEMPLATES]}

    def files(self, folder: str) -> dict[str, TemplateFile]:
        """Return those files of a template that a pipeline gets, or that describe it.

        Raises:
            UserError: One is a link, too large, or has a name that leads elsewhere.
        """
        place = self.place(folder)
        if self.copy is None:
            return dict(_files_on_disk(Path(self.url) / folder, place))
        start = f"{folder}/" if folder else ""
        rows = [(p[len(start) :], *row) for p, row in _entries(self).items() if p.startswith(start)]
        rows = [row for row in rows if wanted_path(row[0])]
        _check_sizes([size for *_, size in rows], place)
        found = {}
        repo = Repo(self.copy)
        for path, mode, sha, _ in rows:
            if mode not in ("100644", "100755"):
                raise _refused(place, f'"{printable(path)[:80]}" is a link')
            if problem := bad_path(path):
                raise _refused(place, f'"{printable(path)[:80]}" {problem}')
            found[path] = TemplateFile(repo.git("cat-file", "blob", sha), mode == "100755")
        return found

    def place(self, folder: str) -> str:
        """Return what a template's folder is called in messages."""
        base = self.name if self.is_git else "specs" if not self.name else self.url
        return f"{base}/{folder}".rstrip("/")

    def commit(self) -> str:
        """Return the commit of a copied repository, or ""."""
        return Repo(self.copy).line("rev-parse", "--short=12", "HEAD") if self.copy else ""

    def as_json(self) -> dict[str, Any]:
        """Return the source as documented for `--json`."""
        return {"name": self.name, "url": self.url, "git": self.is_git, "commit": self.commit()}

    def _called(self, folder: str) -> str:
        name = folder or self.name
        return f"{self.name}/{name}" if self.name else name


def sources(project: Project | None) -> list[TemplateSource]:
    """Return all sources: first the one that comes with minipach, then the user's own, by name."""
    found = [TemplateSource("", str(_BUILT_IN))]
    if project is None:
        return found
    out = os.fsdecode(Repo(project.root).git("config", "-z", "--get-regexp", rf"^{_SECTION}\..*\.url$", ok=(0, 1)))
    own: dict[str, str] = {}
    for row in filter(None, out.split("\0")):
        key, _, url = row.partition("\n")
        name = key[len(_SECTION) + 1 : -len(".url")]
        if _NAME.fullmatch(name):
            own[name] = url
    return found + [_own(project, name, url) for name, url in sorted(own.items())]


def add_source(project: Project, name: str, url: str, directory: Path) -> TemplateSource:
    """Add a folder or a git repository, and copy the latter.

    Args:
        project: The project in whose local configuration the source is kept.
        name: The first part of its templates' names: `NAME/TEMPLATE`.
        url: A folder, or an address of a git repository.
        directory: The folder that a relative folder is looked for in.

    Raises:
        UserError: The name or address cannot be used, or the repository cannot be copied.
    """
    if not _NAME.fullmatch(name):
        message = f'"{printable(name)[:60]}" cannot name a source'
        raise UserError(Problem("templates.bad-name", "NAME", message, "use letters, digits, - and _"))
    if any(one.name == name for one in sources(project)):
        fix = f"minipach templates update {name}, or choose another name"
        raise UserError(Problem("templates.name-taken", name, "a source of this name exists", fix))
    folder = Path(os.path.abspath(directory / url))
    if folder.is_dir() and not (folder / "HEAD").is_file():
        source = TemplateSource(name, str(folder))
    else:
        if not url.isprintable() or url.startswith("-") or not (_ADDRESS.match(url) or folder.is_dir()):
            fix = "name a folder that exists, or an address such as https://example.org/templates.git"
            raise UserError(
                Problem("templates.bad-source", name, f'"{printable(url)[:80]}": no folder, no address', fix)
            )
        source = TemplateSource(name, url if _ADDRESS.match(url) else str(folder), project.local.templates / name)
        _fetch(project, source)
    try:
        if not source.folders():
            fix = f"each template is a folder with {DESCRIPTION} and spec.yml"
            raise UserError(Problem("templates.empty", name, "no template there", fix))
    except UserError:
        shutil.rmtree(project.local.templates / name, ignore_errors=True)
        raise
    Repo(project.root).git("config", f"{_SECTION}.{name}.url", source.url)
    return source


def update_source(project: Project, source: TemplateSource) -> bool:
    """Copy the repository of a source again, and return whether it has changed. Raises UserError."""
    if source.copy is None:
        return False
    before = source.commit() if source.copy.is_dir() else ""
    _fetch(project, source)
    return source.commit() != before


def chosen(project: Project, name: str) -> list[TemplateSource]:
    """Return the user's source of a name, or all of them for "". Raises UserError."""
    own = [one for one in sources(project) if one.name]
    if name and name not in (known := [one.name for one in own]):
        fix = suggest(name, known) or "see minipach templates list"
        raise UserError(Problem("templates.no-source", printable(name)[:60], "no source of this name", fix))
    return [one for one in own if name in ("", one.name)]


def remove_source(project: Project, name: str) -> None:
    """Remove a source. Pipelines that were made from its templates stay. Raises UserError."""
    chosen(project, name or "?")  # says that there is none
    Repo(project.root).git("config", "--remove-section", f"{_SECTION}.{name}")
    shutil.rmtree(project.local.templates / name, ignore_errors=True)


def _own(project: Project, name: str, url: str) -> TemplateSource:
    on_disk = os.path.isabs(url) and not os.path.isfile(os.path.join(url, "HEAD"))
    return TemplateSource(name, url, None if on_disk else project.local.templates / name)


def _fetch(project: Project, source: TemplateSource) -> None:
    """Copy a repository, without a checkout. What was copied before stays until the new copy is whole."""
    assert source.copy is not None
    project.local.templates.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project.local.templates, prefix=".new.") as staged:
        made = Path(staged, "repo")
        command = ["git", "-c", "core.hooksPath=/dev/null", "clone", "--quiet", "--bare", "--depth", "1", "--no-tags"]
        command += ["--template=", "--no-recurse-submodules", "--", source.url, str(made)]
        env = child_environment({"GIT_ALLOW_PROTOCOL": _PROTOCOLS, "GIT_TERMINAL_PROMPT": "0"})
        done = run_within(command, _SECONDS, cwd=Path(staged), stdin=None, env=env)
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
            said = f"no answer in {_SECONDS:.0f} s" if done.returncode == TIMED_OUT else words[-1]
            fix = f"check the address: git ls-remote {source.url}"
            raise UserError(Problem("templates.no-answer", source.name, f"cannot be copied: {printable(said)}", fix))
        if source.copy.exists():
            os.rename(source.copy, Path(staged, "old"))
        os.rename(made, source.copy)


def _entries(source: TemplateSource) -> dict[str, tuple[str, str, int]]:
    """Return the files of a copied repository: path to mode, id and size. Submodules are left out."""
    assert source.copy is not None
    if not (source.copy / "HEAD").is_file():
        fix = f"minipach templates update {source.name}"
        raise UserError(Problem("templates.no-copy", source.name, "no copy of it here", fix))
    command = ["git", "--git-dir", str(source.copy), "ls-tree", "-r", "-l", "-z", "HEAD"]
    done = subprocess.run(command, capture_output=True, env=child_environment(), check=False)
    rows = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    if done.returncode or len(rows) > _MAX_ENTRIES:
        fix = f"use a smaller repository, or minipach templates update {source.name}"
        raise UserError(Problem("templates.bad-copy", source.name, "no commit, or too many files", fix))
    found = {}
    for row in filter(None, rows):
        head, _, path = row.partition("\t")
        mode, kind, sha, size = head.split()
        if kind == "blob":
            found[path] = (mode, sha, int(size))
    return found


def _folders_on_disk(source: TemplateSource) -> dict[str, str]:
    base = Path(source.url)
    try:
        names = sorted(entry.name for entry in os.scandir(base) if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        fix = f"minipach templates remove {source.name}"
        raise UserError(Problem("templates.no-folder", source.url, error.strerror or "not readable", fix)) from None
    found = [name for name in names[:_MAX_TEMPLATES] if os.path.lexists(base / name / DESCRIPTION)]
    if source.name and os.path.lexists(base / DESCRIPTION):
        found.append("")
    return {source._called(folder): folder for folder in found}


def _files_on_disk(base: Path, place: str) -> Iterator[tuple[str, TemplateFile]]:
    paths = [name for name in (DESCRIPTION, "spec.yml") if os.path.lexists(base / name)]
    if os.path.islink(base / CODE):
        raise _refused(place, f'"{CODE}" is a link')
    for here, folders, names in os.walk(base / CODE):
        below = Path(here).relative_to(base).as_posix()
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in (*folders, *names):
            if os.path.islink(os.path.join(here, name)):
                raise _refused(place, f'"{printable(f"{below}/{name}")[:80]}" is a link')
        paths += [f"{below}/{name}" for name in sorted(names)]
        if len(paths) > MAX_FILES:
            raise _refused(place, f"more than {MAX_FILES} files")
    sizes = []
    for path in paths:
        if problem := bad_path(path):
            raise _refused(place, f'"{printable(path)[:80]}" {problem}')
        content, executable = _read(base / path, place)
        sizes.append(len(content))
        _check_sizes(sizes, place)
        yield path, TemplateFile(content, executable)


def _read(file: Path, place: str) -> tuple[bytes, bool]:
    """Return the content of a plain file, and whether it is executable. No link is followed, no pipe is opened."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(place, f"{file.name}: {error.strerror}; a link, or not readable") from None
    with os.fdopen(opened, "rb") as stream:
        info = os.fstat(opened)
        if not stat.S_ISREG(info.st_mode):
            raise _refused(place, f"{file.name}: no plain file")
        return stream.read(MAX_BYTES + 1), bool(info.st_mode & 0o100)


def _check_sizes(sizes: list[int], place: str) -> None:
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        raise _refused(place, f"more than {MAX_FILES} files or {MAX_BYTES:,} bytes")


def _describes(path: str) -> bool:
    return path.rpartition("/")[2] == DESCRIPTION


def _refused(place: str, why: str) -> UserError:
    return UserError(Problem("template.refused", printable(place), f"not used: {why}", "use another template"))
