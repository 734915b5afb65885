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
from weakref import WeakKeyDictionary

from minipach.support.disk_cache import Cache

# What is installed beside the standard library. The launcher, which has no module of ours, holds the same lines.
INSTALLED = '''\
import hashlib, importlib.metadata as m, importlib.util, os, site, sys, sysconfig

def installed():
    """Each package with its version; which modules the records of packages list, and where; those of editable ones."""
    names, owned, editable = set(), set(), set()
    for found in m.distributions():
        name = (found.metadata["Name"] or "?").lower().replace("_", "-")
        names.add(name + " " + found.version)
        rows = [row.strip('"').split("/")[0].split(",")[0] for row in (found.read_text("RECORD") or "").splitlines()]
        tops = (found.read_text("top_level.txt") or name.replace("-", "_")).split()
        owned.update((str(found.locate_file("")).rstrip("/"), top.partition(".")[0]) for top in rows or tops)
        if '"editable": true' in (found.read_text("direct_url.json") or ""):
            editable.update(tops)
    return sorted(names), owned, editable

def unlisted(owned, editable):
    """The files and folders of modules that no package's record lists, and of editable packages: {name: path}."""
    library = {os.path.realpath(sysconfig.get_paths()[n]) for n in ("stdlib", "platstdlib")}
    folders = {*site.getsitepackages(), site.getusersitepackages()}
    found = {}
    for name in sorted(editable):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and os.path.isfile(spec.origin):
            found[name] = os.path.dirname(spec.origin) if spec.submodule_search_locations else spec.origin
    for place in sys.path:
        of_library = os.path.realpath(place) in library or os.path.basename(place) == "lib-dynload"
        if not place or not os.path.isdir(place) or (of_library and place not in folders):
            continue
        there = sorted(n for n in os.listdir(place) if n[0] != "." and n != "__pycache__")
        if place in folders or not any(n.partition(".")[0] in editable for n in there):
            loose = (n for n in there if (place.rstrip("/"), n.partition(".")[0]) not in owned)
            found.update((n, os.path.join(place, n)) for n in loose if n not in found)
    return found

def modules(found, files=5000, size=64 << 20):
    """The digest of each of these modules, and the paths that were read.

    Of more files than `files`, the rest is left out; of more bytes than `size`, only paths and sizes count.
    """
    digests, read = {}, []
    for name, top in sorted(found.items()):
        paths = [top] if os.path.isfile(top) and top.endswith((".py", ".so")) else []
        if os.path.isdir(top) and not top.endswith((".dist-info", ".egg-info")):
            for here, below, names in os.walk(top):
                below[:] = sorted(n for n in below if n[0] != "." and n != "__pycache__")
                read.append(here)
                paths += [os.path.join(here, n) for n in sorted(names) if not n.endswith(".pyc")]
                if len(paths) > files:
                    break
        if not any(path.endswith((".py", ".so")) for path in paths):
            continue
        digest = hashlib.sha256()
        for path in paths[:files]:
            files -= 1
            read.append(path)
            digest.update(os.fsencode(os.path.relpath(path, os.path.dirname(top))) + b"\\0")
            try:
                length = os.path.getsize(path)
                digest.update(b"%d " % length)
                if length <= size:
                    with open(path, "rb") as file:
                        digest.update(hashlib.sha256(file.read()).digest())
                    size -= length
            except OSError:
                digest.update(b"-")
        digests[name.encode("unicode_escape").decode().replace(" ", "\\x20")] = digest.hexdigest()
    return digests, read

packages, owned, editable = installed()
loose, read = modules(unlisted(owned, editable))
lines = ["package: " + p for p in packages] + ["module: %s sha256:%s" % pair for pair in sorted(loose.items())]
'''
# Run by the python3 that the datums' commands would find, which need not be the one that runs minipach. The places:
# where it looks for packages, or would if they came into being (site folders, lines of .pth files), and its library.
_PROBE = (
    f"""{INSTALLED}"""
    + """
import json
from sysconfig import get_config_var as built
places = dict.fromkeys([*sys.path, *site.getsitepackages(), site.getusersitepackages()])
places[os.path.join(built("LIBDIR") or "", built("INSTSONAME") or "")] = None
for place in list(places):
    for name in os.listdir(place or ".") if os.path.isdir(place or ".") else ():
        if name.endswith(".pth"):
            with open(os.path.join(place, name), errors="replace") as rows:
                places.update((os.path.join(place, line.strip()), None) for line in rows
                              if line.strip() and not line.startswith(("#", "import ", "import\\t")))
print(json.dumps([sys.version.split()[0], lines, sys.executable, list(places), read]))
"""
)
# They differ between two terminals, and no search for packages follows from them.
_UNCONCERNED = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "TERM", "WINDOWID"})
_KEPT = 4  # answers for one python3: terminals differ in their variables
_SETTLED = 2_000_000_000  # ns; coarser than the clock of any file system
_PACKAGES = (".dist-info", ".egg-info", "egg-info")
_STARTUP = (".pth", ".egg-link", ".egg", ".zip")
Stamp = tuple[str, int | None, int | None, int | None, int | None, int | None]
_Described = tuple[str, list[str]]
# what was compared last, by the cache of the project, the python3 and a hash of the environment
_just_compared: WeakKeyDictionary[Cache, dict[tuple[str, bytes], tuple[float, _Described]]] = WeakKeyDictionary()


