"""The origin of files, read from git: record commits, inputs at their commits, code, environment. Reads only."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from minipach.datums.snapshot import read_snapshot
from minipach.environment import host
from minipach.environment.image import UNKNOWN_DIGEST
from minipach.git.annex_keys import size_of
from minipach.git.content import classify
from minipach.git.repo import Repo, is_dataset
from minipach.git.tree_entries import EXECUTABLE, GITLINK, SYMLINK
from minipach.model.pipeline import ALL
from minipach.model.plain_folder import PlainFolder
from minipach.model.repo_layout import CODE, OWN_FILES, PINNED_CODE, SPECS, is_pipeline, reserved_in_pipeline
from minipach.model.run_record import parse
from minipach.model.snapshot import Snapshot
from minipach.project.own_files_list import listed_own
from minipach.provenance.history import FileChange, Pages, change_of, changes
from minipach.provenance.launch_words import read_launch
from minipach.provenance.lineage import Code, Computation, Environment, FileUse, FileVersion, Lineage
from minipach.provenance.web_links import compare_page
from minipach.records.results_branch import StoredResults
from minipach.spec.validate import dig
from minipach.spec.yaml_reader import read_yaml
from minipach.support.errors import UserError
from minipach.support.text import quoted
from minipach.support.validation import parse_object

_MOST_OWN = 500  # files of a pipeline that are named to git
_TEXT = 1_000_000  # bytes of a fingerprint


class Tracer:
    """The search for origins in a project. Each repository is opened once, and each question is asked once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._repos: dict[str, Repo] = {}
        self._pages: dict[str, Pages] = {}
        self._snapshots: dict[tuple[str, str, PlainFolder | None], Snapshot] = {}
        self._known: dict[str, StoredResults] = {}
        self._codes: dict[tuple[str, str], Code | None] = {}
        self._environments: dict[tuple[str, str, str], Environment] = {}
        self._files: dict[str, FileVersion] = {}
        self._keys: dict[tuple[str, str, str], str] = {}
        self._computations: dict[str, Computation] = {}
        self._of_file: dict[str, tuple[str, FileChange]] = {}

    def close(self) -> None:
        """End the object readers."""
        for repo in self._repos.values():
            repo.close()

    def trace(self, repo: str, at: str, paths: Sequence[str], *, upstream: bool = False) -> Lineage:
        """Return the origin of files of a repository at a commit. upstream: also of all that they were made of."""
        wanted = self._versions(repo, at, paths)
        todo, seen = list(dict.fromkeys(wanted)), set[str]()
        while todo:
            key = todo.pop(0)
            if key in seen:
                continue
            seen.add(key)
            computation = self._computation(key)
            if computation is not None and upstream:
                todo += [use.key for use in computation.inputs]
        return Lineage(tuple(wanted), dict(self._files), dict(self._computations))

    # Files

    def repo(self, path: str) -> Repo | None:
        """Return the repository at a path in the project, if it is here."""
        if path not in self._repos and (path == "." or is_dataset(self.root / path)):
            self._repos[path] = Repo(self.root / path)
        return self._repos.get(path)

    def _versions(self, where: str, at: str, paths: Sequence[str]) -> list[str]:
        """Return the keys of files at a commit."""
        left = [path for path in paths if (where, at, path) not in self._keys]
        repo = self.repo(where)
        if repo is None or repo.resolve(f"{at}^{{commit}}") is None:
            for path in left:
                note = "its repository is not here" if repo is None else "its commit is not here"
                self._note(FileVersion(f"{where}@{at}:{path}", where, path, at, note=note), at)
        elif left:
            self._note_versions(repo, where, at, left)
        return [self._keys[where, at, path] for path in paths]

    def _note(self, version: FileVersion, at: str) -> None:
        self._files.setdefault(version.key, version)
        self._keys[version.repo, at, version.path] = version.key

    def _note_versions(self, repo: Repo, where: str, at: str, paths: Sequence[str]) -> None:
        wanted = set(paths)
        few = (f":(top,literal){path}" for path in paths) if len(paths) <= _MOST_OWN else ()
        entries = {e.path: e for e in repo.ls_tree(at, *few, recursive=True) if e.path in wanted}
        kinds = classify(repo, entries.values())
        made = changes(repo, at, paths)
        pipeline = is_pipeline(repo.names(at))
        for path in paths:
            change, entry = made.get(path), entries.get(path)
            key = f"{where}@{change.commit if change else at}:{path}"
            version = FileVersion(key, where, path, at)
            if entry is not None and entry.mode != GITLINK:
                _, content, annex = kinds[entry.sha, entry.mode == SYMLINK]
                web = _web(repo, annex) if annex else ()
                size = size_of(annex) if annex else _blob_size(repo, entry.sha)
                executable = entry.mode == EXECUTABLE
                version = replace(
                    version, content=content, annex=annex or "", size=size, executable=executable, web=web
                )
            if change is None:
                self._note(replace(version, note="its history is not here, as in a shallow clone"), at)
                continue
            shown = change.as_commit(self._pages_of(where, repo).page(change.commit))
            version = replace(version, origin="committed", change=shown)
            if change.datum is not None:
                computation = f"{where}@{change.commit}#{change.datum[0]}"
                version = replace(version, origin="computed", computation=computation)
                self._of_file[key] = (computation, change)
            elif change.record is not None:
                version = replace(version, command=str(change.record.get("cmd", "")))
            elif pipeline and not reserved_in_pipeline(path.split("/", 1)[0]) and _was_output(repo, at, path):
                version = replace(version, note="minipach published this file, and this commit changed it afterwards")
            self._note(version, at)

    def _pages_of(self, where: str, repo: Repo) -> Pages:
        return self._pages.setdefault(where, Pages(repo))

    # Computations

    def _computation(self, key: str) -> Computation | None:
        """Return the computation that made a file, if one did."""
        found = self._of_file.get(key)
        if found is None:
            return None
        name, change = found
        if name not in self._computations:
            self._computations[name] = self._read(self._files[key].repo, name, change)
        return self._computations[name]

    def _read(self, where: str, key: str, change: FileChange) -> Computation:
        repo = self.repo(where)
        assert repo is not None and change.record is not None and change.datum is not None
        record, (datum, datum_id) = change.record, change.datum
        ours = record["minipach"]
        launch = read_launch(record, datum)
        notes = [] if launch else ["the command of the record is not one of minipach's launcher"]
        uses: list[FileUse] = []
        for use, note in self._uses(repo, where, change.commit, launch.matches if launch else ()):
            notes += [note] if note and note not in notes else []
            uses += [use] if use else []
        chain = record.get("chain")
        reused = ours.get("reused_from")
        extra = record.get("extra_inputs")
        image = launch.image if launch else next(iter(extra), "") if isinstance(extra, list) else ""
        place = quoted(where) if where != "." else "."
        return Computation(
            key=key,
            pipeline=where,
            datum=datum,
            datum_id=datum_id,
            job=str(ours.get("job", "")),
            record=change.as_commit(self._pages_of(where, repo).page(change.commit)),
            seconds=None if chain else self._seconds(repo, where, change),
            command=tuple(launch.command) if launch else (str(record.get("cmd", "")),),
            stdin=tuple(launch.stdin) if launch else (),
            variables=tuple(launch.variables) if launch else (),
            secrets=tuple(launch.secrets) if launch else (),
            network=launch.network if launch else True,
            environment=self._environment(repo, where, change.commit, str(image)),
            code=self._code(repo, where, change.commit),
            inputs=tuple(dict.fromkeys(uses)),
            outputs=tuple(_outputs(repo, change)),
            rerun_of=tuple(map(str, chain)) if isinstance(chain, list) else (),
            reused_from=str(reused.get("name", "")) if isinstance(reused, dict) else "",
            repeat=f"datalad rerun -d {place} {change.commit[:10]}",
            notes=tuple(notes),
        )

    def _uses(
        self, repo: Repo, where: str, commit: str, matches: Iterable[tuple[str, str, str, bool]]
    ) -> Iterator[tuple[FileUse | None, str]]:
        """Yield the files that matches stand for, and what can't be known of them."""
        for name, place, path, empty in matches:
            link, folder = self._link(repo, commit, place.rstrip("/"))
            top = folder.prefix if folder else ""
            named = (top + path.strip("/")).rstrip("/") or "."
            entries = repo.ls_tree(commit, f":(top,literal){link}")
            if not entries or entries[0].mode != GITLINK:
                yield None, f"input {name}: the record's commit has no dataset at {link}"
                continue
            at, source = entries[0].sha, self._source(repo, where, commit, link)
            held = self.repo(source)
            if held is None or held.resolve(f"{at}^{{commit}}") is None:
                missing = "is not installed here" if held is None else f"does not have its commit {at[:10]} here"
                yield (
                    self._use(name, source, at, named, at, empty),
                    f"input {name}: {source} {missing}",
                )
                continue
            try:
                snapshot = self._snapshot(held, source, at, folder)
            except UserError as error:
                yield self._use(name, source, at, named, at, empty), f"input {name}: {error}"
                continue
            files = [(p, entry.sub) for p, entry in snapshot.below(path)]
            if not files:
                yield None, f"input {name}: {source} has nothing at {named if top else path} in commit {at[:10]}"
            for sub in dict.fromkeys(sub for _, sub in files):
                inside, pinned = self._nested(held, source, at, sub)
                below = [p.removeprefix(f"{sub}/") if sub else top + p for p, s in files if s == sub]
                for key in self._versions(inside, pinned, below):
                    yield FileUse(name, key, at, empty), ""

    def _link(self, repo: Repo, commit: str, folder: str) -> tuple[str, PlainFolder | None]:
        """Return the dataset below `inputs/` that a launcher's folder is in, and the plain folder that it is there."""
        links = (above for above in _prefixes(folder) if _is_link(repo, commit, above))
        link = next(links, folder)
        if link == folder:
            return link, None
        inside = folder.removeprefix(f"{link}/")
        return link, PlainFolder("", "" if inside == ALL else inside)

    def _use(self, name: str, where: str, commit: str, path: str, at: str, empty: bool) -> FileUse:
        (key,) = self._versions(where, commit, [path])
        return FileUse(name, key, at, empty)

    def _source(self, repo: Repo, where: str, commit: str, link: str) -> str:
        """Return the repository of an input as a path in the project; in a pipeline alone, that below `inputs/`."""
        url = repo.config(f"submodule.{link}.url", f"blob:{commit}:.gitmodules")
        found = posixpath.normpath(posixpath.join(where, url)) if url else ""
        if found and not found.startswith(("..", "/")) and is_dataset(self.root / found):
            return found
        inside = link if where == "." else f"{where}/{link}"
        return inside if is_dataset(self.root / inside) or found.startswith(("..", "/")) or not found else found

    def _nested(self, repo: Repo, source: str, at: str, sub: str) -> tuple[str, str]:
        """Return the repository at `sub` in an input, and the commit at which the input has it."""
        where, commit, left, held = source, at, sub, repo
        while left:
            link = next((p for p in _prefixes(left) if _is_link(held, commit, p)), None)
            if link is None:
                break
            commit = held.resolve(f"{commit}:{link}") or commit
            where, left = f"{where}/{link}", left[len(link) + 1 :]
            held = self.repo(where) or held
        return where, commit

    def _snapshot(self, repo: Repo, where: str, at: str, folder: PlainFolder | None) -> Snapshot:
        key = where, at, folder
        if key not in self._snapshots:
            self._snapshots[key] = read_snapshot(repo, at, folder=folder)
        return self._snapshots[key]

    def _seconds(self, repo: Repo, where: str, change: FileChange) -> float | None:
        """Return how long a datum ran, as its stored result says."""
        assert change.record is not None and change.datum is not None
        known = self._known.setdefault(where, StoredResults(repo))
        name, datum_id = change.datum
        result = known.named(datum_id, name)
        if result is None or known.commit is None or _job(known.record(result)) != change.record["minipach"].get("job"):
            return None
        try:
            seconds = parse_object(repo.objects.read(f"{known.commit}:{result.where}/result.json") or b"").get(
                "seconds"
            )
        except ValueError:
            return None
        return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None

    def _code(self, repo: Repo, where: str, commit: str) -> Code | None:
        """Return the last commit that changed the pipeline's own files, as the record's commit has them."""
        listed = sorted(listed_own(repo, commit) or ())
        own = [*SPECS, CODE, PINNED_CODE, *(listed if len(listed) <= _MOST_OWN else [OWN_FILES])]
        specs = [f":(top,literal){path}" for path in own]
        made = change_of(repo, commit, "--", *specs)
        if made is None:
            return None
        if (where, made.commit) not in self._codes:
            pages = self._pages_of(where, repo)
            head = repo.head()
            now = change_of(repo, head, "--", *specs) if head else None
            same = now is None or repo.succeeds(
                "diff", "--quiet", "--no-ext-diff", made.commit, now.commit, "--", *specs
            )
            found = Code(made.as_commit(pages.page(made.commit)))
            if now is not None and not same:
                place = quoted(self.root / where) if where != "." else quoted(self.root)
                diff = f"git -C {place} diff {made.commit[:10]} {now.commit[:10]} -- {' '.join([*SPECS[:1], CODE])}"
                remote = pages.remote_with(now.commit) if pages.remote_with(made.commit) else ""
                url = compare_page(remote, made.commit, now.commit) if remote else ""
                found = Code(found.commit, now.commit, diff, url)
            self._codes[where, made.commit] = found
        return self._codes[where, made.commit]

    def _environment(self, repo: Repo, where: str, commit: str, path: str) -> Environment:
        entries = repo.ls_tree(commit, f":(top,literal){path}") if path and not path.startswith("/") else []
        name = _named_image(repo, commit)
        if not entries:
            return Environment(name, "", "", path)
        entry = entries[0]
        known = (where, entry.sha, name)
        if known not in self._environments:
            self._environments[known] = _environment_of(repo, commit, entry.path, name)
        return self._environments[known]


