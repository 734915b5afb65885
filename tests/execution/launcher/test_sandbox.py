"""Attacks: what a hostile command tries against the host, the launcher and other datums, in each runtime."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import platform
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.container_images import images, need
from tests.fixtures.launchers import (
    EACH_RUNTIME,
    FILE,
    SANDBOXES,
    Launcher,
    Way,
    by,
    datum,
    files,
    launch,
    new_mark,
    ok,
    processes,
    script_module,
    shell,
    use,
    ways,
)

__all__ = ["images", "launch"]

USERS = [
    *((way, "root") for way in EACH_RUNTIME),
    *((way, "nobody") for way in EACH_RUNTIME if way[0] != "podman"),
]
as_each_user = pytest.mark.parametrize(
    ("way", "user"),
    [
        pytest.param(
            *(way, user),
            id=f"{' '.join(way)} {user}",
            marks=[pytest.mark.slow] if way[0] == "podman" or (user == "nobody" and way[1] != "host") else [],
        )
        for way, user in USERS
    ],
)


# All that a command may try against files of ours and of the host; VICTIM is a folder of the host.
HOSTILE = r"""
mkdir -p "$PFS/.minipach/done" "$PFS/.minipach/report" 2>/dev/null
for name in done report timed-out started bwrap container now codes; do
  rm -rf "$PFS/.minipach/$name"; ln -s VICTIM "$PFS/.minipach/$name"; ln -s VICTIM/f "$PFS/.minipach/$name"
done 2>/dev/null
for place in "$PFS" "$PFS/.." "$PWD" "$PWD/.." / /project /pfs VICTIM "$HOME/.." "$TMPDIR/.."; do
  for name in done report.json container now stdin words report.part view/x done/0/forged; do
    (echo forged --all >"$place/$name") 2>/dev/null
  done
done
for pid in /proc/[0-9]*; do
  for part in root/tmp cwd fd/1 fd/2 fd/0 mem; do
    (echo forged >"$pid/$part/pwned" || echo forged >"$pid/$part") 2>/dev/null
  done
  (cat "$pid/environ" | tr '\0' '\n' | grep -E '^(MINIPACH_SECRET|XDG_RUNTIME)') 2>/dev/null
  ls "$pid/root/VICTIM" 2>/dev/null
done
(echo '|/bin/sh' >/proc/sys/kernel/core_pattern) 2>/dev/null && echo "wrote core_pattern"
(echo b >/proc/sysrq-trigger) 2>/dev/null && echo "wrote sysrq-trigger"
(echo x >/sys/kernel/uevent_helper) 2>/dev/null && echo "wrote uevent_helper"
mkdir /sys/fs/cgroup/memory/pwned 2>/dev/null && echo "made a cgroup"
for device in "b 8 0" "b 7 0" "b 254 0" "c 1 1" "c 10 229"; do
  mknod "$TMPDIR/device" $device 2>/dev/null && echo "made device $device"
