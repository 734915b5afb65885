"""The reason in what git prints."""

from __future__ import annotations

import pytest

from minipach.git.git_error import reason_in


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "remote: error: refusing to update checked out branch: refs/heads/master\n"
            "To ../images\n ! [remote rejected] master -> master (branch is currently checked out)\n"
            "error: failed to push some refs to '../images'",
            "branch is currently checked out",
        ),
        (
            "remote: the quota is used up\nTo /srv/x\n ! [remote rejected] HEAD -> a (pre-receive hook declined)\n"
            "error: failed to push some refs to '/srv/x'",
            "pre-receive hook declined: the quota is used up",
        ),
        (
            "ssh: connect to host lab port 22: Connection refused\nfatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.",
            "ssh: connect to host lab port 22: Connection refused",
        ),
        (
            "fatal: '/nowhere' does not appear to be a git repository\n"
            "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights",
            "'/nowhere' does not appear to be a git repository",
        ),
        (
            "warning: a\ngit-annex: there is no available git remote named x",
            "git-annex: there is no available git remote named x",
        ),
        ("", ""),
    ],
)
def test_the_reason_of_an_error_is_the_line_that_says_why(text: str, reason: str) -> None:
    assert reason_in(text) == reason
