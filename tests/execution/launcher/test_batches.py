"""A command that loops over the datums of its set: what it gets, what is taken, and what it can't reach."""

from __future__ import annotations

import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.container_images import images
from tests.fixtures.launchers import (
    EACH_RUNTIME,
    SANDBOXES,
    Launcher,
    Way,
    by,
    datum,
    launch,
    new_mark,
    processes,
    shell,
    use,
    wait_until,
    ways,
)

__all__ = ["images", "launch"]

LOOP = 'echo up >>"$HOME/starts"; while minipach-next; do . "$PFS/.env"; %s; done'
COPY = 'cat "$PFS"/images/s/* >"$PFS/out/$PACH_DATUM_ID"'


def batch(launch: Launcher, *names: str) -> list[str]:
    """Write an input for each name and return the words of their datums; `s/a` is there already."""
    words = ["-b"]
    for name in names:
        launch.write(f"inputs/images/s/{name}", name.upper())
        words += datum(name, "", "-v", f"PACH_DATUM_ID={name}", "-f", "images", "inputs/images", f"/s/{name}")
    return words


def loop(body: str = COPY) -> list[str]:
    """Return the words of a command that does this for each datum."""
    return shell(LOOP % body)


@ways(EACH_RUNTIME)
def test_one_start_serves_all_datums(launch: Launcher, way: Way) -> None:
    seen = 'ls -A "$PFS/images/s" >"$PFS/out/$PACH_DATUM_ID.in"; cp "$HOME/starts" "$PFS/out/$PACH_DATUM_ID.starts"'
    body = f"{COPY}; {seen}; ls -A $PFS/out | wc -l >>$PFS/out/$PACH_DATUM_ID"
    done, report = launch.reported(launch.image(way[1]), *batch(launch, "a", "b", "c"), *loop(body), **use(way))
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["code"] for row in report["datums"]] == [0, 0, 0]
    assert [[seen for seen, _ in row["files"]] for row in report["datums"]] == [
        [name, f"{name}.in", f"{name}.starts"] for name in "abc"
    ]
    found = {path: " ".join(text.split()) for path, text in launch.outputs().items()}
    assert found == {
        path: text
        for name in "abc"
        for path, text in ((name, f"{name.upper()}3"), (f"{name}.in", name), (f"{name}.starts", "up"))
    }
    assert launch.clean()


@ways(EACH_RUNTIME)
def test_the_loop_of_pachyderm_is_ended_after_its_last_datum(launch: Launcher, way: Way) -> None:
    mark = new_mark()
    endless = f'while true; do pachctl next datum || exit 9; . "$PFS/.env"; {COPY}; : {mark}; done'
    done, report = launch.reported(launch.image(way[1]), *batch(launch, "a", "b"), *shell(endless), **use(way))
    assert (done.returncode, done.stderr.replace("Terminated\n", "")) == (0, "")  # a shell may say it
    assert [row["code"] for row in report["datums"]] == [0, 0]
    assert launch.outputs() == {"a": "A", "b": "B"}
    assert not processes(mark)


