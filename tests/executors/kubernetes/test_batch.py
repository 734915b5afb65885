"""Batches as refs: what can't be read is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.executors.kubernetes.batch import MOST, Batch, UnknownBatchError, batches_of, read_batch
from minipach.git.repo import Repo
from minipach.model.repo_layout import BATCH_REFS
from tests.fixtures.projects import Study

ID = "0123456789abcdef"


def sets(count: int) -> list[str]:
    return [f"{number:040x}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 7, MOST, MOST + 1, 10_000])
def test_each_set_is_in_one_index_in_order(count: int) -> None:
    batch = Batch.of(ID, sets(count))
    assert [one for row in batch.indices for one in row] == sets(count)
    assert len(batch.indices) == min(count, MOST)
    lengths = {len(row) for row in batch.indices}
    assert max(lengths) - min(lengths) <= 1
    assert batch.index_of(sets(count)[-1]) == len(batch.indices) - 1
    assert batch.index_of("f" * 40) is None


def test_a_batch_is_kept_and_what_is_none_is_told(study: Study) -> None:
    repo = Repo(study.root / "images")
    batch = Batch.of(ID, sets(3))
    batch.write(repo)
    assert read_batch(repo, batch.name) == batch
    bad = ["{", "[]", '{"indices": 3}', json.dumps({"indices": [["../../x"]]}), json.dumps({"indices": [[1]]})]
    for number, text in enumerate(bad):
        name = f"minipach-{number:08x}-{0:012x}"
        repo.update_refs([f"update {BATCH_REFS}{name} {repo.hash_blob(text.encode())}"])
        with pytest.raises(UnknownBatchError):
            read_batch(repo, name)
    found, unreadable = batches_of(repo)
    assert found == [batch]
    assert len(unreadable) == len(bad)


def test_a_batch_that_is_gone_is_told(tmp_path: Path, study: Study) -> None:
    with pytest.raises(UnknownBatchError):
        read_batch(Repo(study.root / "images"), "minipach-01234567-0123456789ab")
