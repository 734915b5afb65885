"""The line about a host that differs from the recorded one."""

from __future__ import annotations

import hashlib
import os
import subprocess

from minipach.execution.launcher.core import Suppress, say
from minipach.execution.launcher.files import find_program

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
PACKAGES = INSTALLED + 'print("python3: " + sys.version.split()[0], *lines, sep="\\n")\n'


def uses_python(words):
    """Whether Python is named in the command, or in the pipeline's code."""
    if any("python" in word or word.endswith(".py") for word in words):
        return True
    for here, _, names in os.walk("code"):
        for name in names:
            with Suppress(OSError), open(os.path.join(here, name), "rb") as file:
                if name.endswith(".py") or b"python" in file.read(1 << 20):
                    return True
    return False


def report_drift(path, words, libraries):
    """Print one line if a rerun's environment differs from the recorded one, in what is used; a worker reports it."""
    with open(path, errors="replace") as file:
        recorded = table(file.read().splitlines()[1:])
    if not uses_python(words):
        recorded = {k: v for k, v in recorded.items() if not k.startswith(("python3 ", "package ", "module "))}
    here = ["system: " + os.uname().sysname + " " + os.uname().machine]
    programs = os.environ["MINIPACH_PATH"]
    python = find_program("python3", programs)
    if python and "python3 python3" in recorded:
        env = {"PATH": programs, "HOME": os.path.expanduser("~"), **libraries}
        done = subprocess.run(
            [python, "-c", PACKAGES], env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        here += done.stdout.decode(errors="replace").splitlines()
    for name in recorded:
        kind, _, what = name.partition(" ")
        if kind in ("program", "file"):
            there = what if kind == "file" else find_program(what, programs)
            if there and os.path.isfile(there):
                with open(there, "rb") as file:
                    here.append(name.replace(" ", ": ", 1) + " sha256:" + hashlib.sha256(file.read()).hexdigest())
    now = table(here)
    differ = [
        name.partition(" ")[2] + " " + recorded.get(name, "absent") + ", here " + now.get(name, "absent")
        for name in sorted(
            recorded.keys() | (now.keys() if "python3 python3" in recorded else set()),
            key=lambda name: (name.startswith(("package ", "module ")), name),
        )
        if recorded.get(name) != now.get(name) and not recorded.get(name, "").startswith("size:")
    ]
    if differ:
        more = f" (and {len(differ) - 3} more)" if len(differ) > 3 else ""
        say("launch: the environment differs from the recorded one: recorded " + "; recorded ".join(differ[:3]) + more)


def table(lines):
    """The table in lines of a host environment's text: {"package numpy": version, "python3 python3": version, ...}."""
    found = {}
    for line in lines:
        kind, _, rest = line.partition(": ")
        name, _, value = rest.rpartition(" ")
        if kind in ("package", "module", "program", "file"):
            found[kind + " " + name] = value
        elif rest:
            found[kind + " " + kind] = rest
    return found
