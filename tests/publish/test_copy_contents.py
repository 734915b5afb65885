"""`minipach.publish.copy_contents`: what counts as copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minipach.git.repo import Repo
from minipach.publish import copy_contents, results_exchange

KEYS = ("SHA256E-s3--a", "SHA256E-s40--b", "SHA256E-s500--c")


def row(key: str, note: str = "", error: str = "") -> dict[str, object]:
    """A line of `git annex copy --json`, as git-annex 10 prints it."""
    said = {"note": note} if note else {}
    return {"command": "copy", "key": key, "success": not error, "error-messages": [error] if error else [], **said}


def test_a_content_whose_answer_was_lost_has_been_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has it at the second attempt, so git-annex sends nothing; what was there before does not count."""
    first, second, third = KEYS
    answers = [
        [row(first, note="to lab..."), row(second, note="to lab...", error="Connection reset by peer"), row(third)],
        [row(first), row(second), row(third)],
    ]

    def annex(_repo: Repo, *_words: str) -> bytes:
        return b"".join(json.dumps(one).encode() + b"\n" for one in answers.pop(0))

    monkeypatch.setattr(copy_contents, "annex", annex)
    monkeypatch.setattr(copy_contents, "at_once", lambda _repo: ())
    monkeypatch.setattr(results_exchange, "pause", lambda _attempt: None)
    repo = Repo(tmp_path)
    assert copy_contents.copy_all(repo, "lab", ["refs/heads/main"], fast=False) == (2, 43)
    assert answers == []
