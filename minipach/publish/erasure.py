"""Erasure of data and of all that was computed from it: found in every repo and branch, dropped from every copy known.

Nothing is rewritten. What stays in the history (names, files in git itself) is reported, with the commands that remove
it, too.
"""

from __future__ import annotations

import fnmatch
import json
import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minipach.git import crash_cleanup
from minipach.git.annex_errors import row_reason
from minipach.git.annex_keys import key_of_link, key_of_pointer
from minipach.git.git_error import GitError
from minipach.git.presence import note_presence
from minipach.git.repo import Repo, annex, has_annex, is_dataset
from minipach.git.tree_entries import SYMLINK
from minipach.model.neutral_names import restore
from minipach.model.pipeline import ALL, folder_in
from minipach.model.repo_layout import DATALAD_CONFIG, RESULT_FILE, RESULTS_BRANCH
from minipach.project.project import Project
from minipach.publish.egress import is_export, remove_exported
from minipach.publish.results_exchange import without_credentials
from minipach.records.results_branch import Result, from_json
from minipach.storage.special_remotes import described, identity_in
from minipach.storage.store import Store, stores_in
from minipach.support.errors import Problem, UserError
from minipach.support.text import many, printable, quoted, suggest
from minipach.support.validation import InvalidError, parse_object

Notify = Callable[[str], None]
_OURS = ("git-annex", "minipach")  # branches without files of people


@dataclass(slots=True)
class ErasedData:
    """The erased data in one repo.

    Args:
        repo: The path in the project.
        paths: Files, at any commit.
        keys: Annexed contents that nothing else has.
        shared: Contents that other files have, too: they are kept.
        in_git: Files whose content is in git itself.
        results: Names of datums with a result that was computed from it.
        dropped: By place, how many contents went.
        left: The contents that could not be dropped, and the reasons.
        commands: Commands by which the copies that are left can be reached and erased.
    """

    repo: str
    paths: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    in_git: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.paths or self.results)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of `minipach erase --json`."""
        lists = {name: sorted(getattr(self, name)) for name in ("paths", "keys", "shared", "in_git", "results")}
        return {"repo": self.repo, **lists, "dropped": self.dropped, "left": self.left, "commands": self.commands}


def find(project: Project, word: str) -> list[ErasedData]:
    """Return what every repo of the project has of some data, and of all that was computed from it.

    Args:
        project: The project.
        word: `REPO:PATH`; REPO may be a plain folder, and PATH is a file, a folder or a glob.

    Raises:
        UserError: There is no such repo or path.
    """
    name, _, pattern = word.partition(":")
    pattern = pattern.strip("/")
    if not pattern or pattern in (".", ".."):
        raise UserError(Problem("erase.no-path", word, "no path in a repo", "name one: REPO:PATH, such as raw:sub-13"))
    name = name.rstrip("/") or name
    if project.is_folder(name):
        path = project.holder_of(name) or ALL
        pattern = posixpath.join(folder_in(name, project.holder_of(name)), pattern)
    else:
        path = name if name in project.repos else project.path_of(name)
    if not is_dataset(project.root / path):
        raise UserError(Problem("repo.not-installed", path, "not installed", f"datalad get -n {quoted(path)}"))
    tainted: dict[str, set[str]] = {}
    found = []
    order = list(project.order)
    for place in dict.fromkeys((path, *(p for p in project.repos if p not in order), *order)):
        if not is_dataset(project.root / place):
            continue
        repo = Repo(project.root / place)
        try:
            here = _look(project, repo, place, pattern if place == path else None, tainted)
        finally:
            repo.close()
        if here:
            tainted[place] = here.paths
            found.append(here)
    if not found:
        names = sorted({row[0].split("/")[0] for row in _history(Repo(project.root / path))})
        raise UserError(Problem("erase.no-path", word, "no such file at any commit", suggest(pattern, names)))
    return found


def _look(project: Project, repo: Repo, place: str, pattern: str | None, tainted: dict[str, set[str]]) -> ErasedData:
    here = ErasedData(place)
    blobs: set[tuple[str, str]] = set()
    others: set[tuple[str, str]] = set()
    for result in _results(repo):
        if not _uses(project, result, tainted):
            others.update((mode, sha) for _, mode, sha in _below(repo, result.tree))
        else:
            here.results.add(result.name)
            prefix = f"{result.dest}/" if result.dest else ""
            for path, mode, sha in _below(repo, result.tree):
                here.paths.add(prefix + restore(path, result.words))
                blobs.add((mode, sha))
    for path, mode, sha in _history(repo):
        if path in here.paths or (pattern is not None and _matches(path, pattern)):
            here.paths.add(path)
            blobs.add((mode, sha))
        else:
            others.add((mode, sha))
    keys = {blob: _key(repo, *blob) for blob in blobs}
    elsewhere = {key for blob in others if (key := _key(repo, *blob))}
    here.keys = {key for key in keys.values() if key and key not in elsewhere}
    here.shared = {key for key in keys.values() if key and key in elsewhere}
    if any(key is None for key in keys.values()):
        plain = {blob[1] for blob, key in keys.items() if key is None}
        here.in_git = {path for path, _, sha in _history(repo) if sha in plain and path in here.paths}
    return here


def _uses(project: Project, result: Result, tainted: dict[str, set[str]]) -> bool:
    """Return whether a result was computed from a tainted file, or from a folder with one."""
    for _, repo, path in result.matches:
        for place, plain in _places(project, repo, path.strip("/")):
            for file in tainted.get(place, ()):
                if not plain or file == plain or file.startswith(f"{plain}/"):
                    return True
    return False


def _places(project: Project, repo: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the datasets that a match can be from, with its path there: a repo may have been a plain folder."""
    yield repo, path
    if repo != ALL:
        holder = project.holder_of(repo)
        yield holder or ALL, posixpath.join(folder_in(repo, holder), path).rstrip("/")


