"""The results of a worker with clones, on their way to the project: how many pushes, and what is never visible."""

from __future__ import annotations

import json
import os
from pathlib import Path

from minipach.executors.clones import Clones
from minipach.executors.rq.push_child import PushChild
from minipach.executors.rq.pusher import HeldResults, Pusher
from minipach.git.repo import Repo
from minipach.git.tree_entries import FILE, SYMLINK, TreeEntry
from minipach.model.repo_layout import RESULT_REFS, RESULTS_FILE
from tests.fixtures.projects import Study

ABSENT = "SHA256E-s3--" + "0" * 64


def _result(repo: Repo, name: str, key: str | None = None) -> str:
    """Make a result ref; with a key, of an annexed output."""
    link = repo.hash_blob(f".git/annex/objects/xx/yy/{key}/{key}".encode())
    rows = [{"id": name, "name": name, "files": [["a", SYMLINK, link]] if key else []}]
    blob = repo.hash_blob(json.dumps({"results": rows}).encode())
    tree = repo.write_tree([TreeEntry(FILE, blob, RESULTS_FILE)])
    ref = RESULT_REFS + name
    repo.update_refs([f"update {ref} {repo.commit_tree(tree, name, [])}"])
    return ref


def test_what_can_be_pushed_is_pushed_at_once(study: Study, tmp_path: Path) -> None:
    """No ref names absent content, and one that the server refuses costs no other."""
    hook = study.root / "images" / ".git" / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in *bad) echo "too large" >&2; exit 1 ;; esac\n')
    hook.chmod(0o755)
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    repo = clones.clone("images")
    good = [_result(repo, f"{n:04}") for n in range(20)]
    bad, absent = _result(repo, "bad"), _result(repo, "absent", ABSENT)
    child = PushChild(clones.root, clones.url, 10**9)
    child._transfer.pauses = (0.0, None)

    answer = child.serve({"refs": {"images": [*good, bad, absent, RESULT_REFS + "gone"]}})

    failed = answer["failed"]["images"]
    assert set(failed) == {bad, absent}
    assert "too large" in failed[bad] and ABSENT in failed[absent]
    assert set(Repo(study.root / "images").refs(RESULT_REFS)) == set(good)
    assert set(repo.refs(RESULT_REFS)) == {bad, absent}, "what is not pushed stays"
    assert answer["pushes"] <= 4


def test_a_pusher_that_is_killed_begins_again(study: Study, tmp_path: Path) -> None:
    clones = Clones(tmp_path / "worker", f"file://{study.root}")
    clones.top()
    ref = _result(clones.clone("images"), "one")
    done: list[HeldResults] = []
    start = ("minipach.executors.rq.push_child", str(clones.root), clones.url, str(10**9))
    pusher = Pusher(start, done.append, lambda _held, why: done.append(HeldResults(why, [])))
    pusher.add(HeldResults("images", [ref]))
    pusher.turn(others=False)
    assert pusher._process is not None
    pusher._process.kill()
    pusher.hear(b"")
    assert [one.refs for one in pusher.held] == [[ref]]
    pusher.turn(others=False)
    while pusher.held:
        assert pusher.stdout is not None
        pusher.hear(os.read(pusher.stdout, 65536))
    pusher.end()
    assert [one.refs for one in done] == [[ref]]
    assert (pusher.pushes, pusher.results) == (1, 1)
    assert list(Repo(study.root / "images").refs(RESULT_REFS)) == [ref]
