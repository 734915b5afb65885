"""Make datasets: a project's superdataset, and a pipeline's dataset out of a plain folder with a `spec.yml`."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

from minipach.git import crash_cleanup, ignore_rules, shared_modes
from minipach.git.annex_keys import key_of_link, key_of_pointer
from minipach.git.checkout import InTheWay, check_free, index_entries, move_branch
from minipach.git.datalad_imports import datalad_create
from minipach.git.fast_import import Stream
from minipach.git.gc_lock import gc_held_off
from minipach.git.own_moves import note_moves
from minipach.git.repo import (
    FILE,
    GITLINK,
    Repo,
    TreeEntry,
    annex,
    entered,
    is_dataset,
    need_identity,
    own_environment,
    private_index,
)
from minipach.git.worktrees import kill_inside
from minipach.model.clock import TICK_REPO_BEGAN, tick_committer
from minipach.model.messages import SUBJECT
from minipach.model.repo_layout import DATALAD_CONFIG, PROJECT_MARK, SPECS, TICKS
from minipach.project.discovery import Place
from minipach.project.project import Project, find_project
from minipach.project.spec_file import committed_specs
from minipach.support.errors import Problem, UserError
from minipach.support.files import clone_file, remove_tree
from minipach.support.text import many, quoted

_PIPELINE_ATTRIBUTES = (
    "* annex.backend=SHA256E -text",  # outputs and scripts are stored as they are: no conversion of line ends
    "**/.git* annex.largefiles=nothing",
    *(f"/{name} annex.largefiles=nothing" for name in SPECS),
    "/README* annex.largefiles=nothing",
    "/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)
_PROJECT_ATTRIBUTES = (
    "* annex.backend=SHA256E",
    "**/.git* annex.largefiles=nothing",
    *(f"{name} annex.largefiles=nothing" for name in SPECS),
    "README* annex.largefiles=nothing",
    "**/code/** annex.largefiles=((mimeencoding=binary)and(largerthan=0))",
)


def init_project(folder: Path) -> tuple[Project, list[str]]:
    """Make a project, or adopt an existing superdataset; what was done, a line each (none: it was one already)."""
    done: list[str] = []
    folder = Path(os.path.realpath(folder))
    if folder.exists() and not folder.is_dir():
        raise UserError(Problem("project.not-a-folder", str(folder), "a file, not a folder"))
    config = folder / ".datalad" / "config"
    fresh = not config.is_file()
    if fresh:
        if (folder / ".git").exists():
            raise UserError(
                Problem(
                    "project.not-a-dataset",
                    str(folder),
                    "a git repository, but no dataset",
                    f"datalad create --force {quoted(folder)}",
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
        folder.mkdir(parents=True, exist_ok=True)
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


def create_dataset(folder: Path, attributes: tuple[str, ...]) -> None:
    """`datalad create` in a folder that may hold files, with the given lines of `.gitattributes` (not committed)."""
    with entered(own_environment({"DATALAD_LOG_LEVEL": "error"})):
        from datalad.support.exceptions import CommandError, IncompleteResultsError

        try:
            datalad_create()(path=str(folder), force=True, result_renderer="disabled", return_type="list")
        except (IncompleteResultsError, CommandError) as error:
            raise UserError(
                Problem("project.create-failed", str(folder), f"datalad create failed: {' '.join(str(error).split())}")
            ) from None
    (folder / ".gitattributes").write_text("".join(f"{line}\n" for line in attributes))


def adopt(project: Project, place: Place) -> list[str]:
    """Make the folder of a pipeline a dataset of the project; what was done. Goes on where a kill cut it short.

    In a subdataset's folder, it becomes a dataset of that one: its files are tracked there.
    """
    holder = project.holder_of(place.path)
    if not holder:
        return _adopt(project, place, "", "the superdataset")
    inside = Place(place.path.removeprefix(holder + "/"), place.is_dataset)
    return _adopt(Project(project.root / holder), inside, holder + "/", holder)


def make_tick_repo(project: Project, path: str) -> bool:
    """Make the repo of a clock's ticks, and register it; whether there was anything to do.

    Its first commit follows from the project's id and the path, so that two clones make the same one.

    Raises:
        UserError: Something else is there.
    """
    holder = project.holder_of(path)
    around = Project(project.root / holder) if holder else project
    inside = path.removeprefix(holder + "/") if holder else path
    folder = project.root / path
    if is_dataset(folder) and _registered(around, inside):
        return False
    if not is_dataset(folder):
        if path in project.repos or (os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UserError(
                project.absent(path)
                if path in project.repos
                else Problem("cron.repo-taken", path, "exists, and is no repo of ticks", "write another `repo`")
            )
        need_identity(project.repo)
        aside = project.local.adopted
        kill_inside(aside)
        remove_tree(aside)
        _build_tick_repo(aside, path, around)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        os.rename(aside, folder)
    with gc_held_off(around.repo):
        _register(around, inside, [])
    return True


def _build_tick_repo(aside: Path, path: str, around: Project) -> None:
    aside.mkdir(parents=True)
    repo = Repo(aside)
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


def _adopt(project: Project, place: Place, prefix: str, name: str) -> list[str]:
    """Adopt a folder of this very dataset. prefix, name: how messages call what lies in it, and itself."""
    folder = project.root / place.path
    done: list[str] = []
    tracked = _tracked_below(project, place.path)
    if not is_dataset(folder):
        need_identity(project.repo)
        _need_spec(project, place, tracked)
        _own_content(folder, tracked, project)
        _make_dataset_in_place(project, folder)
        done.append(f"made {prefix}{place.path} a dataset and committed its files")
    repo = Repo(folder)
    crash_cleanup.clear(repo)
    if not committed_specs(repo):
        _need_spec(project, place, tracked)
        crash_cleanup.begin(repo)
        with gc_held_off(repo):
            _own_content(folder, tracked, project)
            _commit_all(project, place.path, tracked)
        crash_cleanup.end(repo)
    if not _registered(project, place.path):
        with gc_held_off(project.repo):
            _register(project, place.path, tracked)
        moved = f", {many(len(tracked), 'file')} that {name} tracked moved over" if tracked else ""
        done.append(f"registered {prefix}{place.path} in {name}{moved}")
    return done


def _need_spec(project: Project, place: Place, tracked: list[TreeEntry]) -> None:
    """UserError if the spec, without which there is no pipeline, is among what the superdataset ignores."""
    spec = f"{place.path}/{place.spec}"
    rule = ignore_rules.rules(project.repo, [spec]).get(spec)
    if rule and spec not in {e.path for e in tracked}:
        where = f'"{rule.pattern}" in {rule.source}, line {rule.line}'
        raise UserError(
            Problem(
                "spec.ignored-by-git",
                str(spec),
                f"ignored by {where}",
                f"change that rule, or git add --force {quoted(spec)}, and commit",
            )
        )


def _commit_all(project: Project, path: str, tracked: list[TreeEntry]) -> None:
    """Commit all files of the new dataset, except those that the superdataset ignores and does not track."""
    repo = Repo(project.root / path)
    ignore_rules.keep_ignoring(project.repo, path, {e.path for e in tracked})
    repo.git("add", "--", ".")
    # what was tracked against a rule continues being tracked
    here = [e.path for e in tracked if e.mode != GITLINK and os.path.lexists(project.root / e.path)]
    names = b"".join(os.fsencode(p.removeprefix(path + "/")) + b"\0" for p in here)
    if names:
        command = ("add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul")
        repo.git("--literal-pathspecs", *command, stdin=names)
    Repo(repo.path, own=True).git("commit", "--quiet", "-m", f"{SUBJECT}a pipeline begins here")
    note_moves(repo.common_dir, [f"update HEAD {repo.head()}"])


def _make_dataset_in_place(project: Project, folder: Path) -> None:
    """Make the dataset aside and move it in: datalad makes none where the superdataset tracks files.

    `.git` comes last, by a rename: the folder is a dataset only when all of it is there.
    """
    aside = project.local.adopted
    kill_inside(aside)
    remove_tree(aside)
    create_dataset(aside, _PIPELINE_ATTRIBUTES)
    crash_cleanup.begin(Repo(aside))
    for name in (".datalad", ".gitattributes"):
        there = folder / name
        if not os.path.lexists(there):
            os.rename(aside / name, there)
    os.rename(aside / ".git", folder / ".git")
    remove_tree(aside)


def _tracked_below(project: Project, path: str) -> list[TreeEntry]:
    head = project.repo.head()
    found = {e.path: e for e in index_entries(project.repo, path)}  # what is staged only counts too
    if head:
        found |= {e.path: e for e in project.repo.ls_tree(head, f":(top,literal){path}", recursive=True)}
    return [e for e in found.values() if e.path.startswith(path + "/")]


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


def _registered(project: Project, path: str) -> bool:
    head = project.repo.head()
    entries = project.repo.ls_tree(head, f":(top,literal){path}") if head else []
    return bool(entries) and entries[0].mode == GITLINK


def _register(project: Project, path: str, tracked: list[TreeEntry]) -> None:
    """Make one superdataset commit: add the gitlink and `.gitmodules`, remove the files that were tracked there."""
    repo = project.repo
    head = repo.head()
    pipeline = Repo(project.root / path)
    commit = pipeline.head()
    assert head is not None and commit is not None
    with tempfile.NamedTemporaryFile(dir=repo.common_dir, prefix="minipach-modules.") as file:
        file.write(repo.objects.read(f"{head}:.gitmodules") or b"")
        file.flush()
        dataset = pipeline.config("datalad.dataset.id", str(pipeline.path / ".datalad" / "config"))
        for key, value in (("path", path), ("url", f"./{path}"), ("datalad-id", dataset)):
            if value:
                repo.git("config", "--file", file.name, f"submodule.{path}.{key}", value)
        modules = repo.hash_blob(Path(file.name).read_bytes())
    rows = [f"0 {'0' * 40}\t{e.path}" for e in tracked]
    rows += [f"{GITLINK} {commit}\t{path}", f"{FILE} {modules}\t.gitmodules"]
    info = b"".join(os.fsencode(row) + b"\0" for row in rows)
    with private_index(repo.common_dir / "minipach-index") as env:
        repo.git("read-tree", head, env=env)
        repo.git("update-index", "-z", "--index-info", stdin=info, env=env)
        tree = repo.line("write-tree", env=env)
    moved = f"\n\nTracked there now, and no longer here: {many(len(tracked), 'file')}.\n" if tracked else "\n"
    new = repo.commit_tree(tree, f"{SUBJECT}{path} becomes a dataset{moved}", [head])
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


def _show_index_to_annex(repo: Repo) -> None:
    """Have git-annex look at the index while a folder's files are still in it.

    Its database says which files show a key, and when the key is dropped it makes pointers of them, whoever has them
    by then. `git annex add` enters a file there, but that a file is gone git-annex learns only by comparing the index
    to the one that it saw last: what came and went between two looks stays in the database for good.
    """
    if (repo.common_dir / "annex").is_dir():
        # any question about a key's files makes it look; many other commands don't
        annex(repo, "whereused", "--key=MD5E-s0--d41d8cd98f00b204e9800998ecf8427e", ok=(0, 1))
