"""The mounts that the sandboxes of a set share under bubblewrap, and the namespaces that each datum has of its own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.fixtures.container_images import images, need
from tests.fixtures.launchers import (
    FILE,
    Launcher,
    by,
    datum,
    launch,
    new_mark,
    ok,
    processes,
    script_module,
    shell,
    stand_in,
    use,
    wait_until,
)

__all__ = ["images", "launch"]

WAY = ("bubblewrap", "host")
THREE = [word for n in ("1", "2", "3") for word in datum(n, n, *FILE)]
COPY = shell("cp $PFS/images/s/a $PFS/out/a")
EACH = {f"{n}/a": "A" for n in (1, 2, 3)}


def _counted(launch: Launcher, folder: Path, then: str) -> tuple[dict[str, str], Path]:
    """Return variables for a bubblewrap whose starts are noted, and the note."""
    need("bwrap")
    real = shutil.which("bwrap", path=launch.env["PATH"])
    log = stand_in(folder, "bwrap", f'{then}\nexec {real} "$@"')
    return {"MINIPACH_PATH": f"{folder}:{launch.env['PATH']}", **use("bubblewrap")}, log


def _starts(log: Path) -> tuple[int, int]:
    """Return how many sandboxes were made to be shared, and how many for one command."""
    words = log.read_text().splitlines()
    return words.count("--info-fd"), words.count("--json-status-fd")


def test_bubblewrap_makes_the_mounts_of_a_set_once(launch: Launcher, tmp_path: Path) -> None:
    env, log = _counted(launch, tmp_path / "bin", "")
    ok(launch(launch.image("directory"), *THREE, *COPY, **env))
    assert launch.outputs() == EACH
    assert _starts(log) == (1, 0)


@pytest.mark.parametrize(("tested", "tests"), [("bubblewrap", 0), ("", 1), ("podman", 1)])
def test_a_runtime_that_works_is_not_tested_again(launch: Launcher, tmp_path: Path, tested: str, tests: int) -> None:
    env, log = _counted(launch, tmp_path / "bin", "")
    ok(launch(launch.image("directory"), *datum("1", "1", *FILE), *COPY, **env, MINIPACH_TESTED=tested))
    assert log.read_text().splitlines().count("true") == tests


def test_one_datum_shares_nothing(launch: Launcher, tmp_path: Path) -> None:
    env, log = _counted(launch, tmp_path / "bin", "")
    ok(launch(launch.image("directory"), *datum("1", "1", *FILE), *COPY, **env))
    assert _starts(log) == (0, 1)


def test_a_bubblewrap_that_can_not_forbid_user_namespaces_shares_its_mounts_with_one_datum(
    launch: Launcher, tmp_path: Path
) -> None:
    """The helper forbids them then. With -N there is none: the command runs, and `doctor` has said so."""
    env, log = _counted(launch, tmp_path / "bin", '[ "$1" != --version ] || { echo bubblewrap 0.6.1; exit; }')
    script = "unshare -U true && echo nested; cp $PFS/images/s/a $PFS/out/a"
    done = launch(launch.image("directory"), *datum("1", "1", *FILE), *shell(script), **env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert _starts(log) == (1, 0)
    done = launch(launch.image("directory"), "-N", *datum("1", "1", *FILE), *shell(script), **env)
    assert done.returncode == 0, done.stderr
    assert _starts(log) == (1, 1)


@pytest.mark.parametrize("option", [["-N"], ["-S", "/tmp/secret=MINIPACH_SECRET_A"]])
def test_what_can_not_be_shared_is_not(launch: Launcher, tmp_path: Path, option: list[str]) -> None:
    env, log = _counted(launch, tmp_path / "bin", "")
    ok(launch(launch.image("directory"), *option, *THREE, *COPY, **env, MINIPACH_SECRET_A="hush"))
    assert launch.outputs() == EACH
    assert _starts(log) == (0, 3)


def test_without_shared_mounts_each_datum_has_a_bubblewrap_of_its_own(launch: Launcher, tmp_path: Path) -> None:
    env, log = _counted(launch, tmp_path / "bin", 'case "$*" in *--info-fd*) exit 1 ;; esac')
    ok(launch(launch.image("directory"), *THREE, *COPY, **env))
    assert launch.outputs() == EACH
    assert _starts(log) == (1, 3)


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_datum_has_no_capability_and_sees_nothing_of_the_launcher(launch: Launcher, user: str) -> None:
    script = """
    grep -E '^(Cap|NoNewPrivs|Uid)' /proc/self/status
    for part in environ mem maps; do cat /proc/1/$part; done 2>/dev/null | wc -c
    for link in /proc/1/fd/* /proc/1/cwd /proc/1/root /proc/1/exe; do readlink $link; done | wc -l
    tr -d '\\0' </proc/1/cmdline | wc -c
    ls -d /proc/[0-9]* | wc -l
    cat /proc/self/uid_map
    """
    with by(launch, WAY, user) as (other, image):
        words = [*datum("one", "1", *FILE), *datum("two", "2", *FILE)]
        # a folder of PATH below /tmp, such as that of this checkout, would keep the mounts from being shared
        env = {"MINIPACH_SECRET_OTHER": "hush", "MINIPACH_PATH": "/usr/bin:/bin"}
        done = other(image, "-q", "no", *words, *shell(script), **use(WAY), **env)
    uid = str(0 if user == "root" and os.geteuid() == 0 else 65534 if os.geteuid() == 0 else os.geteuid())
    lines = done.stdout.splitlines()
    half = len(lines) // 2
    for found in (lines[:half], lines[half:]):
        assert [line.split()[1:] for line in found[:7]] == [[uid] * 4, *[["0" * 16]] * 5, ["1"]], done
        assert found[7:10] == ["0", "0", "0"]
        assert int(found[10]) <= 5
        assert found[11].split()[0] == uid


def test_a_datum_opens_terminals_whatever_one_before_it_did_to_its_own(launch: Launcher) -> None:
    script = "head -c 0 /dev/ptmx && echo opened; stat -c %a /dev/pts/ptmx; chmod 0 /dev/pts/ptmx"
    done = launch(launch.image("host"), *datum("a", "1"), *datum("b", "2"), *shell(script), **use(WAY))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["opened", "666"] * 2


def test_namespaces_are_of_one_datum_alone(launch: Launcher) -> None:
    script = "for kind in mnt pid ipc uts user cgroup; do readlink /proc/self/ns/$kind; done"
    script += "; ls -A /dev/shm $HOME /tmp; touch /dev/shm/left /tmp/left $HOME/left /var/tmp/left"
    done = launch(launch.image("host"), *datum("a", "1"), *datum("b", "2"), *shell(script), **use(WAY))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    own = [f"{kind}:{os.readlink(f'/proc/self/ns/{kind}')}" for kind in ("mnt", "pid", "ipc", "uts", "user", "cgroup")]
    first, second = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    assert [line for line in first if "[" not in line] == [line for line in second if "[" not in line]
    assert "left" not in lines
    assert not set(first) & {line.partition(":")[2] for line in own}
    assert len([line for line in first if "[" in line]) == 6


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--", "no-such-program"], 127),
        (["--", "/project/no-such-program"], 127),
        (["--", "/project"], 126),
        (["-w", "/no/such/folder", "--", "true"], 126),
        (["--", "sh", "-c", "exit 7"], 7),
        (["--", "sh", "-c", "kill -9 $$"], 137),
    ],
)
def test_exit_codes(launch: Launcher, words: list[str], code: int) -> None:
    at = words.index("--")
    parts = [*words[:at], *datum("a", "1"), *datum("b", "2"), *words[at:]]
    done, report = launch.reported(launch.image("host"), *parts, **use(WAY))
    assert [row["code"] for row in report["datums"]] == [code, code], done.stderr


def test_a_script_without_an_interpreter_is_the_shells(launch: Launcher) -> None:
    script = launch.write("code/run", 'echo "$1" >$PFS/out/a\n')
    script.chmod(0o755)
    ok(launch(launch.image("host"), *datum("a", "1"), *datum("b", "2"), "--", "code/run", "x y", **use(WAY)))
    assert launch.outputs() == {"1/a": "x y\n", "2/a": "x y\n"}


def test_signals_are_as_a_program_expects_them(launch: Launcher) -> None:
    words = [*datum("a", "1"), *datum("b", "2"), "--", "cat", "/proc/self/status"]
    done = launch(launch.image("host"), *words, **use(WAY))
    masks = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    of_the_c_library = 0b11 << 31
    assert [int(mask, 16) & ~of_the_c_library for mask in masks] == [0] * 6, done


def test_the_end_of_the_launcher_is_the_end_of_the_command(launch: Launcher) -> None:
    mark = new_mark()
    running = launch.start(
        *(launch.image("host"), *datum("a", "1"), *datum("b", "2")),
        *shell(f"echo begun; setsid sleep {mark} & sleep {mark}"),
        **use(WAY),
    )
    assert running.stdout and running.stdout.readline() == "begun\n"
    running.kill()
    running.communicate()
    wait_until(lambda: not processes(mark))


@pytest.mark.slow
def test_a_helper_that_is_killed_costs_no_datum(launch: Launcher) -> None:
    mark = new_mark()
    running = launch.start(launch.image("host"), *THREE, *shell(f"echo begun; sleep 1.{mark}; {COPY[-1]}"), **use(WAY))
    assert running.stdout and running.stdout.readline() == "begun\n"
    children = script_module().children(running.pid)
    assert len(children) == 2, "the helper, and the first process of the datum's namespaces"
    os.kill(min(children), signal.SIGKILL)
    _, error = running.communicate(timeout=60)
    assert (running.returncode, error) == (0, "")
    assert launch.outputs() == EACH
    assert not processes(mark)
