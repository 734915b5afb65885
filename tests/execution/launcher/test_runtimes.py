"""The launcher: each runtime really run (docker and apptainer by stand-ins), what a command sees, and its options."""

from __future__ import annotations

import ast
import gzip
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from minipach.execution.compose_launcher import launcher
from tests.fixtures.container_images import images, need
from tests.fixtures.launchers import (
    EACH_RUNTIME,
    EVERY_WAY,
    FILE,
    IMAGE_PATH,
    SCRIPT,
    TOOLS,
    Launcher,
    Way,
    datum,
    files,
    launch,
    make_dataset,
    new_mark,
    ok,
    ordinary,
    processes,
    shell,
    stand_in,
    use,
    wait_until,
    ways,
    without,
)
from tests.fixtures.projects import PATIENCE

__all__ = ["images", "launch"]

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


@ways(EVERY_WAY, slow=lambda way: way[1] == "oci archive")
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
        **{"MINIPACH_LOCALE": "LANG=C LC_ALL=C.UTF-8"},
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
    expected = {
        "MINIPACH_DATUM": name,
        "CUDA_VISIBLE_DEVICES": "0,1",
        "WIDER": "w",
        "K": "x\ny",
        "D": "$HOME:$(x)",
        "a-b.c": "1 2",
    }
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
    # where the tests' own Python lies below /tmp, its folder is seen there
    environment = {p.split("/")[2] for p in path.split(":") if host and p.startswith("/tmp/")}
    assert set(world["private"].splitlines()) <= environment
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


@ways(EVERY_WAY)
def test_every_runtime_computes_a_datum(launch: Launcher, way: Way) -> None:
    done = launch(
        launch.image(way[1]),
        *("sh", ".minipach/datum"),  # as records of earlier versions have it
        *("-i", "one", "-i", "$(two)", "-i", "--", "-a", "3"),
        *datum("ü $(x)", "of/it", *FILE, "-l", "lazy", "inputs/images", "/s/a"),
        *shell(
            'cat {images} {lazy} >"$PFS/out/$MINIPACH_DATUM"; chmod 755 "$PFS/out/$MINIPACH_DATUM";'
            "ln -s {lazy} {out}/link; cat >{out}/stdin; mkdir {out}/d; ln -s ../../images/s/a {out}/d/other; exit 3"
        ),
        **use(way),
    )
    ok(done)
    made = launch.dataset / "of" / "it" / "ü $(x)"
    assert os.access(made, os.X_OK)
    for path in made.parent.rglob("*"):
        assert path.stat().st_uid == os.getuid()
    assert launch.outputs() == {
        "of/it/ü $(x)": "AA",
        "of/it/link": "A",
        "of/it/d/other": "A",
        "of/it/stdin": "one\n$(two)\n--\n",
    }
    assert launch.clean()


@ways(EACH_RUNTIME)
def test_exit_codes_pass_through_and_nothing_is_moved(launch: Launcher, way: Way) -> None:
    done = launch(launch.image(way[1]), *datum("one"), *shell('echo 1 >"$PFS/out/f"; exit 7'), **use(way))
    assert (done.returncode, done.stderr) == (7, "datum: one: the command failed with exit code 7\n")
    assert launch.outputs() == {} and launch.clean()
    assert launch(launch.image(way[1]), *datum("one"), "--", "no-such-command", **use(way)).returncode == 127
    killed = launch(launch.image(way[1]), *datum("one"), *shell("sh -c 'kill -9 $$'; exit $?"), **use(way))
    assert killed.returncode == 137, killed.stderr


@ways(EACH_RUNTIME)
def test_a_person_takes_the_commands_place(launch: Launcher, way: Way) -> None:
    done = launch(
        launch.image(way[1]),
        *datum("a", "", *FILE),
        *("--", "sh"),
        input='cat "$PFS/images/s/a"; echo x >"$PFS/out/x"; exit 5\n',
        **use(way),
        MINIPACH_INTERACTIVE="1",
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "A", "")
    assert launch.clean() and launch.outputs() == {}


