"""Sets that were submitted, as they are kept until a pass has recorded them: as refs in git, or as files in a folder.

Both have the JSON of a `WorkSet`, and both check a set that they read against its id. Workers with a clone have no
files of the project, so that they read refs: `refs/minipach/sets/<id>` points to a blob. Tasks on a shared file system
read files: a submission of thousands of sets would cost the repo as many refs. Who can write to an executor's memory
must not be able to say what runs here: executors carry ids alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from minipach.git.repo import Repo
from minipach.model.repo_layout import RESULT_REFS, RESULTS_FILE, SET_REFS
from minipach.model.work_set import WorkSet, id_of
from minipach.records.results_branch import StoredResults
from minipach.support.files import write_whole
from minipach.support.validation import parse_object


class UnknownSetError(Exception):
    """A set that isn't stored, or isn't what its name says."""


# --- as files ---


def write_file(folder: Path, work: WorkSet) -> None:
    """Keep a set in a folder."""
    write_whole(_file(folder, work.id), work.to_json())


def read_file(folder: Path, set_id: str) -> WorkSet:
    """Return the set with this id from a folder. Raises UnknownSetError."""
    path = _file(folder, set_id)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnknownSetError(f"{path}: {error.strerror}") from None
    return _parse(str(path), set_id, data)


def drop_file(folder: Path, set_id: str) -> None:
    """Forget a set in a folder."""
    _file(folder, set_id).unlink(missing_ok=True)


def file_ids(folder: Path) -> list[str]:
    """Return the ids of the sets in a folder."""
    return [path.stem for path in folder.glob("*.json")]


def _file(folder: Path, set_id: str) -> Path:
    return folder / f"{set_id}.json"


# --- as refs ---


def write_sets(repo: Repo, sets: Sequence[WorkSet]) -> None:
    """Keep the sets of this repo. One process for the blobs, one transaction for the refs."""
    with tempfile.TemporaryDirectory(prefix="minipach-sets.", dir=repo.common_dir) as name:
        paths = []
        for number, work in enumerate(sets):
            path = Path(name, str(number))
            path.write_text(work.to_json())
            paths.append(path)
        request = b"".join(os.fsencode(path) + b"\n" for path in paths)
        blobs = repo.git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=request).decode().split()
    repo.update_refs([f"update {SET_REFS}{work.id} {blob}" for work, blob in zip(sets, blobs, strict=True)])


def read_set(repo: Repo, set_id: str) -> WorkSet:
    """Return the set with this id. Raises UnknownSetError."""
    data = repo.objects.read(SET_REFS + set_id)
    if data is None:
        raise UnknownSetError(f"{repo.path}: no set {set_id}; it was cancelled, or is done")
    return _parse(str(repo.path), set_id, data)


def _parse(where: str, set_id: str, data: bytes) -> WorkSet:
    try:
        work = WorkSet.from_json(data.decode())
        true_id = id_of(work)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnknownSetError(f"{where}: set {set_id} can't be read: {error}") from None
    if work.id != set_id or true_id != set_id:
        raise UnknownSetError(f"{where}: set {set_id} is not what its name says")
    return work


def known_sets(repo: Repo) -> dict[str, WorkSet | None]:
    """Return all sets of this repo by id; None for what can't be read."""
    refs = repo.refs(SET_REFS)
    found: dict[str, WorkSet | None] = {}
    for ref, data in zip(refs, repo.objects.read_many(list(refs.values())), strict=True):
        set_id = ref.removeprefix(SET_REFS)
        try:
            found[set_id] = _parse(str(repo.path), set_id, data or b"")
        except UnknownSetError:
            found[set_id] = None
    return found


def set_ids(repo: Repo) -> set[str]:
    """Return the ids of all sets of this repo."""
    return {ref.removeprefix(SET_REFS) for ref in repo.refs(SET_REFS)}


def drop_sets(repo: Repo, ids: Iterable[str]) -> None:
    """Forget sets; those that aren't there, too."""
    there = repo.refs(SET_REFS)
    repo.update_refs([f"delete {SET_REFS}{i}" for i in ids if SET_REFS + i in there])


def drop_all(repo: Repo) -> None:
    """Remove the stored sets. A worker that still has the id of one does not begin it."""
    drop_sets(repo, set_ids(repo))


def has_whole_result(repo: Repo, work: WorkSet) -> bool:
    """Return whether a set that is not to be forced has a result ref already that holds all of its datums."""
    if work.forced or work.chunk:
        return False
    stored = _stored(repo.objects.read(f"{RESULT_REFS}{work.id}:{RESULTS_FILE}"))
    return all((d["id"], d["name"]) in stored for d in work.datums)


def finished(repo: Repo, work: WorkSet, elsewhere: Iterable[str] = ()) -> list[int]:
    """Return the datums of a set that have a result already, in a ref or on the results branch, by their index.

    A set that is to be forced has none. elsewhere: commits of result refs that another repository has.
    """
    if work.forced:
        return []
    commits = {*repo.refs(RESULT_REFS).values(), *elsewhere}
    stored = {pair for sha in commits for pair in _stored(repo.objects.read(f"{sha}:{RESULTS_FILE}"))}
    known = StoredResults(repo)
    pairs = [(str(d["id"]), str(d["name"])) for d in work.datums]
    return [i for i, pair in enumerate(pairs) if pair in stored or known.named(*pair) is not None]


def _stored(data: bytes | None) -> set[tuple[str, str]]:
    """Return the ids and names of the results that a worker has left; none if they are damaged: those run again."""
    if data is None:
        return set()
    try:
        return {(str(r["id"]), str(r["name"])) for r in parse_object(data)["results"]}
    except (ValueError, KeyError, TypeError):
        return set()
