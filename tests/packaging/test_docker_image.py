"""The Docker image, as its users have it: built from a fresh Debian, and its services run as compose.yml says.

No docker and no registry are needed: mmdebstrap makes the image that the Dockerfile begins with, podman reads the
Dockerfile. As root. `make image-test` runs this.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.compose_stack import TOP, Engine, read_compose
from tests.fixtures.container_images import base_env, busybox_directory, missing, need, podman_config, squashfs
from tests.fixtures.leftovers import until

pytestmark = pytest.mark.image

UID = "1234"  # not the default: that of the person whose project it is
BASE = "docker.io/library/debian:bookworm-slim"
MOST = 380  # MB that the image may have above its base
# As Debian's own slim images have it: no services start, no manuals.
SLIM = [
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--customize-hook=cd \"$1/usr/sbin\" && printf '#!/bin/sh\\nexit 101\\n' >policy-rc.d && chmod 755 policy-rc.d",
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """podman with the image `minipach` in its store."""
    if os.geteuid() != 0:
        missing("not root, who alone can make a Debian and keep the owners of its files")
    need("mmdebstrap", "podman", "runc")
    folder = tmp_path_factory.mktemp("podman")
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost redis\n")
    engine = Engine(base_env() | podman_config(folder / "store"), hosts)
    try:
        base = folder / "base.tar"
        begun = time.monotonic()
        run("mmdebstrap", "--variant=minbase", *SLIM, "bookworm", str(base))
        run("podman", "import", "--quiet", str(base), BASE, env=engine.env)
        print(f"\na fresh Debian: {time.monotonic() - begun:.0f} s, {base.stat().st_size / 1e6:.0f} MB")
        base.unlink()
        begun = time.monotonic()
        arguments = [f"--build-arg={name}={UID}" for name in ("UID", "GID")]
        options = ["--format=docker", "--layers=false", "--network=host", "--pull-never", *lend_pip(folder), *arguments]
        run("podman", "build", *options, "--tag=minipach", str(TOP), env=engine.env)
        print(f"the image: {time.monotonic() - begun:.0f} s, {size(engine, 'minipach') / 1e6:.0f} MB")
        yield engine
    finally:
        engine.remove_all()
        engine.run("rmi", "--all", "--force")
        shutil.rmtree(folder, ignore_errors=True)


def run(*command: str, env: Any = None) -> None:
    """Run a program that says much, and only show it if it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command[:2]}: {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"


def size(engine: Engine, image: str) -> int:
    """Bytes of an image with all of its layers."""
    return int(engine.ok("image", "inspect", "--format", "{{.Size}}", image))


def lend_pip(folder: Path) -> list[str]:
    """Options of `podman build` with which pip finds packages as this machine's pip does; nothing of it is kept."""
    home = {**os.environ, "HOME": pwd.getpwuid(os.geteuid()).pw_dir}  # not that of the tests
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env=home, capture_output=True, text=True, check=False).stdout
    settings = dict(re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    wanted = {"cert", "extra-index-url", "find-links", "index-url", "no-index", "proxy", "trusted-host"}
    lines = ["[global]"]
    mounts = {}
    for name in sorted(wanted & settings.keys()):
        value = settings[name]
        if name == "cert":  # not at its own path, where Debian writes its own
            mounts["/lent/cert"] = value
            value = "/lent/cert"
        for word in value.split() if name.endswith(("links", "url")) else ():
            there = Path(word.removeprefix("file://"))
            if there.is_absolute():  # an index names files beside it
                there = there if name == "find-links" else there.parent
                mounts[str(there)] = str(there)
        lines.append(f"{name} = {value}")
    config = folder / "pip.conf"
    config.write_text("\n".join(lines) + "\n")
    mounts["/etc/pip.conf"] = str(config)
    return [f"--volume={source}:{target}:ro" for target, source in mounts.items()]


def test_the_image_is_small_and_has_nothing_to_build_with(engine: Engine) -> None:
    added = (size(engine, "minipach") - size(engine, BASE)) / 1e6
    print(f"above its base: {added:.0f} MB")
    assert added < MOST

    def inside(script: str) -> str:
        return engine.ok("run", "--rm", "--network=none", "minipach", "sh", "-c", script).strip()

    assert inside("id -u; id -g; id -un; pwd") == f"{UID}\n{UID}\nminipach\n/home/minipach"
    assert inside("command -v gcc cc make pip python3-config || true") == ""
    assert inside("ls -A /var/lib/apt/lists /build /opt/pip 2>/dev/null || true") in ("", "/var/lib/apt/lists:")
    assert inside("find / -xdev -perm /6000 -user root -newer /opt/minipach/pyvenv.cfg 2>/dev/null || true") == ""
    assert inside("touch /opt/minipach/x /usr/x /etc/x 2>/dev/null && echo written || true") == ""
    assert inside("cat /etc/pip.conf 2>/dev/null || true") == ""
    assert re.fullmatch(r"minipach \d.*", inside("minipach --version"))
    pins = dict(line.split("==") for line in (TOP / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {normal(name): version for name, version in pins.items()}
    listing = "from importlib.metadata import distributions as d; [print(x.name, x.version) for x in d()]"
    there = {normal(n): v for n, v in (line.split() for line in inside(f"python3 -c '{listing}'").splitlines())}
    assert there.pop("minipach")
    assert there == {name: pins.get(name) for name in there}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_project_is_served_as_compose_says(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "study"
    root.mkdir()
    password = tmp_path / "password"
    password.write_text('a "hard\\ one\n')
    for path in (root, password):
        os.chown(path, int(UID), int(UID))
    password.chmod(0o600)
    tmp_path.chmod(0o755)
    env = {"MINIPACH_PROJECT": str(root), "MINIPACH_REDIS_PASSWORD_FILE": str(password), "MINIPACH_MEMORY": "1G"}
    compose = read_compose(TOP / "compose.yml", env)
    services, secrets = compose["services"], compose["secrets"]

    def shell(script: str) -> str:
        return engine.inside("server", "sh", "-ec", script)

    # the first service: it lets in only who has the password, and is not seen in `ps`
    engine.start("redis", services["redis"], secrets, None)
    until("Redis is healthy", lambda: engine.healthy("redis"))
    assert "NOAUTH" in engine.inside("redis", "redis-cli", "ping")
    assert "hard" not in engine.inside("redis", "ps", "axwwo", "args,environ")

    # a container that has the project, but no worker: not healthy
    engine.start("server", {**services["server"], "command": ["sleep", "600"]}, secrets, "redis")
    shell("minipach init . && datalad create -d . images && printf one >images/one.txt && datalad save -r -m more")
    said = shell("minipach doctor")
    assert "problem" not in said and "bubblewrap can't make user namespaces here" in said
    copier(root, "copies", "")
    assert "has not heard of a worker" in engine.run("exec", f"{engine.prefix}server", "minipach-health").err
    assert engine.stop("server") in (0, 143)
    engine.remove("server")

    # the server runs nothing, the worker does
    engine.start("server", services["server"], secrets, "redis")
    until("the server is healthy", lambda: engine.healthy("server"))
    assert "submitted" in shell("minipach schedule") and "published" not in shell("git -C copies log || true")
    engine.start("worker", services["worker"], secrets, "redis")
    until("the worker is healthy", lambda: engine.healthy("worker"))
    shell("minipach wait --timeout 90")
    assert shell("cat copies/one.txt") == "one"
    assert owners(root) == {int(UID)}
    assert "hard" not in engine.logs("redis") + engine.logs("server") + engine.logs("worker")

    # a worker ends when it is told to, and is known no more
    begun = time.monotonic()
    assert engine.stop("worker") == 0
    print(f"a worker's end: {time.monotonic() - begun:.1f} s")

    # with the options of nested.yml workers start containers
    nested = read_compose(TOP / "containers/minipach/nested.yml", env)["services"]["worker"]
    both = {**services["worker"], "security_opt": services["worker"]["security_opt"] + nested["security_opt"]}
    squashfs(busybox_directory(tmp_path / "busybox", mount_points=True), root / "box.sqfs")
    copier(root, "boxed", "  image: ../box.sqfs\n")
    engine.start("nested", both, secrets, "redis")
    until("the nested worker is healthy", lambda: engine.healthy("nested"))
    assert "can't make" not in engine.inside("nested", "minipach", "doctor")
    shell("minipach schedule boxed --wait")
    assert shell("cat boxed/image-name") == "busybox of the tests\n"
    for runtime in ("charliecloud", "bubblewrap"):
        alone = ["env", f"MINIPACH_RUNTIME={runtime}", "minipach", "run-one", "boxed:one.txt"]
        assert "busybox of the tests" in engine.inside("nested", *alone), runtime

    # without Redis a worker isn't healthy, and goes on when it is back with all that it had
    engine.stop("redis")
    assert not engine.healthy("redis")
    assert not engine.healthy("server")


def copier(root: Path, name: str, more: str) -> None:
    """A pipeline that says which image it ran in."""
    (root / name / "code").mkdir(parents=True)
    spec = f'input: {{pfs: {{repo: images, glob: "/*"}}}}\ntransform:\n{more}  cmd: [sh, code/copy.sh]\n'
    (root / name / "spec.yml").write_text(spec)
    script = 'cp "$images" "$PFS/out/"; cp /etc/image-name "$PFS/out/" 2>/dev/null || true\n'
    (root / name / "code/copy.sh").write_text(script)
    for path in [root / name, *(root / name).rglob("*")]:
        os.chown(path, int(UID), int(UID))


def owners(root: Path) -> set[int]:
    """Whose the files of a project are."""
    return {p.lstat().st_uid for p in root.rglob("*")}