@pytest.mark.parametrize(
    "sig", [signal.SIGTERM, *(pytest.param(sig, marks=pytest.mark.slow) for sig in (signal.SIGINT, signal.SIGHUP))]
)
@ways(EACH_RUNTIME)
def test_a_signal_ends_the_command_and_its_children(launch: Launcher, way: Way, sig: signal.Signals) -> None:
    mark = new_mark()
    running = launch.start(
        launch.image(way[1]), *datum(), *shell(f"sleep 1{mark} & sleep 2{mark} & echo started; wait"), **use(way)
    )
    assert running.stdout is not None and running.stderr is not None
    assert running.stdout.readline() == "started\n", running.stderr.read()
    running.send_signal(sig)
    assert running.wait(60) == 128 + sig
    running.communicate()
    assert not processes(mark)
    assert launch.clean() and launch.outputs() == {}


def test_a_signal_that_comes_when_the_command_has_only_just_begun_ends_it(launch: Launcher) -> None:
    script = launch.dataset / ".minipach/launch"
    text, between = script.read_text(), "        self.child = process\n"
    assert text.count(between) == 1
    script.write_text(text.replace(between, "        os.kill(os.getpid(), 15)\n" + between))
    mark = new_mark()
    done = launch(launch.image("host"), *datum(), "--", "sleep", mark, **use("none"))
    assert done.returncode == 143, done.stderr
    assert not processes(mark)
    assert launch.clean()


@pytest.mark.parametrize(
    ("way", "command"),
    [
        (way, command)
        for way in EACH_RUNTIME
        for command in (True, False)
        if command or way[0] not in ("podman", "none")
    ],
)
def test_a_kill_leaves_no_process(launch: Launcher, way: Way, command: bool, tmp_path: Path) -> None:
    """A kill of the launcher or of the runtime's first process ends the command.

    The launcher of an engine's container, or of a process of the host, can't see to that: its worker does.
    """
    mark = new_mark()
    report = tmp_path / "report"
    report.mkdir()
    running = launch.start(
        launch.image(way[1]),
        *datum(),
        *shell(f"echo started; sleep 1{mark}; :"),
        **use(way),
        MINIPACH_REPORT=str(report),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "started\n"
    if not command:
        running.kill()
    else:
        below = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True, check=True)
        for pid in map(int, below.stdout.split()):
            os.kill(pid, signal.SIGKILL)
    running.communicate(timeout=PATIENCE)
    wait_until(lambda: not processes(mark))


@pytest.mark.parametrize("place", ["/var/tmp", "~"])
@ways([way for way in EACH_RUNTIME if way[1] != "host"])
def test_a_dataset_that_is_not_under_tmp(launch: Launcher, way: Way, place: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="minipach.", dir=os.path.expanduser(place)))
    try:
        other = Launcher(make_dataset(folder / "with space"), launch.env, launch.images)
        ok(other(launch.image(way[1]), *datum("a", "", *FILE), "--", "cp", "{images}", "{out}/b", **use(way)))
        assert other.outputs() == {"b": "A"}
    finally:
        shutil.rmtree(folder)


# --- images and runtimes -----------------------------------------------------------------------------------------


def test_an_image_that_is_not_here(launch: Launcher) -> None:
    (launch.dataset / "image").symlink_to(".git/annex/objects/KEY")
    done = launch("image", "true")
    assert (done.returncode, done.stderr) == (
        125,
        "launch: image: the image's content is not here; fetch it with: datalad get image\n",
    )
    done, report = launch.reported("nothing", "true")
    said = "nothing: no such image; is this the root of the pipeline's dataset?"
    assert (done.returncode, done.stdout, done.stderr) == (125, "", f"launch: {said}\n")
    assert report == {"schema": 1, "failure": said}