done
mount -t tmpfs none /mnt 2>/dev/null && echo mounted
mount --bind "$PFS/out" /etc 2>/dev/null && echo bound
umount "$PFS/out" 2>/dev/null && echo unmounted
chroot "$PFS/out" true 2>/dev/null && echo chrooted
find / -xdev -name 'secret-of-others' 2>/dev/null
cp "$PFS"/images/s/a "$PFS/out/a"
true
"""


@as_each_user
def test_a_hostile_command_changes_nothing_but_its_output(launch: Launcher, way: Way, user: str) -> None:
    with by(launch, way, user) as (other, image):
        victim = other.dataset.parent / "victim"
        victim.mkdir()
        (victim / "secret-of-others").write_text("precious")
        if user == "nobody":
            shutil.chown(victim, 65534, 65534)
        before = files(victim)
        script = HOSTILE.replace("VICTIM", str(victim))
        if way[0] == "none":  # it can do to the host what its user can: only what is ours is looked at
            script = script.replace(f"ln -s {victim}/f", ":")
            script = script[: script.index("for place in")] + script[script.index('cp "$PFS"') :]
        words = [*datum("one", "1", *FILE), *datum("two", "2", *FILE)]
        done, report = other.reported(
            image, "-t", "60", *words, *shell(script), **use(way), MINIPACH_SECRET_OTHER="hush"
        )
        assert [row["code"] for row in report["datums"]] == [0, 0], done.stderr
        assert "".join(done.stdout.split()).replace("forged", "") == "", done.stdout
        assert [row["files"] for row in report["datums"]] == [[["a", "1/a"]], [["a", "2/a"]]]
        assert other.outputs() == {"1/a": "A", "2/a": "A"}
        assert files(victim) == before
        assert (other.dataset / "inputs/images/s/a").read_text() == "A"
        assert other.clean()
        assert not list(Path("/tmp").glob("pwned")) and not Path("/sys/fs/cgroup/memory/pwned").exists()


STAY = r"""
(setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 1MARK; done' </dev/null >/dev/null 2>&1 &)
sh -c '(setsid sh -c "sleep 2MARK" >/dev/null 2>&1 &) &'
(trap "" TERM; exec sleep 3MARK) &
(sleep 4MARK) &
count() { n=0; for p in /proc/[0-9]*; do
  [ "$(cat $p/comm)" = sleep ] && grep -q MARK $p/cmdline && n=$((n + 1)); done 2>/dev/null; }
count
until [ $n -ge 4 ]; do count; done
echo "$MINIPACH_DATUM" >"$PFS/out/$MINIPACH_DATUM"
EXIT
"""


@as_each_user
def test_no_process_outlives_its_datum(launch: Launcher, way: Way, user: str) -> None:
    """Neither where it succeeds, nor where it fails or its time is over; nobody waits for what they hold open."""
    with by(launch, way, user) as (other, image):
        for ending, code in (("exit 0", 0), ("exit 3", 3)):
            tag = new_mark()
            script = STAY.replace("MARK", tag).replace("EXIT", ending)
            count = script[script.index("count()") : script.index("until")]
            look = f'if [ "$MINIPACH_DATUM" = look ]; then {count} echo $n >"$PFS/out/look"; exit 0; fi\n'
            words = [*datum("stay"), *datum("look")]
            done, report = other.reported(image, *words, *shell(look + script), **use(way))
            assert [row["code"] for row in report["datums"]] == [code, 0], done.stderr
            assert not processes(tag)
            assert (other.dataset / "look").read_text() == "0\n"
            assert other.clean()


# What a command may do to the processes that wait for its end.
DISTURB = """
import ctypes, os, signal, subprocess, sys, time
deaf = lambda: [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]
trace = lambda request, pid: ctypes.CDLL(None).ptrace(request, pid, 0, 0)
ATTACH = 16
def child(body):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        deaf()
        body()
        time.sleep(1000)
    return pid
def sleepers():
    for _ in range(3):
        child(lambda: [os.dup2(1 + fd % 2, fd) for fd in range(3, 20)] + [child(lambda: None)])
def stopped():
    deaf()
    pid = child(lambda: None)
    time.sleep(0.1)
    trace(ATTACH, pid)
    os.kill(-1, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
def kill():
    child(lambda: None)
    os.kill(-1, signal.SIGKILL)
def first():
    trace(ATTACH, 1)
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        os.kill(1, number)
def flood():
    for n in range(8):
        child(lambda: [os.write(1 + n % 2, b"x" * 65536) for _ in iter(int, 1)])
    time.sleep(1000)
def closed():
    deaf()
    os.closerange(0, 1024)
    time.sleep(1000)
globals()[os.environ["MINIPACH_DATUM"]]()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("user", "alone"), [("root", False), ("nobody", True)])
def test_no_command_keeps_the_launcher_from_ending_it(launch: Launcher, user: str, alone: bool) -> None:
    """It ends by its own end or by its time limit, whatever it does to other processes, and the next datum runs."""
    way = ("bubblewrap", "host")
    names = {"sleepers": [0], "kill": [0], "first": [0, 124], "stopped": [124], "flood": [124], "closed": [124]}
    with by(launch, way, user) as (other, image):
        for part in [[name] for name in names] if alone else [list(names)]:
            words = [word for name in part for word in datum(name)]
            done, report = other.reported(image, "-t", "1", *words, "--", "python3", "-c", DISTURB, **use(way))
            assert len(report["datums"]) == len(part), done.stderr[-1000:]
            for name, row in zip(part, report["datums"], strict=True):
                assert row["code"] in names[name], (name, row)
                assert row["timed_out"] == (row["code"] == 124)
        assert other.clean()


# The same in sh, for images without Python; each process of the host that the command sees gets the signal, too.
KILLS = r"""
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
each() { for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = $$ ] || kill -$1 $p 2>/dev/null; done; }
case $MINIPACH_DATUM in
  kill) kill -9 -1; each 9; kill -9 $$ ;;
  stop) trap "" TERM HUP INT; kill -STOP -1; each STOP; kill -STOP $$ ;;
  first) for s in STOP TERM HUP 9; do kill -$s 1; done; exit 5 ;;
  parent) [ "$PPID" = 0 ] || kill -9 $PPID; exit 5 ;;
esac 2>/dev/null
echo fine >"$PFS/out/$MINIPACH_DATUM"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "user"), [(w, u) for w, u in USERS if w[0] != "none" and (u == "nobody") != (w[0] == "podman")]
)
def test_a_command_that_kills_all_that_it_sees_ends_no_other_datum(launch: Launcher, way: Way, user: str) -> None:
    names = ("before", "kill", "stop", "first", "parent", "after")
    words = [word for name in names for word in datum(name)]
    with by(launch, way, user) as (other, image):
        done, report = other.reported(image, "-t", "3", *words, *shell(KILLS), **use(way))
        codes = {name: row["code"] for name, row in zip(names, report["datums"], strict=True)}
        assert (codes["before"], codes["after"]) == (0, 0), done.stderr
        if way[0] in ("podman", "charliecloud"):  # it is the first process, which takes no signal from inside
            assert codes == {**dict.fromkeys(names, 0), "first": 5, "parent": codes["parent"]}
        else:
            assert codes["stop"] == 124 and 0 not in (codes["kill"], codes["first"], codes["parent"]), codes
        assert other.outputs() == {name: "fine\n" for name in names if codes[name] == 0}
        assert other.clean()


def test_without_a_container_the_launcher_may_be_killed_and_nothing_is_half_taken(launch: Launcher) -> None:
    """Nothing keeps a process of the user's from it. A PID namespace around the launcher saves the tests."""
    need("unshare")
    around = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "sh", "-c", '"$@"; exit $?', "sh")
    inside = replace(launch, prefix=around)
    words = [*datum("before", "before"), *datum("kill", "kill"), *datum("after", "after")]
    killed = inside(launch.image("host"), *words, *shell(KILLS), **use("none"))
    assert killed.returncode == 137, killed.stderr
    assert launch.outputs() == {}
    done, report = launch.reported(launch.image("host"), *datum("after", "after"), *shell(KILLS), **use("none"))
    assert [row["code"] for row in report["datums"]] == [0], done.stderr
    assert launch.outputs() == {"after/after": "fine\n"}


