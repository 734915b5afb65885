"""The host environment: its folders, read-only, and the libraries of its user."""

from __future__ import annotations

import os
import stat

from minipach.execution.launcher.arguments import is_identifier
from minipach.execution.launcher.core import Suppress
from minipach.execution.launcher.drift import report_drift
from minipach.execution.launcher.image import Image

SYSTEM = ("bin", "sbin", "usr", "opt", "nix", "gnu", "snap", "System", "Library")
VAR = ("/var/lib/texmf", "/var/lib/ghostscript", "/var/lib/R", "/var/cache/fontconfig", "/var/lib/alternatives")
PARTS = ("bin", "sbin", "lib", "lib64", "lib32", "libexec", "include", "etc")


class Host(Image):
    """The environment of a command without an image: the programs of the host, on record as a text."""

    part = "host"

    def find_kind(self):
        """The kind of the image."""
        return "host"

    def environment(self, interactive):
        """The variables of a command in it: PATH, libraries and language of whoever calls."""
        caller = os.environ
        found = {"PATH": caller["MINIPACH_PATH"], **host_libraries(), **caller_locale(caller)}
        return {**found, **{name: caller[name] for name in ("TZ", "TERM") if name in caller}}

    def report_drift(self, words):
        """Print a line if the host is not the recorded one."""
        report_drift(self.path, words, host_libraries())

    def bubblewrap_root(self, points, has_network):
        """bwrap's arguments for the host's own programs."""
        return host_root()

    def folders(self, shown):
        """The folders of PATH, and those that are shown on request."""
        return environment_parts(shown)

    def bubblewrap_folders(self, shown):
        """bwrap's arguments for them."""
        found = []
        for path in environment_parts(shown):
            found += ["--ro-bind-try", path, path, *private_of_user(path)]
        return found

    def files(self, words):
        """The files of the host that a command names."""
        return named_files(words)


def host_root():
    """bwrap's arguments for the host's own programs: its system folders, and what PATH needs, all read-only."""
    found = []
    for name in sorted(os.listdir("/")):
        path = "/" + name
        if name not in SYSTEM and not name.startswith("lib"):
            continue
        found += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    found += ["--ro-bind", "/etc", "/etc"]
    found += private_of_system("/etc", deep=os.getuid() == 0)
    resolver = os.path.realpath("/etc/resolv.conf")
    for path in [*VAR, *([] if resolver.startswith("/etc/") else [resolver])]:
        found += ["--ro-bind-try", path, path]
    return found


def private_of_system(folder, deep):
    """bwrap's arguments to hide what only this user may read in a folder of the system, which matters for root."""
    found: list[str] = []
    todo, user = [folder], os.getuid()
    while todo:
        try:
            entries = os.scandir(todo.pop())
        except OSError:  # what this user can't list, the command can't, either
            continue
        with entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                is_folder = stat.S_ISDIR(info.st_mode)
                if info.st_uid == user and not info.st_mode & (0o001 if is_folder else 0o004):
                    found += masked(entry.path, info.st_mode) if info.st_size else []
                elif is_folder and deep:
                    todo.append(entry.path)
    return found


def private_of_user(part):
    """bwrap's arguments to hide what a folder of PATH's has beside programs: a repository's .git, credentials."""
    found = []
    with Suppress(OSError):
        for entry in os.scandir(part):
            name = entry.name.lower()
            is_own = name in (".git", ".env") or (name.startswith(".") and name.endswith("rc") and len(name) > 3)
            if is_own or any(word in name for word in ("credential", "secret", "token")):
                found += masked(entry.path, entry.stat(follow_symlinks=False).st_mode)
    return found


def masked(path, mode):
    """bwrap's arguments to have an empty folder or file there."""
    if stat.S_ISDIR(mode):
        return ["--tmpfs", path, "--remount-ro", path]
    return ["--ro-bind", "/dev/null", path] if stat.S_ISREG(mode) else []


def caller_locale(caller):
    """LANG and LC_*: as whoever started minipach has them, which works in a locale of its own."""
    pairs = (
        [w.partition("=") for w in caller["MINIPACH_LOCALE"].split()]
        if "MINIPACH_LOCALE" in caller
        else [(n, "=", v) for n, v in caller.items()]
    )
    found = {n: v for n, _, v in pairs if v and is_identifier(n)}
    return {n: v for n, v in found.items() if n == "LANG" or (n[:3] == "LC_" and n[3:].isalpha() and n.isupper())}