@pytest.mark.parametrize("text", ["", "some text\n", "#!/bin/sh\necho evil\n"])
def test_a_file_that_is_no_image(launch: Launcher, text: str) -> None:
    (launch.dataset / "image").write_text(text)
    done = launch("image", "true")
    assert done.returncode == 125 and "not an image that is known here" in done.stderr
    assert done.stderr.startswith("launch: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("runtime", "image", "problem"),
    [
        ("podman", "host", "MINIPACH_RUNTIME=podman can't run this image (host); what can: bubblewrap none"),
        (
            "none",
            "squashfs",
            "MINIPACH_RUNTIME=none can't run this image (squashfs);"
            " what can: apptainer singularity charliecloud bubblewrap",
        ),
        ("apptainer", "squashfs", "no runtime here for this image (squashfs); apptainer: not installed"),
        (
            "charliecloud",
            "directory",
            "no runtime here for this image (directory); charliecloud: the image lacks a folder to mount at",
        ),
        ("lxc", "host", "MINIPACH_RUNTIME=lxc can't run this image (host); what can: bubblewrap none"),
    ],
)
def test_a_forced_runtime_that_cannot(launch: Launcher, runtime: str, image: str, problem: str) -> None:
    need("ch-run")
    for first in ([], ["--runtime"]):
        done = launch(*first, launch.image(image), *([] if first else ["true"]), MINIPACH_RUNTIME=runtime)
        assert done.returncode == 125
        assert done.stderr.startswith(f"launch: {problem}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "runtime"),
    [
        ("squashfs", "charliecloud"),
        ("tar", "charliecloud"),
        ("full directory", "charliecloud"),
        ("directory", "bubblewrap"),
        ("docker archive", "podman"),
        ("oci archive", "podman"),
        ("host", "bubblewrap"),
    ],
)
def test_which_runtime_is_picked(launch: Launcher, kind: str, runtime: str) -> None:
    need(*TOOLS[runtime], "ch-run")
    assert launch("--runtime", launch.image(kind)).stdout == f"{runtime} read-only\n"


def test_an_annexed_image_is_known_by_its_key(launch: Launcher) -> None:
    """A docker archive, compressed, with no extension in its name: its kind and its name in podman's store are kept."""
    need("podman")
    store = launch.dataset / ".git" / "annex" / "objects" / "SHA256E-s1--0.gz"
    store.parent.mkdir(parents=True)
    store.write_bytes(gzip.compress(launch.image("docker archive").read_bytes()))
    (launch.dataset / "image").symlink_to(".git/annex/objects/SHA256E-s1--0.gz")
    shutil.rmtree(launch.dataset / "inputs")
    (launch.dataset / ".git").rename(launch.dataset.parent / "store")
    (launch.dataset / "image").unlink()
    (launch.dataset / "image").symlink_to("../store/annex/objects/SHA256E-s1--0.gz")
    cache = {"MINIPACH_CACHE": str(launch.dataset.parent / "cache")}
    for _ in range(2):
        ok(launch("image", *datum(), "--", "cp", "/etc/image-name", "{out}", **cache))
    assert launch.outputs()["image-name"] == "busybox of the tests\n"
    kept = launch.dataset.parent / "cache" / "images" / "SHA256E-s1--0.gz"
    assert (kept / "kind").read_text() == "docker-archive\n"
    assert (kept / "podman").read_text().strip()


def test_two_that_unpack_an_image_at_once(launch: Launcher) -> None:
    need("bwrap", "unsquashfs")
    cache = launch.dataset.parent / "cache"
    image = launch.image("squashfs")
    running = [
        launch.start(image, *datum(), "--", "cat", "/etc/image-name", MINIPACH_CACHE=str(cache), **use("bubblewrap"))
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=PATIENCE)
        assert (out, err) == ("busybox of the tests\n", "datum: a: the command wrote nothing to /pfs/out\n")
        assert process.returncode == 0
    [kept] = (cache / "images").iterdir()
    assert [p.name for p in kept.iterdir()] == ["rootfs"]
    assert not list((kept / "rootfs").glob("rootfs"))