def describe(
    python: str,
    env: Mapping[str, str],
    cache: Cache | None = None,
    clock: Callable[[], int] = time.time_ns,
    fresh: float = 0.0,
) -> _Described | None:
    """Return the version of a python3 and its packages (see `host.fingerprint`), or None if it does not answer.

    That is its packages (`package: numpy 2.4.6`), and the modules that no package's record lists, by their content
    (`module: helpers.py sha256:...`).

    With a cache, what it said last is taken if the environment is the same and every file that it follows from is:
    the interpreter, the folders where it looks for packages, each package's metadata. clock: the time of now (ns) ·
    fresh: seconds for which such a comparison counts. It is of a thousand files.
    """
    concerned = sorted(item for item in env.items() if item[0] not in _UNCONCERNED)
    variables = hashlib.sha256(repr(concerned).encode()).digest()  # no file may keep their values
    just = _just_compared.get(cache, {}).get((python, variables)) if cache else None
    if just is not None and 0 <= time.monotonic() - just[0] < fresh:
        return just[1]
    kept = (cache.get("host", python) if cache else None) or []
    for version, lines, places, stamps, before, read in kept:
        if cache is not None and before == variables and stamps == _stamps(python, places, read):
            _just_compared.setdefault(cache, {})[python, variables] = time.monotonic(), (version, lines)
            return version, lines
    started = clock()
    probe = subprocess.run(
        [python, "-c", _PROBE], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if probe.returncode != 0:
        return None
    try:
        version, lines, executable, places, read = json.loads(probe.stdout)
    except ValueError:  # a program of this name that is no Python
        return None
    # a wrapper (pyenv's shims) chooses by what isn't known here
    if cache is not None and executable and os.path.realpath(executable) == os.path.realpath(python):
        stamps = _stamps(python, places, read)
        if settled(stamps, started):
            others = [row for row in kept if row[4] != variables]
            cache.put("host", python, [(version, lines, places, stamps, variables, read), *others[: _KEPT - 1]])
    return version, lines


def _stamps(python: str, places: list[str], read: list[str]) -> list[Stamp]:
    """Return every file and folder that the answer follows from, as it stands now.

    Read: files that were read for it.
    """
    real = os.path.realpath(python)
    home = os.path.dirname(python)
    files = [python, real, os.path.join(home, "pyvenv.cfg"), os.path.join(home, "..", "pyvenv.cfg")]
    for place in places:
        folder = os.path.join("/", place)
        files.append(folder)
        files += _metadata(folder)
    files += read
    return [stamp(path) for path in files]


def _metadata(folder: str) -> Iterator[str]:
    """Yield the files of a packages folder that give names and versions of packages, or further folders."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return  # not there (which its own stamp shows), or a zip file
    for name in names:
        low = name.lower()
        if low.endswith(_PACKAGES):
            path = os.path.join(folder, name)
            yield from (path, os.path.join(path, "METADATA"), os.path.join(path, "PKG-INFO"))
        elif low.endswith(_STARTUP) or low.startswith(("sitecustomize", "usercustomize")):
            yield os.path.join(folder, name)


def stamp(path: str) -> Stamp:
    """Return what differs whenever a file does: its place, number, size and times; only the path, if it isn't there.

    The last is the time of the last change of any kind (ns), which no program can set back.
    """
    try:
        info = os.stat(path)
    except OSError:
        return path, None, None, None, None, None
    return path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def settled(stamps: Iterable[Stamp], since: int) -> bool:
    """Return whether no file had just been changed at a time (ns).

    A change in the same tick of the clock would never show.
    """
    return all(s[-1] is None or s[-1] < since - _SETTLED for s in stamps)
