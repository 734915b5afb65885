"""Builders of small container images for the tests: busybox as a directory, tar, squashfs, docker and OCI archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "pfs", "project", "var/tmp", "home/user")
"""Directories that charliecloud can't make in a read-only image."""


def need(*tools: str) -> None:
    """Skip the test if a tool is absent; fail it in CI, where all of them are installed."""
    for tool in tools:
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            missing(f"{tool} is not installed")


def missing(what: str) -> None:
    """Skip the test because of `what`; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}: CI must not skip this test", pytrace=False)
    pytest.skip(f"LOUDLY SKIPPED, NOT TESTED: {what}")


def busybox_directory(path: Path, *, mount_points: bool) -> Path:
    """Make a root file system of the host's static busybox at `path`."""
    need("busybox")
    busybox = shutil.which("busybox")
    assert busybox is not None
    bin_dir = path / "bin"
    bin_dir.mkdir(parents=True)
    shutil.copy(busybox, bin_dir / "busybox")
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (bin_dir / applet).symlink_to("busybox")
    (path / "etc").mkdir()
    (path / "etc" / "image-name").write_text("busybox of the tests\n")
    for name in MOUNT_POINTS if mount_points else ():
        (path / name).mkdir(parents=True)
    return path


def squashfs(rootfs: Path, path: Path) -> Path:
    """Pack a directory as squashfs; the same directory gives the same bytes."""
    need("mksquashfs")
    options = ["-noappend", "-all-root", "-mkfs-time", "0", "-all-time", "0", "-quiet", "-no-progress"]
    subprocess.run(["mksquashfs", rootfs, path, *options], check=True, stdout=subprocess.DEVNULL)
    return path


def rootfs_tar(rootfs: Path, path: Path) -> Path:
    """Pack a directory as a plain tar of a root file system."""
    with tarfile.open(path, "w") as tar:
        tar.add(rootfs, arcname=".")
    return path


def podman_archive(tar: Path, path: Path, kind: str, env: Mapping[str, str]) -> Path:
    """Make a `docker-archive` or an `oci-archive` of a root file system's tar."""
    need("podman", "runc")
    name = f"minipach-test:{kind}"
    podman(["import", "-q", str(tar), name], env)
    podman(["save", "-q", "--format", kind, "-o", str(path), name], env)
    podman(["rmi", "-f", name], env)
    return path


def podman(arguments: list[str], env: Mapping[str, str]) -> str:
    """Run podman with the configuration in `env`; its standard output."""
    done = subprocess.run(["podman", *arguments], env=dict(env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def podman_config(path: Path) -> dict[str, str]:
    """Write a configuration of podman for root in a container, with a store of its own; the variables to set."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "containers.conf").write_text(
        '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\nnetns="none"\nlog_driver="k8s-file"\n'
        '[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n'
        # Its own, since parallel test processes have stores of their own: else they wait for each other.
        f'lock_type="file"\ntmp_dir="{path}/tmp"\n'
    )
    (path / "storage.conf").write_text(f'[storage]\ndriver="overlay"\ngraphroot="{path}/graph"\nrunroot="{path}/run"\n')
    return {
        "CONTAINERS_CONF": str(path / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(path / "storage.conf"),
    }


def base_env() -> dict[str, str]:
    """The environment for a script under test: the caller's, with USER (ch-run wants it) and the system's tools."""
    env = dict(os.environ)
    env.setdefault("USER", "root")
    env["PATH"] = env.get("PATH", "") + ":/usr/sbin:/sbin"
    env.pop("MINIPACH_RUNTIME", None)
    return env


@dataclass(frozen=True)
class Images:
    """Images in one directory, each made when it is first asked for."""

    folder: Path
    podman: Path

    def env(self) -> dict[str, str]:
        """The environment to run with: a cache for unpacked images, and podman's configuration."""
        return base_env() | podman_config(self.podman) | {"MINIPACH_CACHE": str(self.folder / "cache")}

    def directory(self, *, mount_points: bool = False) -> Path:
        """A root file system as a directory."""
        path = self.folder / ("rootfs-full" if mount_points else "rootfs")
        return path if path.exists() else busybox_directory(path, mount_points=mount_points)

    def tar(self) -> Path:
        """The same as a tar."""
        path = self.folder / "rootfs.tar"
        return path if path.exists() else rootfs_tar(self.directory(mount_points=True), path)

    def squashfs(self, *, mount_points: bool = False) -> Path:
        """The same as squashfs."""
        path = self.folder / ("full.sqfs" if mount_points else "plain.sqfs")
        return path if path.exists() else squashfs(self.directory(mount_points=mount_points), path)

    def docker_archive(self) -> Path:
        """The same as `docker save` would write it."""
        path = self.folder / "image.docker"
        return path if path.exists() else podman_archive(self.tar(), path, "docker-archive", self.env())

    def oci_archive(self) -> Path:
        """The same as an OCI archive."""
        path = self.folder / "image.oci"
        return path if path.exists() else podman_archive(self.tar(), path, "oci-archive", self.env())

    def host(self) -> Path:
        """The text that stands for the host's own environment."""
        path = self.folder / "host"
        path.write_text("minipach host environment\n")
        return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The session's images. Import this fixture's name in the test module that wants it."""
    # A short path for podman: with a long one its sockets can't be made, and it waits 20 s at the end of each run.
    store = Path(tempfile.mkdtemp(prefix="podman."))
    yield Images(tmp_path_factory.mktemp("images"), store)
    # podman leaves its store mounted, and killed containers leave theirs.
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([m for m in mounts if m.startswith(f"{store}/")]):
        subprocess.run(["umount", "-q", "-l", mount], check=False)
    shutil.rmtree(store, ignore_errors=True)