def _results(repo: Repo) -> Iterator[Result]:
    """Yield the results at any commit of the results branches here."""
    refs = [ref for ref in repo.refs("refs/") if ref == RESULTS_BRANCH or ref.endswith("/minipach")]
    if not refs:
        return
    for commit in repo.line("rev-list", "--topo-order", *refs).splitlines():
        changed = repo.git("diff-tree", "-r", "-z", "--root", "-m", "--no-commit-id", "--name-only", commit)
        folders = {"/".join(os.fsdecode(p).split("/")[:2]) for p in changed.split(b"\0") if p}
        for folder in sorted(folders):
            text = repo.objects.read(f"{commit}:{folder}/{RESULT_FILE}")
            if text is None:
                continue
            try:
                yield from_json(parse_object(text), folder, repo.resolve(f"{commit}:{folder}/out"), "")
            except (InvalidError, ValueError, TypeError, LookupError):
                continue  # somebody else's commit: then it isn't a result


def _below(repo: Repo, tree: str | None) -> Iterator[tuple[str, str, str]]:
    if tree is None:
        return
    for entry in repo.ls_tree(tree, recursive=True):
        yield entry.path, entry.mode, entry.sha


def _history(repo: Repo) -> Iterator[tuple[str, str, str]]:
    """Yield path, mode and blob of each file at any commit of any branch of people."""
    leave = [word for name in _OURS for word in (f"--exclude=refs/heads/{name}", f"--exclude=refs/remotes/*/{name}")]
    leave.append("--exclude=refs/minipach/*")
    shown = ("--format=", "--raw", "-z", "-m", "--no-renames", "--no-abbrev", "--diff-filter=AMT")
    fields = repo.git("log", *leave, "--all", *shown).split(b"\0")
    for row, path in zip(fields[::2], fields[1::2], strict=False):
        words = os.fsdecode(row).lstrip("\n").split(" ")
        if len(words) == 5 and words[1] != "160000":
            yield os.fsdecode(path), words[1], words[3]


