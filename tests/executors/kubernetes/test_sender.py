"""The pushes of a pod: how many there are, and what is never visible."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.execution.staging import StagingError
from minipach.executors.clones import Clones
from minipach.executors.kubernetes.sender import Sender
from minipach.executors.transfer import Transfer
from minipach.git.repo import Repo
from minipach.model.repo_layout import REPORT_REFS, RESULT_REFS
from tests.fixtures.projects import Study


@pytest.fixture
def clones(study: Study, tmp_path: Path) -> Clones:
    found = Clones(tmp_path / "pod", f"file://{study.root}")
    found.top()
    return found


def commit(repo: Repo, ref: str, text: str) -> str:
    """Point a ref at a commit of its own."""
    made = repo.commit_tree(repo.write_tree([]), text, [])
    repo.update_refs([f"update {ref} {made}"])
    return made


def test_results_of_several_sets_go_together_and_reports_after_them(study: Study, clones: Clones) -> None:
    repo, there = clones.clone("images"), Repo(study.root / "images")
    order = there.path / ".git" / "hooks" / "pre-receive"
    order.write_text('#!/bin/sh\ncut -d" " -f3 >> "$GIT_DIR/order"\necho end >> "$GIT_DIR/order"\n')
    order.chmod(0o755)
    transfer = Transfer(clones)
    sender = Sender(transfer, repo.path)
    sender._rhythm.wait = 60.0
    report = REPORT_REFS + "a"
    told = commit(repo, report, "of two results")
    for name in "ab":
        commit(repo, RESULT_REFS + name, name)
        sender.add([RESULT_REFS + name], {report: told})
    commit(repo, report, "of a third one, which is not taken yet")
    assert sender.is_busy
    sender.flush()
    assert not sender.is_busy and transfer.pushes == 2
    seen = (there.path / ".git" / "order").read_text().split()
    assert seen == [RESULT_REFS + "a", RESULT_REFS + "b", "end", report, "end"]
    assert there.resolve(report) == told


def test_a_result_that_is_refused_keeps_its_report_back(study: Study, clones: Clones) -> None:
    repo, there = clones.clone("images"), Repo(study.root / "images")
    hook = there.path / ".git" / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho too large >&2\nexit 1\n")
    hook.chmod(0o755)
    transfer = Transfer(clones)
    transfer.pauses = (None,)
    sender = Sender(transfer, repo.path)
    sender._rhythm.wait = 60.0
    commit(repo, RESULT_REFS + "a", "a")
    sender.add([RESULT_REFS + "a"], {REPORT_REFS + "a": commit(repo, REPORT_REFS + "a", "of it")})
    with pytest.raises(StagingError, match="too large"):
        sender.flush()
    with pytest.raises(StagingError):
        sender.add([], {})
    assert not there.refs("refs/minipach/")
