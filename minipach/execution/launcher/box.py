"""The folders that a datum gets."""

from __future__ import annotations

import os
import stat

from minipach.execution.launcher.core import Suppress
from minipach.execution.launcher.files import disk_use, remove_tree


class Box:
    """The folders that a datum gets, in scratch. The next datum gets them as empty as new ones."""

    def __init__(self, scratch, private, apart=False):
        """private: the command can write to its inputs · apart: it has not `out` at /pfs/out, but `live`."""
        self.private = private
        self.top = self._top(scratch)
        self.pfs = os.path.join(self.top, "pfs")
        self.out = os.path.join(self.pfs, "out")
        self.live = os.path.join(self.top, "live") if apart else self.out
        self.tmp = os.path.join(self.top, "tmp")
        self.vartmp = os.path.join(self.top, "vartmp")
        self.shm = os.path.join(self.top, "shm")
        self.home = os.path.join(self.top, "home")
        self.full = os.path.join(self.top, "full")  # the content of files that look empty in /pfs
        self.peak = 0  # bytes of disk that the datum had in the folders that it can write to
        self.modes = {self.tmp: 0o1777, self.vartmp: 0o1777, self.shm: 0o1777, self.home: 0o700, self.out: 0o755}
        self.modes[self.live] = 0o755
        self._make()

    def _top(self, scratch):
        return os.path.join(scratch, "box")

    def _make(self):
        os.mkdir(self.top)
        os.mkdir(self.pfs)
        for folder, mode in self.modes.items():
            os.mkdir(folder)
            os.chmod(folder, mode)

    def measure(self):
        """Note what the datum's scratch space and outputs take on disk now. Returns the bytes."""
        used = disk_use(self.writable)
        self.peak = max(self.peak, used)
        return used

    def clear(self, keep=frozenset()):
        """Take away all that a datum has left. A folder that is as it was stays: to make one takes long on a disk.

        keep: folders below /pfs that the next datum has, too, where no command could change them.
        """
        self.peak = 0
        for folder, mode in self.modes.items():
            with Suppress(FileNotFoundError):
                if os.lstat(folder).st_mode == stat.S_IFDIR | mode and not os.listdir(folder):
                    continue
            remove_tree(folder)
            os.mkdir(folder)
            os.chmod(folder, mode)
        self._clear_inputs("", keep)
        remove_tree(self.full)

    def _clear_inputs(self, above, keep):
        with os.scandir(os.path.join(self.pfs, above)) as found:
            entries = [(above + entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for path, is_folder in entries:
            if is_folder and path in keep:
                self._clear_inputs(path + "/", keep)
            elif path != "out":
                remove_tree(os.path.join(self.pfs, path))

    def seen(self, path):
        """A path below our `pfs` as the command has it."""
        return "/pfs" + path[len(self.pfs) :]

    @property
    def writable(self):
        """The folders that the command can write to."""
        return (self.pfs if self.private else self.live, self.tmp, self.vartmp, self.shm, self.home)
