"""What reaches a terminal from data: names, messages, logs and branches, in every view."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minipach
from minipach.support.messages import say, say_all
from minipach.support.text import TerminalFilter, colours_only, printable
from tests.fixtures.projects import MINIPACH, Study

_FORGED = "q: published (9 ran)"
_EVIL = f"a\x1b]0;owned\x07\r\x9b31m\u202e\u2066\u200b\x7f\n{_FORGED}"
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def hostile(study: Study) -> None:
    """A pipeline whose data, branch, spec and output have control characters in whatever can have them."""
    study.put("images/a", "a")
    study.copier()
    study.schedule()
    (study.root / "images" / _EVIL).write_text("x")
    odd = "b\x1b[2J\u202e" + "\x9b"
    (study.root / "images" / odd).write_text("bad")
    study.ok("git", "-C", "images", "add", odd)
    study.ok("git", "-C", "images", "commit", "-qm", f"\x1b]0;owned\x07{_FORGED}")
    study.ok("git", "-C", "images", "branch", "b\u200bc")
    (study.root / "edges/code/copy.sh").write_text(
        "printf '\\033]0;owned\\007\\033[31mred\\033[0m\\r\\n'; echo 'q: published (9 ran)' >&2; exit 3\n"
    )
    study.save("edges")


_VIEWS = ["status", "plan", "plan --all", "check", "doctor", "datums edges", "schedule", "jobs", "logs", "diff edges"]
_VIEWS += ["dag", "top", "results list edges", "usage edges", "audit edges", "wait", "job edges", "retry"]


@pytest.mark.slow
def test_no_view_sends_controls_or_lines_that_data_has_made(study: Study) -> None:
    hostile(study)
    for view in _VIEWS:
        done = study.minipach(*view.split())
        assert "Traceback" not in done.err, view
        text = done.err + ("" if view == "logs" else done.out)  # into a pipe, logs are what they are
        assert not _ODD.findall(text.replace("\r\n", "\n")), f"{view}: {text!r}"
        assert not [line for line in done.err.splitlines() if line == _FORGED], view


@pytest.mark.slow
def test_json_and_drawings_of_hostile_names_stay_valid(study: Study) -> None:
    hostile(study)
    for view in ("plan --json", "status --json", "dag --json", "jobs --json", "top --json"):
        json.loads(study.minipach(*view.split()).out)
    ElementTree.fromstring(study.ok(*MINIPACH, "dag", "--format", "svg"))
    for form in ("dot", "mermaid"):
        assert not _ODD.findall(study.ok(*MINIPACH, "dag", "--format", form))


def on_terminal(study: Study, *command: str) -> str:
    """What a command sends to a terminal."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(study.root)
        os.execvp(MINIPACH[0], [*MINIPACH, *command])
    data = b""
    while select.select([master], [], [], 60)[0]:
        try:
            more = os.read(master, 65536)
        except OSError:
            break
        if not more:
            break
        data += more
    os.waitpid(pid, 0)
    os.close(master)
    return data.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_logs_send_a_terminal_colours_alone_and_all_with_raw(study: Study) -> None:
    study.put("images/a", "a")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/say.sh]}\ndatum_tries: 1\n',
        say="printf '\\033]0;owned\\007\\033[31mred\\033[0m\\033[2J\\b\\302\\2331m\\n'; exit 3\n",
    )
    study.schedule(code=1)
    shown = on_terminal(study, "logs", "edges", "a")
    assert r"\x1b]0;owned\x07" + "\x1b[31mred\x1b[0m" + r"\x1b[2J\x08\x9b1m" in shown
    raw = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x1b[2J\b\x9b1m\n"
    assert raw in on_terminal(study, "logs", "--raw", "edges", "a")
    assert study.ok(*MINIPACH, "logs", "edges", "a").startswith(raw)


@given(st.text())
def test_what_is_printable_has_no_control_format_or_separator_character(text: str) -> None:
    kinds = {unicodedata.category(c) for c in printable(text) if c not in " \t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text(st.sampled_from("a\x1b[]31m;\r\n\t\x9b\x07\u202e")))
def test_colours_alone_are_left_of_what_controls_a_terminal(text: str) -> None:
    rest = re.sub(r"\x1b\[[0-9;:]*m", "", colours_only(text))
    assert not _ODD.findall(rest)


def test_a_message_is_one_line_and_another_programs_lines_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"images: {_EVIL}")
    say_all(f"git failed: \x1b[2J\n{_FORGED}\n\nend")
    first, second, third, fourth = capsys.readouterr().err.splitlines()
    assert first.startswith("images: a\\x1b]0;owned\\x07\\r\\x9b31m") and first.endswith(f"\\n{_FORGED}")
    assert (second, third, fourth) == ("git failed: \\x1b[2J", f"    {_FORGED}", "    end")


def test_standard_error_is_printed_to_in_one_place() -> None:
    package = Path(minipach.__file__).parent
    allowed = {"support/messages.py", "cli/__init__.py", "spec/reference.py", "cli/reference.py"}
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"file=sys\.stderr|sys\.stderr\.write", path.read_text())
    }
    assert found <= allowed


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_what_a_command_prints_reaches_a_terminal_as_text_and_colours(size: int) -> None:
    printed = "plain \x1b[31mred\x1b[0m \x1b]0;owned\x07 größe\r\n\x1b[2Jgone \x1b[1;3".encode() + b"\xff"
    stream = TerminalFilter()
    shown = b"".join(stream.feed(printed[at : at + size]) for at in range(0, len(printed), size))
    shown += stream.feed(b"", last=True)
    assert shown == (
        b"plain \x1b[31mred\x1b[0m \\x1b]0;owned\\x07 gr\xc3\xb6\xc3\x9fe\n\\x1b[2Jgone \\x1b[1;3\\udcff\x1b[0m"
    )


def test_nothing_is_held_back_that_can_be_shown() -> None:
    stream = TerminalFilter()
    assert stream.feed(b"50 %") == b"50 %"
    assert stream.feed(b"\x1b[3") == b"" and stream.feed(b"1mx") == b"\x1b[31mx"


def test_run_one_shows_a_terminal_no_control_characters(study: Study) -> None:
    study.put("images/a.txt", "a")
    study.pipeline(
        "edges",
        'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/r.sh]}\n',
        r="printf '\\033]0;x'\n",
    )
    master, slave = os.openpty()
    done = subprocess.run([*MINIPACH, "run-one", "edges:a.txt"], cwd=study.root, stderr=slave, check=False)
    os.close(slave)
    said = os.read(master, 65536)
    os.close(master)
    assert done.returncode == 0 and b"\\x1b]0;x" in said and b"\x1b]" not in said, said
