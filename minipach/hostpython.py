"""The python3 on PATH, with its version and packages: asked once, then remembered for as long as nothing moved.

To ask it costs more than all the rest of a plan with nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from minipach.cache import Cache

# Run by the python3 that the datums' commands would find, which need not be the one that runs minipach. The places:
# where it looks for packages, or would if they came into being (site folders, lines of .pth files), and its library.
_PROBE = """
import importlib.metadata as m, json, os, site, sys
from sysconfig import get_config_var as built
places = dict.fromkeys([*sys.path, *site.getsitepackages(), site.getusersitepackages()])
places[os.path.join(built("LIBDIR") or "", built("INSTSONAME") or "")] = None
for place in list(places):
    for name in os.listdir(place or ".") if os.path.isdir(place or ".") else ():
        if name.endswith(".pth"):
            with open(os.path.join(place, name), errors="replace") as lines:
                places.update((os.path.join(place, line.strip()), None) for line in lines
                              if line.strip() and not line.startswith(("#", "import ", "import\\t")))
found = sorted({((d.metadata["Name"] or "?").lower().replace("_", "-") + " " + d.version) for d in m.distributions()})
print(json.dumps([sys.version.split()[0], found, sys.executable, list(places)]))
"""
# They differ between two terminals, and no search for packages follows from them.
_UNCONCERNED = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "TERM", "WINDOWID"})
_SETTLED = 2_000_000_000  # ns; coarser than the clock of any file system
_PACKAGES = (".dist-info", ".egg-info", "egg-info")
_STARTUP = (".pth", ".egg-link", ".egg", ".zip")
Stamp = tuple[str, int | None, int | None, int | None, int | None, int | None]


def describe(
    python: str, env: Mapping[str, str], cache: Cache | None = None, clock: Callable[[], int] = time.time_ns
) -> tuple[str, list[str]] | None:
    """The version of a python3 and its packages (`numpy 2.4.6`, sorted), or None if it can't tell.

    With a cache, what it said last is taken if the environment is the same and every file that it follows from is:
    the interpreter, the folders where it looks for packages, each package's metadata. clock: the time of now (ns).
    """
    concerned = sorted(item for item in env.items() if item[0] not in _UNCONCERNED)
    variables = hashlib.sha256(repr(concerned).encode()).digest()  # no file may keep their values
    kept = cache.get("host", python) if cache else None
    if kept is not None:
        version, packages, places, stamps, before = kept
        if before == variables and stamps == _stamps(python, places):
            return version, packages
    started = clock()
    probe = subprocess.run(
        [python, "-c", _PROBE], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if probe.returncode != 0:
        return None
    version, packages, executable, places = json.loads(probe.stdout)
    # a wrapper (pyenv's shims) chooses by what isn't known here
    if cache is not None and executable and os.path.realpath(executable) == os.path.realpath(python):
        stamps = _stamps(python, places)
        if settled(stamps, started):
            cache.put("host", python, (version, packages, places, stamps, variables))
    return version, packages


def _stamps(python: str, places: list[str]) -> list[Stamp]:
    """Every file and folder that the answer follows from, as it stands now."""
    real = os.path.realpath(python)
    home = os.path.dirname(python)
    files = [python, real, os.path.join(home, "pyvenv.cfg"), os.path.join(home, "..", "pyvenv.cfg")]
    for place in places:
        folder = os.path.join("/", place)
        files.append(folder)
        files += _metadata(folder)
    return [stamp(path) for path in files]


def _metadata(folder: str) -> Iterator[str]:
    """What lies in a folder of packages and tells their names, their versions, or further folders."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return  # not there (which its own stamp tells), or a zip file
    for name in names:
        low = name.lower()
        if low.endswith(_PACKAGES):
            path = os.path.join(folder, name)
            yield from (path, os.path.join(path, "METADATA"), os.path.join(path, "PKG-INFO"))
        elif low.endswith(_STARTUP) or low.startswith(("sitecustomize", "usercustomize")):
            yield os.path.join(folder, name)


def stamp(path: str) -> Stamp:
    """What differs whenever a file does: its place, number, size and times; only the path, if it isn't there.

    The last is the time of the last change of any kind (ns), which no program can set back.
    """
    try:
        info = os.stat(path)
    except OSError:
        return path, None, None, None, None, None
    return path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def settled(stamps: Iterable[Stamp], since: int) -> bool:
    """Whether no file had just been changed at a time (ns): a change in the same tick of the clock would never show."""
    return all(s[-1] is None or s[-1] < since - _SETTLED for s in stamps)
