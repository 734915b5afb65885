"""Inputs in place: linked or mounted read-only, never copied where that can be had; private copies on request."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipach.execution.staging import LARGE
from tests.fixtures.container_images import images
from tests.fixtures.launchers import (
    EACH_RUNTIME,
    FILE,
    SANDBOXES,
    Launcher,
    Way,
    by,
    datum,
    launch,
    ok,
    script_module,
    shell,
    stand_in,
    use,
    ways,
)

__all__ = ["images", "launch"]

BIG = ("-f", "images", "inputs/images", "/s/big")
TEXT = b"precious " * (LARGE // 9 + 1)
_OBJECT = "annex/objects/MD5E-s9--0.dat"


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder on another disk: in memory."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("no other file system here")
    folder = Path(tempfile.mkdtemp(prefix="minipach.", dir="/dev/shm"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def put_far(launch: Launcher, far: Path) -> Path:
    """Make the input s/big a link to a content in an annex on another disk, and return the content."""
    content = far / _OBJECT
    content.parent.mkdir(parents=True)
    content.write_bytes(TEXT)
    content.chmod(0o444)
    (launch.dataset / "inputs/images/s/big").symlink_to(content)
    if launch.prefix and os.geteuid() == 0:
        shutil.chown(content, 65534, 65534)  # so that it is not the mode that protects it
    return content


def seen(path: Path) -> tuple[bytes, int, int, int, int]:
    """Return all of a content that a command must not change."""
    info = path.stat()
    return path.read_bytes(), info.st_mode, info.st_uid, info.st_ino, info.st_mtime_ns


# all that a command may try against the inputs $1 and $2; it prints what succeeded
HOSTILE = r"""
for file in "$1" "$2"; do
  echo evil >"$TMPDIR/mine"
  chmod 777 "$file" && echo chmod
  chmod 777 "${file%/*}" && echo "chmod of the folder"
  (echo evil >"$file") && echo write
  (echo evil >>"$file") && echo append
  truncate -s 0 "$file" && echo truncate
  dd if=/dev/zero of="$file" bs=1 count=1 conv=notrunc && echo dd
  mv "$file" "$file.moved" && echo rename
  mv -f "$TMPDIR/mine" "$file" && echo replace
  rm -f "$file" && echo remove
  ln "$file" "$PFS/out/hard" && echo link
  ln "$file" "$TMPDIR/hard" && echo "link to /tmp"
  touch "$file" && echo touch
  chown 1:1 "$file" && [ "$(id -u)" = 0 ] && echo chown
  chattr +i "$file" && echo chattr
  setfattr -n user.evil -v evil "$file" && echo setfattr
  exec 9<"$file"
  (echo evil >/proc/self/fd/9) && echo "write through /proc"
  (: >/proc/$$/fd/9) && echo "truncate through /proc"
  (echo evil >/dev/fd/9) && echo "write through /dev/fd"
  exec 9<&-
  mount -o remount,rw "$file" && echo remount
  mount -o remount,bind,rw "$PFS" && echo "remount of /pfs"
  umount -l "$file" && echo umount
  mount -t tmpfs none "${file%/*}" && echo "mount over it"
  for options in "-m" "-U -r -m" "-U -m --keep-caps" "-U -r -m -p -f"; do
    unshare $options sh -c '
      mount -o remount,bind,rw "$1" && (echo evil >>"$1") && echo "remount in namespaces"
      mount -o remount,bind,rw "$PFS" && (echo evil >>"$1") && echo "remount of /pfs in namespaces"
      umount -l "$1" && (echo evil >>"$1") && echo "umount in namespaces"
      mkdir "$TMPDIR/b"; mount --bind "$PFS" "$TMPDIR/b" && mount -o remount,bind,rw "$TMPDIR/b" &&
        (echo evil >>"$TMPDIR/b/images/${1##*/images/}") && echo "bind in namespaces"
      chmod 777 "$1" && echo "chmod in namespaces"
    ' sh "$file"
  done
  if command -v python3 >/dev/null; then
    python3 -c '
import ctypes, fcntl, mmap, os, struct, sys
def tried(name, what):
    try:
        what()
    except (OSError, ValueError) as error:
        return
    print(name)
def mapped():
    fd = os.open(path, os.O_RDWR)
    mmap.mmap(fd, 0)[0:4] = b"evil"
def mapped_later():
    with open(path, "rb") as file:
        map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p.from_buffer_copy(ctypes.string_at(id(map) + 16, 8))
        if libc.mprotect(address, 4096, 3):
            raise OSError(ctypes.get_errno(), "mprotect")
        ctypes.memmove(address, b"evil", 4)
