"""Reports come from outside: what can't be right is skipped, and no log lands elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minipach.executors.kubernetes.reports import PodReporter, read_report, reports_of, store_logs
from minipach.git.repo import Repo
from minipach.git.tree_entries import TreeEntry
from minipach.model.job_entries import DatumResult
from minipach.model.work_set import Outcome, WorkSet
from tests.fixtures.projects import Study
from tests.fixtures.work_sets import a_set


@pytest.fixture
def repo(study: Study) -> Repo:
    return Repo(study.root / "images")


@pytest.fixture
def there(tmp_path: Path) -> WorkSet:
    """A set as the scheduler has it."""
    return a_set(2, log=str(tmp_path / "project" / "logs" / "000001-a.log"))


@pytest.fixture
def here(there: WorkSet, tmp_path: Path) -> WorkSet:
    """The set in a pod's clone."""
    (tmp_path / "pod").mkdir()
    return replace(there, log=str(tmp_path / "pod" / f"{there.id}.log"))


def outcome(work: WorkSet, log: str | None = None) -> Outcome:
    return Outcome(work.id, "failed", 7, "no", 1.0, 1, work.log if log is None else log, "pod-1")


def test_outcomes_and_logs_arrive_where_the_set_has_its_logs(repo: Repo, here: WorkSet, there: WorkSet) -> None:
    Path(here.log).write_text("what it printed\n")
    Path(here.log.removesuffix(".log") + "-2.log").write_text("of b\n")
    reporter = PodReporter(repo, here, "run1", "pod-1")
    reporter.notify(outcome(here))
    reporter.notify(replace(outcome(here, here.log.removesuffix(".log") + "-2.log"), datums=(DatumResult(1, "ok"),)))
    reporter.write()
    ((run, tree),) = reports_of(repo)[here.id]
    report = read_report(repo, tree, there)
    assert run == "run1" and report.host == "pod-1"
    assert [one.log for one in report.outcomes] == [there.log, there.log.removesuffix(".log") + "-2.log"]
    store_logs(repo, tree, there)
    assert Path(there.log).read_text() == "what it printed\n"
    assert Path(report.outcomes[1].log).read_text() == "of b\n"


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"begin": "x", "host": 3}',
        '{"end": 99999, "at": 1}',
        '{"end": 0, "at": "later"}',
        '{"set_id": "another"}',
        json.dumps({"begin": 1e300, "host": "h"}),
    ],
)
def test_a_line_that_cannot_be_right_is_skipped(repo: Repo, here: WorkSet, there: WorkSet, line: str) -> None:
    good = outcome(here).to_json()
    blob = repo.hash_blob(f"{line}\n{good}\n".encode())
    report = read_report(repo, repo.write_tree([TreeEntry("100644", blob, "told")]), there)
    assert len(report.outcomes) == 1
    assert report.began == 0.0


@pytest.mark.parametrize(
    "name", ["../../evil.log", "{id}/../x.log", "{id}-../../x.log", "other.log", "{id}.sh", "{id}x y.log"]
)
def test_no_log_is_named_elsewhere(repo: Repo, here: WorkSet, there: WorkSet, name: str, tmp_path: Path) -> None:
    name = name.replace("{id}", here.id)
    line = outcome(here, f"/anywhere/{name}").to_json()
    told = repo.hash_blob(f"{line}\n".encode())
    assert read_report(repo, repo.write_tree([TreeEntry("100644", told, "told")]), there).outcomes == []
    if ".." not in name:
        entries = [TreeEntry("100644", repo.hash_blob(b"evil"), f"logs/{name}")]
        store_logs(repo, repo.write_tree(entries), there)
        assert not list((tmp_path / "project").rglob("*"))


def test_a_link_is_no_log(repo: Repo, here: WorkSet, there: WorkSet) -> None:
    entries = [TreeEntry("120000", repo.hash_blob(b"/etc/passwd"), f"logs/{here.id}.log")]
    store_logs(repo, repo.write_tree(entries), there)
    assert not Path(there.log).exists()
