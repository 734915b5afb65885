"""Outputs: which can be kept, and how they come into the dataset.

What a command has left is hostile data: links are resolved by hand, and nothing is written through one.
"""

from __future__ import annotations

import os
import re
import stat

from minipach.execution.launcher.core import Failure, Fault, Suppress, parents, shown
from minipach.execution.launcher.files import MAX_READ_AS_POINTER, POINTER, copy_file, is_taken_for_pointer
from minipach.execution.launcher.reserved_names import reserved_in_pipeline


class Outputs:
    """The outputs of all datums of a run. What one has written is put by until all have ended."""

    def __init__(self, dataset, scratch):
        self.dataset = dataset
        self.taken = os.path.join(scratch, "done")
        self.writers = {}  # the datum that has written each path
        self.folders = {}  # a datum that has written below each folder
        os.mkdir(self.taken)

    def keep(self, datum, box, empty):
        """Check what the datum wrote, and keep it: [[path in /pfs/out, path in the repo], ...]. Raises Fault."""
        if os.path.islink(box.out) or not os.path.isdir(box.out):
            raise Fault("/pfs/out is gone; it must stay a directory")
        found: list[tuple[str, str, str]] = []
        self._collect(datum, box, box.out, "", empty, found)
        claimed: dict[str, str] = {}
        for seen, final, _ in found:
            if final in claimed:
                raise Fault(f"outputs {shown(claimed[final])} and {shown(seen)} would have one path, {final}")
            if final in self.writers:
                other = self.writers[final]
                raise Fault(f"output {shown(final)} was written by datum {shown(other.name)}, too", other)
            claimed[final] = seen
        for final in claimed:
            if final in self.folders:
                other = self.folders[final]
                raise Fault(f"output {shown(final)} is a file, and datum {shown(other.name)} has a folder there", other)
            for above in parents(final):
                if above in claimed or above in self.writers:
                    other = None if above in claimed else self.writers[above]
                    whose = " of datum " + shown(other.name) if other else ""
                    raise Fault(f"output {shown(above)} is a file{whose}, and a folder in {shown(final)}", other)
        uses: dict[str, int] = {}
        room = Room(self.taken)
        for seen, _, source in found:
            uses[source] = uses.get(source, 0) + 1
            size = os.lstat(source).st_size
            room.take(size, seen)
            if len(POINTER) < size <= MAX_READ_AS_POINTER:
                with open(source, "rb") as file:
                    if is_taken_for_pointer(file.read()):
                        what = "git-annex would take it for a pointer to another content; begin it with another line"
                        raise Fault(f"output {shown(seen)} can't be kept: {what}")
        for _, final, source in found:
            place = os.path.join(self.taken, final)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            info = os.lstat(source)
            mode = 0o755 if info.st_mode & 0o111 else 0o644
            if source.startswith(box.out + "/") and info.st_nlink == 1 and uses[source] == 1:
                os.rename(source, place)
                os.chmod(place, mode)
            else:
                copy_file(source, place, mode)
        self.writers.update(dict.fromkeys(claimed, datum))
        for final in claimed:
            self.folders.update(dict.fromkeys(parents(final), datum))
        return [[seen, final] for seen, final, _ in found]

    def _collect(self, datum, box, folder, prefix, empty, found):
        """Add (path as the command named it, path in the repo, source) of all files below a folder."""
        with Suppress(OSError):
            if os.lstat(folder).st_mode & 0o700 != 0o700:
                os.chmod(folder, 0o755)
        for name in sorted(os.listdir(folder)):
            seen, there = prefix + name, os.path.join(folder, name)
            check_name(seen)
            mode = os.lstat(there).st_mode
            if stat.S_ISLNK(mode):
                there = self._target(box, there, seen)
                there = empty.get(there, there)
                mode = os.stat(there).st_mode
                if stat.S_ISDIR(mode):
                    self._collect_linked(datum, box, there, seen, empty, found)
                    continue
            if stat.S_ISDIR(mode):
                self._collect(datum, box, there, seen + "/", empty, found)
            elif stat.S_ISREG(mode):
                self._add(datum, seen, there, found)
            else:
                raise Fault("output " + shown(seen) + " is neither a file nor a directory")

    def _collect_linked(self, datum, box, folder, seen, empty, found):
        """A link to a folder becomes a copy of it."""
        if (box.out + "/").startswith(folder + "/") or folder.startswith(box.out + "/"):
            raise Fault("symbolic link " + shown(seen) + " points to a directory that holds it, or to one in /pfs/out")
        for here, folders, names in os.walk(folder):
            for name in (*names, *(f for f in folders if os.path.islink(os.path.join(here, f)))):
                there = os.path.join(here, name)
                inner = seen + "/" + os.path.relpath(there, folder)
                if os.path.islink(there):
                    there = self._target(box, there, inner)
                    if not os.path.isfile(there):
                        what = f"symbolic link {shown(seen)} leads to {shown(inner)}"
                        raise Fault(what + ", a link to a directory; copy what is needed")
                there = empty.get(there, there)
                if not stat.S_ISREG(os.lstat(there).st_mode):
                    raise Fault("output " + shown(inner) + " is neither a file nor a directory")
                check_name(inner)
                self._add(datum, inner, there, found)

    def _add(self, datum, seen, source, found):
        final = datum.restored(seen)
        final = datum.out + "/" + final if datum.out else final
        check_name(final)
        if reserved_in_pipeline(final.split("/", 1)[0]):
            what = f"output {shown(final.split('/', 1)[0])} is a reserved name in a pipeline's repo"
            raise Fault(what + "; write elsewhere or set minipach.out")
        if os.lstat(source).st_mode & 0o400 == 0:
            os.chmod(source, 0o644)
        found.append((seen, final, source))

    def _target(self, box, link, seen):
        """The place below /pfs to which a link in /pfs/out leads. Raises Fault."""
        parts = os.path.relpath(os.path.dirname(link), box.pfs).split("/")
        todo = os.readlink(link).split("/")
        outside = Fault("symbolic link " + shown(seen) + " points outside /pfs")
        hops = 0
        if todo[0] == "":
            parts, todo = self._rooted("/".join(todo), box, outside)
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                if not parts:
                    raise outside
                parts.pop()
                continue
            here = os.path.join(box.pfs, *parts, part)
            if os.path.islink(here):
                hops += 1
                if hops > 40:
                    raise Fault("symbolic link " + shown(seen) + " leads in a circle")
                to = os.readlink(here)
                if to.startswith("/"):
                    parts, rest = self._rooted(to, box, outside)
                    todo = rest + todo
                else:
                    todo = to.split("/") + todo
            elif os.path.lexists(here):
                parts.append(part)
            else:
                raise Fault("symbolic link " + shown(seen) + " points to nothing")
        if not parts:
            raise outside
        return os.path.join(box.pfs, *parts)

    def _rooted(self, path, box, outside):
        for root in ("/pfs", box.pfs):
            if (path + "/").startswith(root + "/"):
                return [], path[len(root) :].split("/")
        raise outside

    def move(self):
        """Move all that was put by into the dataset, checked as a whole before. Raises Failure or OSError."""
        for final in self.writers:
            for above in parents(final):
                there = os.path.join(self.dataset, above)
                if os.path.islink(there):
                    raise Failure(there + ": is a symbolic link, and a result lies below it; remove it")
                if os.path.lexists(there) and not os.path.isdir(there):
                    raise Failure(there + ": is a file, and a result lies below it; remove it")
            there = os.path.join(self.dataset, final)
            if os.path.isdir(there) and not os.path.islink(there):
                try:
                    for here, _, _ in sorted(os.walk(there), reverse=True):
                        os.rmdir(here)
                except OSError:
                    what = "is a directory, and a result of this name is a file; remove one of them"
                    raise Failure(f"{there}: {what}") from None
        for final in self.writers:
            there = os.path.join(self.dataset, final)
            os.makedirs(os.path.dirname(there), exist_ok=True)
            if os.path.lexists(there):
                os.unlink(there)  # never written through: it may be a link to annexed content
            os.rename(os.path.join(self.taken, final), there)


