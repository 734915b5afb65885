"""A command that loops over the datums of its set itself."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import subprocess
import time

from minipach.execution.launcher.arguments import Datum
from minipach.execution.launcher.box import Box
from minipach.execution.launcher.core import INTERRUPTED, POD, Ended, Failure, Fault, Suppress, new_result, say, say_of
from minipach.execution.launcher.datums import LOOPS, FaultsOf
from minipach.execution.launcher.files import FOLDER, empty_folder, remove_tree
from minipach.execution.launcher.outputs import Room
from minipach.execution.launcher.processes import descendants, spent
from minipach.execution.launcher.written import copy_written, open_folders

START = 600.0  # seconds that a command may take before it asks for its first datum, if there is a limit of time at all
NEXT = r"""#!/bin/sh
# Take the outputs of the current datum from /pfs/out, and place the inputs of the next one in /pfs. Its variables are
# in /pfs/.env.
#   minipach-next [--error TEXT]        --error: the current datum has failed. Exit code 1: there is no next one
#   pachctl next datum [--error TEXT]   the same, but without a next datum it does not return: the command is ended
here=${0%/*} kind=next text=
if [ "${0##*/}" = pachctl ]; then
  if [ "${1-} ${2-}" != "next datum" ]; then
    echo "pachctl: in a pipeline there is only: pachctl next datum [--error TEXT]" >&2
    exit 2
  fi
  kind=last
  shift 2
fi
case ${1-} in
  '') ;;
  --error) kind=$kind-error text=${2-} ;;
  --error=*) kind=$kind-error text=${1#--error=} ;;
  *) echo "usage: ${0##*/} [--error TEXT]" >&2; exit 2 ;;
esac
set -f
set -- $text # one line
printf '%s %s %.2000s\n' "$$" "$kind" "$*" >"$here/ask" || exit 125
while read -r who code; do
  [ "$who" != "$$" ] || exit "$code"