# A process in the background swaps what was written while the launcher takes it.
SWAP = r"""
mkdir "$PFS/out/d"; for i in 1 2 3 4 5 6 7 8 9; do echo fine >"$PFS/out/d/$i"; done
setsid sh -c 'cd "$0"; while :; do for i in 1 2 3 4 5 6 7 8 9; do
  ln -sf VICTIM/precious new.$$; mv -f new.$$ d/$i; echo fine >new.$$; mv -f new.$$ d/$i
done; mv d e; ln -s VICTIM d; rm d; mv e d; done' "$PFS/out" </dev/null >/dev/null 2>&1 &
sleep 0.2
"""


@ways(EACH_RUNTIME)
def test_outputs_can_not_be_swapped_while_they_are_taken(launch: Launcher, way: Way) -> None:
    victim = launch.dataset.parent / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    script = SWAP.replace("VICTIM", str(victim))
    for _ in range(3):
        done, report = launch.reported(launch.image(way[1]), *datum(), *shell(script), **use(way))
        assert report["datums"][0]["code"] in (0, 126), done.stderr
        assert "precious" not in launch.outputs().values()
        assert files(victim) == {"precious": "precious"}
        assert launch.clean()


@ways(EACH_RUNTIME)
def test_special_files_and_bits(launch: Launcher, way: Way) -> None:
    make = [
        'mkfifo "$PFS/out/x"',
        'ln "$PFS/images/s/a" "$PFS/out/x" 2>/dev/null || { echo no >"$PFS/out/none"; }',
        'echo s >"$PFS/out/x"; chmod 7777 "$PFS/out/x"',
        'dd if=/dev/zero of="$PFS/out/x" bs=1 count=1 seek=10000000000 2>/dev/null',
        'd="$PFS/out"; for i in $(seq 60); do d=$d/dddddddddddddddddddddddddddddd; done; mkdir -p $d; echo x >$d/x',
        'echo x >"$PFS/out/$(printf "%0250d" 1)"',
    ]
    cases = "".join(f"{n}) {one} ;;\n" for n, one in enumerate(make))
    words = [word for n, _ in enumerate(make) for word in datum(str(n), str(n), *FILE)]
    done, report = launch.reported(
        launch.image(way[1]), *words, *shell(f"case $MINIPACH_DATUM in {cases} esac; true"), **use(way)
    )
    fifo, hard, setuid, sparse, deep, long = report["datums"]
    assert (fifo["code"], fifo["fault"]) == (126, 'output "x" is neither a file nor a directory')
    assert hard["code"] == 0
    source, made = launch.dataset / "inputs/images/s/a", launch.dataset / "1/x"
    assert source.stat().st_nlink == 1
    assert not made.exists() or (made.read_text() == "A" and made.stat().st_ino != source.stat().st_ino)
    assert setuid["code"] == 0 and stat.S_IMODE((launch.dataset / "2/x").stat().st_mode) == 0o755
    assert sparse["code"] == 0, done.stderr
    assert (launch.dataset / "3/x").stat().st_size == 10000000001
    assert (launch.dataset / "3/x").stat().st_blocks < 1 << 20, "it is moved, not copied"
    assert deep["code"] == 0 and len(deep["files"]) == 1
    assert long["code"] == 0
    assert launch.clean()