def test_docker(launch: Launcher, tmp_path: Path) -> None:
    """Not docker: a stand-in that logs its arguments and hands them to podman, which understands the same ones."""
    need("podman", "runc")
    podman = shutil.which("podman")
    log = stand_in(tmp_path / "bin", "docker", f'exec {podman} "$@"')
    env = without(launch.env, tmp_path / "bin", "podman", "docker") | {"MINIPACH_PATH": ""}
    env["MINIPACH_PATH"] = env["PATH"]
    image = launch.image("docker archive")
    cache = {"MINIPACH_CACHE": str(tmp_path / "cache")}
    assert launch("--runtime", image, **env).stdout == "docker read-only\n"
    secret = {"MINIPACH_SECRET_T": "hush"}
    for _ in range(2):
        ok(
            launch(
                *(image, "-s", "TOKEN=MINIPACH_SECRET_T", "-L", "memory=100000000", "-L", "processes=99", "-N"),
                *datum("a", "", *FILE),
                *shell('id -u >{out}/id; echo "$TOKEN" >{out}/token; cp {images} /etc/image-name {out}'),
                **env,
                **cache,
                **secret,
            )
        )
    found = launch.outputs()
    assert found == {"id": f"{os.getuid()}\n", "token": "hush\n", "a": "A", "image-name": "busybox of the tests\n"}
    assert (launch.dataset / "id").stat().st_uid == os.getuid()
    said = log.read_text().splitlines()
    assert said.count("load") == 1, "it is loaded once"
    for option, value in (
        *(("--user", f"{os.getuid()}:{os.getgid()}"), ("--cap-drop", "ALL"), ("--network", "none")),
        *(("--security-opt", "no-new-privileges"), ("--memory", "100000000"), ("--pids-limit", "99")),
    ):
        assert value in [said[n + 1] for n, word in enumerate(said[:-1]) if word == option], option
    assert "--read-only" in said and "hush" not in said
    [pfs] = {word for word in said if word.endswith(",target=/pfs,readonly")} and {"/pfs"}
    assert pfs
    done = launch(launch.image("oci archive"), "true", **env)
    assert done.returncode == 125 and "podman: not installed" in done.stderr


def test_a_docker_without_a_daemon_is_not_taken(launch: Launcher, tmp_path: Path) -> None:
    """A stand-in that fails as docker does without its daemon."""
    stand_in(tmp_path / "bin", "docker", "exit 1")
    env = without(launch.env, tmp_path / "bin", "podman", "docker")
    done = launch("--runtime", launch.image("docker archive"), **env, MINIPACH_PATH=env["PATH"])
    assert done.returncode == 125
    assert "docker: installed, but `docker ps` fails" in done.stderr


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
@pytest.mark.parametrize("kind", ["sif", "squashfs", "docker archive", "oci archive"])
def test_apptainer(launch: Launcher, tmp_path: Path, name: str, kind: str) -> None:
    """Not apptainer, which can't be installed here: a stand-in that logs its arguments and runs bubblewrap.

    That its command line is right is known from its manual only.
    """
    need("bwrap")
    rootfs = launch.images.directory()
    log = stand_in(
        tmp_path / "bin",
        name,
        f"""
        binds= pwd=
        while :; do
          case $1 in
            --bind) binds="$binds $2"; shift ;;
            --pwd) pwd=$2; shift ;;
            --home) home=$2; shift ;;
            --network) shift ;;
            exec | --cleanenv | --containall | --no-privs | --net | --nv) ;;
            *) shift; break ;;
          esac
          shift
        done
        set -- --bind "${{home%:*}}" "${{home#*:}}" --chdir "$pwd" "$@"
        env | sed -n "s/^APPTAINERENV_//p" >{tmp_path}/env
        set -- --setenv HOME "${{home#*:}}" --setenv TOKEN "$APPTAINERENV_TOKEN" --setenv PFS "$APPTAINERENV_PFS" "$@"
        late=
        for bind in $binds; do
          case $bind in
            *:/pfs/out) late=$bind ;;
            *:ro) bind=${{bind%:ro}}; set -- "$@"; mounts="$mounts --ro-bind ${{bind%:*}} ${{bind#*:}}" ;;
            *) mounts="$mounts --bind ${{bind%:*}} ${{bind#*:}}" ;;
          esac
        done
        mounts="$mounts --bind ${{late%:*}} ${{late#*:}}"
        exec bwrap --ro-bind {rootfs}/bin /bin --dev /dev --proc /proc --clearenv --setenv PATH /bin $mounts "$@"
    """,
    )
    env = without(launch.env, tmp_path / "bin", "podman", "docker", "apptainer", "singularity")
    env["MINIPACH_PATH"] = env["PATH"]
    if kind == "sif":
        image = tmp_path / "no extension"
        image.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\0" + b"\0" * 100)
    else:
        image = launch.image(kind)
    assert launch("--runtime", image, **env).stdout == f"{name} read-only\n"
    ok(
        launch(
            *(image, "-N", "-s", "TOKEN=MINIPACH_SECRET_T", "-w", "/pfs/out"),
            *datum("a", "", *FILE),
            *shell('pwd >pwd; echo "$PFS $HOME $TOKEN" >env; (: >/pfs/x) 2>/dev/null || cp {images} .; : >/tmp/x'),
            **env,
            MINIPACH_SECRET_T="hush",
        )
    )
    assert launch.outputs() == {"pwd": "/pfs/out\n", "env": "/pfs /home/user hush\n", "a": "A"}
    said = log.read_text().splitlines()
    scheme = kind.replace(" ", "-") + ":" if "archive" in kind else ""
    assert f"{scheme}{image}" in said and "hush" not in said
    for word in ("--cleanenv", "--containall", "--no-privs"):
        assert word in said
    assert said[said.index("--network") + 1] == "none" and said[said.index("--pwd") + 1] == "/pfs/out"
    assert sorted(word.split(":", 1)[1] for n, word in enumerate(said) if said[n - 1] == "--bind") == [
        *("/dev/shm", "/pfs/out", "/pfs:ro", "/project:ro", "/tmp", "/var/tmp")
    ]
    assert launch.clean()


