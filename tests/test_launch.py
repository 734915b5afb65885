"""The launcher: every runtime really run (docker and apptainer by stand-ins), read-only inputs, results, signals."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images import Images, images, need
from tests.projects import PATIENCE
from tests.test_datum_script import own_variables

__all__ = ["images"]

SCRIPTS = Path(__file__).parent.parent / "minipach" / "scripts"
SHELLS = {"dash": ("dash",), "busybox": ("busybox", "sh")}
TOOLS = {
    "bubblewrap": ("bwrap",),
    "charliecloud": ("ch-run", "unshare", "mount"),
    "podman": ("podman", "runc"),
    "none": (),
}
EVERY_WAY = [
    ("bubblewrap", "directory"),
    ("bubblewrap", "tar"),
    ("bubblewrap", "squashfs"),
    ("bubblewrap", "host"),
    ("charliecloud", "full directory"),
    ("charliecloud", "tar"),
    ("charliecloud", "squashfs"),
    ("charliecloud", "full squashfs"),
    ("podman", "docker archive"),
    ("podman", "oci archive"),
    ("none", "host"),
]
IN_CONTAINER = [way for way in EVERY_WAY if way[1] != "host"]


@dataclass(frozen=True)
class Launcher:
    """A pipeline's dataset with the two scripts in it, and the environment to run them in."""

    dataset: Path
    env: dict[str, str]
    images: Images
    shell: tuple[str, ...]

    def __call__(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.shell, ".minipach/launch", *arguments],
            cwd=self.dataset,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def start(self, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.shell, ".minipach/launch", *arguments],
            cwd=self.dataset,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def image(self, name: str) -> Path:
        """An image by its short name."""
        return {
            "directory": self.images.directory,
            "full directory": lambda: self.images.directory(mount_points=True),
            "tar": self.images.tar,
            "squashfs": self.images.squashfs,
            "full squashfs": lambda: self.images.squashfs(mount_points=True),
            "host": self.images.host,
            "docker archive": self.images.docker_archive,
            "oci archive": self.images.oci_archive,
        }[name]()

    def clean(self) -> bool:
        """Is no scratch left?"""
        return not list((self.dataset / ".minipach").glob("tmp.*"))


def make_dataset(path: Path) -> Path:
    (path / ".minipach").mkdir(parents=True)
    for script in ("launch", "datum"):
        shutil.copy(SCRIPTS / script, path / ".minipach" / script)
    (path / "inputs" / "images" / "s").mkdir(parents=True)
    (path / "inputs" / "images" / "s" / "a").write_text("A")
    return path


@pytest.fixture(params=sorted(SHELLS))
def launch(request: pytest.FixtureRequest, tmp_path: Path, images: Images) -> Launcher:
    """The launcher under one of the shells."""
    shell = SHELLS[request.param]
    need(shell[0])
    return Launcher(make_dataset(tmp_path / "edges"), images.env(), images, shell)


def result(*commands: str) -> list[str]:
    """A command that leaves results as the datum script does."""
    return [
        "sh",
        "-c",
        'mkdir -p "$PFS/.minipach/done" && cd "$PFS/.minipach/done" && ' + " && ".join(commands),
    ]


