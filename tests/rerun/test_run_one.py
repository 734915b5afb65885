"""`run-one` and `shell`: one datum in scratch; nothing is published, stored or left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.leftovers import until
from tests.fixtures.projects import MINIPACH, PATIENCE, Study

SCRIPT = """
echo "this is $MINIPACH_DATUM"
grep -q bad "$images" && exit 7
tr a-z A-Z <"$images" >"$PFS/out/$MINIPACH_DATUM"
printf 'a\\000b' >"$PFS/out/$MINIPACH_DATUM.bin"
"""


WITH_SECRET = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh], secrets: [{name: my-token, env_var: TOKEN}]}
datum_tries: 1
"""


@pytest.fixture(scope="module")
def study_of_two(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One datum succeeded, one failed: nothing is published yet. Only to look at."""
    study = Study.create(tmp_path_factory.mktemp("two") / "study")
    study.put("images/a.txt", "words\n", save=False)
    study.put("images/b.txt", "bad\n")
    study.copier(more="datum_tries: 1\n")
    spec = study.root / "edges/spec.yml"
    spec.write_text(spec.read_text().replace("{cmd:", '{err_cmd: [sh, -c, "exit 1", --], cmd:'))
    (study.root / "edges/code/copy.sh").write_text(SCRIPT)
    study.schedule(code=1)
    return study


def state(study: Study) -> tuple[object, ...]:
    """Whatever a trial must not change: refs, annexed objects, worktrees, slots, ledger."""
    annexed = {str(p) for repo in ("images", "edges") for p in (study.root / repo / ".git/annex/objects").rglob("*")}
    slots = {p.name for p in (study.root / "edges/.git/minipach/slots").glob("*")}
    return (
        study.git("edges", "for-each-ref"),
        study.git("images", "for-each-ref"),
        study.git("edges", "worktree", "list"),
        study.git("edges", "status", "--porcelain"),
        annexed,
        slots,
        study.minipach("jobs", "--json").out,
    )


def test_a_datum_is_run_and_its_outputs_are_shown(study_of_two: Study) -> None:
    before = state(study_of_two)
    done = study_of_two.minipach("run-one", "edges:a.txt")
    assert (done.code, done.err) == (0, "this is a.txt\n")
    *listing, summary = done.out.splitlines()
    assert listing == ["     BYTES  PATH", "         6  a.txt", "            | WORDS", "         3  a.txt.bin"]
    assert summary.startswith("2 outputs in ") and summary.endswith("; nothing is kept")
    data = study_of_two.minipach("run-one", "edges:a*", "--json").json
    assert (data["schema"], data["pipeline"], data["datum"], data["exit"]) == (1, "edges", "a.txt", 0)
    assert data["outputs"] == [{"path": "a.txt", "bytes": 6, "text": "WORDS\n"}, {"path": "a.txt.bin", "bytes": 3}]
    assert state(study_of_two) == before


def test_a_datum_that_fails(study_of_two: Study) -> None:
    before = state(study_of_two)
    done = study_of_two.minipach("run-one", "edges:b.txt")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[0] == "this is b.txt"
    assert done.err.splitlines()[-1] == "edges: b.txt: the command exited with 7"
    assert state(study_of_two) == before


@pytest.mark.slow
def test_a_datum_that_takes_too_long_is_told_as_a_job_would(study: Study) -> None:
    study.put("images/a.txt", "words\n")
    study.copier(more="datum_timeout: 1s\ndatum_tries: 1\n")
    (study.root / "edges/code/copy.sh").write_text("sleep 600\n")
    study.schedule(code=1)
    done = study.minipach("run-one", "edges:a.txt")
    assert (done.code, done.err.splitlines()[-1]) == (1, "edges: a.txt: timed out after 1 s")


@pytest.mark.slow
def test_what_a_command_left_is_at_fault_and_no_secret_is_shown(study: Study) -> None:
    study.put("images/a.txt", "words\n")
    script = 'echo "it is $TOKEN"; ln -s /nowhere "$PFS/out/$TOKEN"\n'
    secret = {"MINIPACH_SECRET_MY_TOKEN": "s3cr3t"}
    study.pipeline("edges", WITH_SECRET, run=script)
    fault = 'symbolic link "[secret]" points outside /pfs'
    [failed] = study.minipach("schedule", "--json", env=secret).json["pipelines"][0]["failed"]
    assert failed["message"] == fault
    done = study.minipach("run-one", "edges:a.txt", env=secret)
    assert done.code == 1
    assert done.err.splitlines() == ["it is [secret]", f"datum: a.txt: {fault}", f"edges: a.txt: {fault}"]


@pytest.mark.soak
def test_not_exactly_one_datum(study_of_two: Study) -> None:
    for word, message in (
        ("edges", "edges: name one datum, as in edges:DATUM. Fix: minipach datums edges\n"),
        ("edges:*", "edges:*: 2 datums (a.txt, b.txt). Fix: name one of them\n"),
        ("edges:a.tx", "edges: no datum is called 'a.tx'. Fix: use \"a.txt\"\n"),
    ):
        for command in ("run-one", "shell"):
            done = study_of_two.minipach(command, word)
            assert (done.code, done.out, done.err) == (2, "", message)


@pytest.mark.soak
def test_content_that_is_not_here_is_not_fetched(study_of_two: Study, tmp_path: Path) -> None:
    study_of_two.ok("datalad", "clone", str(study_of_two.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    clone.ok("datalad", "get", "-n", "images", "edges")
    done = clone.minipach("run-one", "edges:a.txt")
    assert done.code == 2
    assert "is not here; git -C" in done.err
    assert not list((clone.root / "images/.git/annex").glob("objects/*"))
    fetched = clone.minipach("run-one", "edges:a.txt", "--get")
    assert (fetched.code, fetched.out.splitlines()[-1][:9]) == (0, "2 outputs")


# --- the shell -------------------------------------------------------------------------------------------------

LOOK = 'cat "$images"; [ -t 0 ] && echo on a terminal; echo x >"$PFS/out/x"; exit 5\n'


def test_a_shell_reads_what_it_is_given(study_of_two: Study) -> None:
    before = state(study_of_two)
    done = subprocess.run(
        [*MINIPACH, "shell", "edges:b.txt"],
        cwd=study_of_two.root,
        input=LOOK,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (5, "bad\n")
    assert done.stderr.splitlines() == [
        "edges: b.txt; a run would start here: sh code/copy.sh",
        "what you write is thrown away; `exit` leaves",
    ]
    assert state(study_of_two) == before


def test_a_shell_on_a_terminal(study_of_two: Study) -> None:
    before = state(study_of_two)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(study_of_two.root)
        os.execv(MINIPACH[0], [*MINIPACH, "shell", "edges:a.txt"])
    shown = bytearray()
    os.set_blocking(terminal, False)

    def sees(text: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            shown.extend(os.read(terminal, 4096))
        return text in shown

    until("the shell begins", lambda: sees(b"leaves\r\n"))
    os.write(terminal, b"sh -c 'echo beg\"\"ins; exec cat'\n")
    until("the shell runs a command", lambda: sees(b"begins"))
    # Ctrl-C ends what the shell runs, and neither the shell nor minipach
    os.write(terminal, b"\x03")
    until("it prompts again", lambda: sees(b"^C") and re.search(rb"\^C.*[#$] ", shown, re.DOTALL))
    os.write(terminal, b'[ -t 0 ] && [ -e "$images" ] && echo "on a $((1 + 1))nd terminal"\n')
    until("the shell answers", lambda: sees(b"on a 2nd terminal"))
    os.write(terminal, b"exit 5\n")
    ended: list[int] = []

    def left() -> bool:
        with contextlib.suppress(OSError):  # the other side of the terminal is closed
            sees(b"")
        done, status = os.waitpid(pid, os.WNOHANG)
        ended.extend([os.waitstatus_to_exitcode(status)] if done else [])
        return bool(ended)

    until("it ends", left)
    os.close(terminal)
    assert ended == [5]
    assert state(study_of_two) == before
