"""The input of a new pipeline: from `REPO:GLOB` words, or guessed from the files of a repo."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from minipach.git.repo import Repo, has_folder, is_dataset
from minipach.git.tree_entries import GITLINK, TREE
from minipach.model.pipeline import ALL, default_name, folder_in
from minipach.model.repo_layout import reserved_in_data, reserved_in_pipeline
from minipach.project.project import Project
from minipach.spec.glob import GlobError, compile_glob
from minipach.spec.validate import clean_repo
from minipach.support.errors import Problem, UserError
from minipach.support.text import suggest

_MAX_SUFFIXES = 4  # more kinds of files than this are not listed in a glob
_OPTION = "--input"


def inputs_of(project: Project, words: Sequence[str], *, but: str) -> tuple[dict[str, Any], list[str]]:
    """Return the `input` of a spec, and what in it is a guess.

    Args:
        project: The project whose repos are named.
        words: Each `REPO`, or `REPO:GLOB`.
        but: The path of the new pipeline, which is no input of itself.

    Raises:
        UserError: A repo does not exist, or a glob is wrong.
    """
    guesses: list[str] = []
    members: list[dict[str, Any]] = []
    names: set[str] = set()
    for word in words:
        repo, colon, glob = word.partition(":")
        repo = clean_repo(repo)
        need_repo(project, repo, but)
        if not colon:
            glob, guess = guess_glob(project, repo)
            guesses.append(guess)
        _check_glob(word, glob)
        pfs: dict[str, Any] = {"repo": repo, "glob": glob if glob.startswith("/") else f"/{glob}"}
        name = default_name(repo)
        if name in names:
            name = next(f"{name}{n}" for n in range(2, len(words) + 2) if f"{name}{n}" not in names)
            pfs["name"] = name
        names.add(name)
        members.append({"pfs": pfs})
    if len(members) == 1:
        return members[0], guesses
    if all("(" in member["pfs"]["glob"] for member in members):
        for member in members:
            member["pfs"]["join_on"] = "$1"
        guesses.append("a datum for each value that the first parentheses of all globs match")
        return {"join": members}, guesses
    guesses.append("a datum for each combination of the inputs; join: pairs those with the same name")
    return {"cross": members}, guesses


def only_repo(project: Project, but: str) -> str:
    """Return the repo of a project that has exactly one which is no pipeline. Raises UserError."""
    pipelines = {place.path for place in project.places}
    repos = [path for path in project.repos if path not in pipelines and path != but]
    if len(repos) == 1:
        return repos[0]
    known = ", ".join(repos[:5]) if repos else "none; create one: datalad create -d . images"
    raise UserError(
        Problem("new.no-input", _OPTION, "no input is named", f"add --input REPO:GLOB (repos here: {known})")
    )


def guess_glob(project: Project, repo: str) -> tuple[str, str]:
    """Return a glob that makes one datum of each file, or of each folder, at the top of a repo; and a sentence."""
    files, folders = _top(project, repo)
    subjects = [name for name in folders if name.startswith("sub-")]
    if subjects:
        return "/sub-*", f"each subject of {repo} is a datum ({len(subjects)} now)"
    if len(folders) > len(files):
        return "/*", f"each folder at the top of {repo} is a datum ({len(folders)} now)"
    suffixes = sorted({PurePosixPath(name).suffix for name in files if not folders})
    if not files:
        return "/*", f"each file or folder at the top of {repo} is a datum (none now)"
    if all(suffixes) and 0 < len(suffixes) <= _MAX_SUFFIXES and all(s[1:].isalnum() for s in suffixes):
        kinds = suffixes[0][1:] if len(suffixes) == 1 else "{" + ",".join(s[1:] for s in suffixes) + "}"
        return f"/*.{kinds}", f"each file of this kind at the top of {repo} is a datum ({len(files)} now)"
    return "/*", f"each file or folder at the top of {repo} is a datum ({len(files) + len(folders)} now)"


def repo_around(repos: Iterable[str], path: str) -> str:
    """Return the longest of these repos that a path lies in, or "" if none does."""
    return max((repo for repo in repos if path == repo or path.startswith(f"{repo}/")), key=len, default="")


def stage_inputs(
    found: Mapping[str, Collection[str]], *, has_stem: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the input of a stage that reads given paths of repos, all in one datum; and the input name of each path.

    Args:
        found: For each repo, the paths in it that the stage reads; "" is the whole repo.
        has_stem: Each value of `%` in the paths is a datum.
    """
    members: list[dict[str, Any]] = []
    joined: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    taken: set[str] = set()
    for repo, below in found.items():
        for path in [""] if "" in below else sorted(below):
            differs = has_stem and "%" in path
            glob = "(*)".join(map(literal, path.split("%"))) if differs else literal(path)
            pfs: dict[str, Any] = {"repo": repo, "glob": f"/{glob}"}
            base = name = default_name(repo)
            n = 2
            while name in taken:
                name, n = f"{base}{n}", n + 1
            if name != base:
                pfs["name"] = name
            taken.add(name)
            names[f"{repo}/{path}".rstrip("/")] = name
            (joined if differs else members).append({"pfs": pfs})
    if len(joined) > 1:
        joined = [{"join": [{"pfs": {**one["pfs"], "join_on": "$1"}} for one in joined]}]
    members = [*joined, *members]
    return (members[0] if len(members) == 1 else {"cross": members}), names