path = sys.argv[1]
tried("mmap for writing", mapped)
tried("mprotect", mapped_later)
tried("utime", lambda: os.utime(path, (1, 1)))
tried("setxattr", lambda: os.setxattr(path, "user.evil", b"x"))
tried("flags", lambda: fcntl.ioctl(os.open(path, os.O_RDONLY), 0x40086602, struct.pack("l", 0x10)))
linked = os.environ["PFS"] + "/out/linked"
tried("link through /proc", lambda: os.link("/proc/self/fd/%d" % os.open(path, os.O_RDONLY), linked))
' "$file"
  fi
done 2>/dev/null
cp "$1" "$PFS/out/small"
[ ! -e "$2" ] || ln -s "$2" "$PFS/out/big"
"""


@pytest.mark.parametrize(
    ("way", "user"),
    [  # podman is set up for root alone in the tests
        pytest.param(way, user, marks=[pytest.mark.slow] if way[0] == "podman" else [], id=f"{' '.join(way)} {user}")
        for way in SANDBOXES
        for user in ("root", "nobody")
        if (way[0], user) != ("podman", "nobody")
    ],
)
def test_nothing_that_a_command_tries_changes_an_input(launch: Launcher, far: Path, way: Way, user: str) -> None:
    with by(launch, way, user) as (other, image):
        near, content = other.dataset / "inputs/images/s/a", put_far(other, far)
        before = seen(near), seen(content)
        words = [*datum("a", "", *FILE, *BIG)]
        done = other(image, *words, *shell(HOSTILE, "/pfs/images/s/a", "/pfs/images/s/big"), **use(way))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
        assert (seen(near), seen(content)) == before
        assert (other.dataset / "small").read_text() == "A"
        assert (other.dataset / "big").read_bytes() == TEXT, "a link to an input gives its content"
        assert other.clean()


def test_the_same_tries_succeed_on_copies(launch: Launcher) -> None:
    """So it is the sandbox that holds them off, not their own mistakes."""
    launch.write("inputs/images/s/big", "x" * 9)
    words = ["-I", "writable", *datum("a", "", *FILE, *BIG)]
    script = HOSTILE.replace("mv ", "cp ").replace("rm -f", "test -e")  # what is moved can't be tried further
    done = launch(
        launch.image("host"), *words, *shell(script, "/pfs/images/s/a", "/pfs/images/s/big"), **use("bubblewrap")
    )
    tries = ["chmod", "write", "append", "truncate", "touch", "rename", "replace", "remove"]
    more = ["write through /proc", "truncate through /proc", "mmap for writing", "utime"]
    assert {*tries, *more} <= set(done.stdout.splitlines()), done.stdout
    assert (launch.dataset / "inputs/images/s/a").read_text() == "A"


@ways(EACH_RUNTIME)
def test_a_large_file_on_another_disk_is_no_copy(launch: Launcher, far: Path, way: Way) -> None:
    """The launcher's scratch holds no byte of it, and another datum of the set sees it, too."""
    put_far(launch, far)
    script = 'cmp "$PFS/images/s/big" "$PFS/images/s/big"; du -k "$PFS/images/s/big" | cut -f1 >"$PFS/out/k"'
    words = [*datum("one", "1", *BIG), *datum("two", "2", *BIG), *datum("small", "3", *FILE)]
    done = launch(launch.image(way[1]), *words, *shell(script.replace("cmp", "cat") + "; true"), **use(way))
    assert done.returncode == 0
    copies = re.findall("datum: (.*): 1 MiB of its inputs are copies: without a container", done.stderr)
    assert copies == (["one", "two"] if way[0] == "none" else [])
    assert done.stdout.encode() == TEXT * 4


def test_names_of_a_large_file_need_no_copy(launch: Launcher, far: Path) -> None:
    """With `empty_files` there is nothing to mount, and a link still publishes the content."""
    put_far(launch, far)
    words = datum("a", "", "-z", *BIG[1:])
    script = 'wc -c <{images} >"$PFS/out/size"; ln -s {images} "$PFS/out/all"'
    ok(launch(launch.image("host"), *words, *shell(script), **use("bubblewrap")))
    assert launch.outputs() == {"size": "0\n", "all": TEXT.decode()}


def test_what_can_not_be_mounted_is_copied_and_the_log_says_so(launch: Launcher, far: Path) -> None:
    content = put_far(launch, far)
    (launch.dataset / "inputs/images/s/big").unlink()
    content.chmod(0o755)  # an executable one: its mode is that of all its names
    (launch.dataset / "inputs/images/s/big").symlink_to(content)
    done = launch(
        launch.image("host"), *datum("a", "", *BIG), *shell('cat {images} >"$PFS/out/x"'), **use("bubblewrap")
    )
    assert (launch.dataset / "x").read_bytes() == TEXT
    assert "datum: a: 1 MiB of its inputs are copies: they lie on another disk" in done.stderr