def test_each_mark_in_the_log_is_made_once(launch: Launcher, tmp_path: Path) -> None:
    """A second mark with the same word would come into the log as a line of the command."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words").write_text("first second last\n")
    done = launch(
        launch.image("host"),
        *batch(launch, "a", "b"),
        *loop(),
        **use("bubblewrap"),
        MINIPACH_REPORT=str(folder),
    )
    marks = [f"datum: begins {number} {word}" for number, word in ((1, "first"), (2, "second"), (0, "last"))]
    assert (done.returncode, done.stderr.splitlines()) == (0, marks)


def test_a_datum_that_fails_costs_the_others_nothing(launch: Launcher) -> None:
    body = f'case $PACH_DATUM_ID in b) {COPY}; minipach-next --error "no face\nin  it";; esac; . "$PFS/.env"; {COPY}'
    done, report = launch.reported(
        launch.image("host"), *batch(launch, "a", "b", "c"), *loop(body), **use("bubblewrap")
    )
    assert done.returncode == 0
    assert [row["code"] for row in report["datums"]] == [0, 1, 0]
    assert report["datums"][1]["fault"] == "the command reports an error: no face in it"
    assert launch.outputs() == {"a": "A", "c": "C"}


@pytest.mark.parametrize("end", ["exit 7", "kill -9 $$"])
def test_a_crash_fails_its_datum_and_the_rest_get_another_start(launch: Launcher, end: str) -> None:
    body = f'{COPY}; cp "$HOME/starts" "$PFS/out/starts-$PACH_DATUM_ID"; [ "$PACH_DATUM_ID" != b ] || {end}'
    words = batch(launch, "a", "b", "c", "d")
    _, report = launch.reported(launch.image("host"), *words, *loop(body), **use("bubblewrap"))
    assert [row["code"] for row in report["datums"]] == [0, 7 if end == "exit 7" else 137, 0, 0]
    assert launch.outputs() == {
        path: text
        for name, starts in (("a", "up\n"), ("c", "up\nup\n"), ("d", "up\nup\n"))
        for path, text in ((name, name.upper()), (f"starts-{name}", starts))
    }


def test_a_command_for_one_datum_is_started_for_each(launch: Launcher) -> None:
    once = f'minipach-next && . "$PFS/.env" && {COPY}'
    done, report = launch.reported(launch.image("host"), *batch(launch, "a", "b"), *shell(once), **use("bubblewrap"))
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["code"] for row in report["datums"]] == [0, 0]
    assert launch.outputs() == {"a": "A", "b": "B"}


@pytest.mark.parametrize(
    ("script", "code", "fault"),
    [
        ("true", 126, "the command ended without asking for a datum (minipach-next)"),
        ("exit 5", 5, "the command exited with 5 before it asked for a datum (minipach-next)"),
    ],
)
def test_a_command_that_never_asks_has_failed_for_all(launch: Launcher, script: str, code: int, fault: str) -> None:
    words = batch(launch, "a", "b")
    done, report = launch.reported(launch.image("host"), *words, *shell(script), **use("bubblewrap"))
    assert [(row["code"], row["fault"]) for row in report["datums"]] == [(code, fault)] * 2
    assert done.returncode == code
    assert not launch.outputs()


@pytest.mark.slow
def test_time_is_of_each_datum_and_not_of_the_start(launch: Launcher) -> None:
    body = f'[ "$PACH_DATUM_ID" != b ] || sleep 600; {COPY}'
    command = shell(f"sleep 2.2; {LOOP % body}")
    words = ["-t", "2", *batch(launch, "a", "b", "c")]
    _, report = launch.reported(launch.image("host"), *words, *command, **use("bubblewrap"))
    assert [(row["code"], row["timed_out"]) for row in report["datums"]] == [(0, False), (124, True), (0, False)]
    assert report["datums"][0]["seconds"] > 2.2  # the start counts for the first one
    assert launch.outputs() == {"a": "A", "c": "C"}


def test_err_cmd_runs_for_those_that_failed_with_their_inputs(launch: Launcher) -> None:
    body = f'[ "$PACH_DATUM_ID" = a ] || minipach-next --error bad || exit 0; . "$PFS/.env"; {COPY}'
    recovery = 'test "$(cat /pfs/images/s/*)" = B && test "$PACH_DATUM_ID" = b && test -z "$(ls /pfs/out)"'
    words = [*batch(launch, "a", "b"), "-x", "sh", "-x", "-c", "-x", recovery]
    _, report = launch.reported(launch.image("host"), *words, *loop(body), **use("bubblewrap"))
    assert [(row["code"], row["recovered"]) for row in report["datums"]] == [(0, False), (1, True)]


def test_a_rerun_of_one_datum_is_a_batch_of_one(launch: Launcher) -> None:
    done = launch(launch.image("host"), *batch(launch, "a"), *loop(), **use("bubblewrap"))
    assert (done.returncode, done.stderr) == (0, "")
    assert launch.outputs() == {"a": "A"}
    failed = launch(launch.image("host"), *batch(launch, "a", "b"), *loop("exit 3"), **use("bubblewrap"))
    assert failed.returncode == 3


@ways(SANDBOXES)
def test_a_command_that_runs_on_while_outputs_are_taken_reaches_nothing(launch: Launcher, way: Way) -> None:
    """It swaps folders for links out of the sandbox, keeps files open, and writes to what the launcher took."""
    secret = launch.dataset.parent / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    before = secret.stat().st_mode
    swap = (
        f"cd /pfs/out; mkdir d; echo x >d/key; (while :; do mv d e; ln -s {secret} d; rm d; mv e d; done) 2>/dev/null &"
    )
    body = f"{COPY}; exec 3>>/pfs/out/log; echo $PACH_DATUM_ID >&3; [ $PACH_DATUM_ID != a ] || {{ {swap} }}"
    _, report = launch.reported(launch.image(way[1]), *batch(launch, *"abcd"), *loop(body), **use(way))
    assert len(report["datums"]) == 4
    assert "secret" not in "".join(launch.outputs().values())
    assert (secret / "key").read_text() == "secret"
    assert secret.stat().st_mode == before
    assert launch.clean()


def test_what_is_taken_can_not_be_changed_any_more(launch: Launcher) -> None:
    body = f"{COPY}; [ -e /tmp/fd ] && echo more >&4; exec 4>>/pfs/out/$PACH_DATUM_ID; : >/tmp/fd"
    _, report = launch.reported(launch.image("host"), *batch(launch, "a", "b"), *loop(body), **use("bubblewrap"))
    assert [row["code"] for row in report["datums"]] == [0, 0]
    assert launch.outputs() == {"a": "A", "b": "B"}


@ways(SANDBOXES)
def test_requests_that_no_tool_makes_are_ignored(launch: Launcher, way: Way) -> None:
    noise = 'i=0; while [ $i -lt 300 ]; do echo "$i ../../x 0" >"$1"; i=$((i + 1)); done'
    body = f'set -- "$PFS/.minipach/ask"; {noise}; head -c 70000 /dev/zero >"$1"; echo >"$1"; {COPY}'
    done, report = launch.reported(launch.image(way[1]), *batch(launch, "a", "b"), *loop(body), **use(way))
    assert [row["code"] for row in report["datums"]] == [0, 0], done.stderr
    assert launch.outputs() == {"a": "A", "b": "B"}


@ways(SANDBOXES)
def test_pipes_and_inputs_can_not_be_replaced(launch: Launcher, way: Way) -> None:
    body = (
        "rm -f /pfs/.minipach/ask /pfs/.env 2>/dev/null; ln -sf /etc/passwd /pfs/.minipach/answer 2>/dev/null; "
        f"echo x >/pfs/x 2>/dev/null; echo x >/pfs/images/s/$PACH_DATUM_ID 2>/dev/null; {COPY}"
    )
    _, report = launch.reported(launch.image(way[1]), *batch(launch, "a", "b"), *loop(body), **use(way))
    assert [row["code"] for row in report["datums"]] == [0, 0]
    assert launch.outputs() == {"a": "A", "b": "B"}
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"


def test_variables_survive_the_shell(launch: Launcher) -> None:
    odd = 'it\'s $(touch /pfs/out/x) "q" `b`'
    words = ["-b", *datum("n", "", "-v", f"odd={odd}"), *datum("m", "m", "-v", "other=1")]
    body = 'printf "%s|%s|%s" "$MINIPACH_DATUM" "$odd" "$other" >/pfs/out/said'
    done, _ = launch.reported(launch.image("host"), *words, *loop(body), **use("bubblewrap"))
    assert (done.returncode, done.stderr) == (0, "")
    assert launch.outputs() == {"said": f"n|{odd}|", "m/said": "m||1"}


def test_outputs_that_nobody_may_read_are_taken(launch: Launcher) -> None:
    with by(launch, ("bubblewrap", "directory"), "nobody") as (other, image):
        body = f"{COPY}; d=/pfs/out/d$PACH_DATUM_ID; mkdir $d; : >$d/f; chmod 0 $d/f $d /pfs/out/$PACH_DATUM_ID"
        done = other(image, *batch(other, "a", "b"), *loop(body))
        assert (done.returncode, done.stderr) == (0, "")
        assert other.outputs() == {"a": "A", "b": "B", "da/f": "", "db/f": ""}


def test_links_holes_and_odd_files_are_taken_as_without_a_batch(launch: Launcher) -> None:
    body = (
        "case $PACH_DATUM_ID in a) ln -s /pfs/images/s/a /pfs/out/link; truncate -s 1T /pfs/out/sparse; "
        "rm /pfs/out/sparse; truncate -s 3M /pfs/out/holes; printf x >>/pfs/out/holes; chmod +x /pfs/out/holes;; "
        "b) mkfifo /pfs/out/pipe;; c) ln -s /etc/passwd /pfs/out/away;; esac"
    )
    words = batch(launch, "a", "b", "c")
    _, report = launch.reported(launch.image("host"), *words, *loop(body), **use("bubblewrap"))
    assert [row["code"] for row in report["datums"]] == [0, 126, 126]
    assert report["datums"][1]["fault"] == 'output "pipe" is neither a file nor a directory'
    assert report["datums"][2]["fault"] == 'symbolic link "away" points outside /pfs'
    holes = (launch.dataset / "holes").stat()
    assert (holes.st_size, bool(holes.st_mode & stat.S_IXUSR)) == ((3 << 20) + 1, True)
    assert holes.st_blocks * 512 < 1 << 20
    assert (launch.dataset / "link").read_text() == "A"


@pytest.mark.slow
def test_folders_that_are_too_deep_cost_only_their_datum(launch: Launcher) -> None:
    script = """