def literal(path: str) -> str:
    """Return a path as a glob that matches it alone."""
    return "".join(f"\\{c}" if c in "\\*?[]{}()!+@|^," else c for c in path)


def _top(project: Project, repo: str) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders at the top of a repo's last commit."""
    pipelines = {place.path for place in project.places}
    if repo == ALL or not is_dataset(project.root / repo):
        return _top_of_folder(project, repo, pipelines) if project.is_folder(repo) else ([], [])
    git = Repo(project.root / repo)
    head = git.head()
    reserved = reserved_in_pipeline if repo in pipelines else reserved_in_data
    entries = [e for e in (git.ls_tree(head) if head else ()) if not reserved(e.path) and not _is_readme(e.path)]
    files = [e.path for e in entries if e.mode not in (TREE, GITLINK)]
    return files, [e.path for e in entries if e.mode in (TREE, GITLINK)]


def _top_of_folder(project: Project, repo: str, pipelines: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the same of a plain folder."""
    holder = project.holder_of(repo)
    git, folder = Repo(project.root / holder), folder_in(repo, holder)
    head = git.head()
    if head is None or (folder and not has_folder(git, head, folder)):
        return [], []
    above = "" if repo == ALL else f"{repo}/"
    entries = [e for e in git.ls_tree(f"{head}:{folder}") if not reserved_in_data(e.path) and not _is_readme(e.path)]
    files = [e.path for e in entries if e.mode not in (TREE, GITLINK)]
    return files, [e.path for e in entries if e.mode == TREE and above + e.path not in pipelines]


def _is_readme(name: str) -> bool:
    return PurePosixPath(name).stem.upper() in {"README", "LICENSE", "CHANGES", "CHANGELOG", "DATASET_DESCRIPTION"}


def need_repo(project: Project, repo: str, but: str) -> None:
    """Raise UserError if a path is no dataset, pipeline or folder of the project. but: the path of the new pipeline."""
    known = [path for path in (*project.repos, *(place.path for place in project.places)) if path != but]
    if repo not in known and (f"{but}/".startswith(f"{repo}/") or not project.is_folder(repo)):
        message = f'"{repo}" is no dataset or folder of the project'
        raise UserError(Problem("new.no-repo", _OPTION, message, suggest(repo, known)))


def _check_glob(word: str, glob: str) -> None:
    try:
        compile_glob(glob)
    except GlobError as error:
        raise UserError(Problem("new.bad-glob", _OPTION, f'"{word}": {error}')) from None
