"""A small root file system from this machine's own programs: a shell, the usual tools, and a Python.

It needs no registry and no root. Only the C library, the libraries that programs name, and the tools are copied.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipach.git.child_environment import child_environment

PYTHON_HOME = "opt/python"  # where a Python of the host is in the image
_TOOLS = (
    "awk basename bash cat chmod cmp comm cp cut date dd df diff dirname du echo env expand expr false find fold grep "
    "gunzip gzip head hostname id join kill ln ls md5sum mkdir mkfifo mktemp mv nice nl nproc od paste printenv printf "
    "pwd readlink realpath rm rmdir sed seq sh sha256sum sleep sort split stat sum tac tail tar tee test timeout "
    "touch tr true truncate tsort tty uname uniq unlink wc which xargs xz yes zcat"
)
_ALSO = ("libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2")
_LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages", "__pycache__"}
)
_LIBRARY = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
_AT_ONCE = 200  # files for one ldd
_ABOUT = """\
import json, os, sys, sysconfig
paths = sysconfig.get_paths()
exe = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print(json.dumps([sys.version.split()[0], exe, sys.base_prefix, os.path.dirname(os.__file__)]))
"""


class SystemLacksError(Exception):
    """This machine's system can't be copied; the text says what it lacks."""


@dataclass(frozen=True, slots=True)
class Python:
    """A Python of this machine. executable: the real file · library: the folder of its standard library."""

    version: str
    executable: Path
    library: Path

    @property
    def name(self) -> str:
        """Its name with the version, such as `python3.11`."""
        return "python" + ".".join(self.version.split(".")[:2])


def about_python(program: Path) -> Python:
    """Ask a Python (also that of a venv) for itself. SystemLacksError if it does not answer."""
    done = subprocess.run(
        [program, "-I", "-c", _ABOUT], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemLacksError(f"{program} does not start: {done.stderr.strip()[-200:]}")
    version, executable, _, library = json.loads(done.stdout)
    return Python(version, Path(executable), Path(library))


def make_system(root: Path) -> None:
    """Make the folders of a root file system, with a shell and the usual tools."""
    for folder in (
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "usr/local/bin",
        "etc",
        "tmp",
        "var/tmp",
        "root",
        "run",
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    if os.path.isfile(f"/{_CERTIFICATES}"):
        (root / _CERTIFICATES).parent.mkdir(parents=True)
        shutil.copyfile(f"/{_CERTIFICATES}", root / _CERTIFICATES)
    if not os.path.exists("/bin/sh"):
        raise SystemLacksError("there is no /bin/sh")
    for name in _TOOLS.split():
        if found := shutil.which(name, path="/usr/bin:/bin"):
            _copy_program(Path(os.path.realpath(found)), root / "usr/bin" / name)


def copy_python(python: Python, root: Path) -> None:
    """Copy a Python and its standard library, without packages and tests, to `/opt/python`."""
    home = root / PYTHON_HOME
    (home / "bin").mkdir(parents=True)
    _copy_program(python.executable, home / "bin" / python.name)
    (home / "bin" / "python3").symlink_to(python.name)
    shutil.copytree(
        python.library, home / "lib" / python.name, ignore=_ignore, ignore_dangling_symlinks=True, symlinks=False
    )


def _ignore(_folder: str, names: list[str]) -> Iterable[str]:
    return [name for name in names if name in _LEFT_OUT or name.startswith("config-") or name.endswith((".pyc", ".a"))]


def copy_libraries(root: Path) -> None:
    """Copy the libraries that the programs and modules below a root name, beside the C library.

    SystemLacksError where nothing says which (another system than Linux).
    """
    named: dict[str, Path] = {}
    for library, there in _needed(list(_binaries(root))):
        named.setdefault(library, there)
    libc = next((path for name, path in named.items() if name.startswith(("libc.so", "libc.musl"))), None)
    if libc is None:
        raise SystemLacksError("ldd names no C library")
    for name in _ALSO:
        if (libc.parent / name).exists():
            named.setdefault(name, libc.parent / name)
    inside = f"{root}/"
    own = {path.name for path in root.rglob("*.so*")}
    for name, there in sorted(named.items()):
        if str(there).startswith(inside) or (name in own and not (libc.parent / name).exists()):
            continue
        is_loader = name.startswith("/") or re.match(r"ld-(linux|musl)", os.path.basename(name))
        place = root / (name.lstrip("/") if is_loader and name.startswith("/") else str(libc.parent / name).lstrip("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        _copy_program(Path(os.path.realpath(there)), place)


def _needed(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the libraries that files name, with their paths here; the loader by its whole path."""
    ldd = shutil.which("ldd", path=child_environment()["PATH"])
    if ldd is None:
        raise SystemLacksError("there is no ldd, which only Linux has")
    for start in range(0, len(files), _AT_ONCE):
        done = subprocess.run(
            [ldd, *files[start : start + _AT_ONCE]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for name, path in _LIBRARY.findall(done.stdout):
            yield name or path, Path(path)


def _binaries(root: Path) -> Iterator[Path]:
    """Yield the ELF files below a root."""
    for here, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(here, name)
            if not path.is_symlink() and path.is_file() and _is_elf(path):
                yield path


def _is_elf(path: Path) -> bool:
    """Return whether a file is a program or library that links others."""
    if ".so" not in path.name and not os.access(path, os.X_OK):
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _copy_program(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)
        target.chmod(0o755)
