"""The launcher: each runtime really run (docker and apptainer by stand-ins), what a command sees, and its options."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import Images, images, need
from tests.launchers import (
    EACH_RUNTIME,
    EVERY_WAY,
    FILE,
    IMAGE_PATH,
    TOOLS,
    Launcher,
    Way,
    datum,
    files,
    launch,
    make_dataset,
    new_mark,
    ok,
    processes,
    shell,
    stand_in,
    use,
    wait_until,
    ways,
    without,
)
from tests.projects import PATIENCE

__all__ = ["images", "launch"]

HOSTILE = ["with space.txt", 'it\'s "q".txt', "$(touch x).txt", "`touch y`.txt", "-rf", "--", "*", "ümläut", "a;b|c&d", "{o}"]
SHELLS_OWN = {"PWD", "OLDPWD", "SHLVL", "_"}  # a shell sets these by itself

# --- what a command sees -----------------------------------------------------------------------------------------

WORLD = r"""
out=$PFS/out
tr '\0' '\n' </proc/$$/environ >"$out/env"
(cd "$PFS"; find . | grep -v '^./out/') >"$out/pfs"
for fd in /proc/$$/fd/*; do [ ! -e "$fd" ] || fds="$fds ${fd##*/}"; done
echo "$fds" >"$out/fds"
cat >"$out/stdin"
pwd >"$out/pwd"
id -u >"$out/id"
grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status >"$out/status"
for place in "$TMPDIR" ${VAR_TMP-/var/tmp /dev/shm} "$HOME"; do
  ls -A "$place"
  for name in x .hidden; do echo 1 >"$place/$name" || echo "$place can't be written"; done
  mkdir "$place/deep" && chmod 0 "$place/deep"
done >"$out/private" 2>&1
for place in . /project / /bin /etc /run /usr /dev /sys /proc/sys/kernel "$PFS" "$PFS/images" "$PFS/images/s"; do
  [ ! -d "$place" ] || { (: >"$place/new") 2>/dev/null && echo "$place"; }
done >"$out/wrote"
(echo evil >>"$PFS/images/s/a") 2>/dev/null && echo input >>"$out/wrote"
(echo 1 >/proc/sys/kernel/panic_on_warn) 2>/dev/null && echo kernel >>"$out/wrote"
for place in / /pfs /project /dev /sys /proc /proc/sys; do
  mount -o remount,bind,rw "$place" 2>/dev/null && echo "remounted $place"