def ok(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def use(way: tuple[str, str]) -> dict[str, str]:
    need(*TOOLS[way[0]])
    return {"MINIPACH_RUNTIME": way[0]}


@pytest.mark.parametrize("way", EVERY_WAY, ids=" ".join)
def test_every_runtime_computes_a_datum(launch: Launcher, way: tuple[str, str]) -> None:
    env = use(way)
    image = launch.image(way[1])
    told = launch("--runtime", image, **env)
    assert told.stdout == f"{way[0]} {'copy' if way[0] == 'none' else 'read-only'}\n"
    ok(
        launch(
            image,
            "sh",
            ".minipach/datum",
            "-d",
            "ü $(x)",
            "of/it",
            "-f",
            "images",
            "inputs/images",
            "/s",
            "-l",
            "lazy",
            "inputs/images",
            "/s/a",
            "--",
            "sh",
            "-c",
            'cat {images}/a {lazy} >"$PFS/out/$MINIPACH_DATUM"; chmod 755 "$PFS/out/$MINIPACH_DATUM";'
            "ln -s {lazy} {out}/link",
            **env,
        )
    )
    made = launch.dataset / "of" / "it" / "ü $(x)"
    assert made.read_text() == "AA"
    assert os.access(made, os.X_OK) and made.stat().st_uid == os.getuid()
    assert (launch.dataset / "of/it/link").read_text() == "A"
    assert launch.clean()


@pytest.mark.parametrize("way", [EVERY_WAY[n] for n in (0, 3, 5, 8, 10)], ids=" ".join)
def test_a_person_takes_the_commands_place(launch: Launcher, way: tuple[str, str]) -> None:
    env = launch.env | use(way) | {"MINIPACH_INTERACTIVE": "1"}
    command = ["sh", ".minipach/datum", "-d", "a", "", "-f", "images", "inputs/images", "/s/a", "--", "sh"]
    done = subprocess.run(
        [*launch.shell, ".minipach/launch", launch.image(way[1]), *command],
        cwd=launch.dataset,
        env=env,
        input='cat "$PFS/images/s/a"; echo x >"$PFS/out/x"; exit 5\n',
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "A", "")
    assert launch.clean() and not (launch.dataset / "x").exists()


@pytest.mark.parametrize("way", [w for w in EVERY_WAY if w[0] != "none"], ids=" ".join)
def test_nothing_but_pfs_and_tmp_can_be_written_not_even_by_root(launch: Launcher, way: tuple[str, str]) -> None:
    script = (
        "for place in . inputs/images/s/a .minipach/launch /new /bin/new; do "
        "  if [ -d $place ]; then (: >$place/x) 2>/dev/null; else (echo evil >>$place) 2>/dev/null; fi &&"
        '  echo "wrote $place"; done;'
        'mount -o remount,bind,rw "$PWD" 2>/dev/null && echo remounted;'
        'echo 1 >/pfs/x && echo 1 >"${TMPDIR:-/tmp}/x" && echo fine'
    )
    done = launch(launch.image(way[1]), "sh", "-c", script, **use(way))
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"
    assert not (launch.dataset / "x").exists()


@pytest.mark.parametrize("way", IN_CONTAINER, ids=" ".join)
def test_containers_have_a_clean_environment(launch: Launcher, way: tuple[str, str]) -> None:
    done = launch(
        launch.image(way[1]),
        "env",
        **use(way),
        SECRET="s",
        TERM="xterm",
        CUDA_VISIBLE_DEVICES="0,1",
        BASH_ENV="/x",
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    seen.pop("PWD", None), seen.pop("SHLVL", None), seen.pop("_", None)
    assert seen == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PFS": "/pfs",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }


@pytest.mark.parametrize("runtime", ["bubblewrap", "none"])
def test_the_hosts_environment_is_the_callers(launch: Launcher, runtime: str) -> None:
    done = launch(
        launch.image("host"),
        "sh",
        "-c",
        'echo "$MINE $PFS"; echo 1 >"$TMPDIR/t"; pwd',
        **use((runtime, "")),
        MINE="m",
    )
    mine, cwd = done.stdout.splitlines()
    assert cwd == str(launch.dataset)
    # also what has the name of a variable of the launcher's own; and it isn't led astray by it
    odd = dict.fromkeys(own_variables("launch"), "/no *\n7")
    odd |= {"MINIPACH_KEEP_GOING": "1", "MINIPACH_RECOVER": "1", "minipach_secret_T": "x"}
    script = 'printf "%s|" "$code" "$watcher" "$before" "$T" "$minipach_secret_T"; env | grep -c "^MINIPACH_[KR]E"'
    secret = {"MINIPACH_SECRET_T": "hush"}
    again = launch(
        launch.image("host"), "-s", "T=MINIPACH_SECRET_T", "sh", "-c", script, **use((runtime, "")), **odd, **secret
    )
    assert again.stdout == "/no *\n7|" * 3 + "||0\n", again
    assert mine == "m /pfs" if runtime == "bubblewrap" else mine.startswith(f"m {launch.dataset}/.minipach/tmp.")
    assert launch.clean()


@pytest.mark.parametrize("way", EVERY_WAY, ids=" ".join)
def test_exit_codes_pass_through_and_nothing_is_moved(launch: Launcher, way: tuple[str, str]) -> None:
    done = launch(launch.image(way[1]), *result("echo 1 >f", "exit 7"), **use(way))
    assert done.returncode == 7, done.stderr
    assert not (launch.dataset / "f").exists() and launch.clean()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "way",
    [
        ("bubblewrap", "directory"),
        ("charliecloud", "full squashfs"),
        ("charliecloud", "tar"),
        ("podman", "docker archive"),
        ("bubblewrap", "host"),
        ("none", "host"),
    ],
    ids=" ".join,
)
def test_a_signal_ends_the_command_and_its_children(
    launch: Launcher, way: tuple[str, str], sig: signal.Signals
) -> None:
    mark = f"{os.getpid()}.{time.time_ns() % 10**6:06}"
    running = launch.start(
        launch.image(way[1]), "sh", "-c", f"sleep 1{mark} & sleep 2{mark} & echo started; wait", **use(way)
    )
    assert running.stdout is not None and running.stderr is not None
    assert running.stdout.readline() == "started\n", running.stderr.read()
    running.send_signal(sig)
    assert running.wait(60) == 128 + sig
    running.communicate()
    wait_until(lambda: not processes(mark))
    assert launch.clean()


def test_a_signal_that_comes_when_the_command_has_only_just_begun_ends_it(launch: Launcher) -> None:
    script = launch.dataset / ".minipach/launch"
    text, between = script.read_text(), "  child=$!\n"
    assert text.count(between) == 1
    script.write_text(text.replace(between, "  kill -TERM $$\n" + between))
    mark = f"{os.getpid()}.{time.time_ns() % 10**6:06}"
    done = launch(launch.image("host"), "sleep", f"3{mark}", **use(("none", "")))
    assert done.returncode == 143, done.stderr
    assert not processes(mark)
    assert launch.clean()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition, not longer than the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def processes(mark: str) -> list[bytes]:
    """The command lines with `mark` in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if mark.encode() in line]


@pytest.mark.parametrize(
    "way",
    [
        ("bubblewrap", "directory"),
        ("charliecloud", "squashfs"),
        ("podman", "docker archive"),
        ("bubblewrap", "host"),
    ],
    ids=" ".join,
)
def test_a_worktree_whose_git_is_a_link(launch: Launcher, way: tuple[str, str]) -> None:
    """As git-annex makes it of a linked worktree: annexed files are links through .git into the main repository."""
    need("git")
    main = launch.dataset.parent / "main"
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "init", "-q", str(main)], check=True)
    subprocess.run([*git, "-C", str(main), "commit", "-q", "--allow-empty", "-m", "m"], check=True)
    slot = main / ".git" / "minipach" / "slot"
    subprocess.run([*git, "-C", str(main), "worktree", "add", "-q", "--detach", str(slot)], check=True)
    made = Path((slot / ".git").read_text().removeprefix("gitdir: ").strip())
    (slot / ".git").unlink()
    (slot / ".git").symlink_to(os.path.relpath(made, slot))
    (made / "annex").symlink_to("../../annex")
    key = main / ".git/annex/objects/aa/KEY-s1--k/KEY-s1--k"
    key.parent.mkdir(parents=True)
    key.write_text("A")
    make_dataset(slot)
    (slot / "inputs/images/s/l").symlink_to("../../../.git/annex/objects/aa/KEY-s1--k/KEY-s1--k")
    done = Launcher(slot, launch.env, launch.images, launch.shell)(
        launch.image(way[1]),
        "sh",
        ".minipach/datum",
        "-d",
        "n",
        "",
        "-f",
        "images",
        "inputs/images",
        "/s",
        "-l",
        "lazy",
        "inputs/images",
        "/s/l",
        "--",
        "sh",
        "-c",
        "cat {images}/l {lazy} >{out}/f; ln -s {lazy} {out}/same; (echo evil >>inputs/images/s/l) 2>/dev/null; true",
        **use(way),
    )
    ok(done)
    assert ((slot / "f").read_text(), (slot / "same").read_text(), key.read_text()) == ("AA", "A", "A")


@pytest.mark.parametrize(
    "way",
    [
        ("bubblewrap", "directory"),
        ("charliecloud", "squashfs"),
        ("charliecloud", "full squashfs"),
        ("podman", "docker archive"),
        ("bubblewrap", "host"),
    ],
    ids=" ".join,
)
def test_a_dataset_that_is_not_under_tmp(launch: Launcher, way: tuple[str, str]) -> None:
    place = Path(tempfile.mkdtemp(prefix="minipach.", dir="/var/tmp"))
    try:
        other = Launcher(make_dataset(place / "with space"), launch.env, launch.images, launch.shell)
        script = "pwd; (: >x) 2>/dev/null || echo read-only; cat inputs/images/s/a; (: >/tmp/x) && ls -d /tmp/x"
        image = launch.image(way[1])
        done = other(
            image,
            "sh",
            "-c",
            script
            if way[1] != "host"
            else "pwd; (: >x) 2>/dev/null || echo read-only; cat inputs/images/s/a; echo /tmp/x",
            **use(way),
        )
        where = "/work" if way[1] == "full squashfs" else str(other.dataset)
        assert done.stdout == f"{where}\nread-only\nA/tmp/x\n", done.stderr
    finally:
        shutil.rmtree(place)


def test_what_is_at_a_results_place_is_replaced_not_written_through(launch: Launcher) -> None:
    outside = launch.dataset.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("p")
    for name, target in {
        "file": outside / "precious",
        "dangling": outside / "no",
        "dir": outside,
        "a": outside / "precious",
    }.items():
        (launch.dataset / name).symlink_to(target)
    (launch.dataset / "old").write_text("old")
    (launch.dataset / "old").chmod(0o444)
    (launch.dataset / "b").mkdir()
    (launch.dataset / "b" / "stays").write_text("s")
    (launch.dataset / "empty").mkdir()
    ok(
        launch(
            launch.image("host"),
            *result(
                "echo 1 >file",
                "echo 2 >dangling",
                "mkdir dir a b",
                "echo 3 >dir/precious",
                "echo 4 >a/f",
                "echo 5 >old",
                "echo 6 >b/new",
                "echo 7 >empty",
                "echo 8 >.hid",
                "echo 9 >..d",
            ),
        )
    )
    ds = launch.dataset
    assert [
        (ds / n).read_text()
        for n in (
            "file",
            "dangling",
            "dir/precious",
            "a/f",
            "old",
            "b/new",
            "b/stays",
            "empty",
            ".hid",
            "..d",
        )
    ] == ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "s", "7\n", "8\n", "9\n"]
    assert [p.name for p in outside.iterdir()] == ["precious"] and (outside / "precious").read_text() == "p"


def test_a_directory_in_the_place_of_a_file_stops_everything(launch: Launcher) -> None:
    (launch.dataset / "z" / "d").mkdir(parents=True)
    (launch.dataset / "z" / "d" / "kept").write_text("k")
    done = launch(launch.image("host"), *result("echo 1 >a", "mkdir z", "echo 2 >z/d"))
    assert done.returncode == 125
    assert (
        done.stderr
        == f"launch: {launch.dataset}/z/d: is a directory, and a result of this name is a file; remove one of them\n"
    )
    assert not (launch.dataset / "a").exists() and launch.clean()


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        'it\'s "q"',
        "$(touch x)",
        "new\nline",
        "trailing\n",
        "-rf",
        "--",
        "*",
        "ümläut",
        "back\\slash",
    ],
)
def test_results_with_hostile_names(launch: Launcher, name: str) -> None:
    ok(launch(launch.image("host"), *result('mkdir -- "./$1"', 'echo 1 >"./$1/$1"'), "sh", name))
    assert (launch.dataset / name / name).read_text() == "1\n"
    ok(launch(launch.image("host"), *result('mkdir -- "./$1"', 'echo 2 >"./$1/$1"'), "sh", name))
    assert (launch.dataset / name / name).read_text() == "2\n"
    assert {p.name for p in launch.dataset.iterdir()} == {".minipach", "inputs", name}


def test_an_image_that_is_not_here(launch: Launcher) -> None:
    (launch.dataset / "image").symlink_to(".git/annex/objects/KEY")
    done = launch("image", "true")
    assert (done.returncode, done.stderr) == (
        125,
        "launch: image: the image's content is not here; fetch it with: datalad get image\n",
    )
    done = launch("--runtime", "nothing")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "launch: nothing: no such image; is this the root of the pipeline's dataset?\n"


@pytest.mark.parametrize("text", ["", "some text\n", "#!/bin/sh\necho evil\n"])
def test_a_file_that_is_no_image(launch: Launcher, text: str) -> None:
    (launch.dataset / "image").write_text(text)
    done = launch("image", "true")
    assert done.returncode == 125 and "not an image that is known here" in done.stderr
    assert done.stderr.startswith("launch: ") and done.stderr.count("\n") == 1


def test_wrong_use(launch: Launcher) -> None:
    for arguments in ([], ["--runtime"], [str(launch.image("host"))]):
        done = launch(*arguments)
        assert done.returncode == 125 and "usage: sh .minipach/launch" in done.stderr


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
            "no runtime here for this image (directory); charliecloud: the image lacks one of /dev /proc",
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
        ("full squashfs", "charliecloud"),
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
    cache = {"MINIPACH_CACHE": str(launch.dataset.parent / "cache")}
    for _ in range(2):
        ok(launch("image", *result("cp /etc/image-name ."), **cache))
    assert (launch.dataset / "image-name").read_text() == "busybox of the tests\n"
    kept = launch.dataset.parent / "cache" / "images" / "SHA256E-s1--0.gz"
    assert (kept / "kind").read_text() == "docker-archive\n"
    assert (kept / "podman").read_text().strip()


def test_two_that_unpack_an_image_at_once(launch: Launcher) -> None:
    need("bwrap", "unsquashfs")
    cache = launch.dataset.parent / "cache"
    image = launch.image("squashfs")
    running = [
        launch.start(image, "cat", "/etc/image-name", MINIPACH_RUNTIME="bubblewrap", MINIPACH_CACHE=str(cache))
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=PATIENCE)
        assert (out, err, process.returncode) == ("busybox of the tests\n", "", 0)
    [kept] = (cache / "images").iterdir()
    assert [p.name for p in kept.iterdir()] == ["rootfs"]
    assert not list((kept / "rootfs").glob("rootfs"))


def stand_in(folder: Path, name: str, then: str) -> Path:
    """A program on PATH that logs its arguments, one a line, and goes on with `then`."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{folder}/log"\n{then}\n')
    program.chmod(0o755)
    return folder / "log"


def without(env: dict[str, str], bin_dir: Path, *hidden: str) -> dict[str, str]:
    """A PATH of links to everything but the hidden programs, with `bin_dir` before it."""
    rest = bin_dir.parent / "rest"
    rest.mkdir()
    for folder in env["PATH"].split(":"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if program.name not in hidden and not (rest / program.name).exists():
                (rest / program.name).symlink_to(program)
    return {"PATH": f"{bin_dir}:{rest}"}


def test_docker(launch: Launcher, tmp_path: Path) -> None:
    """Not docker: a stand-in that logs its arguments and hands them to podman, which understands the same ones."""
    need("podman")
    podman = shutil.which("podman")
    log = stand_in(tmp_path / "bin", "docker", f'exec {podman} "$@"')
    env = without(launch.env, tmp_path / "bin", "podman", "docker")
    image = launch.image("docker archive")
    cache = {"MINIPACH_CACHE": str(tmp_path / "cache")}
    assert launch("--runtime", image, **env).stdout == "docker read-only\n"
    for _ in range(2):
        ok(launch(image, *result("id -u >id", "cp /etc/image-name ."), **env, **cache))
    assert (launch.dataset / "id").read_text() == f"{os.getuid()}\n"
    assert (launch.dataset / "id").stat().st_uid == os.getuid()
    said = log.read_text().splitlines()
    assert said.count("load") == 1, "it is loaded once"
    user = said.index("--user")
    assert said[user + 1] == f"{os.getuid()}:{os.getgid()}"
    assert f"type=bind,readonly,source={launch.dataset},target={launch.dataset}" in said
    done = launch(launch.image("oci archive"), "true", **env)
    assert done.returncode == 125 and "podman: not installed" in done.stderr


def test_a_docker_without_a_daemon_is_not_taken(launch: Launcher, tmp_path: Path) -> None:
    """A stand-in that fails as docker does without its daemon."""
    stand_in(tmp_path / "bin", "docker", "exit 1")
    done = launch(
        "--runtime",
        launch.image("docker archive"),
        **without(launch.env, tmp_path / "bin", "podman", "docker"),
    )
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
            --workdir) [ -d "$2" ] || exit 99; shift ;;
            exec | --cleanenv | --containall | --nv) ;;
            *) shift; break ;;
          esac
          shift
        done
        set -- --chdir "$pwd" "$@"
        for bind in $binds; do
          case $bind in
            *:ro) bind=${{bind%:ro}}; set -- --ro-bind "${{bind%:*}}" "${{bind#*:}}" "$@" ;;
            *) set -- --bind "${{bind%:*}}" "${{bind#*:}}" "$@" ;;
          esac
        done
        exec bwrap --ro-bind {rootfs}/bin /bin --dev /dev --proc /proc --tmpfs /tmp --clearenv --setenv PATH /bin "$@"
    """,
    )
    env = without(launch.env, tmp_path / "bin", "podman", "docker", "apptainer", "singularity")
    if kind == "sif":
        image = tmp_path / "no extension"
        image.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\0" + b"\0" * 100)
    else:
        image = launch.image(kind)
    assert launch("--runtime", image, **env).stdout == f"{name} read-only\n"
    ok(
        launch(
            image,
            *result("pwd >pwd", 'echo "$PFS $HOME" >env', '{ (: >"$OLDPWD/x") 2>/dev/null || echo no >wrote; }'),
            **env,
        )
    )
    assert (launch.dataset / "pwd").read_text() == "/pfs/.minipach/done\n"
    assert (launch.dataset / "env").read_text() == "/pfs /tmp\n"
    said = log.read_text().splitlines()
    scheme = kind.replace(" ", "-") + ":" if "archive" in kind else ""
    assert f"{scheme}{image}" in said
    assert said[said.index("--pwd") + 1] == str(launch.dataset)
    assert f"{launch.dataset}:{launch.dataset}:ro" in said and (launch.dataset / "wrote").read_text() == "no\n"
    assert launch.clean()


@pytest.mark.parametrize(
    "way",
    [
        ("bubblewrap", "directory"),
        ("bubblewrap", "host"),
        ("charliecloud", "full directory"),
        ("charliecloud", "squashfs"),
        ("none", "host"),
    ],
    ids=" ".join,
)
def test_as_an_ordinary_user(launch: Launcher, way: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """With user namespaces, as `nobody`; results are the caller's."""
    if os.geteuid() != 0:
        pytest.skip("the other tests run as an ordinary user already")
    env = use(way)
    need("setpriv", "unsquashfs")
    place = Path(tempfile.mkdtemp(prefix="minipach.", dir="/var/tmp"))
    try:
        dataset = make_dataset(place / "edges")
        source = launch.image(way[1])
        image = place / "image"
        shutil.copytree(source, image, symlinks=True) if source.is_dir() else shutil.copy(source, image)
        subprocess.run(["chown", "-R", "65534:65534", place], check=True)
        as_user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *launch.shell)
        other = Launcher(
            dataset,
            launch.env | {"MINIPACH_CACHE": str(place / "cache"), "HOME": str(place)},
            launch.images,
            as_user,
        )
        ok(other(image, *result("id -u >id", '{ (: >"$OLDPWD/x") 2>/dev/null || echo no >wrote; }'), **env))
        assert (dataset / "id").read_text() == "65534\n"
        assert (dataset / "id").stat().st_uid == 65534
        assert (dataset / "wrote").exists() == (way[0] != "none")
    finally:
        shutil.rmtree(place)