@pytest.mark.parametrize(
    ("size", "depth"), [(200, 60), *(pytest.param(1, depth, marks=pytest.mark.slow) for depth in (1500, 6000))]
)
@ways([("bubblewrap", "host"), ("none", "host")])
def test_a_tree_that_is_too_deep(launch: Launcher, way: Way, size: int, depth: int) -> None:
    """Deeper than a path can be long, or than Python goes: the datum is at fault, and scratch goes away."""
    script = f"import os\nos.chdir(os.environ['PFS'] + '/out')\nname = 'd' * {size}\n"
    script += "if os.environ['MINIPACH_DATUM'] == 'deep':\n"
    script += f"    for _ in range({depth}):\n        os.mkdir(name)\n        os.chdir(name)\n    open('x', 'w')\n"
    words = [*datum("deep"), *datum("fine")]
    done, report = launch.reported(
        launch.image(way[1]), "-L", "disk=100000000", *words, "--", "python3", "-c", script, **use(way)
    )
    assert [row["code"] for row in report["datums"]] == [126, 0], done.stderr
    assert "Traceback" not in done.stderr
    assert launch.clean()


@pytest.mark.slow
def test_many_outputs(launch: Launcher) -> None:
    count = 100_000
    script = f'cd "$PFS/out"; seq {count} | xargs -n 2000 touch'
    done, report = launch.reported(launch.image("host"), *datum("n", "many"), *shell(script), **use("bubblewrap"))
    assert done.returncode == 0, done.stderr
    assert len(report["datums"][0]["files"]) == count
    assert len(os.listdir(launch.dataset / "many")) == count


# --- the kernel ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [("one",), ("one", "two"), ("-N", "one", "two")], ids=["alone", "set", "no network"]
)
@as_each_user
def test_no_command_makes_a_user_namespace(launch: Launcher, way: Way, user: str, options: tuple[str, ...]) -> None:
    """In one, a command of root's has all capabilities, and could mount the host's control groups."""
    if way[0] == "none":
        return  # it is an ordinary process of the user
    words = [word for name in options for word in ([name] if name == "-N" else datum(name, name))]
    script = "unshare -U true && echo nested; unshare -m true && echo mounts; true"
    with by(launch, way, user) as (other, image):
        done = other(image, *words, *shell(script), **use(way))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["alone", "set"])
@ways([way for way in SANDBOXES if way[0] != "podman"])
def test_device_files_of_the_host_can_be_used_but_not_changed(
    launch: Launcher, way: Way, names: tuple[str, ...]
) -> None:
    """They are the host's own; podman makes others. Standard input is one of them, too."""
    script = """
    for name in null zero full random urandom tty stdin; do
      chmod 666 /dev/$name && echo "mode of $name"; touch -a /dev/$name && echo "times of $name"
    done 2>/dev/null
    echo x >/dev/null && [ "$(head -c 1 /dev/zero /dev/urandom | wc -c)" -ge 2 ] && ! echo x 2>/dev/null >/dev/full
    """
    words = [word for name in names for word in datum(name, name)]
    done = launch(launch.image(way[1]), *words, *shell(script), **use(way))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# --- limits ------------------------------------------------------------------------------------------------------


@ways(EACH_RUNTIME)
def test_limits(launch: Launcher, way: Way) -> None:
    """Each datum that goes beyond a limit fails with the reason; the next one runs."""
    bomb = "i=0; while [ $i -lt 400 ]; do sleep 100 & i=$((i + 1)); done 2>/dev/null; wait"
    limits = ("-L", "processes=100", "-L", "file-size=3000000", "-L", "disk=8000000")
    talk = "head -c 20000000 /dev/zero; sleep 60"
    fill = (
        'i=0; while [ $i -lt 40 ]; do head -c 2000000 /dev/zero >"$TMPDIR/$i" || exit 4; i=$((i + 1)); done; sleep 60'
    )
    script = f"""case $MINIPACH_DATUM in
      bomb) {bomb} ;;
      big) head -c 4000000 /dev/zero >"$PFS/out/big" ;;
      fill) {fill} ;;
      talk) {talk} ;;
      *) echo fine >"$PFS/out/fine" ;;
    esac"""
    words = [word for name in ("bomb", "big", "fill", "talk", "fine") for word in datum(name)]
    done, report = launch.reported(launch.image(way[1]), "-t", "50", *limits, *words, *shell(script), **use(way))
    bomb_row, big, fill_row, talk_row, fine = report["datums"]
    assert talk_row["code"] and talk_row["fault"] == "it printed more than 8 MB, which is its limit of disk"
    assert bomb_row["code"] or way[0] == "podman", done.stderr
    assert not bomb_row["timed_out"]
    if bomb_row["code"] and os.getuid() == 0 and way[0] != "podman":
        assert bomb_row["fault"] in (
            "it had more than 100 processes, which is the limit",
            "the kernel refused it more than 264 processes",
        )
    assert "processes" not in big["fault"], "the next one is not blamed for it"
    assert big["code"] and not (launch.dataset / "big").exists(), done.stderr
    assert fill_row["code"] and fill_row["fault"] == "it used more than 8 MB of disk, which is the limit"
    assert (fine["code"], launch.outputs()) == (0, {"fine": "fine\n"})
    assert launch.clean()


