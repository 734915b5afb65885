"""The runtime charliecloud."""

from __future__ import annotations

import os
import subprocess

from minipach.execution.launcher.core import HOME, IMAGE_PATH, Failure
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.namespaces import Namespaces
from minipach.execution.launcher.runtime import Call, devices, plain_names, shell_words
from minipach.execution.launcher.unpacked import make_mount_point


class Charliecloud(Namespaces):
    """ch-run binds read-write only, and the host's /dev and /tmp. So mount namespaces of our own come first."""

    name = "charliecloud"
    odd = ""

    def problem(self):
        """It needs namespaces, and mount points in the image."""
        if not all(map(find_program, ("ch-run", "unshare", "mount"))):
            return "not installed (ch-run, unshare, mount)"
        self.namespaces = self._namespaces()
        if self.namespaces is None:
            return "installed, but can't make namespaces here"
        if self.image.kind == "directory" and not self._as_it_is():
            return (
                "the image lacks a folder to mount at (one of /dev /proc /sys /tmp /pfs /project /var/tmp /home/user)"
            )
        if self.image.kind == "squashfs" and not find_program("unsquashfs") and not self._as_it_is():
            return "needs unsquashfs, or squashfuse and /dev/fuse"
        return plain_names(self.dataset, self.image.path)

    def _namespaces(self):
        options = ["-U", "-r", "-m", "-p", "-f", "--kill-child", "-i", "-u"]
        test = ["unshare", *options, "sh", "-c", MOUNTS.partition("for ")[0]]
        if subprocess.run(test, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0:
            return options
        return None

    def _as_it_is(self):
        points = ("dev", "proc", "sys", "tmp", "pfs", "project", "var/tmp", "home/user")
        if self.image.kind == "directory":
            return all(os.path.isdir(os.path.join(self.image.path, p)) for p in points)
        return False

    def call(self, launcher, box, words, env, secrets, workdir, status):
        """unshare, our mounts, ch-run."""
        rootfs = self.image.rootfs()
        me = [str(os.getuid()), str(os.getgid())] if os.getuid() else ["1000", "1000"]  # not 0: so it has no capability
        run = ["ch-run", "--uid=" + me[0], "--gid=" + me[1], "--no-passwd", "--cd=/", "-b", box.pfs + ":/pfs"]
        run += ["-b", launcher.view + ":/project", "-b", box.vartmp + ":/var/tmp", "-b", box.home + ":" + HOME]
        for path in launcher.run.secret_files:
            if not make_mount_file(rootfs, path) or self.image.kind == "directory":
                raise Failure("charliecloud can't mount a secret at " + path + " in this image")
            run += ["-b", launcher.scratch + "/secrets" + path + ":" + path]
        if "USER" not in secrets:  # ch-run itself insists on it
            run.append("--unset-env=USER")
        run.append("--env-no-expand")
        for name, value in {"PATH": IMAGE_PATH, **env}.items():
            run.append("--set-env=" + name + "=" + value)
        inside = shell_words(status, workdir or "/", env, words)
        outer = ["unshare", *self.namespaces, *([] if launcher.run.network else ["-n"]), "sh", "-c", MOUNTS, "sh"]
        outer += [box.top, launcher.view, launcher.scratch + "/secrets", launcher.run.shm() or "50%"]
        outer += ["rw" if launcher.run.writable else "ro", box.live]
        for target, source in launcher.placed.mounts.items():
            outer += [source, target]
        outer += ["--", *devices(), "--"]
        own = {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
            "USER": os.environ.get("USER") or "user",
            "TMPDIR": box.tmp,
        }
        return Call([*outer, *run, rootfs, "--", *inside], {**own, **secrets})


def make_mount_file(rootfs, path):
    """A file to mount at in an unpacked image; whether it is there."""
    folder, _, name = path.strip("/").rpartition("/")
    if not make_mount_point(rootfs, folder):
        return False
    place = os.path.join(rootfs, folder, name)
    if not os.path.lexists(place):
        with open(place, "x"):
            pass
    return os.path.isfile(place) and not os.path.islink(place)


MOUNTS = """
set -e
mount -t proc proc /proc
echo 2 >/proc/sys/user/max_user_namespaces # those that ch-run makes: a command makes none
for place in /proc/sys /proc/irq /proc/bus /proc/fs /proc/acpi /proc/mtrr /proc/sysrq-trigger /sys; do
  [ ! -e "$place" ] || { mount --rbind "$place" "$place" && mount -o remount,bind,ro "$place"; }
done
[ ! -d /sys/fs/cgroup ] || mount -t tmpfs -o ro none /sys/fs/cgroup
top=$1 view=$2 secrets=$3 size=$4 inputs=$5 out=$6
shift 6
mount --bind "$top/pfs" "$top/pfs"
mount --bind "$out" "$top/pfs/out"
[ "$inputs" = rw ] || mount -o remount,bind,ro "$top/pfs"
while [ "$1" != -- ]; do
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
  shift 2
done
shift
mount --bind "$view" "$view"
mount -o remount,bind,ro "$view"
[ ! -d "$secrets" ] || { mount --bind "$secrets" "$secrets" && mount -o remount,bind,ro "$secrets"; }
[ -d "$top/dev" ] || mkdir -p "$top/dev"
mount -t tmpfs -o mode=755 dev "$top/dev"
mkdir "$top/dev/shm" "$top/dev/pts"
mount -t tmpfs -o "mode=1777,size=$size" shm "$top/dev/shm"
for device in null zero full random urandom tty; do
  : >"$top/dev/$device" && mount --bind "/dev/$device" "$top/dev/$device"
done
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$top$1"; else : >"$top$1"; fi
  mount --bind "$1" "$top$1"
  shift
done
shift
ln -s /proc/self/fd "$top/dev/fd"
ln -s /proc/self/fd/0 "$top/dev/stdin"
ln -s /proc/self/fd/1 "$top/dev/stdout"
ln -s /proc/self/fd/2 "$top/dev/stderr"
mount --rbind "$top/dev" /dev
mount -o remount,bind,ro /dev
exec "$@"
"""