def test_without_bubblewrap_the_host_runs_it_directly(launch: Launcher, tmp_path: Path) -> None:
    env = without(launch.env, tmp_path / "bin", "bwrap")
    assert launch("--runtime", launch.image("host"), **env).stdout == "none copy\n"
    done = launch(
        launch.image("host"),
        "sh",
        ".minipach/datum",
        "-e",
        "at=/pfs/images/s",
        "-d",
        "n",
        "",
        "-f",
        "images",
        "inputs/images",
        "/s",
        "--",
        "sh",
        "-c",
        'echo evil >>"$at/a"; cp "$at/a" "{out}/copy"',
        **env,
    )
    assert done.returncode == 0, done.stderr
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"
    assert (launch.dataset / "copy").read_text() == "Aevil\n"


def test_a_mount_that_vanishes_while_bubblewrap_begins_is_tried_again(launch: Launcher, tmp_path: Path) -> None:
    """A stand-in that fails once, as bubblewrap does if something below / is unmounted meanwhile; then the real one."""
    need("bwrap")
    real = shutil.which("bwrap", path=launch.env["PATH"])
    flag = tmp_path / "failed"
    log = stand_in(
        tmp_path / "bin",
        "bwrap",
        f'case "$*" in *--args*) [ -e {flag} ] || {{ : >{flag}; exit 1; }} ;; esac\nexec {real} "$@"',
    )
    env = {"PATH": f"{tmp_path / 'bin'}:{launch.env['PATH']}", "MINIPACH_RUNTIME": "bubblewrap"}
    done = launch(launch.image("host"), "sh", "-c", "echo ran; exit 7", **env)
    assert (done.returncode, done.stdout) == (7, "ran\n"), "the command itself runs once, whatever its exit code"
    assert flag.exists()
    assert log.read_text().count("--args") == 2
