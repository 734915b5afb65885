"""A batch: sets of one repo that are submitted as one Job. Its ref outlives the scheduler, and pods read it.

`refs/minipach/batches/<name>` points to a blob with the ids of the sets of each index of the Job. So the Job itself is
small, however many sets there are.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from minipach.executors.stored_sets import drop_sets
from minipach.git.repo import Repo
from minipach.model.repo_layout import BATCH_REFS
from minipach.support.validation import InvalidError, parse_object

MOST = 2000  # indices of one Job, whatever the number of sets
_NAME = re.compile(r"minipach-[0-9a-f]{8}-[0-9a-f]{12}")
_SET = re.compile(r"[0-9a-f]{40}")


class UnknownBatchError(Exception):
    """A batch that isn't stored, or can't be read."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One Job. name: the Job's, too · indices: the ids of the sets of each index, in order."""

    name: str
    indices: tuple[tuple[str, ...], ...]

    @property
    def ref(self) -> str:
        """The ref that holds the batch."""
        return BATCH_REFS + self.name

    @staticmethod
    def of(project: str, sets: Sequence[str]) -> Batch:
        """Return a new batch with these sets, spread evenly over at most `MOST` indices.

        project: the project's mark, hexadecimal.
        """
        count = min(len(sets), MOST)
        shares = [tuple(sets[i * len(sets) // count : (i + 1) * len(sets) // count]) for i in range(count)]
        return Batch(f"minipach-{project[:8]}-{uuid.uuid4().hex[:12]}", tuple(shares))

    def index_of(self, set_id: str) -> int | None:
        """Return the index that has a set; None: it is not in this batch."""
        return next((n for n, ids in enumerate(self.indices) if set_id in ids), None)

    def write(self, repo: Repo) -> None:
        """Keep the batch as a ref."""
        blob = repo.hash_blob(json.dumps({"schema": 1, "indices": self.indices}).encode())
        repo.update_refs([f"update {self.ref} {blob}"])


def read_batch(repo: Repo, name: str) -> Batch:
    """Return the batch of this name. Raises UnknownBatchError."""
    data = repo.objects.read(BATCH_REFS + name)
    if data is None:
        raise UnknownBatchError(f"{repo.path}: no batch {name}; it was cancelled, or is done")
    try:
        rows = parse_object(data)["indices"]
        indices = tuple(tuple(row) for row in rows)
        ids = [one for row in indices for one in row]
    except (InvalidError, KeyError, TypeError) as error:
        raise UnknownBatchError(f"{repo.path}: batch {name} can't be read: {error}") from None
    if not _NAME.fullmatch(name) or not all(isinstance(one, str) and _SET.fullmatch(one) for one in ids):
        raise UnknownBatchError(f"{repo.path}: batch {name} is none")
    return Batch(name, indices)


def batches_of(repo: Repo) -> tuple[list[Batch], list[str]]:
    """Return the batches of a repo, and the refs of what can't be read as one."""
    found, bad = [], []
    for ref in repo.refs(BATCH_REFS):
        try:
            found.append(read_batch(repo, ref.removeprefix(BATCH_REFS)))
        except UnknownBatchError:
            bad.append(ref)
    return found, bad


def withdraw(repo: Repo) -> None:
    """Keep pods from starting sets of this repo: they read sets from its refs."""
    refs = repo.refs(BATCH_REFS)
    if refs:
        batches = batches_of(repo)[0]
        drop_sets(repo, [name for batch in batches for row in batch.indices for name in row])
        repo.update_refs([f"delete {ref}" for ref in refs])