def _matches(path: str, pattern: str) -> bool:
    parts = path.split("/")
    return any(fnmatch.fnmatchcase("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _key(repo: Repo, mode: str, sha: str) -> str | None:
    data = repo.objects.read(sha) or b""
    return key_of_link(data) if mode == SYMLINK else key_of_pointer(data)


def erase(project: Project, found: Collection[ErasedData], word: str, notify: Notify) -> None:
    """Drop the contents from this clone, from all its remotes, and from the clones below. The caller holds the lock.

    A place that can't be reached is reported, and stops nothing. word: what was asked for, for the report's commands.
    """
    wanted = {key for here in found for key in here.keys}
    emptied: dict[str, set[str]] = {}
    own = {(project.root / here.repo).resolve() for here in found}
    for copy in _copies(project.root, wanted):  # installed inputs
        folder = copy.parent if copy.name == ".git" else copy
        if folder.resolve() not in own:
            _drop_copy(folder, copy, found, emptied)
    for here in found:
        with closing(Repo(project.root / here.repo)) as repo:
            if has_annex(repo):
                with crash_cleanup.cleared(repo):
                    _note_emptied(repo, here.keys, emptied)
                    _drop(project, repo, here, word, notify)


def _note_emptied(repo: Repo, wanted: Collection[str], emptied: Mapping[str, set[str]]) -> None:
    """Have git-annex forget the copies of dropped clones. emptied: what these have no more, by their ids."""
    for identity, keys in emptied.items():
        rows = "".join(f"{key} {identity} 0\n" for key in sorted(keys.intersection(wanted))).encode()
        if rows:
            annex(repo, "setpresentkey", "--batch", stdin=rows, ok=(0, 1))


def _copies(root: Path, keys: Collection[str]) -> list[Path]:
    """Return the git folders below the project that still have one of these contents."""
    found = []
    for objects in root.rglob("annex/objects"):
        if any(path.name in keys for path in objects.glob("*/*/*/*")):
            found.append(objects.parent.parent)
    return found


def _drop_copy(folder: Path, copy: Path, found: Collection[ErasedData], emptied: dict[str, set[str]]) -> None:
    """Drop contents from a clone below the project. emptied: gets its id, and what it has no more."""
    with closing(Repo(folder)) as repo:
        for here in found:
            keys = here.keys & {path.name for path in copy.glob("annex/objects/*/*/*/*")}
            if not keys:
                continue
            try:
                number, why = _drop_from(repo, "", keys)
            except GitError as error:
                number, why = 0, without_credentials(error.reason)
            here.dropped[str(copy)] = number
            if why:
                here.left.append(f"{many(len(keys) - number, 'content')} in {copy}: {why}")
            elif identity := repo.config("annex.uuid"):
                emptied.setdefault(identity, set()).update(keys)


def _drop(project: Project, repo: Repo, here: ErasedData, word: str, notify: Notify) -> None:
    """Drop the contents of one repo from this clone and from each remote, and note which copies are left."""
    before = len(here.left)
    again = f"minipach erase {quoted(word)}"
    failed: set[str] = set()
    names = [name for name in repo.line("remote").splitlines() if repo.config(f"remote.{name}.annex-uuid")]
    for name in ("", *(n for n in names if repo.config(f"remote.{n}.annex-ignore") != "true")):
        place = name or "here"
        try:
            if name and is_export(repo, name):
                number, why = remove_exported(repo, here.repo, name, lambda p, k: p in here.paths or k in here.keys), ""
                if number:
                    here.dropped[place] = number
            elif here.keys:
                number, why = _drop_from(repo, name, here.keys)
                here.dropped[place] = number
            else:
                continue
        except UserError as error:
            number, why = 0, error.problems[0].message
        except GitError as error:
            number, why = 0, without_credentials(error.reason)
        if why:
            failed.add(repo.config(f"remote.{name}.annex-uuid" if name else "annex.uuid") or "")
            here.left.append(f"{many(len(here.keys) - number, 'content')} in {place}{_where(repo, name)}: {why}")
            here.commands.append(again)
    for folder in ("bad", "tmp"):  # damaged, and transferred in part
        for key in here.keys:
            (repo.common_dir / "annex" / folder / key).unlink(missing_ok=True)
    note_presence(repo, here.keys)  # a kill may have come after the content was gone
    _name_copies(project, repo, here, again, failed)
    notify(f"{here.repo}: {many(len(here.keys), 'content')} dropped, {many(len(here.left) - before, 'place')} left")


def _where(repo: Repo, name: str) -> str:
    """Return the folder or host of a special remote in brackets; "" if it is not known here."""
    settings = (f"remote.{name}.{key}" for key in ("annex-directory", "annex-rsyncurl", "url")) if name else ()
    found = next((value for key in settings if (value := repo.config(key))), "")
    return f" ({without_credentials(found)})" if found else ""


def _drop_from(repo: Repo, name: str, keys: Collection[str]) -> tuple[int, str]:
    """Drop contents from a remote, or from this clone (""). Return how many went, and why others did not."""
    stdin = "".join(f"{key}\n" for key in sorted(keys)).encode()
    words = [f"--from={name}"] if name else []
    out = annex(
        repo, "drop", "--force", *words, "--json", "--json-error-messages", "--batch-keys", stdin=stdin, ok=(0, 1)
    )
    rows = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    bad = [row for row in rows if not row.get("success")]
    why = row_reason(bad[0]) if bad else ""
    return len(rows) - len(bad), (why or "git-annex gave no reason") if bad else ""


def _name_copies(project: Project, repo: Repo, here: ErasedData, again: str, failed: Collection[str]) -> None:
    """Note the copies that no remote of this clone leads to. failed: the ids of those that are noted already."""
    if not here.keys:
        return
    stdin = "".join(f"{key}\n" for key in sorted(here.keys)).encode()
    rows = annex(repo, "whereis", "--json", "--batch-keys", stdin=stdin, ok=(0, 1)).splitlines()
    places: dict[str, list[str]] = {}
    for row in map(json.loads, rows):
        for place in row.get("whereis", ()):
            places.setdefault(str(place["uuid"]), []).append(str(place["description"]))
    removed = _removed_stores(project, repo) if places.keys() - set(failed) else {}
    for identity, descriptions in sorted(places.items(), key=lambda item: item[1]):
        if identity in failed:
            continue
        number, known = many(len(descriptions), "content"), described(repo, identity)
        at = f"git -C {quoted(here.repo)} annex"
        if store := removed.get(identity):
            here.left.append(f"{number} in {store.name}, a store that was removed, at {store.place}")
            add = " ".join(("minipach store add", store.name, *_options(store)))
            here.commands.append(f"{add} && {again} && minipach store remove {store.name}")
        elif known is not None:
            name = known.get("name", identity)
            here.left.append(f"{number} in {name}, a special remote that this clone does not have ({identity})")
            where = " directory=DIR" if known.get("type") == "directory" else ""
            here.commands.append(f"{at} enableremote {quoted(name)}{where} && {again}")
        else:
            here.left.append(f"{number} in another clone: {descriptions[0]} ({identity})")
            here.commands.append(f"{again}  # in that clone")
            here.commands.append(f"{at} dead {identity}  # if that clone is gone")


def _removed_stores(project: Project, repo: Repo) -> dict[str, Store]:
    """Return the stores that the project has had at any commit, by the id of their special remote in a repo."""
    found: dict[str, Store] = {}
    for commit in project.repo.line("rev-list", "HEAD", "--", DATALAD_CONFIG).splitlines():
        try:
            for store in stores_in(project.repo, f"--blob={commit}:{DATALAD_CONFIG}").values():
                found.setdefault(identity_in(repo, store), store)
        except (UserError, GitError):
            continue  # it is none that could be added again
    return found


def _options(store: Store) -> list[str]:
    """Return the options of `minipach store add` for a store."""
    extra = [f"--{name} {quoted(value)}" for name in ("bucket", "prefix") if (value := getattr(store, name))]
    return [f"--{store.kind} {quoted(store.url)}", *extra]


def write_report(folder: Path, word: str, found: Collection[ErasedData], *, dry: bool) -> Path:
    """Write the report, and beside it the paths of each repo for its commands; return the report."""
    folder.mkdir(parents=True)
    lists = {}
    for number, here in enumerate(found):
        lists[here.repo] = folder / f"paths-{number}"
        lists[here.repo].write_bytes(b"".join(_line_for_filter(path) for path in sorted(here.paths)))
    first = next(iter(found))
    listed = b"".join(b":(top,literal)" + os.fsencode(path) + b"\0" for path in sorted(first.paths))
    (folder / "pathspecs").write_bytes(listed)
    file = folder / "report.md"
    file.write_text(_report(word, found, lists, dry=dry), errors="surrogateescape")
    return file


def _line_for_filter(path: str) -> bytes:
    """Return the line of `git filter-repo --paths-from-file` that means this path alone, whatever its name is.

    Such a file has one path a line, and `==>`, `glob:` and `regex:` in it mean more than a name.
    """
    name = os.fsencode(path)
    if not re.search(rb"[\r\n]|==>", name):
        return b"literal:" + name + b"\n"
    escaped = re.escape(name).replace(b"\\\n", rb"\n").replace(b"\\\r", rb"\r").replace(b"==>", b"=[=]>")
    return b"regex:^" + escaped + rb"\Z" + b"\n"


def _report(word: str, found: Collection[ErasedData], lists: Mapping[str, Path], *, dry: bool) -> str:
    """Return the report in Markdown: what went, what stays, and how to remove that, too."""
    lines = [f"# Erasure of {printable(word)}", ""]
    lines += ["Nothing was changed: this is what would be erased.", ""] if dry else []
    for here in found:
        lines += [f"## {here.repo}", ""]
        lines += [f"- files, at any commit: {len(here.paths)}", f"- contents to erase: {len(here.keys)}"]
        lines += (
            [f"- results computed from it: {', '.join(map(printable, sorted(here.results)))}"] if here.results else []
        )
        lines += [f"- dropped from {place}: {number}" for place, number in here.dropped.items()]
        lines += [f"- kept, since other files have the same content: {key}" for key in sorted(here.shared)]
        lines += [f"- not erased: {printable(problem)}" for problem in here.left]
        lines += [f"  - when it can be reached: `{printable(command)}`" for command in dict.fromkeys(here.commands)]
        lines += [f"- in git itself, so still in the history: {printable(path)}" for path in sorted(here.in_git)]
        lines.append("")
    lines += [
        "## What remains",
        "",
        "Names, and files in git itself, remain in the history of each repo and of each clone. Results keep their",
        "records. Logs in `.git/minipach/logs` may quote the data. To remove all that, too:",
        "",
        "1. Remove the files, save, and run `minipach schedule`, so that the outputs go:",
        "",
    ]
    first = next(iter(found)).repo
    listed = quoted(lists[first].with_name("pathspecs"))
    words = f"rm -r --ignore-unmatch --pathspec-file-nul --pathspec-from-file={listed}"
    lines += [
        f"   `git -C {quoted(first)} {words}`",
        "",
        "2. Rewrite each history, in each clone, and push with force:",
    ]
    lines += [""]
    for here in found:
        words = f"filter-repo --invert-paths --paths-from-file {quoted(lists[here.repo])}"
        lines.append(f"   `git -C {quoted(here.repo)} {words}`")
    with_results = [here.repo for here in found if here.results]
    lines += [f"   `git -C {quoted(repo)} branch -D minipach`, which forgets all its results" for repo in with_results]
    lines += ["", "3. Run the same `minipach erase` in every other clone, and again for what is not erased above.", ""]
    return "\n".join(lines)