@ways([way for way in EACH_RUNTIME if way[0] != "podman"] + [("charliecloud", "squashfs")])
def test_as_an_ordinary_user(launch: Launcher, way: Way) -> None:
    """With user namespaces, as `nobody`; results are the caller's."""
    if os.geteuid() != 0:
        pytest.skip("the other tests run as an ordinary user already")
    with ordinary(launch, way) as other:
        ok(
            other(
                other.dataset.parent / "image",
                *datum("a", "", *FILE),
                *shell('id -u >{out}/id; (: >{out}/../x) 2>/dev/null || cp {images} {out}; : >"$TMPDIR/x"'),
                **use(way),
            )
        )
        assert other.outputs() == {"id": "65534\n"} | ({"a": "A"} if way[0] != "none" else {})
        assert (other.dataset / "id").stat().st_uid == 65534
        assert other.clean()


def test_without_bubblewrap_the_host_runs_it_directly(launch: Launcher, tmp_path: Path) -> None:
    env = without(launch.env, tmp_path / "bin", "bwrap")
    env["MINIPACH_PATH"] = env["PATH"]
    assert launch("--runtime", launch.image("host"), **env).stdout == "none copy\n"
    done = launch(
        *(launch.image("host"), "-e", "at=/pfs/images/s"),
        *datum("n", "", "-f", "images", "inputs/images", "/s"),
        *shell('echo evil >>"$at/a"; cp "$at/a" "{out}/copy"'),
        **env,
    )
    assert done.returncode == 0, done.stderr
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"
    assert launch.outputs() == {"copy": "Aevil\n"}


def test_bubblewrap_that_fails_once_is_asked_again(launch: Launcher, tmp_path: Path) -> None:
    """A stand-in that fails once, as bubblewrap does if something below / is unmounted meanwhile; then the real one."""
    need("bwrap")
    real = shutil.which("bwrap", path=launch.env["PATH"])
    flag = tmp_path / "failed"
    stand_in(tmp_path / "bin", "bwrap", f'[ -e {flag} ] || {{ : >{flag}; exit 1; }}; exec {real} "$@"')
    env = {"MINIPACH_PATH": f"{tmp_path / 'bin'}:{launch.env['PATH']}", "MINIPACH_RUNTIME": "bubblewrap"}
    done = launch(launch.image("host"), *datum(), *shell("echo ran; exit 7"), **env)
    assert (done.returncode, done.stdout) == (7, "ran\n"), "the command itself runs once, whatever its exit code"
    assert flag.exists()