import os, subprocess
while subprocess.call(["minipach-next"], cwd="/") == 0:
    name = open("/pfs/.env").read().split("PACH_DATUM_ID='")[1].split("'")[0]
    os.chdir("/pfs/out")
    for _ in range(1100 if name == "a" else 0):
        os.mkdir("d")
        os.chdir("d")
    open(name, "w").close()
"""
    words = batch(launch, "a", "b")
    done, report = launch.reported(launch.image("host"), *words, "--", "python3", "-c", script, **use("bubblewrap"))
    assert [row["code"] for row in report["datums"]] == [126, 0], done.stderr
    assert launch.outputs() == {"b": ""}
    assert launch.clean()


def test_inputs_that_can_be_written_to_have_no_batch(launch: Launcher) -> None:
    done = launch(launch.image("host"), "-I", "writable", *batch(launch, "a"), *loop(), **use("bubblewrap"))
    assert (done.returncode, done.stderr) == (125, "launch: -b is for datums whose inputs can't be written to\n")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_no_process(launch: Launcher, how: signal.Signals, tmp_path: Path) -> None:
    mark = new_mark()
    words = [launch.image("host"), *batch(launch, "a", "b"), *loop(f"{COPY}; [ $PACH_DATUM_ID = a ] || sleep {mark}")]
    report = tmp_path / "report"
    report.mkdir()
    process: subprocess.Popen[str] = launch.start(*words, **use("bubblewrap"), MINIPACH_REPORT=str(report))
    wait_until(lambda: any(line.startswith(b"sleep") for line in processes(mark)))
    process.send_signal(how)
    process.communicate()
    wait_until(lambda: not processes(mark))
    assert launch.outputs() == ({"a": "A"} if how == signal.SIGTERM else {})  # what has ended is kept