EDIT = r"""
set -e
cd "$PFS/images/s"
echo more >>a && chmod 600 a && mv a moved && echo index >index
[ ! -e big ] || { printf evil >big; ln -s "$PFS/images/s/big" "$PFS/out/big"; }
cat moved index >"$PFS/out/all"
ln -s ../images/s/index "$PFS/out/linked"
mkdir "$PFS/new"; echo new >"$PFS/new/x"
"""


@ways(EACH_RUNTIME)
def test_writable_inputs_are_private_copies(launch: Launcher, far: Path, way: Way) -> None:
    content = put_far(launch, far)
    near = launch.dataset / "inputs/images/s/a"
    before = seen(near), seen(content)
    one, two = datum("one", "1", *FILE, *BIG), datum("two", "2", *FILE)
    ok(launch(launch.image(way[1]), "-I", "writable", *one, *two, *shell(EDIT), **use(way)))
    assert (seen(near), seen(content)) == before
    each = {"all": "Amore\nindex\n", "linked": "index\n"}
    found = {f"{n}/{name}": text for n in (1, 2) for name, text in each.items()}
    assert launch.outputs() == {**found, "1/big": "evil"}, "of a changed input, a link gives the datum's own"
    assert launch.clean()


def test_what_is_made_beside_writable_inputs_counts_for_the_limit_of_disk(launch: Launcher) -> None:
    script = "dd if=/dev/zero of=/pfs/images/s/x bs=1M count=30; dd if=/dev/zero of=/pfs/y bs=1M count=30; sleep 60"
    limits = ("-I", "writable", "-L", f"disk={40 << 20}")
    done = launch(launch.image("host"), *limits, *datum("a", "", *FILE), *shell(script), **use("bubblewrap"))
    assert "of disk, which is the limit" in done.stderr


@pytest.mark.parametrize("odd", ["mkfifo pipe", "python3 -c 'import socket; socket.socket(1).bind(\"pipe\")'"])
def test_a_link_to_what_is_no_file_among_writable_inputs(launch: Launcher, odd: str) -> None:
    script = f'cd "$PFS/images/s"; {odd}; ln -s ../images "$PFS/out/all"'
    done = launch(launch.image("host"), "-I", "writable", *datum("a", "", *FILE), *shell(script), **use("bubblewrap"))
    assert (done.returncode, "neither a file nor a directory" in done.stderr) == (126, True)
    assert launch.outputs() == {} and launch.clean()


@pytest.mark.parametrize("name", ["podman", "apptainer"])
def test_the_options_by_which_others_mount(launch: Launcher, far: Path, tmp_path: Path, name: str) -> None:
    module = script_module()
    content = put_far(launch, far)
    log = stand_in(tmp_path / "bin", name, "exit 0")
    odd = far / "a,b:c"
    odd.mkdir()
    shutil.copy(content, odd / "copy")
    placed = module.Placed()
    placed.begin(module.RUNTIMES[name].odd)
    assert placed.mount(str(content), str(tmp_path / "target"))
    assert not placed.mount(str(odd / "copy"), str(tmp_path / "other")), "options separate fields by these characters"
    assert not placed.mount(str(launch.dataset / "inputs/images/s/a"), str(tmp_path / "third")), "it is small"
    assert placed.mounts == {str(tmp_path / "target"): str(content)}
    assert not log.exists()


def test_a_folder_of_the_datum_before_may_be_a_link_now(launch: Launcher, tmp_path: Path) -> None:
    """Folders are looked at once for each datum: what the one before had there is another file's by then."""
    module = script_module()
    (tmp_path / "data/d").mkdir(parents=True)
    (tmp_path / "data/d/a").write_text("a")
    pfs, outside = tmp_path / "pfs", tmp_path / "outside"
    pfs.mkdir()
    outside.mkdir()
    placed = module.Placed()
    tree = module.Tree(f"{tmp_path}/data/.", module.UNPROTECTED, placed)
    placed.begin(None)
    tree.lay_out("d/a", str(pfs), lambda name: name)
    shutil.rmtree(pfs / "d")
    (pfs / "d").symlink_to(outside)
    placed.begin(None)
    with pytest.raises(module.Fault, match="symbolic link in another match"):
        tree.lay_out("d/a", str(pfs), lambda name: name)
    assert not list(outside.iterdir())