def _environment_of(repo: Repo, commit: str, path: str, name: str) -> Environment:
    (entry,) = repo.ls_tree(commit, f":(top,literal){path}")
    if entry.mode == "040000":
        return Environment(name, f"tree:{entry.sha}", "", path)
    kind, content, _ = classify(repo, [entry])[entry.sha, entry.mode == SYMLINK]
    text = ""
    if kind == "git" and _blob_size(repo, entry.sha) < _TEXT:
        data = (repo.objects.read(entry.sha) or b"").decode("utf-8", "replace")
        text = data if data.startswith(host.FIRST_LINE) else ""
    beside = repo.objects.read(f"{commit}:{posixpath.dirname(path)}/digest") or b""
    digest = beside.decode("utf-8", "replace") if len(beside) < 500 and not text else ""
    return Environment("" if text else name, content, "" if digest == UNKNOWN_DIGEST else digest.strip(), path, text)


def _named_image(repo: Repo, commit: str) -> str:
    """Return the image as the spec at a commit names it."""
    for name in SPECS:
        data = repo.objects.read(f"{commit}:{name}")
        if data is not None:
            found = dig(read_yaml(data.decode("utf-8", "replace")).data, "transform", "image")
            return found if isinstance(found, str) else ""
    return ""


def _outputs(repo: Repo, change: FileChange) -> list[str]:
    """Return the paths that the datum of a record wrote."""
    assert change.record is not None
    for datum in change.record["minipach"].get("datums", ()):
        if isinstance(datum, dict) and (datum.get("name"), datum.get("id")) == change.datum and "outputs" in datum:
            return [path for path in datum["outputs"] if isinstance(path, str)]
    options = ("-r", "--root", "-z", "--name-only", "--no-commit-id", "--no-renames", "--diff-filter=d")
    out = os.fsdecode(repo.git("diff-tree", *options, change.commit))
    return [path for path in out.split("\0") if path]


