"""Tries: time limits, err_cmd and recovered datums, secrets; and what is not the command's fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipach.execution.secrets import Redactor, SecretError, redacting, secret_values
from tests.fixtures.container_images import Images, images
from tests.fixtures.launchers import (
    EACH_RUNTIME,
    FILE,
    Launcher,
    Way,
    datum,
    launch,
    make_dataset,
    processes,
    shell,
    use,
    ways,
)
from tests.fixtures.leftovers import Background, until
from tests.fixtures.projects import PATIENCE, SHOWN, Study

__all__ = ["images", "launch"]

# Nothing of this goes by itself: it ignores TERM, has a child, and one in a session of its own in another folder.
STUBBORN = """
trap '' TERM
sh -c 'trap "" TERM; while :; do sleep 1$0; done' MARK &
setsid sh -c 'trap "" TERM; cd /; while :; do sleep 2$0; done' MARK &
echo started
while :; do sleep 3MARK; done
"""
every_way = ways(EACH_RUNTIME)
one_way = ways(EACH_RUNTIME, slow=lambda way: way != ("bubblewrap", "directory"))  # seconds each
SPEC = """
input: {pfs: {repo: images, glob: "/*"}}
transform: {cmd: [sh, code/run.sh]%s}
datum_set_spec: {number: %d}
%s
"""


def mark() -> str:
    """Digits that no other process has in its command line; long enough to sleep for."""
    return f"{os.getpid()}{time.time_ns() % 10**6:06}"


def spec(transform: str = "", more: str = "datum_tries: 1", *, together: int = 1) -> str:
    return SPEC % (", " + transform if transform else "", together, more)


def log_of(study: Study, name: str = "a.txt") -> str:
    return study.minipach("logs", "edges", name).out


# --- time limits -------------------------------------------------------------------------------------------------


@one_way
@pytest.mark.parametrize("how", ["time", "signal"])
def test_nothing_survives_the_end_of_a_try(launch: Launcher, way: Way, how: str) -> None:
    for limit in (1, 5, 25):  # a slow machine needs more time to get as far as the command
        tag = mark()
        options = ("-t", str(limit)) if how == "time" else ()
        running = launch.start(
            launch.image(way[1]), *options, *datum(), *shell(STUBBORN.replace("MARK", tag)), **use(way)
        )
        assert running.stdout is not None
        begun = running.stdout.readline() == "started\n"
        if begun or how == "signal":
            break
        running.communicate(timeout=PATIENCE)
    assert begun
    if how == "signal":
        until("all run", lambda: len({line[:7] for line in processes(tag) if line.startswith(b"sleep")}) == 3)
        running.terminate()
    _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == (124 if how == "time" else 143), said
    assert how == "signal" or f"datum: a: time is over ({limit} s)" in said
    assert not processes(tag)
    assert launch.clean()


@pytest.mark.slow
def test_each_datum_has_the_whole_time(launch: Launcher) -> None:
    datums = [word for name in ("one", "two", "three") for word in ("-d", name, "")]
    for limit in (3, 12):  # half of it should be enough for all that is done beside the sleep
        command = f'sleep {limit / 2}; echo x >"$PFS/out/$MINIPACH_DATUM"'
        done = launch(launch.image("host"), "-t", str(limit), *datums, *shell(command))
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert (launch.dataset / "three").read_text() == "x\n"


@pytest.mark.slow
def test_a_datum_whose_time_is_over_has_failed_and_is_tried_again(study: Study) -> None:
    study.put("images/a.txt", "alpha\n", save=False)
    study.put("images/b.txt", "beta\n")
    tag = mark()
    script = f'case $images in *b.txt) {STUBBORN.replace("MARK", tag)} ;; esac; cp "$images" "$PFS/out/"\n'
    for limit in (2, 10):  # seconds; a slow machine needs more of them for a, and to get as far as b
        more = f"datum_tries: 2\ndatum_timeout: {limit * 1000 - 500}ms"
        study.pipeline("edges", spec(more=more, together=2), run=script)
        done = study.minipach("schedule", "-j", "1", "--json")
        assert done.code == 1
        (edges,) = done.json["pipelines"]
        failed = [row["name"] for row in edges["failed"]]
        begun = log_of(study, "b.txt").count("started\n")
        if failed == ["b.txt"] and begun:
            break
    assert failed == ["b.txt"]
    assert f"timed out after {limit} s" in done.err
    assert begun in (1, 2)  # in the set, and by itself
    assert not processes(tag)
    study.pipeline("edges", spec(together=2), run=script.replace("*b.txt", "*never"))
    study.save("edges")
    assert study.schedule()["edges"]["counts"]["ran"] == 2


@pytest.mark.slow
def test_when_the_job_has_had_its_time_what_is_done_is_kept_and_the_next_pipeline_runs(study: Study) -> None:
    study.put("images/a.txt", "alpha\n", save=False)
    study.put("images/b.txt", "beta\n", save=False)
    study.put("images/c.txt", "gamma\n")
    tag = mark()
    script = f'case $images in *b.txt) {STUBBORN.replace("MARK", tag)} ;; esac; cp "$images" "$PFS/out/"\n'
    study.copier("other")
    for limit in (6, 24, 96):  # a slow machine needs more time to get as far as b
        more = f"job_timeout: {limit}s\nminipach: {{publish: available}}"
        study.pipeline("edges", spec(more=more), run=script)
        done = study.minipach("schedule", "-j", "1", "--json")
        assert done.code == 1
        found = {p["name"]: p for p in done.json["pipelines"]}
        if "started" in log_of(study, "b.txt"):
            break
    else:
        pytest.fail("b was never begun")
    assert [row["name"] for row in found["edges"]["failed"]] == ["b.txt", "c.txt"]
    assert "job_timeout" in done.err
    assert sorted(study.outputs("edges")) == ["a.txt"]
    assert found["other"]["state"] in ("published", "current")
    assert sorted(study.outputs("other")) == ["a.txt", "b.txt", "c.txt"]
    assert not processes(tag)


@pytest.mark.soak
def test_a_rerun_keeps_to_the_time_too(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    gate = SHOWN / "slow"
    script = f'[ ! -e {gate} ] || {{ echo slow; sleep 1000; }}; cp "$images" "$PFS/out/"\n'
    study.pipeline("edges", spec(more="datum_timeout: 2s"), run=script)
    study.schedule()
    gate.touch()
    rerun = subprocess.run(
        ["datalad", "rerun", "--onto", ""], cwd=study.root / "edges", capture_output=True, text=True, check=False
    )
    assert rerun.returncode != 0
    assert "time is over (2 s)" in rerun.stderr + rerun.stdout


# --- err_cmd -----------------------------------------------------------------------------------------------------

PICKY = 'echo half >"$PFS/out/half"; grep -q bad "$images" && exit 7; cp "$images" "$PFS/out/"; rm "$PFS/out/half"\n'
MEND = "[sh, -c, 'read word; test -e $PFS/out/half && grep -q hopeful {images} && echo $word for $MINIPACH_DATUM']"


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_a_recovered_datum_blocks_nothing_and_is_tried_again(study: Study, together: int) -> None:
    study.put("images/a.txt", "good\n", save=False)
    study.put("images/b.txt", "bad but hopeful\n")
    study.pipeline("edges", spec(f"err_cmd: {MEND}, err_stdin: [sorry]", together=together), run=PICKY)
    report = study.schedule()["edges"]
    assert report["state"] == "published" and report["failed"] == []
    assert {k: v for k, v in report["counts"].items() if v} == {"ran": 1, "recovered": 1}
    assert study.minipach("jobs").out.splitlines()[1].endswith("  1 computed, 1 recovered")
    assert sorted(study.outputs("edges")) == ["a.txt"]
    assert "sorry for b.txt" in log_of(study, "b.txt")
    (row,) = study.minipach("status", "--json").json["pipelines"]
    assert (row["counts"]["recovered"], row["counts"]["failed"]) == (1, 0)
    again = study.schedule()["edges"]
    assert again["counts"]["recovered"] == 1
    study.put("images/b.txt", "fine\n")
    assert study.schedule()["edges"]["counts"]["ran"] == 1
    assert sorted(study.outputs("edges")) == ["a.txt", "b.txt"]
    study.put("images/b.txt", "bad again, but hopeful\n")  # a recovered datum has no output, not the one of before
    assert study.schedule()["edges"]["state"] == "published"
    assert sorted(study.outputs("edges")) == ["a.txt"]


def test_err_cmd_runs_after_each_try_and_one_that_fails_recovers_nothing(study: Study) -> None:
    study.put("images/a.txt", "bad\n")
    study.pipeline("edges", spec(f"err_cmd: {MEND}", "datum_tries: 2"), run=PICKY)
    report = study.schedule(code=1)["edges"]
    assert (report["state"], report["counts"]["failed"]) == ("failed", 1)
    assert log_of(study).count("so did err_cmd") == 2


@pytest.mark.slow
def test_err_cmd_that_takes_too_long_is_told_of_too(launch: Launcher) -> None:
    done = launch(
        launch.image("host"),
        *("-t", "2", *datum("one", "", *FILE), "-x", "sleep", "-x", "1000", "--", "sleep", "1000"),
        MINIPACH_RUNTIME="none",
    )
    assert done.returncode == 124, done.stderr
    assert "time is over (2 s): the command" in done.stderr
    assert "time is over (2 s): err_cmd is ended, too" in done.stderr


@one_way
def test_err_cmd_runs_when_the_time_is_over(launch: Launcher, way: Way) -> None:
    tag = mark()
    mend = ("-x", "sh", "-x", "-c", "-x", "echo mending {images}; test -e {images}")
    for limit in ("2", "10", "50"):  # a slow machine needs more time to get as far as the command, and then as err_cmd
        done, report = launch.reported(
            launch.image(way[1]),
            *("-t", limit, *datum("one", "", *FILE), *mend),
            *shell(STUBBORN.replace("MARK", tag)),
            **use(way),
        )
        if "started" in done.stdout and "mending" in done.stdout:
            break
    assert done.returncode == 124, done.stderr
    assert "err_cmd succeeded, so it is recovered" in done.stderr
    (row,) = report["datums"]
    assert (row["code"], row["timed_out"], row["recovered"], row["files"]) == (124, True, True, [])
    assert not processes(tag)
    assert launch.clean()


# --- secrets -----------------------------------------------------------------------------------------------------

VALUE = "s3cr3t 'quoted' $(x)\nsecond line of it"


@every_way
def test_a_secret_reaches_the_command_and_no_argument_list(launch: Launcher, way: Way) -> None:
    tag = "pass" + mark()
    running = launch.start(
        launch.image(way[1]),
        *("-s", "TOKEN=MINIPACH_SECRET_MINE", *datum("one")),
        *shell('env | grep -c MINIPACH_SECRET; echo "$TOKEN"; sleep 0.5'),
        **use(way),
        MINIPACH_SECRET_MINE=tag,
        MINIPACH_SECRET_OTHER="other",
    )
    seen: set[bytes] = set()
    while running.poll() is None:
        seen.update(processes(tag))
        time.sleep(0.02)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert out.splitlines() == ["0", tag]
    assert seen == set()


@ways([way for way in EACH_RUNTIME if way[0] != "none"] + [("charliecloud", "tar")])
def test_a_secret_is_a_read_only_file(launch: Launcher, way: Way) -> None:
    script = (
        'cat /run/s/token; (echo x >>/run/s/token) 2>/dev/null || echo no; find / -xdev -name "*token*" 2>/dev/null'
    )
    done = launch(
        launch.image(way[1]),
        *("-S", "/run/s/token=MINIPACH_SECRET_MINE", *datum("one"), *shell(script)),
        **use(way),
        MINIPACH_SECRET_MINE=VALUE,
    )
    if way == ("charliecloud", "full directory"):
        assert done.returncode == 125 and "can't mount a secret at /run/s/token in this image" in done.stderr
    else:
        assert done.stdout.startswith(VALUE + "no\n"), done
    assert launch.clean()


def test_a_secret_can_not_be_a_file_without_a_container(launch: Launcher) -> None:
    words = ("-S", "/run/token=MINIPACH_SECRET_MINE", *datum(), "--", "true")
    done = launch(launch.image("host"), *words, **use("none"), MINIPACH_SECRET_MINE="x")
    assert done.returncode == 125 and "a secret is mounted at /run/token, which takes a container" in done.stderr


def test_a_missing_secret_is_named(launch: Launcher) -> None:
    done = launch(launch.image("host"), "-s", "TOKEN=MINIPACH_SECRET_MINE", "true")
    assert done.returncode == 125
    assert "put its value into the environment variable MINIPACH_SECRET_MINE" in done.stderr


@pytest.fixture
def with_secret(study: Study) -> Iterator[Study]:
    study.put("images/a.txt", "alpha\n")
    script = 'echo "the token is $TOKEN"; printf %s "$TOKEN" | wc -c >"$PFS/out/length"\n'
    study.pipeline("edges", spec("secrets: [{name: my-token, env_var: TOKEN}]"), run=script)
    yield study


def everything(study: Study) -> bytes:
    """All that git and the logs hold, unpacked."""
    found = []
    for repo in (".", "images", "edges"):
        folder = study.root / repo
        ids = subprocess.run(
            ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=folder, capture_output=True, check=True
        )
        found.append(ids.stdout)
    for path in study.root.rglob("*"):
        if path.is_file() and "secrets" not in path.parts:
            found.append(path.read_bytes())
    return b"".join(found)


@pytest.mark.slow
def test_a_secret_is_in_no_record_and_a_rerun_takes_it_from_its_caller(with_secret: Study) -> None:
    study = with_secret
    done = study.minipach("schedule", "--json", env={"MINIPACH_SECRET_MY_TOKEN": VALUE})
    assert done.code == 0, done.err
    assert study.read("edges/length").split() == [str(len(VALUE)).encode()]
    assert b"s3cr3t" not in everything(study) and b"second line" not in everything(study)
    assert "the token is [secret]" in log_of(study)
    message = study.git("edges", "log", "-1", "--format=%B")
    assert "TOKEN=MINIPACH_SECRET_MY_TOKEN" in message
    assert study.minipach("schedule").out == "nothing to do\n", "the value is no part of the identity"
    rerun = ["datalad", "rerun", "--onto", ""]
    without = subprocess.run(rerun, cwd=study.root / "edges", capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "environment variable MINIPACH_SECRET_MY_TOKEN" in without.stderr + without.stdout
    study.ok("git", "checkout", "-q", "-f", "-", cwd=study.root / "edges") if study.git(
        "edges", "rev-parse", "--abbrev-ref", "HEAD"
    ) == "HEAD" else None
    study.ok(*rerun, cwd=study.root / "edges", env={"MINIPACH_SECRET_MY_TOKEN": "four"})
    assert study.read("edges/length").split() == [b"4"]


@pytest.mark.slow
def test_status_tells_what_could_not_be_run_from_what_failed(with_secret: Study) -> None:
    with_secret.put("images/b.txt", "beta\n")
    with_secret.put("images/c.txt", "gamma\n")
    assert with_secret.minipach("schedule", "-j", "2").code == 1
    lines = with_secret.minipach("status").out.splitlines()
    told = [line.split(": secret")[0].strip() for line in lines if "minipach logs" in line]
    assert told == ["edges: could not be run: 3 datums (a.txt, b.txt, c.txt)"], "equal failures are one line"


@pytest.mark.soak
def test_a_secret_from_a_file_of_one_s_own(with_secret: Study) -> None:
    study = with_secret
    done = study.minipach("schedule")
    assert done.code == 1
    assert "secret my-token: not found; set MINIPACH_SECRET_MY_TOKEN, or write" in done.err
    file = study.root / ".git" / "minipach" / "secrets" / "my-token"
    file.parent.mkdir()
    file.write_text(VALUE + "\n")
    file.chmod(0o644)
    assert "others can read" in study.minipach("schedule").err
    file.chmod(0o600)
    study.schedule()
    assert study.read("edges/length").split() == [str(len(VALUE)).encode()]
    assert b"s3cr3t" not in everything(study)


def test_a_secret_from_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    with pytest.raises(SecretError, match="secret kept: not found"):
        secret_values(["kept"], str(tmp_path / "none"))
    subprocess.run(
        [sys.executable, "-m", "keyring", "set", "minipach", "kept"],
        input=b"in the ring\n",
        check=True,
        timeout=PATIENCE,
    )
    assert secret_values(["kept"], str(tmp_path / "none")) == {"MINIPACH_SECRET_KEPT": "in the ring"}


PRINTING = """\
echo "the token is $TOKEN"; printf 'no end: %%s' "$TOKEN"
while [ -e %s ]; do sleep 0.1; done
cp "$images" "$PFS/out/"
"""
PRINTED = "the token is [secret]\n[secret]\nno end: [secret]\n[secret]"


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["schedule", "worker", "cancel"])
def test_a_secret_is_in_no_log_while_its_datum_runs_nor_after_a_kill(
    study: Study, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    study.put("images/a.txt", "alpha\n")
    gate = SHOWN / "gate"
    gate.touch()
    text = spec("secrets: [{name: my-token, env_var: TOKEN}]").replace("run.sh", "copy.sh")
    study.pipeline("edges", text, copy=PRINTING % gate)
    monkeypatch.setenv("MINIPACH_SECRET_MY_TOKEN", VALUE)

    def printed() -> str:
        """All logs, each of which must be clean at any time."""
        found = "".join(path.read_text() for path in study.root.glob(".git/minipach/logs/edges/**/*.log"))
        assert "s3cr3t" not in found and "second line" not in found
        return found

    running = Background(study, "schedule", "-j", "1").waiting()
    until("what has no end is there too", lambda: PRINTED in printed())
    before = {p.pid for p in running.of("command")}
    if killed == "worker":
        os.kill(running.of("worker")[0].pid, signal.SIGKILL)
        until("it is tried again", lambda: {p.pid for p in running.of("command")} - before)
        until("it prints again", lambda: PRINTED in printed())
        gate.unlink()
        assert running.end().code == 0
    elif killed == "schedule":
        running.kill()
    else:
        assert study.minipach("cancel").code == 0
        running.end()
    assert PRINTED in printed()
    assert b"s3cr3t" not in everything(study) and b"second line" not in everything(study)


def test_a_value_is_taken_out_and_what_is_too_short_to_be_one_would_spoil_the_log() -> None:
    assert Redactor(["hunter2", "ab"]).feed(b"a word: hunter2!\nab\n", last=True) == b"a word: [secret]!\nab\n"


def test_what_can_not_be_a_value_passes_at_once() -> None:
    redactor = Redactor(["hunter2", "two\r\nlines"])
    assert redactor.feed(b"password: hun") == b"password: "
    assert redactor.feed(b"t\rhunter") == b"hunt\r"
    assert redactor.feed(b"2lines\n") == b"[secret][secret]\n"
    assert redactor.feed(b"line", last=True) == b"line"


@given(
    values=st.lists(st.text("ab\n", min_size=4, max_size=9), max_size=4),
    chunks=st.lists(st.text("ab\n", max_size=12), max_size=8),
)
def test_a_stream_is_redacted_as_the_whole_is(values: list[str], chunks: list[str]) -> None:
    redactor = Redactor(values)
    told = b""
    for chunk in chunks:
        told += redactor.feed(chunk.encode())
        assert not any(piece in told for piece in redactor.pieces)
    told += redactor.feed(b"", last=True)
    assert told == Redactor(values).feed("".join(chunks).encode(), last=True)
    assert not any(piece in told for piece in redactor.pieces)


def test_one_who_holds_the_pipe_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file, redacting(file.fileno(), ["hunter2"]) as entry:
        stray = subprocess.Popen(
            ["sh", "-c", "echo hunter2; read word; echo late"], stdin=subprocess.PIPE, stdout=entry
        )
        until("it printed", lambda: log.read_text() == "[secret]\n")
        os.write(entry, b"the end")
    assert log.read_text() == "[secret]\nthe end"
    stray.communicate(b"go\n", timeout=PATIENCE)


# --- not the command's fault -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_launcher_that_is_killed_is_no_try_of_the_datum(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    gate = SHOWN / "gate"
    gate.touch()
    script = f'while [ -e {gate} ]; do sleep 0.1; done; cp "$images" "$PFS/out/"\n'
    study.pipeline("edges", spec().replace("run.sh", "copy.sh"), copy=script)
    running = Background(study, "schedule", "-j", "1").waiting()
    before = {p.pid for p in running.of("launch")}
    for process in running.of("launch"):
        os.kill(process.pid, 9)
    until("it is tried again", lambda: {p.pid for p in running.of("launch")} - before)
    gate.unlink()
    assert running.end().code == 0
    assert "the launcher was killed" in log_of(study)
    assert "does not count as a try" in log_of(study)


@pytest.mark.soak
def test_what_the_launcher_can_not_do_is_tried_three_times_and_told_as_lost(study: Study) -> None:
    study.put("images/a.txt", "alpha\n")
    study.pipeline("edges", spec(more="datum_tries: 1"), run="exit 125\n")
    done = study.minipach("schedule")
    assert "the command exited with 125" in done.err  # the command's own code is nothing else
    study.copier()
    (study.root / "edges/spec.yml").write_text(spec().replace("run.sh", "copy.sh"))
    study.save("edges")
    done = study.minipach("schedule", env={"MINIPACH_RUNTIME": "podman"})
    assert done.code == 1
    assert "could not be run: launcher: MINIPACH_RUNTIME=podman can't run this image" in done.err
    assert log_of(study).count("not the command's fault") == 3


def test_a_full_disk_is_told_as_such(images: Images, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("LOUDLY SKIPPED: a small disk can't be mounted here")
    try:
        report = tmp_path / "report"
        report.mkdir()
        small = Launcher(make_dataset(disk / "edges"), images.env(), images)
        done = small(small.image("host"), *datum(), *shell('yes >"$PFS/out/x"'), MINIPACH_REPORT=str(report))
        assert done.returncode == 125
        assert "disk is full" in json.loads((report / "report.json").read_text())["failure"]
        assert small.clean()
    finally:
        subprocess.run(["umount", disk], check=True)