@ways([("bubblewrap", "host"), ("none", "host"), ("bubblewrap", "directory"), ("charliecloud", "full directory")])
def test_a_limit_of_memory(launch: Launcher, way: Way) -> None:
    grow = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); sleep 60"
    script = f"[ $MINIPACH_DATUM = fine ] && exit 0; {grow}"
    done, report = launch.reported(
        launch.image(way[1]), "-L", "memory=100000000", *datum("grow"), *datum("fine"), *shell(script), **use(way)
    )
    grown, fine = report["datums"]
    assert grown["code"] and grown["fault"] == "it used more than 100 MB of memory, which is the limit"
    assert fine["code"] == 0, done.stderr


@pytest.mark.parametrize("before", ["", "memory pids"])
def test_the_kernel_s_bound_of_processes_in_control_groups_of_version_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """With a stand-in for the kernel's files: here, version 1 has the controller of processes."""
    bound = script_module().Bound
    own = tmp_path / "user" / "session"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("memory pids\n")
    (own / "cgroup.subtree_control").write_text(before)
    (tmp_path / "table").write_text("1:name=systemd:/x\n0::/user/session\n")
    monkeypatch.setattr(bound, "table", str(tmp_path / "table"))
    monkeypatch.setattr(bound, "mounted", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 0)
    make, remove = os.mkdir, os.rmdir

    def mkdir(path: str) -> None:
        make(path)
        Path(path, "cgroup.type").write_text("domain invalid\n")

    def rmdir(path: str) -> None:
        for file in Path(path).iterdir():
            file.unlink()
        remove(path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "rmdir", rmdir)
    found = bound(100)
    group = own / f"minipach-{os.getpid()}"
    said = {name: (group / name).read_text() for name in ("cgroup.type", "pids.max", "cgroup.procs")}
    assert said == {"cgroup.type": "threaded", "pids.max": "264", "cgroup.procs": str(os.getpid())}
    assert (own / "cgroup.subtree_control").read_text() == (before or "+pids")
    assert found.reason() == ""
    for refused, reason in ((0, ""), (3, "the kernel refused it more than 264 processes"), (3, "")):
        (group / "pids.events").write_text(f"max {refused}\n")
        assert found.reason() == reason
    found.end()
    assert (own / "cgroup.procs").read_text() == str(os.getpid())
    assert not group.exists()
    assert (own / "cgroup.subtree_control").read_text() == (before or "-pids"), "as it was found"
    bound(100, is_engine=True).end()
    assert (own / "cgroup.subtree_control").read_text() == (before or "-pids"), "an engine has its own limit"


def test_scratch_in_memory_is_limited(launch: Launcher) -> None:
    """/dev/shm takes memory, which no count of processes shows."""
    fill = (
        "i=0; while [ $i -lt 40 ]; do head -c 3000000 /dev/zero >/dev/shm/$i || exit 5; i=$((i + 1)); done 2>/dev/null"
    )
    for way in (("bubblewrap", "host"), ("charliecloud", "full directory")):
        for kind in ("disk", "memory"):
            limit = ("-L", f"{kind}=20000000")
            done = launch(launch.image(way[1]), *limit, *datum(), *shell(fill), **use(way))
            assert done.returncode == 5, done.stderr


# --- network and sockets -----------------------------------------------------------------------------------------


@ways(SANDBOXES)
def test_no_network(launch: Launcher, way: Way) -> None:
    """With -N: no interface but the loopback, no server of the host, no abstract socket of the host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connected: list[object] = []

        def accept() -> None:
            with contextlib.suppress(OSError):  # the server is closed: nobody came
                connected.append(server.accept())

        threading.Thread(target=accept, daemon=True).start()
        script = f"grep -c : /proc/net/dev; (echo x | nc -w 1 127.0.0.1 {port}) 2>/dev/null; cat /proc/net/unix"
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind("\0minipach-test")
            done = launch(launch.image(way[1]), "-N", *datum(), *shell(script), **use(way))
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.split()[0]) <= 1, done.stdout
        assert "minipach-test" not in done.stdout
        assert not connected


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_without_a_network_no_socket_leads_from_a_virtual_machine_to_its_host(launch: Launcher, user: str) -> None:
    """No namespace holds AF_VSOCK. io_uring would make such a socket unseen."""
    python = """import ctypes, errno, socket
try:
    socket.socket(40, socket.SOCK_STREAM)
    print("made")
except OSError as error:
    print(errno.errorcode[error.errno])
