"""Warm child processes: what they do when their parent goes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

import pytest

from minipach.executors.child_process import answer, ended_within
from tests.fixtures.leftovers import until


class Parent(io.StringIO):
    """Takes a child's answers, and has its next request out before the child can do anything else."""

    def __init__(self, requests: BinaryIO) -> None:
        super().__init__()
        self.requests = requests
        self.next = [b'{"n": 1}\n', b'{"n": 2}\n']

    def flush(self) -> None:
        if self.next:
            self.requests.write(self.next.pop(0))
            self.requests.flush()
            time.sleep(0.1)  # the child's listener has it: nothing fails if it hasn't, but less is tested


@pytest.mark.parametrize("last", [1, 2])
def test_a_parent_that_goes_while_a_request_is_worked_on_ends_the_child(last: int) -> None:
    reading, writing = (os.fdopen(fd, mode) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    working, ended = threading.Event(), threading.Event()

    def serve(request: Mapping[str, Any]) -> dict[str, Any]:
        if request["n"] == last:
            working.set()
            assert ended.wait(60)
        return dict(request)

    parent = Parent(writing)
    child = threading.Thread(target=answer, args=(reading, parent, serve, lambda: None, ended.set))
    child.start()
    until("it works on the last request", working.is_set)
    parent.next.clear()
    writing.close()
    child.join(60)
    assert ended.is_set()
    assert [json.loads(line)["n"] for line in parent.getvalue().splitlines() if line] == list(range(1, last + 1))


def test_a_parent_that_goes_between_two_requests_ends_no_one() -> None:
    reading, writing = (os.fdopen(fd, mode) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    ended = threading.Event()
    parent = Parent(writing)
    child = threading.Thread(target=answer, args=(reading, parent, dict, lambda: None, ended.set))
    child.start()
    until("both requests are answered", lambda: parent.getvalue().count("}\n") == 2)
    writing.close()
    child.join(60)
    assert not child.is_alive() and not ended.is_set()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import sys; sys.stdin.read(); print('an answer that nobody reads'); sys.exit(3)", 3),
        ("import os, sys; os.close(1); sys.stdin.read(); sys.exit(4)", 4),  # its end comes after that of its answers
    ],
)
def test_the_end_of_a_child_is_waited_for(script: str, code: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    assert not ended_within(child, 0.01), "it still reads"
    child.stdin.close()
    assert ended_within(child, 600.0) and child.returncode == code
    child.stdout.close()


def test_a_child_collects_garbage_again_once_it_has_imported_what_sets_run_with() -> None:
    code = (
        "import gc; gc.disable()\n"
        "from minipach.executors.child_process import serve_all\n"
        "serve_all(lambda request: {'collects': gc.isenabled(), 'leaves out': gc.get_freeze_count() > 0})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"{}\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"\n"
        assert json.loads(child.stdout.readline()) == {"collects": True, "leaves out": True}
        child.stdin.close()
