"""git's objects: what a repository's HEAD has."""

from __future__ import annotations

import os
import subprocess

from minipach.execution.launcher.core import Failure
from minipach.execution.launcher.files import find_program
from minipach.execution.launcher.processes import spawn


def git_environment(folder):
    """The environment of git, which looks for no repository above the folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = os.path.dirname(os.path.realpath(folder))
    return env


def git(folder, *arguments, stdin=None):
    """The answer of git in a folder. Raises Failure."""
    words = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(words, input=stdin, env=git_environment(folder), capture_output=True, check=False)
    except OSError as error:
        raise Failure("git can't be run: " + str(error.strerror)) from None
    if done.returncode:
        raise Failure(folder + ": git " + arguments[0] + ": " + done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout


class Objects:
    """git's objects of one repository, read by one process for as long as inputs are laid out."""

    def __init__(self, folder):
        program = find_program("git")
        if program is None:
            raise Failure("git can't be run: it is not on PATH")
        self.folder = folder
        asks, self.asked = os.pipe()
        self.answers, answer = os.pipe()
        nothing = os.open(os.devnull, os.O_WRONLY)
        words = ["git", "-C", folder, "cat-file", "--batch"]
        try:
            self.process = spawn([program, *words[1:]], git_environment(folder), (), {0: asks, 1: answer, 2: nothing})
        finally:
            for fd in (asks, answer, nothing):
                os.close(fd)
        self.reader = os.fdopen(self.answers, "rb")

    @classmethod
    def of(cls, folder):
        """The objects of a repository; the process is started where it does not run."""
        if folder not in READERS:
            READERS[folder] = cls(folder)
        return READERS[folder]

    def end(self):
        """End the process."""
        os.close(self.asked)
        self.reader.close()
        self.process.wait()

    def read(self, name):
        """The id, kind and content of an object; None where there is none. Raises Failure."""
        try:
            os.write(self.asked, os.fsencode(name) + b"\n")
        except OSError:
            self._fail()
        head = self.reader.readline().split()
        if not head:
            self._fail()
        if len(head) != 3 or head[1] not in (b"blob", b"tree", b"commit", b"tag"):
            return None
        size = int(head[2])
        data = self.reader.read(size + 1)
        if len(data) <= size:
            self._fail()
        return head[0].decode(), head[1].decode(), data[:size]

    def _fail(self):
        git(self.folder, "rev-parse", "--verify", "HEAD")  # says why
        raise Failure(self.folder + ": git cat-file ended")

    def tree(self, name):
        """The entries of a tree: [(mode, kind, id, name)]; None where there is none."""
        found = self.read(name)
        if found is None or found[1] != "tree":
            return None
        data, entries, at, size = found[2], [], 0, len(found[0]) // 2
        while at < len(data):
            end = data.index(b"\0", at)
            mode, _, path = data[at:end].partition(b" ")
            kind = {b"40000": "tree", b"160000": "commit"}.get(mode, "blob")
            entries.append((mode.decode(), kind, data[end + 1 : end + 1 + size].hex(), os.fsdecode(path)))
            at = end + 1 + size
        return entries

    def files(self, path):
        """All files (and subdatasets) of HEAD at a path, "" being everything: [(mode, kind, id, path)]."""
        entries, above = self.tree("HEAD^{tree}"), ""
        if entries is None:
            self._fail()
        for part in path.split("/") if path else ():
            found = next((entry for entry in entries or () if entry[3] == part), None)
            if found is None:
                return []
            above = os.path.join(above, part)
            if found[1] != "tree":
                return [(*found[:3], path)] if above == path else []
            entries = self.tree(found[2])
        return list(self._below(entries, above))

    def _below(self, entries, above):
        for mode, kind, sha, name in entries or ():
            path = above + "/" + name if above else name
            if kind == "tree":
                yield from self._below(self.tree(sha), path)
            else:
                yield mode, kind, sha, path


READERS: dict[str, Objects] = {}


def reading_objects(function):
    """The same function, after which no process of git's runs any more; a command may then."""

    def read(*arguments, **options):
        try:
            return function(*arguments, **options)
        finally:
            while READERS:
                READERS.popitem()[1].end()

    return read
