"""Folders of pipelines that become datasets of the project, with the files that were tracked there."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
import stat
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from minipach.git import crash_cleanup, ignore_rules, shared_modes
from minipach.git.annex_keys import key_of_link, key_of_pointer
from minipach.git.checkout import index_entries
from minipach.git.fast_import import Stream, committer
from minipach.git.gc_lock import gc_held_off
from minipach.git.git_error import GitError
from minipach.git.loose_objects import NotPlainError
from minipach.git.own_moves import note_moves
from minipach.git.plain_names import parents
from minipach.git.ref_files import UnsureError
from minipach.git.repo import UNFILTERED, Repo, annex, is_dataset, need_identity
from minipach.git.tree_entries import FILE, GITLINK, TreeEntry
from minipach.git.worktrees import kill_inside
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, EDITED_FILES, JSONNET_FILES, SPECS, TEMPLATE_RECORD
from minipach.project.dataset_copies import GitFolder, commit_all
from minipach.project.discovery import PipelineLocation
from minipach.project.project import Project
from minipach.project.register_datasets import register_datasets, registered_below
from minipach.project.spec_file import committed_specs
from minipach.support.errors import Problem, UserError
from minipach.support.files import clone_file, remove_tree
from minipach.support.text import many, quoted

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]")  # no text has them, as libmagic sees it
_TEXT = 1_000_000  # bytes
_MANY = 1000  # folders on one command line
_PIPELINE_ATTRIBUTES = (
    "* annex.backend=SHA256E -text",  # outputs and scripts are stored as they are: no conversion of line ends
    "**/.git* annex.largefiles=nothing",
    *(f"/{name} annex.largefiles=nothing" for name in SPECS),
    f"/{TEMPLATE_RECORD} annex.largefiles=nothing",
    *(f"/*{ending} annex.largefiles=nothing" for ending in JSONNET_FILES),
    *(f"/{name} annex.largefiles=nothing" for name in EDITED_FILES),
    "/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)


def adopt(project: Project, place: PipelineLocation) -> list[str]:
    """Make the folder of a pipeline a dataset, and return what was done. Continues where a kill cut it short.

    In a subdataset's folder, it becomes a dataset of that one: its files are tracked there.
    """
    (found,) = _adoptions(project, [place])
    done = found.make()
    return [*done, *_register_all(found.holder.project, [found])]


def adopt_all(project: Project, places: Iterable[PipelineLocation]) -> tuple[list[str], set[str]]:
    """Do it for many, with one commit for all in one dataset, and return what was done, and for which.

    Those that can't be adopted are left as they are, for `adopt` to say why.
    """
    done: list[str] = []
    ready: dict[str, list[_Adoption]] = {}
    for found in _adoptions(project, list(places)):
        with contextlib.suppress(UserError):
            done += found.make()
            ready.setdefault(found.holder.path, []).append(found)
    paths: set[str] = set()
    for several in ready.values():
        with contextlib.suppress(UserError):
            done += _register_all(several[0].holder.project, several)
            paths |= {one.shown for one in several}
    return done, paths


class _Holder:
    """A dataset some of whose folders are to become datasets. Git is asked once for all of them.

    path: from the superdataset, "" if it is that · paths: of the folders · specs: of the pipelines.
    """

    def __init__(self, project: Project, path: str, paths: Sequence[str], specs: Sequence[str]) -> None:
        self.path = path
        self.project = project
        self.tracked = _tracked_below(project, paths)
        self.rules = ignore_rules.rules(project.repo, specs)
        self._shown = _others_below(project, paths)
        self._model: GitFolder | None = None

    def make_dataset(self, folder: Path) -> None:
        """Make the dataset aside and move it in: datalad makes none where the superdataset tracks files.

        `.git` comes last, by a rename: the folder is a dataset only when all of it is there.
        """
        staged = self.project.local.adopted
        if os.path.lexists(staged):
            kill_inside(staged)
            remove_tree(staged)
        if self._model is None or not self._copy(self._model, staged, folder):
            _build_dataset(staged, folder)
            self._model = GitFolder.of(Repo(staged))
        crash_cleanup.begin(Repo(staged))
        for name in (".datalad", ".gitattributes"):
            there = folder / name
            if not os.path.lexists(there):
                os.rename(staged / name, there)
        os.rename(staged / ".git", folder / ".git")
        remove_tree(staged)

    def _copy(self, model: GitFolder, staged: Path, folder: Path) -> bool:
        """Make it as the last one was made, and return whether that was possible."""
        repo = self.project.repo
        try:
            if os.stat(folder).st_dev != model.device:
                return False
            model.copy_to(staged, _described(folder), repo.ident("AUTHOR"), committer(repo), _first_files())
        except (OSError, NotPlainError, GitError):
            remove_tree(staged)
            return False
        return True

    def commit_all(self, path: str) -> None:
        """Commit all files of the new dataset, except those that are ignored here and not tracked."""
        repo = Repo(self.project.root / path)
        texts = _has_only_texts(repo.path)
        message = f"{SUBJECT}a pipeline begins here\n"
        if texts and not _has_rules_of_git(repo.path):
            own = {DATALAD_CONFIG, ".datalad/.gitattributes", ".gitattributes"}
            tracked = {e.path for e in self.tracked[path] if e.mode != GITLINK}
            shown = {p.removeprefix(path + "/") for p in self._shown[path] | tracked} | own
            with contextlib.suppress(OSError, NotPlainError, UnsureError, GitError):
                if commit_all(repo, shown, repo.ident("AUTHOR"), committer(repo), message):
                    return
        _commit_all(self.project, path, self.tracked[path], texts=texts)


def _adoptions(project: Project, places: Sequence[PipelineLocation]) -> list[_Adoption]:
    """Return what is to be done for these places, in their order."""
    grouped: dict[str, list[PipelineLocation]] = {}
    for place in places:
        grouped.setdefault(project.holder_of(place.path), []).append(place)
    found: dict[str, _Adoption] = {}
    for path, several in grouped.items():
        prefix = path + "/" if path else ""
        inside = {p.path: PipelineLocation(p.path.removeprefix(prefix), p.is_dataset, p.specs) for p in several}
        specs = [f"{p.path}/{p.spec}" for p in inside.values()]
        around = Project(project.root / path) if path else project
        holder = _Holder(around, path, [p.path for p in inside.values()], specs)
        found |= {shown: _Adoption(holder, place, shown) for shown, place in inside.items()}
    return [found[place.path] for place in places]


class _Adoption:
    """The folder of a pipeline that is to become a dataset of `holder`. shown: its path in the project."""

    def __init__(self, holder: _Holder, place: PipelineLocation, shown: str) -> None:
        self.holder = holder
        self.place = place
        self.shown = shown
        self.tracked = holder.tracked[place.path]

    def make(self) -> list[str]:
        """Make it a dataset, commit its files, and return what was done."""
        project, place, tracked = self.holder.project, self.place, self.tracked
        folder = project.root / place.path
        done: list[str] = []
        if not is_dataset(folder):
            need_identity(project.repo)
            self._need_spec()
            _own_content(folder, tracked, project)
            self.holder.make_dataset(folder)
            done.append(f"made {self.shown} a dataset and committed its files")
        repo = Repo(folder)
        crash_cleanup.clear(repo)
        if done or not committed_specs(repo):
            if not done:  # a kill cut it short
                self._need_spec()
            crash_cleanup.begin(repo)
            with gc_held_off(repo):
                _own_content(folder, tracked, project)
                self.holder.commit_all(place.path)
            crash_cleanup.end(repo)
        repo.close()
        return done

    def _need_spec(self) -> None:
        """Raise UserError if the spec, without which there is no pipeline, is among what the superdataset ignores."""
        spec = f"{self.place.path}/{self.place.spec}"
        rule = self.holder.rules.get(spec)
        if rule and spec not in {e.path for e in self.tracked}:
            where = f'"{rule.pattern}" in {rule.source}, line {rule.line}'
            raise UserError(
                Problem(
                    "spec.ignored-by-git",
                    str(spec),
                    f"ignored by {where}",
                    f"change that rule, or git add --force {quoted(spec)}, and commit",
                )
            )


def _register_all(around: Project, found: Sequence[_Adoption]) -> list[str]:
    """Register datasets in the one that holds them, in one commit, and return what was done."""
    known = registered_below(around, [one.place.path for one in found])
    new = [one for one in found if one.place.path not in known]
    if not new:
        return []
    with gc_held_off(around.repo):
        register_datasets(around, {one.place.path: one.tracked for one in new})
    done = []
    for one in new:
        name = one.holder.path or "the superdataset"
        moved = f", {many(len(one.tracked), 'file')} that {name} tracked moved over" if one.tracked else ""
        done.append(f"registered {one.shown} in {name}{moved}")
    return done


def _commit_all(project: Project, path: str, tracked: Sequence[TreeEntry], *, texts: bool) -> None:
    """Do it by git. texts: whether all files are texts."""
    repo = Repo(project.root / path)
    ignore_rules.keep_ignoring(project.repo, path, {e.path for e in tracked})
    # git-annex's filter takes 20 processes; plain texts are stored as they are
    filters = UNFILTERED if texts else ()
    repo.git(*filters, "add", "--", ".")
    # what was tracked against a rule continues being tracked
    here = [e.path for e in tracked if e.mode != GITLINK and os.path.lexists(project.root / e.path)]
    names = b"".join(os.fsencode(p.removeprefix(path + "/")) + b"\0" for p in here)
    if names:
        command = ("add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
        repo.git(*filters, "--literal-pathspecs", *command, stdin=names)
    hooks = ("--no-verify",) if filters else ()  # the one hook is git-annex's, for annexed files
    Repo(repo.path, own=True).git(*filters, "commit", "--quiet", *hooks, "-m", f"{SUBJECT}a pipeline begins here")
    note_moves(repo.common_dir, [f"update HEAD {repo.head()}"])


def _has_rules_of_git(folder: Path) -> bool:
    """Return whether a new dataset has other files of git than those of its first commit."""
    ours = {f"{folder}/{name}": data for name, data in _first_files().items() if name != DATALAD_CONFIG}
    for here, folders, names in os.walk(folder):
        if here == str(folder):
            folders.remove(".git")
        for path in (f"{here}/{name}" for name in names if name.startswith(".git")):
            if path not in ours or os.path.islink(path) or Path(path).read_bytes() != ours[path]:
                return True
    return False


def _has_only_texts(folder: Path) -> bool:
    """Return whether all files in a folder are texts, whatever git ignores included. No text is annexed."""
    for here, folders, names in os.walk(folder):
        if here == str(folder):
            folders.remove(".git")
        if ".git" in folders or ".git" in names:
            return False
        if not all(os.path.islink(path) or _is_text(path) for path in (os.path.join(here, name) for name in names)):
            return False
    return True


def _is_text(path: str) -> bool:
    try:
        info = os.stat(path)
        data = Path(path).read_bytes() if stat.S_ISREG(info.st_mode) and info.st_size <= _TEXT else b"\0"
        text = data.decode()
    except (OSError, ValueError):
        return False
    return _CONTROL.search(text) is None and not data.startswith(b"/annex/")


def _build_dataset(staged: Path, folder: Path) -> None:
    """Make what `datalad create` makes, with a quarter of its CPU time. folder: where it will be."""
    staged.mkdir(parents=True)
    repo = Repo(staged)
    try:
        repo.git("init", "--quiet")
        branch = f"refs/heads/{repo.branch()}"
        stream = Stream(branch, None, committer(repo))
        stream.commit("[DATALAD] new dataset\n", repo.ident("AUTHOR"))
        for name, data in _first_files().items():
            stream.write(FILE, data, name)
        new = stream.run(repo)
        note_moves(repo.common_dir, [f"update HEAD {new}"])
        repo.git("reset", "--quiet", "--hard")
        annex(repo, "init", "--quiet", _described(folder))
    except (GitError, OSError) as error:
        why = " ".join(str(error).split())
        raise UserError(Problem("project.create-failed", str(folder), f"no dataset can be made: {why}")) from None
    finally:
        repo.close()


def _first_files() -> dict[str, bytes]:
    """Return the files of a new dataset, as `datalad create` writes them."""
    return {
        DATALAD_CONFIG: f'[datalad "dataset"]\n\tid = {uuid.uuid4()}\n'.encode(),
        ".datalad/.gitattributes": b"config annex.largefiles=nothing\n",
        ".gitattributes": "".join(f"{line}\n" for line in _PIPELINE_ATTRIBUTES).encode(),
    }


def _described(folder: Path) -> str:
    """Return how git-annex describes a dataset that will be there."""
    return f"{getpass.getuser()}@{platform.node()}:{folder}"


def _tracked_below(project: Project, paths: Sequence[str]) -> dict[str, list[TreeEntry]]:
    """Return the files below each of these folders that a dataset tracks."""
    repo, head = project.repo, project.repo.head()
    found = {e.path: e for e in index_entries(repo, *paths)}  # what is staged only counts too
    if head:
        wanted = [f":(top,literal){path}" for path in paths] if len(paths) <= _MANY else []
        found |= {e.path: e for e in repo.ls_tree(head, *wanted, recursive=True)}
    by_folder = _by_folder(found, paths)
    return {path: [found[name] for name in by_folder[path]] for path in paths}


def _others_below(project: Project, paths: Sequence[str]) -> dict[str, set[str]]:
    """Return the files below each of these folders that a dataset neither tracks nor ignores."""
    wanted = [f":(top,literal){path}" for path in paths] if len(paths) <= _MANY else []
    listed = project.repo.git("ls-files", "-z", "--others", "--exclude-standard", "--", *wanted)
    return {k: set(v) for k, v in _by_folder(os.fsdecode(listed).split("\0")[:-1], paths).items()}


def _by_folder(names: Iterable[str], folders: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the names that are below each folder."""
    found: dict[str, list[str]] = {folder: [] for folder in folders}
    for name in names:
        for above in parents(name):
            if above in found:
                found[above].append(name)
    return found


def _own_content(folder: Path, tracked: list[TreeEntry], project: Project) -> None:
    """Replace links into the superdataset's annex by their content: the new dataset can't use that annex."""
    absent: list[Path] = []
    links: list[Path] = []
    for entry in tracked:
        there = project.root / entry.path
        if there.is_symlink() and key_of_link(os.fsencode(os.readlink(there))):
            (links if there.exists() else absent).append(there)
        elif there.is_file() and not there.is_symlink():
            with there.open("rb") as stream:
                if key_of_pointer(stream.read(512)):
                    absent.append(there)
    if absent:
        raise UserError(
            Problem("spec.content-missing", str(absent[0]), "its content is not here", f"datalad get {absent[0]}")
        )
    for link in links:
        for leftover in link.parent.glob(".minipach-adopt.*"):
            leftover.unlink()
        fd, name = tempfile.mkstemp(dir=link.parent, prefix=".minipach-adopt.")
        os.close(fd)
        clone_file(Path(os.path.realpath(link)), Path(name))
        os.chmod(name, 0o666 & ~shared_modes.current_mask())
        os.replace(name, link)