def _was_output(repo: Repo, at: str, path: str) -> bool:
    """Return whether a run record had written a file before."""
    return change_of(repo, "--fixed-strings", '--grep="minipach"', at, "--", f":(top,literal){path}") is not None


def _job(message: str) -> object:
    try:
        ours = parse(message)[1].get("minipach")
    except ValueError:
        return None
    return ours.get("job") if isinstance(ours, dict) else None


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:n]) for n in range(1, len(parts) + 1))


def _is_link(repo: Repo, commit: str, path: str) -> bool:
    entries = repo.ls_tree(commit, f":(top,literal){path}")
    return bool(entries) and entries[0].mode == GITLINK


def _blob_size(repo: Repo, sha: str) -> int:
    return int(repo.line("cat-file", "-s", sha))


def _web(repo: Repo, key: str) -> tuple[str, ...]:
    """Return the web addresses that git-annex knows for a content, without names and passwords in them."""
    name = key.replace("&", "&a").replace("%", "&s").replace(":", "&c").replace("/", "%")
    folder = hashlib.md5(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
    data = repo.objects.read(f"git-annex:{folder[:3]}/{folder[3:6]}/{name}.log.web") or b""
    latest: dict[str, tuple[float, bool]] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        when, _, rest = line.partition(" ")
        present, _, url = rest.partition(" ")
        stamp = _number(when.removesuffix("s"))
        if url and stamp >= latest.get(url, (-1.0, False))[0]:
            latest[url] = (stamp, present == "1")
    return tuple(_without_login(url) for url, (_, present) in latest.items() if present)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _without_login(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host_part, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host_part.rpartition('@')[2]}{slash}{path}" if mark else url