def check_name(path):
    """Raises Fault for a name that git or DataLad can't keep."""
    name = path.rpartition("/")[2]
    begin = (name[:2].lower(), name[3:5])  # to import `re` takes longer than most of a start
    if (begin[0] == ".g" or begin[1] == "~1") and re.fullmatch(r"(\.git|git~1)[ .]*(:.*)?", name, re.IGNORECASE):
        why = "a dataset can't hold another's .git" if name == ".git" else "git refuses the name"
        raise Fault("output " + shown(path) + " can't be kept: " + why)
    if name.lower() == ".gitattributes":
        raise Fault("output " + shown(path) + " can't be kept: git would change other outputs by it; rename it")
    for odd, what in (("\n", "a line break"), ("\\", "a backslash")):
        if odd in name:
            raise Fault(
                "output " + shown(path) + ": " + what + " in its name, which `datalad rerun` can't handle; rename it"
            )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Fault("output " + shown(os.fsencode(path)) + ": its name is not UTF-8; rename it") from None


class Room:
    """The size of a whole disk. Outputs with more bytes, holes included, could be neither hashed in time nor kept."""

    def __init__(self, folder):
        found = os.statvfs(folder)
        self.left = found.f_blocks * found.f_frsize or 1 << 63

    def take(self, size, seen):
        """Count a file. Raises Fault if the disk is too small for all so far."""
        self.left -= size
        if self.left < 0:
            raise Fault("output " + shown(seen) + " makes the outputs larger than the whole disk, holes included")