done <"$here/answer"
exit 125
"""
WITH_NEXT = 'PATH=$0:$PATH; export PATH; exec "$@"'


class Batch:
    """The loop of a command over its datums. What it asks for comes through a pipe, and is not trusted: each request
    ends the current datum and begins the next one, whoever makes it. The pipes are opened before the command begins.

    results: of the datums that have ended, in their order · deadline: of the current datum.
    """

    folder = ".minipach"  # below /pfs

    def __init__(self, launcher, box):
        self.launcher = launcher
        self.box = box
        self.results = []
        self.failed = []  # the datums for which err_cmd is to run
        self.deadline: float | None = None
        self.current: Datum | None = None  # the datum, where one is
        self.over = False  # whether it has asked for more than there is
        self.is_ended = False  # whether it was ended for that
        self.begun = 0  # datums of this loop
        self.held = b""
        self.env = {}  # what variables the datums have
        for datum in launcher.run.datums:
            self.env.update(dict.fromkeys((pair.partition("=")[0] for pair in datum.variables), ""))
        tools = os.path.join(box.pfs, self.folder)
        os.mkdir(tools, 0o755)
        for name in ("minipach-next", "pachctl"):
            with open(os.open(os.path.join(tools, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755), "w") as file:
                file.write(NEXT)
        pipes = [os.path.join(tools, name) for name in ("ask", "answer")]
        for path in pipes:
            os.mkfifo(path, 0o600)
        # both ends: so neither waits for the command, nor sees its end
        self.asks, self.answers = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in pipes)

    def close(self):
        """Give up the pipes."""
        os.close(self.asks)
        os.close(self.answers)
        self.box.clear()

    def run(self):
        """Run the command once, for the datums that are left. At least one of them has a result then."""
        launcher = self.launcher
        self.current, self.over, self.is_ended, self.held, self.begun = None, False, False, b"", 0
        for fd in (self.asks, self.answers):
            with Suppress(BlockingIOError):
                while os.read(fd, 1 << 16):
                    pass
        self._note_time()
        if self.deadline is not None:  # that the command has to begin is not a datum's time
            self.deadline += START
        nameless = Datum("", "")
        tools = os.path.join("/pfs" if launcher.runtime.has_pfs else self.box.pfs, self.folder)
        words = ["/bin/sh", "-c", WITH_NEXT, tools, *launcher._words(nameless, self.box, launcher.run.command)]
        launcher.batch = self
        launcher.placed.begin(launcher.runtime.odd, 0)
        try:
            code, late, why = launcher._command(nameless, self.box, words, launcher.run.stdin)
            if self.current is not None:
                self._finish(code, late, why)
            elif not self.over:
                self._never_asked(code, late, why)
            elif not self.is_ended and (late or why or code not in launcher.run.accepted):
                say(f"the command ended with exit code {code} after its last datum; all results are kept")
        except Ended:
            if self.current is not None and any(r["code"] == 0 for r in self.results):
                self._close(INTERRUPTED, "interrupted")
            raise
        finally:
            launcher.batch = None

    def answer(self):
        """Do what the command asks for; False: it is to be ended."""
        with Suppress(BlockingIOError):
            self.held += os.read(self.asks, 1 << 16)
        *lines, self.held = self.held.split(b"\n")
        self.held = self.held[-4096:]
        for line in lines:
            request = re.fullmatch(rb"([0-9]{1,10}) (next|last)(-error)? (.{0,4000})", line)
            if request is None:
                continue
            if self.current is not None:
                text = request[4].decode(errors="replace") or "it has not said why"
                self._finish(*((1, False, "the command reports an error: " + text) if request[3] else (0, False, "")))
                if self.results[-1]["code"] and not self.launcher.report:
                    return False
            more = self._begin()
            if not more and request[2] == b"last":
                self.is_ended = True
                return False
            with Suppress(BlockingIOError):
                os.write(self.answers, request[1] + (b" 0\n" if more else b" 1\n"))
        return True

    def recover(self):
        """Run err_cmd for the datums that have failed: each in a sandbox of its own."""
        launcher = self.launcher
        for index in self.failed:
            datum, result = launcher.run.datums[index], self.results[index]
            began, cpu = time.monotonic(), spent()
            self.box.clear()
            with Suppress(Fault):
                launcher._lay_out(datum, self.box)
                launcher._recover(datum, self.box, result)
            result["seconds"] += time.monotonic() - began
            result["cpu"] += spent() - cpu

    def _note_time(self):
        self.began, self.clock, self.cpu = time.time(), time.monotonic(), spent() + running()
        self.deadline = self.clock + self.launcher.run.limit if self.launcher.run.limit else None

    def _begin(self):
        """Lay out the next datum; whether there is one. Raises Failure."""
        launcher = self.launcher
        while len(self.results) < len(launcher.run.datums):
            index = len(self.results)
            self.current = launcher.run.datums[index]
            launcher._mark(index + 1)
            os.pwrite(launcher.now, b"%-19d\n" % (index + 1), 0)
            launcher.printed = 0
            self.result = new_result()
            with FaultsOf(launcher, self.current, self.result):
                self._renew()
                self.empty = launcher._lay_out(self.current, self.box)
                self._write_env()
                self.before = launcher._seen(self.box) if not launcher.protects else None
                if self.begun:
                    self._note_time()
                elif launcher.run.limit:  # that the command had to begin counts for its first datum, but not as late
                    self.deadline = time.monotonic() + launcher.run.limit
                self.begun += 1
                return True
            self._close()
        self.over = True
        self._note_time()
        launcher._mark(0)
        return False

    def _finish(self, code, late, why):
        """End the current datum, as its command has."""
        launcher, datum, box = self.launcher, self.current, self.box
        box.measure()
        if self.before is not None and (changed := launcher._changed(box, self.before)):
            say_of(datum, "the command changed its copy of " + changed + "; the source is as it was")
        if launcher._has_failed(datum, self.result, code, late, why):
            if launcher.run.recovery:
                self.failed.append(len(self.results))
        else:
            with FaultsOf(launcher, datum, self.result), self._taken():
                launcher._take(datum, box, self.result, self.empty)
        self._close()

    def _close(self, code=0, fault=""):
        result = self.result
        if code:
            result.update(code=code, fault=fault, files=[])
        if result["code"] and self.launcher._disk_is_full():
            raise Failure(self.launcher.scratch + ": the disk is full")
        seconds, cpu = time.monotonic() - self.clock, max(0.0, spent() + running() - self.cpu)
        result.update(began=self.began, ended=time.time(), seconds=seconds, cpu=cpu, disk=self.box.peak)
        self.results.append(result)
        self.current = None

    def _never_asked(self, code, late, why):
        """All that are left have failed: another loop would not ask, either."""
        for datum in self.launcher.run.datums[len(self.results) :]:
            self.current, self.result = datum, new_result()
            if not self.launcher._has_failed(datum, self.result, code, late, why):
                self.launcher._fault(datum, self.result, "the command ended without asking for a datum (minipach-next)")
            elif not (late or why):
                self.result["fault"] = f"the command exited with {code} before it asked for a datum (minipach-next)"
            self._close()
            if not self.launcher.report:
                return

    def _renew(self):
        """Empty what the command has at /pfs/out, which stays the same folder, and take the inputs away."""
        box = self.box
        box.peak = 0
        if not os.path.isdir(box.live) or os.path.islink(box.live):  # without a container it can be taken away
            remove_tree(box.live)
            os.mkdir(box.live)
        for tries in range(100):  # a command may write on meanwhile
            try:
                empty_folder(box.live)
                break
            except RecursionError:  # deeper than Python goes; find follows no link, whatever is swapped meanwhile
                words = ["find", box.live, "-mindepth", "1", "-delete"]
                subprocess.run(words, capture_output=True, check=False)
                if tries == 99:
                    raise Fault("the folders that an earlier datum left in /pfs/out are too deep") from None
            except OSError as error:
                if tries == 99 or error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    what = f"what an earlier datum left in /pfs/out can't be removed: {error.strerror}"
                    raise Fault(what) from None
                if error.errno == errno.EACCES:
                    open_folders(box.live)
        os.chmod(box.live, 0o755)
        for name in os.listdir(box.pfs):
            if name not in ("out", self.folder):
                remove_tree(os.path.join(box.pfs, name))
        remove_tree(box.full)

    def _write_env(self):
        """Write the datum's variables, for a shell and for programs that read such files."""
        datum, pfs, lines = self.current, self.box.pfs, []
        assert datum is not None
        table = {**self.env, "MINIPACH_DATUM": datum.name}
        for pair in datum.variables:
            name, _, value = pair.partition("=")
            if not self.launcher.runtime.has_pfs and (value == "/pfs" or value.startswith("/pfs/")):
                value = pfs + value[4:]
            table[name] = value
        for name, value in table.items():
            if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                lines.append("export " + name + "='" + value.replace("'", "'\\''") + "'\n")
        with open(os.path.join(pfs, ".env"), "xb") as file:
            file.write(os.fsencode("".join(lines)))

    @contextlib.contextmanager
    def _taken(self):
        """While this lasts, the box's `out` is a copy of what the command has written. Raises Fault."""
        box = self.box
        copy = box.out if box.live != box.out else os.path.join(box.top, "copy")
        try:
            source = os.open(box.live, FOLDER)
        except OSError:
            raise Fault("/pfs/out is gone; it must stay a directory") from None
        try:
            if copy != box.out:
                os.mkdir(copy)
            copy_written(source, copy, "", Room(copy))
        except BaseException:
            empty_folder(copy)
            raise
        finally:
            os.close(source)
        if copy == box.out:
            try:
                yield
            finally:
                empty_folder(box.out)
            return
        aside = os.path.join(box.top, "aside")
        os.rename(box.out, aside)
        os.rename(copy, box.out)
        try:
            yield
        finally:
            remove_tree(box.out)
            os.rename(aside, box.out)


def running():
    """Processor seconds of all that runs below this process, and of what that has waited for."""
    total = 0
    for pid in descendants(os.getpid()):
        with Suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", errors="replace") as file:
            total += sum(map(int, file.read().rpartition(")")[2].split()[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def run_batches(launcher):
    """Run a command that loops over its datums itself, and again for those that it has left."""
    if POD:
        raise Failure("a command that loops over its datums can't run in a container of its own in a pod")
    batch = Batch(launcher, Box(launcher.scratch, private=False, apart=launcher.runtime.has_pfs))
    results = batch.results
    try:
        while len(results) < len(launcher.run.datums):
            batch.run()
            if any(r["code"] for r in results) and (not launcher.report or launcher.signals.asked):
                break
        batch.recover()
    except Ended:
        if not launcher.report or not any(r["code"] == 0 for r in results):
            raise
    finally:
        batch.close()
    launcher._mark(0)
    return results


LOOPS["batches"] = run_batches
