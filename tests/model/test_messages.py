"""What is written into commits and logs is found there again."""

from __future__ import annotations

from minipach.model import messages


def test_the_lines_between_tries_are_found() -> None:
    lines = [messages.next_try(2, 3), f"{messages.SUBJECT}{messages.once_more(2, 3)}"]
    log = "one\n" + "\n".join(lines) + "\ntwo\nminipach: try it\n"
    assert messages.NEXT_TRY.split(log.encode()) == [b"one\n", b"", b"two\nminipach: try it\n"]


def test_the_job_of_a_publish_is_found() -> None:
    message = f"{messages.SUBJECT}edges: 3 ran\n\n{messages.JOB}12ab\ninput: images 34cd\n"
    assert messages.job_of(message) == "12ab"
    assert messages.job_of(f"{messages.SUBJECT}a project begins here\n") is None