def test_a_runtime_that_can_not_start_is_not_the_commands_fault(launch: Launcher, tmp_path: Path) -> None:
    need("bwrap")
    real = shutil.which("bwrap", path=launch.env["PATH"])
    then = f'case "$*" in *--args*) echo "bwrap: no namespaces today" >&2; exit 1 ;; esac; exec {real} "$@"'
    stand_in(tmp_path / "bin", "bwrap", then)
    env = {"MINIPACH_PATH": f"{tmp_path / 'bin'}:{launch.env['PATH']}", "MINIPACH_RUNTIME": "bubblewrap"}
    done, report = launch.reported(launch.image("host"), *datum(), *shell("exit 7"), **env)
    assert done.returncode == 125
    assert report == {
        "schema": 1,
        "failure": "bubblewrap could not start the command: bwrap: no namespaces today",
    }


def test_descriptors_of_the_caller_are_closed(launch: Launcher) -> None:
    """All of them; and the launcher works with many of them open, as below `make` or a batch system."""
    opened = 'exec "$@" ' + " ".join(f"{fd}</dev/null" for fd in range(3, 10))
    script = 'for fd in /proc/$$/fd/*; do [ ! -e "$fd" ] || fds="$fds ${fd##*/}"; done; echo "$fds"'
    other = Launcher(launch.dataset, launch.env, launch.images, ("sh", "-c", opened, "sh"))
    for way in (("bubblewrap", "host"), ("bubblewrap", "directory"), ("none", "host")):
        done = other(launch.image(way[1]), *datum(), *shell(script), **use(way))
        assert (done.returncode, sorted(done.stdout.split())) == (0, ["0", "1", "2"]), done.stderr


@pytest.mark.parametrize(
    ("composed", "image", "option", "lacks"),
    [
        ("host", "tar", [], "an image"),
        ("docker-archive", "host", [], "the host environment"),
        ("sif", "tar", [], "an image of this kind (rootfs-tar)"),
        ("host", "host", ["-b"], "a command that loops over its datums (-b)"),
    ],
)
def test_a_launcher_that_was_composed_for_something_else_says_so(
    launch: Launcher, composed: str, image: str, option: list[str], lacks: str
) -> None:
    text = launcher(composed, loops=False, pods=False) + b"# as it is\n"
    (launch.dataset / ".minipach" / "launch").write_bytes(text)
    before = files(launch.dataset)
    done, report = launch.reported(launch.image(image), *option, *datum("a", "", *FILE), *shell("echo x >$PFS/out/x"))
    assert done.returncode == 125 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"launch: this launcher has no part for {lacks}: ")
    assert line.endswith(": datalad rerun --onto COMMIT COMMIT")
    assert report == {"schema": 1, "failure": line.removeprefix("launch: ")}
    assert files(launch.dataset) == before and launch.clean()


def test_each_python_runs_it(launch: Launcher) -> None:
    """A rerun uses the Python that is there, from 3.9 on: each that is found here."""
    ast.parse(SCRIPT.decode(), feature_version=(3, 9))
    tried = []
    for minor in range(9, 20):
        python = shutil.which(f"python3.{minor}")
        if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            continue
        tried.append(python)
        words = datum("a", "", *FILE, "-n", "datum", "s")
        script = "cp {images} {out}/datum; ln -s {images} {out}/link"
        done, report = launch.reported(
            *(launch.image("host"), "-t", "60", "-L", "disk=1000000", *words, *shell(script)),
            **use("bubblewrap"),
            MINIPACH_PYTHON=python,
        )
        ok(done)
        assert launch.outputs() == {"s": "A", "link": "A"}
        assert report["datums"][0]["code"] == 0
    assert tried