def host_libraries():
    """The variables for libraries in the user's home, which is another for the command."""
    home = os.path.expanduser("~")
    found = {}
    if os.path.isdir(os.path.join(home, ".local", "lib")):
        found["PYTHONUSERBASE"] = os.path.join(home, ".local")
    if os.path.isdir(os.path.join(home, "R")):
        for machine in sorted(os.listdir(os.path.join(home, "R"))):
            for version in (
                sorted(os.listdir(os.path.join(home, "R", machine)))
                if os.path.isdir(os.path.join(home, "R", machine))
                else ()
            ):
                found["R_LIBS_USER"] = os.path.join(home, "R", machine, version)
    return found


def environment_parts(shown):
    """The folders that the user's environment is made of: each PATH entry's prefix, interpreters, their libraries."""
    home = os.path.realpath(os.path.expanduser("~"))
    found: dict[str, None] = {}
    known: set[str] = set()
    for folder in os.environ["MINIPACH_PATH"].split(os.pathsep):
        if folder.startswith("/") and os.path.isdir(folder):
            for part in prefix_parts(folder, home, known):
                found[part] = None
    for value in host_libraries().values():
        found[value if "/R/" in value else os.path.join(value, "lib")] = None
    for item in shown:
        found[item] = None
    kept: list[str] = []
    for part in sorted(found):
        if part in ("/", home, "") or is_system(part) or any((part + "/").startswith(k + "/") for k in kept):
            continue
        if os.path.exists(part):
            kept.append(part)
    return kept


def is_system(path):
    """Whether a path is visible anyway."""
    top = path.split("/")[1] if "/" in path else ""
    return (
        (top in SYSTEM and not os.path.islink("/" + top))
        or (top.startswith("lib") and not os.path.islink("/" + top))
        or top in ("etc", "bin", "sbin", "dev", "proc", "sys")
    )


def prefix_parts(folder, home, known):
    """The folders that a folder of PATH needs: its prefix, and that of the interpreters in it. known: seen before."""
    if folder in known:
        return
    known.add(folder)
    prefix = os.path.dirname(folder) if os.path.basename(folder) in ("bin", "sbin", "shims", "Scripts") else folder
    if os.path.realpath(prefix) in ("/", home):
        yield folder
    elif os.path.realpath(prefix) == os.path.join(home, ".local"):
        yield from (os.path.join(prefix, part) for part in PARTS)
    else:
        yield prefix
    config = os.path.join(prefix, "pyvenv.cfg")
    with Suppress(OSError), open(config, errors="replace") as file:
        for line in file:
            key, _, value = line.partition("=")
            if key.strip() == "home" and os.path.isdir(value.strip()):
                yield from prefix_parts(value.strip(), home, known)
    for name in ("python3", "python", "Rscript", "julia", "node", "perl"):
        program = os.path.join(folder, name)
        if os.path.islink(program):
            real = os.path.dirname(os.path.realpath(program))
            if real != os.path.realpath(folder) and os.path.isdir(real):
                yield from prefix_parts(real, home, known)
    for site in site_folders(prefix):
        for name in sorted(os.listdir(site)):
            if name.endswith(".pth"):
                with Suppress(OSError), open(os.path.join(site, name), errors="replace") as file:
                    for line in file:
                        if line.startswith("/") and os.path.isdir(line.strip()):
                            yield line.strip()


def site_folders(prefix):
    """The folders in which the Pythons of a prefix have their packages."""
    found = []
    lib = os.path.join(prefix, "lib")
    if os.path.isdir(lib) and not is_system(lib):
        for name in os.listdir(lib):
            site = os.path.join(lib, name, "site-packages")
            if name.startswith("python") and os.path.isdir(site):
                found.append(site)
    return found


def named_files(words):
    """The files of the host that a command names by a whole path: those are on record in the environment's text.

    Only what everybody on the host may read: the one who writes a spec is not the one who runs it.
    """
    seen = ("/pfs/", "/project/", "/dev/", "/proc/", "/sys/", "/etc/", "/usr/", "/bin/", "/lib")
    return [
        word
        for word in dict.fromkeys(words)
        if word.startswith("/")
        and not word.startswith(seen)
        and "/.git/" not in word
        and os.path.normpath(word) == word
        and os.path.isfile(word)
        and os.stat(word).st_mode & 0o004
    ]