library = ctypes.CDLL(None, use_errno=True)
print(library.syscall(425, 1, None), errno.errorcode[ctypes.get_errno()])
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family)
"""
    with by(launch, ("bubblewrap", "host"), user) as (other, image):
        done = other(image, "-N", *datum(), "--", "python3", "-c", python, **use("bubblewrap"))
    assert (done.returncode, done.stdout.split()) == (0, ["EAFNOSUPPORT", "-1", "ENOSYS"]), done.stderr


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["alone", "set"])
def test_abstract_sockets_of_other_processes_are_out_of_reach(
    launch: Launcher, user: str, names: tuple[str, ...]
) -> None:
    """With the network on, they are those of the host; nobody needs a permission to connect to one."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(444, None, ctypes.c_size_t(0), 1) < 6:
        return  # a kernel before 6.12 can't refuse it: SECURITY.md says so
    address = f"\0minipach-test-{new_mark()}"
    python = f"""import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_UNIX, kind).connect({address!r} + str(int(kind)))
        print("connected")
    except PermissionError:
        pass
own = socket.socket(socket.AF_UNIX)
own.bind("\\0own-" + {address[1:]!r})
own.listen()
socket.socket(socket.AF_UNIX).connect(own.getsockname())
"""
    words = [word for name in names for word in datum(name, name)]
    with (
        by(launch, ("bubblewrap", "host"), user) as (other, image),
        socket.socket(socket.AF_UNIX) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as packets,
    ):
        for one in (stream, packets):
            one.bind(address + str(int(one.type)))
        stream.listen()
        done = other(image, *words, "--", "python3", "-c", python, **use("bubblewrap"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("datums", [1, 3])
@ways([("bubblewrap", "host"), ("none", "host")])
def test_keys_of_the_user_and_of_other_datums_are_out_of_reach(launch: Launcher, way: Way, datums: int) -> None:
    """A command has an empty session keyring: neither a key of the caller nor one that a datum before it has left."""
    add, request = (248, 249) if platform.machine() == "x86_64" else (217, 218)
    library = ctypes.CDLL(None, use_errno=True)
    session, size = ctypes.c_long(-3), ctypes.c_size_t(1)
    if library.syscall(add, b"user", b"minipach-test", b"x", size, session) < 0:
        return  # this kernel keeps no keys: nothing is inherited
    python = f"""import ctypes
call = ctypes.CDLL(None).syscall
print("found", call({request}, b"user", b"minipach-test", None, 0) >= 0)
call({add}, b"user", b"minipach-test", b"y", ctypes.c_size_t(1), ctypes.c_long(-3))
print("own", call({request}, b"user", b"minipach-test", None, 0) >= 0)
"""
    words = [word for number in range(datums) for word in datum(str(number), str(number))]
    done = launch(launch.image("host"), *words, "--", "python3", "-c", python, **use(way))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith(("found", "own"))]
    assert said == ["found False", "own True"] * datums


@ways([way for way in SANDBOXES if way[0] != "podman"])
def test_sockets_of_the_host_are_out_of_reach(launch: Launcher, way: Way) -> None:
    """Those that have a place in the file system, such as the project's own Redis, in /tmp or below the project."""
    place = launch.dataset.parent / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        done = launch(launch.image(way[1]), *datum(), *shell(f"[ -e {place} ] && echo seen; true"), **use(way))
    assert done.stdout == "", done.stderr


# --- the host environment ----------------------------------------------------------------------------------------


@ways(EACH_RUNTIME)
def test_the_terminal_of_the_person_is_out_of_reach(launch: Launcher, way: Way) -> None:
    """Else a command could type into it (TIOCSTI), and the person's shell would run that."""
    words = [*datum("one", "one"), *datum("two", "two")]
    script = '(echo typed >/dev/tty) 2>/dev/null || echo none >"$PFS/out/none"'
    arguments = launch.words(launch.image(way[1]), *words, *shell(script))
    person, terminal = os.openpty()
    env = launch.env | use(way)
    with subprocess.Popen(
        ["setsid", "--ctty", *arguments], cwd=launch.dataset, env=env, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(person, 4096):
                printed += piece
    os.close(person)
    assert process.returncode == 0, printed
    assert b"typed" not in printed
    assert launch.outputs() == {"one/none": "none\n", "two/none": "none\n"}


def test_a_host_s_private_files_are_not_seen(launch: Launcher, tmp_path: Path) -> None:
    """The home, other projects, what only root may read in /etc, runtime folders, other people's processes."""
    home = Path(os.environ["HOME"])
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "id").write_text("key")
    project = tmp_path / "project"
    for path in (".git/minipach/secrets/other", ".git/minipach/redis/password", "other/data"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text("TOPSECRET")
    script = (
        f"cat {home}/.ssh/id {project}/.git/minipach/secrets/other {project}/other/data /etc/shadow 2>/dev/null;"
        "ls /root /home /run /mnt /srv /media /boot /var/lib/dpkg 2>/dev/null | grep -v -x user | grep -v :$ | grep .;"
        '[ $(ls /proc | grep -c "^[0-9]") -lt 9 ] || echo many processes; true'
    )
    done = launch(launch.image("host"), *datum(), *shell(script), **use("bubblewrap"))
    assert done.stdout == "", done.stderr


def test_a_named_program_of_the_host_is_seen_and_no_other(launch: Launcher, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("one.sh", "two.sh"):
        (tools / name).write_text(f"echo {name}; ls {tools}\n")
    done = launch(launch.image("host"), *datum(), "--", "sh", str(tools / "one.sh"), **use("bubblewrap"))
    assert done.stdout == "one.sh\none.sh\n", done.stderr
    private = tools / "private"
    private.write_text("key")
    private.chmod(0o600)
    secret = launch.write("../x/.git/minipach/secrets/s", "key").resolve()
    for path in (private, secret, f"{tools}/../tools/one.sh", "/etc/shadow", "/proc/1/environ"):
        done = launch(launch.image("host"), *datum(), "--", "cat", str(path), **use("bubblewrap"))
        assert done.stdout in ("", f"PATH={os.environ['PATH']}\0") or path == "/proc/1/environ", done.stdout
        assert "HOME" not in done.stdout


# --- the launcher's own ------------------------------------------------------------------------------------------


@ways(EACH_RUNTIME)
def test_the_log_is_written_to_and_never_read(launch: Launcher, way: Way, tmp_path: Path) -> None:
    """A command writes into a pipe: through /proc/self/fd it reaches no file of ours."""
    log = tmp_path / "log"
    log.write_text("of other datums\n")
    script = (
        "(cat /proc/self/fd/1 | head -c 100 >&2) 2>/dev/null & sleep 0.3; (: >/proc/self/fd/1) 2>/dev/null; echo said"
    )
    with log.open("a") as file:
        done = subprocess.run(
            launch.words(launch.image(way[1]), *datum(), *shell(f"timeout 5 sh -c '{script}'")),
            cwd=launch.dataset,
            env=launch.env | use(way),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert log.read_text() == "of other datums\nsaid\n"
    assert "of other datums" not in done.stderr


def test_a_link_in_the_place_of_scratch_leads_nowhere(launch: Launcher) -> None:
    """.minipach of a hostile dataset is a link: nothing is made there."""
    outside = launch.dataset.parent / "outside"
    shutil.move(launch.dataset / ".minipach", outside)
    before = files(outside)
    (launch.dataset / ".minipach").symlink_to(outside)
    done = launch(launch.image("host"), *datum(), *shell("echo x >{out}/x"))
    assert done.returncode in (0, 125)
    assert files(outside) == before


@ways(
    [("bubblewrap", "directory"), ("bubblewrap", "host"), ("charliecloud", "full directory"), ("none", "host")],
    slow=lambda way: way != ("bubblewrap", "directory"),
)
def test_the_end_of_the_command_is_the_end_of_the_datum(launch: Launcher, way: Way) -> None:
    """A command that closes or floods its streams, or stops itself, does not hold the launcher."""
    for script, code in (
        ("exec 1>&- 2>&-; sleep 0.1; exit 0", 0),
        ("yes | head -c 3000000; exit 0", 0),
        ("kill -STOP $$; exit 0", 124),
    ):
        done = launch(launch.image(way[1]), "-t", "5", *datum(), *shell(f"sh -c '{script}'; exit $?"), **use(way))
        assert done.returncode == code, (script, done.stderr)
    assert launch.clean()


def test_ok(launch: Launcher) -> None:
    """The world before any attack: so that the tests above say something."""
    ok(launch(launch.image("host"), *datum("a", "", *FILE), "--", "cp", "{images}", "{out}/b"))


def test_folders_of_path_show_no_repository_and_no_credentials(launch: Launcher, tmp_path: Path) -> None:
    """A folder of PATH is visible with its prefix: programs need their libraries."""
    for path in ("bin/tool", "lib/data", ".git/minipach/secrets/s", "credentials.toml", ".npmrc", "etc/conf"):
        file = launch.write(
            f"../prefix/{path}", "#!/bin/sh\ncat $(dirname $0)/../lib/data\n" if path == "bin/tool" else path
        )
        file.chmod(0o700)
    prefix = tmp_path / "prefix"
    script = f"tool; cd {prefix}; cat .git/minipach/secrets/s credentials.toml .npmrc 2>/dev/null; cat etc/conf"
    path = f"{prefix}/bin:{launch.env['MINIPACH_PATH']}"
    done = launch(launch.image("host"), *datum(), *shell(script), **use("bubblewrap"), MINIPACH_PATH=path)
    assert done.stdout == "lib/dataetc/conf", done.stderr


def test_private_files_of_the_system_are_hidden_from_root(launch: Launcher) -> None:
    """Root could read them without any capability, since they are its own."""
    if os.geteuid() != 0:
        pytest.skip("an ordinary user can't read them anyway")
    script = 'for f in $(find /etc -type f ! -perm -004 -user 0 2>/dev/null); do cat "$f"; done | head -c 100'
    done = launch(launch.image("host"), *datum(), *shell(script), **use("bubblewrap"))
    assert (done.returncode, done.stdout) == (0, "")
    assert any(not p.stat().st_mode & 0o004 for p in Path("/etc").iterdir() if p.is_file()), "there are some"


@ways([("bubblewrap", "tar"), ("charliecloud", "tar")])
def test_an_image_gives_no_device_and_no_setuid_program(launch: Launcher, way: Way, tmp_path: Path) -> None:
    """Unpacked by root, a device node is a disk of the host, and a setuid program is one in a shared cache."""
    image = tmp_path / "evil.tar"
    shutil.copy(launch.image("tar"), image)
    with tarfile.open(image, "a") as tar:
        for name, kind, mode in (("disk", tarfile.BLKTYPE, 0o666), ("memory", tarfile.CHRTYPE, 0o666)):
            member = tarfile.TarInfo(f"./x/{name}")
            member.type, member.mode, member.devmajor, member.devminor = kind, mode, 1, 1
            tar.addfile(member)
        member = tarfile.TarInfo("./x/setuid")
        member.mode, member.size = 0o6755, 1
        tar.addfile(member, io.BytesIO(b"x"))
    cache = tmp_path / "cache"
    done = launch(image, *datum(), *shell("ls /x"), **use(way), MINIPACH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "setuid\n"
    [made] = cache.rglob("x/setuid")
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_a_command_of_podman_that_ends_as_podman_does_is_to_blame(launch: Launcher) -> None:
    done, report = launch.reported(
        launch.image("docker archive"), *datum("a"), *datum("b"), *shell("exit 125"), **use("podman")
    )
    assert [row["code"] for row in report["datums"]] == [125, 125], done.stderr


NESTED = r"""
mkdir -p "$TMPDIR/m"
cat >"$TMPDIR/nested" <<'X'
for place in /pfs /pfs/images /project / /proc/sys /sys /dev; do
  mount -o remount,bind,rw "$place" && (: >"$place/new") && echo "wrote to $place"
  umount -l "$place" && echo "unmounted $place"
done
(: >/pfs/images/s/new) && echo "wrote to an input"
(echo evil >>/pfs/images/s/a) && echo "changed an input"
for kind in proc sysfs cgroup cgroup2 devtmpfs debugfs; do
  mount -t $kind none "$TMPDIR/m" || continue
  echo "mounted $kind"
  for file in sys/kernel/core_pattern kernel/uevent_helper release_agent; do
    (echo '|/evil' >"$TMPDIR/m/$file") && echo "wrote $kind/$file"
  done
done
mknod "$TMPDIR/disk" b 254 0 && echo "made a device"
X
for options in "-U -r -m" "-U -r -m -p -f" "-U -r -m -n"; do
  unshare $options sh "$TMPDIR/nested"
done 2>/dev/null
cp "$PFS/images/s/a" "$PFS/out/"
"""


@pytest.mark.parametrize("user", ["root", "nobody"])
@ways([way for way in SANDBOXES if way[0] != "podman"])
def test_namespaces_of_a_command_s_own_give_it_no_power(launch: Launcher, way: Way, user: str) -> None:
    with by(launch, way, user) as (other, image):
        pattern = Path("/proc/sys/kernel/core_pattern").read_text()
        try:
            done = other(image, *datum("a", "", *FILE), *shell(NESTED), **use(way))
            assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern
        finally:
            if os.geteuid() == 0 and Path("/proc/sys/kernel/core_pattern").read_text() != pattern:
                Path("/proc/sys/kernel/core_pattern").write_text(pattern)
        harmless = {"mounted proc", "mounted sysfs", "mounted cgroup2", "mounted cgroup"}
        assert set(done.stdout.splitlines()) <= harmless, done.stdout
        assert other.outputs() == {"a": "A"}
        assert (other.dataset / "inputs/images/s/a").read_text() == "A"


@pytest.mark.parametrize("order", [1, -1])
def test_a_link_in_an_input_leads_no_other_input_out(launch: Launcher, order: int) -> None:
    """A neutral name makes one path of two; nothing is written through the link that is there already."""
    victim = launch.dataset.parent / "victim"
    victim.mkdir()
    launch.write("inputs/images/liberty/evil", "evil")
    (launch.dataset / "inputs/images/datum").symlink_to(victim)
    matches = [("-f", "images", "inputs/images", path) for path in ("/datum", "/liberty")][::order]
    words = datum("a", "", "-n", "datum", "liberty", *matches[0], *matches[1])
    done = launch(launch.image("host"), *words, "--", "true", **use("bubblewrap"))
    assert files(victim) == {}
    assert done.returncode == 126, "nor is one of them left out without a word"
    assert "symbolic link in another match" in done.stderr or "has this path already" in done.stderr
    assert launch.clean()