done >>"$out/wrote"
mknod "$TMPDIR/device" b 8 0 2>/dev/null && echo device >>"$out/wrote"
chroot / true 2>/dev/null && echo chroot >>"$out/wrote"
[ "$MINIPACH_DATUM" = first ] || mkdir "$out/second" && mv "$out"/[a-z]* "$out/second/" 2>/dev/null
true
"""


@ways(EVERY_WAY)
def test_the_world_of_a_command(launch: Launcher, way: Way) -> None:
    """Two datums of a set, each alone in a world with nothing but its inputs, its output and empty scratch."""
    env = use(way)
    told = launch("--runtime", launch.image(way[1]), **env)
    assert told.stdout == f"{way[0]} {'copy' if way[0] == 'none' else 'read-only'}\n"
    launch.write("code/run.sh", "true")
    bare = way[0] == "none"
    done = launch(
        launch.image(way[1]),
        *("-e", "a-b.c=1 2", "-e", "K=x\ny", "-e", "D=$HOME:$(x)", "-s", "TOKEN=MINIPACH_SECRET_T", "-E", "WIDER"),
        *(["-e", "VAR_TMP="] if bare else []),
        *datum("first", "one", *FILE, "-v", "images=/pfs/images/s/a"),
        *datum("second", "two", "-l", "images", "inputs/images", "/s"),
        *shell(WORLD),
        **env,
        **{"WIDER": "w", "SECRET": "s", "MINIPACH_SECRET_T": "hush", "MINIPACH_SECRET_OTHER": "o", "BASH_ENV": "/x"},
        **{"MINIPACH_REDIS": "redis://:pw@h/0", "AWS_SECRET_ACCESS_KEY": "k", "SSH_AUTH_SOCK": "/x", "GIT_DIR": "/x"},
        **{"CUDA_VISIBLE_DEVICES": "0,1", "TZ": "Europe/Rome", "LC_ALL": "C.UTF-8", "LANG": "C", "TERM": "dumb"},
        **{"XDG_RUNTIME_DIR": "/x", "PYTHONPATH": "/x", "LD_LIBRARY_PATH": "/x"},
    )
    assert done.returncode == 0, done.stderr
    if bare:
        assert "the command changed its copy of images/s/a; the source is as it was" in done.stderr
    else:
        assert done.stderr == ""
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"
    assert launch.clean()
    seen = launch.outputs()
    assert {p.split("/")[0] for p in seen} == {"one", "two"}
    for name, place in (("first", "one"), ("second", "two/second")):
        world = {p.removeprefix(place + "/"): text for p, text in seen.items() if p.startswith(place + "/")}
        check_world(world, way, name, launch.env["MINIPACH_PATH"])
    made = launch.dataset / "one" / "env"
    assert made.stat().st_uid == os.getuid() and not made.stat().st_mode & 0o111


def check_world(world: dict[str, str], way: Way, name: str, path: str) -> None:
    """Check what a command said of its world."""
    bare, host = way[0] == "none", way[1] == "host"
    found = re.findall(r"^([A-Za-z_][\w.-]*)=((?:.|\n(?![A-Za-z_][\w.-]*=))*)\n", world["env"], re.MULTILINE)
    env = {k: v for k, v in found if k not in SHELLS_OWN}
    pfs = env.pop("PFS")
    expected = {"MINIPACH_DATUM": name, "CUDA_VISIBLE_DEVICES": "0,1", "WIDER": "w", "K": "x\ny", "D": "$HOME:$(x)", "a-b.c": "1 2"}
    expected |= {"TOKEN": "hush"} | ({"images": f"{pfs}/images/s/a"} if name == "first" else {})
    if host:
        assert env.pop("PATH") == path
        expected |= {"TZ": "Europe/Rome", "LC_ALL": "C.UTF-8", "LANG": "C", "TERM": "dumb"}
    else:
        expected |= {"PATH": IMAGE_PATH, "LANG": "C.UTF-8"}
    if bare:
        assert env.pop("HOME").endswith("/home") and env.pop("TMPDIR").endswith("/tmp")
        assert env.pop("XDG_CACHE_HOME").endswith("/home/.cache")
        expected |= {"VAR_TMP": ""}
    else:
        assert pfs == "/pfs"
        expected |= {"HOME": "/home/user", "TMPDIR": "/tmp", "XDG_CACHE_HOME": "/home/user/.cache"}
    if way[0] == "charliecloud":
        expected |= {"CH_RUNNING": env["CH_RUNNING"]}
    if way[0] == "podman":
        expected |= {"container": "podman", "HOSTNAME": env["HOSTNAME"], "TERM": "xterm"}
    assert env == expected
    assert sorted(world["pfs"].split()) == [".", "./images", "./images/s", "./images/s/a", "./out"]
    assert sorted(world["fds"].split()) == ["0", "1", "2"]
    assert world["stdin"] == ""
    assert world["private"] == ""
    if bare:
        return
    assert world["pwd"] == "/project/pipeline\n"
    assert world["wrote"] == ("/dev\n" if way[0] == "podman" else "")  # a small file system of the container's own
    status = dict(line.split(":\t") for line in world["status"].splitlines())
    assert {k: int(v, 16) for k, v in status.items() if k in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {
        "CapInh": 0,
        "CapPrm": 0,
        "CapEff": 0,
        "CapAmb": 0,
    }
    assert status["NoNewPrivs"] == "1"
