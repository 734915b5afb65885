"""Make datasets: a project's superdataset, and a pipeline's dataset out of a plain folder with a `spec.yml`."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
import stat
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from minipach.git import crash_cleanup, ignore_rules, shared_modes
from minipach.git.annex_keys import key_of_link, key_of_pointer
from minipach.git.checkout import InTheWay, check_free, index_entries, move_branch
from minipach.git.checkout_files import parents
from minipach.git.child_environment import entered, own_environment
from minipach.git.datalad_imports import datalad_create
from minipach.git.fast_import import Stream, committer
from minipach.git.gc_lock import gc_held_off
from minipach.git.git_error import GitError
from minipach.git.loose_objects import NotPlainError
from minipach.git.own_moves import note_moves
from minipach.git.ref_files import UnsureError
from minipach.git.repo import UNFILTERED, Repo, annex, is_dataset, need_identity, private_index
from minipach.git.tree_entries import FILE, GITLINK, TreeEntry
from minipach.git.worktrees import kill_inside
from minipach.model.clock import TICK_REPO_BEGAN, tick_committer
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, JSONNET_FILES, PROJECT_MARK, SPECS, TEMPLATE_RECORD, TICKS
from minipach.project.dataset_copies import GitFolder, commit_all
from minipach.project.discovery import PipelineLocation
from minipach.project.parameters import PARAMETERS
from minipach.project.problems import absent
from minipach.project.project import Project, find_project, is_marked
from minipach.project.spec_file import committed_specs
from minipach.support.errors import Problem, UserError
from minipach.support.files import clone_file, remove_tree
from minipach.support.text import many, quoted

# a path that `.gitmodules` has as it is
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_ID_LINES = re.compile(rb'\[datalad "dataset"\]\n\tid = ([0-9a-f-]{36})\n')
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x9f]")  # no text has them, as libmagic sees it
_TEXT = 1_000_000  # bytes
_MANY = 1000  # folders on one command line
# files that people edit
_TEXTS = (
    "README*",
    "requirements*.txt",
    "pyproject.toml",
    "uv.lock",
    "environment.yml",
    "pixi.lock",
    "Dockerfile",
    "Containerfile",
)
_PIPELINE_ATTRIBUTES = (
    "* annex.backend=SHA256E -text",  # outputs and scripts are stored as they are: no conversion of line ends
    "**/.git* annex.largefiles=nothing",
    *(f"/{name} annex.largefiles=nothing" for name in SPECS),
    f"/{TEMPLATE_RECORD} annex.largefiles=nothing",
    *(f"/*{ending} annex.largefiles=nothing" for ending in JSONNET_FILES),
    *(f"/{name} annex.largefiles=nothing" for name in _TEXTS),
    "/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)
_PROJECT_ATTRIBUTES = (
    "* annex.backend=SHA256E",
    "**/.git* annex.largefiles=nothing",
    *(f"{name} annex.largefiles=nothing" for name in SPECS),
    f"**/{TEMPLATE_RECORD} annex.largefiles=nothing",
    *(f"*{ending} annex.largefiles=nothing" for ending in JSONNET_FILES),
    *(f"{name} annex.largefiles=nothing" for name in (*_TEXTS, PARAMETERS)),
    "**/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)


def init_project(folder: Path) -> tuple[Project, list[str]]:
    """Make a project, or adopt a superdataset, and return what was done, a line each (none: it was one already)."""
    done: list[str] = []
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise UserError(Problem("project.not-a-folder", str(folder), "a file, not a folder"))
    config = folder / ".datalad" / "config"
    _check_outside(folder)
    fresh = not config.is_file()
    if fresh:
        if (folder / ".git").exists():
            raise UserError(
                Problem(
                    "project.not-a-dataset",
                    str(folder),
                    "a git repository, but no dataset",
                    f"datalad create --force {quoted(folder)}, then minipach init {quoted(folder)}",
                )
            )
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                Problem(
                    "project.folder-not-empty",
                    str(folder),
                    "not empty",
                    f"datalad create --force {quoted(folder)}, then minipach init {quoted(folder)}",
                )
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # a file system that holds no files, such as /proc
            raise UserError(
                Problem("project.create-failed", str(folder), "no folder can be made there", "choose another folder")
            ) from None
        need_identity(Repo(folder))
        create_dataset(folder, _PROJECT_ATTRIBUTES)
        done.append(f"made the superdataset {folder}")
    repo = Repo(folder)
    need_identity(repo)
    if repo.config(f"{PROJECT_MARK}.version", str(config)) is None:
        repo.git("config", "--file", str(config), f"{PROJECT_MARK}.version", "1")
        repo.git("add", "--", DATALAD_CONFIG, *([".gitattributes"] if fresh else []))
        Repo(folder, own=True).git(
            "commit",
            "--quiet",
            "-m",
            f"{SUBJECT}a project begins here",
            "--",
            DATALAD_CONFIG,
            *([".gitattributes"] if fresh else []),
        )
        done.append(f"marked it as a minipach project in {DATALAD_CONFIG}")
    return find_project(folder), done


def _check_outside(folder: Path) -> None:
    """Raise UserError if a folder that is no project yet is inside one."""
    if is_marked(folder):
        return
    for above in folder.parents:
        if is_marked(above):
            fix = f"work in {quoted(above)}: a folder with a spec.yml is a pipeline"
            raise UserError(Problem("project.inside-another", str(folder), f"inside the project {above}", fix))


def create_dataset(folder: Path, attributes: tuple[str, ...]) -> None:
    """Run `datalad create` in a folder that may hold files, with these lines of `.gitattributes` (not committed)."""
    with entered(own_environment({"DATALAD_LOG_LEVEL": "error"})):
        from datalad.support.exceptions import CommandError, IncompleteResultsError

        try:
            datalad_create()(path=str(folder), force=True, result_renderer="disabled", return_type="list")
        except (IncompleteResultsError, CommandError) as error:
            raise UserError(
                Problem("project.create-failed", str(folder), f"datalad create failed: {' '.join(str(error).split())}")
            ) from None
    (folder / ".gitattributes").write_text("".join(f"{line}\n" for line in attributes))


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


def make_tick_repo(project: Project, path: str) -> bool:
    """Make the repo of a clock's ticks, register it, and return whether there was anything to do.

    Its first commit follows from the project's id and the path, so that two clones make the same one.

    Raises:
        UserError: Something else is there.
    """
    holder = project.holder_of(path)
    around = Project(project.root / holder) if holder else project
    inside = path.removeprefix(holder + "/") if holder else path
    folder = project.root / path
    if is_dataset(folder) and _registered(around, [inside]):
        return False
    if not is_dataset(folder):
        if path in project.repos or (os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UserError(
                absent(project, path)
                if path in project.repos
                else Problem("cron.repo-taken", path, "exists, and is no repo of ticks", "write another `repo`")
            )
        need_identity(project.repo)
        staged = project.local.adopted
        kill_inside(staged)
        remove_tree(staged)
        _build_tick_repo(staged, path, around)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        os.rename(staged, folder)
    with gc_held_off(around.repo):
        _register(around, {inside: []})
    return True


def _build_tick_repo(staged: Path, path: str, around: Project) -> None:
    staged.mkdir(parents=True)
    repo = Repo(staged)
    branch = around.repo.branch() or "master"
    repo.git("init", "--quiet")
    repo.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    dataset = around.repo.config("datalad.dataset.id", str(around.root / DATALAD_CONFIG)) or ""
    ident = uuid.uuid5(uuid.NAMESPACE_URL, f"minipach:ticks:{dataset}:{path}")
    stream = Stream(f"refs/heads/{branch}", None, tick_committer(TICK_REPO_BEGAN))
    stream.commit(f"{SUBJECT}ticks of a clock\n")
    stream.write(FILE, f'[datalad "dataset"]\n\tid = {ident}\n'.encode(), DATALAD_CONFIG)
    stream.write(FILE, b"* annex.backend=SHA256E annex.largefiles=nothing -text\n", ".gitattributes")
    stream.write(FILE, b"1\n", f"{TICKS}/version")
    stream.run(repo)
    repo.git("reset", "--quiet", "--hard")
    annex(repo, "init", "--quiet")
    repo.close()


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
    known = _registered(around, [one.place.path for one in found])
    new = [one for one in found if one.place.path not in known]
    if not new:
        return []
    with gc_held_off(around.repo):
        _register(around, {one.place.path: one.tracked for one in new})
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


def _registered(project: Project, paths: Sequence[str]) -> set[str]:
    """Return those of the folders that a dataset has as subdatasets in its last commit."""
    head = project.repo.head()
    found: set[str] = set()
    for start in range(0, len(paths) if head else 0, _MANY):
        entries = project.repo.ls_tree(head or "", *(f":(top,literal){p}" for p in paths[start : start + _MANY]))
        found |= {entry.path for entry in entries if entry.mode == GITLINK}
    return found


def _register(project: Project, tracked: Mapping[str, list[TreeEntry]]) -> None:
    """Make one superdataset commit: add gitlinks and `.gitmodules`, remove the files that were tracked there.

    tracked: those files, by the path of the new dataset.
    """
    repo = project.repo
    head = repo.head()
    assert head is not None
    modules = repo.hash_blob(_with_modules(repo, head, tracked))
    gone = [entry for entries in tracked.values() for entry in entries]
    rows = [f"0 {'0' * 40}\t{e.path}" for e in gone]
    rows += [f"{GITLINK} {Repo(project.root / path).head()}\t{path}" for path in tracked]
    rows += [f"{FILE} {modules}\t.gitmodules"]
    info = b"".join(os.fsencode(row) + b"\0" for row in rows)
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        repo.git("update-index", "-z", "--index-info", stdin=info, env=env)
        tree = repo.line("write-tree", env=env)
    paths = sorted(tracked)
    title = f"{paths[0]} becomes a dataset" if len(paths) == 1 else f"{len(paths)} folders become datasets"
    parts = [f"{SUBJECT}{title}"]
    parts += ["\n".join(paths)] if len(paths) > 1 else []
    parts += [f"Tracked there now, and no longer here: {many(len(gone), 'file')}."] if gone else []
    new = repo.commit_tree(tree, "\n\n".join(parts) + "\n", [head])
    branch = repo.branch()
    try:
        check_free(repo, head, new)
    except InTheWay as error:
        raise UserError(
            Problem(
                "repo.uncommitted-changes",
                str(repo.path),
                f"uncommitted changes are in the way ({error})",
                "commit or undo them",
            )
        ) from None
    _show_index_to_annex(repo)
    move_branch(repo, f"refs/heads/{branch}" if branch else "HEAD", head, new)


def _with_modules(repo: Repo, head: str, paths: Iterable[str]) -> bytes:
    """Return `.gitmodules` with these datasets."""
    text = repo.objects.read(f"{head}:.gitmodules") or b""
    plain: list[str] = []
    with tempfile.NamedTemporaryFile(dir=repo.common_dir, prefix="minipach-modules.") as file:
        file.write(text)
        file.flush()
        for path in paths:
            rows = {"path": path, "url": f"./{path}", "datalad-id": _dataset_id(repo.path / path)}
            # a plain new section needs no process to be written
            if _PLAIN.fullmatch(path) and f'[submodule "{path}"]'.encode() not in text:
                lines = "".join(f"\t{key} = {value}\n" for key, value in rows.items() if value)
                plain.append(f'[submodule "{path}"]\n{lines}')
                continue
            for key, value in rows.items():
                if value:
                    repo.git("config", "--file", file.name, f"submodule.{path}.{key}", value)
        text = Path(file.name).read_bytes()
    if plain and text and not text.endswith(b"\n"):
        text += b"\n"
    return text + "".join(plain).encode()


def _dataset_id(folder: Path) -> str | None:
    config = folder / DATALAD_CONFIG
    with contextlib.suppress(OSError):
        if found := _ID_LINES.fullmatch(config.read_bytes()):
            return found[1].decode()
    return Repo(folder).config("datalad.dataset.id", str(config))


def _show_index_to_annex(repo: Repo) -> None:
    """Have git-annex look at the index while a folder's files are still in it.

    Its database says which files show a key, and when the key is dropped it makes pointers of them, whoever has them
    by then. `git annex add` enters a file there, but that a file is gone git-annex learns only by comparing the index
    to the one that it saw last: what came and went between two looks stays in the database for good.
    """
    if (repo.common_dir / "annex").is_dir():
        # any question about a key's files makes it look; many other commands don't
        annex(repo, "whereused", "--key=MD5E-s0--d41d8cd98f00b204e9800998ecf8427e", ok=(0, 1))
