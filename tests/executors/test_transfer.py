"""The private clones of workers: what they say of a server that does not take their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from minipach.executors.transfer import annexed_outputs, in_a_line
from minipach.git.git_error import GitError
from minipach.git.repo import Repo
from tests.fixtures.projects import Study


def test_a_refused_push_is_told_with_the_servers_reason(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    server = tmp_path / "server.git"
    study.ok("git", "init", "--quiet", "--bare", str(server))
    hook = server / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'no more space on the shelf' >&2\nexit 1\n")
    hook.chmod(0o755)
    repo = Repo(study.root)

    with pytest.raises(GitError) as refused:
        repo.git("push", "--quiet", str(server), "HEAD:refs/minipach/pending/set")
    told = in_a_line(refused.value)
    assert "git push" in told
    assert "pre-receive hook declined" in told
    assert "no more space on the shelf" in told
    assert "\n" not in told

    with pytest.raises(GitError) as nowhere:
        repo.git("push", "--quiet", str(tmp_path / "nowhere"), "HEAD:refs/minipach/pending/set")
    assert "does not appear to be a git repository" in in_a_line(nowhere.value)


BLOB = "a" * 40
LINK = '["a", "120000", "' + BLOB + '"]'


@pytest.mark.parametrize(
    ("data", "blobs"),
    [
        (f'{{"results": [{{"files": [{LINK}, ["b", "100644", "{BLOB}"]]}}]}}', [BLOB]),
        (f'{{"results": [1, null, {{"files": 5}}, {{}}, {{"files": [{LINK}]}}]}}', [BLOB]),
        (
            f'{{"results": [{{"files": [[], ["a", "120000"], ["a", "120000", 7], ["a", "120000", "HEAD"], {LINK}]}}]}}',
            [BLOB],
        ),
        ('{"results": {"files": []}}', []),
        ('{"results": 1}', []),
        ("[]", []),
        ("{", []),
        ("[" * 100000, []),
    ],
)
def test_results_that_came_from_the_server_are_checked(data: str, blobs: list[str]) -> None:
    assert annexed_outputs(data.encode()) == blobs
