"""The datums of a run: each has its inputs, its command, and its outputs."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import stat
import sys
import time

from minipach.execution.launcher.arguments import filled, plain_path
from minipach.execution.launcher.bounds import Bound, Watch
from minipach.execution.launcher.core import (
    AT_FAULT,
    GRACE,
    HOME,
    INTERRUPTED,
    POLL,
    TIME_OVER,
    UNENDING,
    Ended,
    Failure,
    Fault,
    NotBegun,
    Suppress,
    as_json,
    new_result,
    no_part,
    parents,
    put,
    say_of,
)
from minipach.execution.launcher.files import make_temporary, remove_tree
from minipach.execution.launcher.git_objects import reading_objects
from minipach.execution.launcher.inputs import LARGE, MOST_MOUNTS, PRIVATE, PROTECTED, UNPROTECTED, Placed, Tree
from minipach.execution.launcher.outputs import Outputs
from minipach.execution.launcher.processes import PRCTL, Signals, adopt_orphans, descendants, spent
from minipach.execution.launcher.runtimes import pick_runtime

PIECES = 64  # of a command's output that are passed on between two looks at the time: it may print without a pause


LOOPS: dict = {}  # of commands over their datums, where this launcher has the part `batches`


class Launcher:
    """Runs the datums of one run, one after the other."""

    def __init__(self, image, run, report, enough):
        self.image = image
        self.run = run
        self.report = report
        self.until = time.monotonic() + float(enough) if enough else None  # no datum begins later
        self.dataset = os.path.realpath(".")
        self.signals = Signals()
        self.is_reaper = adopt_orphans()
        self.one_pipe = same_file(1, 2)
        self.interactive = bool(os.environ.get("MINIPACH_INTERACTIVE"))
        self.runtime = pick_runtime(image, self.dataset)
        self.protects = self.runtime.protects
        self.runtime.shut_off(run)
        self.scratch = ""
        self.bound: Bound
        self.secrets = {}
        self.trees = {}
        self.placed = Placed()
        self.outputs: Outputs
        self.words = []
        self.marked = -1  # the number of the last mark
        self.child = None
        self.batch = None  # while a command runs that loops over its datums
        self.image_folder = None  # where the image says that programs start, once it was asked
        self.image_variables = None  # of its environment, once it was asked
        self.is_out_of_memory = False  # whether the command was ended for its use of memory
        self.limit_hit = ""  # the kind of the limit for which the command was ended
        self.printed = 0  # bytes of the command's standard output and standard error: they become its log

    def main(self):
        """Run all; the exit code."""
        self._take_secrets()
        self.bound = Bound(self.run.limits["processes"], self.runtime.is_engine)
        try:
            return self._all()
        finally:
            self.bound.end()

    def _loop(self):
        """Run a command that loops over its datums itself."""
        if "batches" not in LOOPS:
            raise no_part("a command that loops over its datums (-b)")
        return LOOPS["batches"](self)

    def _all(self):
        self._make_scratch()
        try:
            results = self._loop() if self.run.batched and not self.interactive else self._datums()
            code = next((r["code"] for r in results if r["code"]), 0)
            if self.report:
                if any(r["code"] == 0 for r in results):
                    code = 0
                elif results:
                    code = results[-1]["code"]
            if code == 0:
                try:
                    self.outputs.move()
                except OSError as error:
                    raise self._failure(error) from None
            self._tell({"datums": results})
            return code
        finally:
            self.runtime.close()
            remove_tree(self.scratch)

    def _tell(self, report):
        if self.report:
            part = os.path.join(self.report, "report.part")
            with open(part, "w") as file:
                file.write(as_json({"schema": 1, **report}))
            os.replace(part, os.path.join(self.report, "report.json"))

    def _take_secrets(self):
        for name in {*self.run.secrets.values(), *self.run.secret_files.values()}:
            if name not in os.environ:
                what = "put its value into the environment variable " + name + ", and export that"
                raise Failure("a secret is missing: " + what)
            self.secrets[name] = os.environ[name]
        for name in [n for n in os.environ if n.startswith("MINIPACH_SECRET_")]:
            del os.environ[name]

    def _make_scratch(self):
        folder = os.path.join(self.dataset, ".minipach")
        try:
            os.makedirs(folder, exist_ok=True)
            self.scratch = make_temporary(folder)
            self.outputs = Outputs(self.dataset, self.scratch)
            os.mkdir(os.path.join(self.scratch, "view"))
            self.now = os.open(os.path.join(self.scratch, "now"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            raise Failure(folder + ": " + str(error.strerror)) from None
        if self.report:
            words = os.path.join(self.report, "words")
            if os.path.isfile(words):
                with open(words) as file:
                    self.words = file.read().split()
                os.unlink(words)
        self.view = self.runtime.view(self.scratch)
        self._lay_out_own()
        for path, name in self.run.secret_files.items():
            place = os.path.join(self.scratch, "secrets", path.strip("/"))
            os.makedirs(os.path.dirname(place), exist_ok=True, mode=0o700)
            with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
                file.write(os.fsencode(self.secrets[name]))

    def _tree(self, folder):
        if folder not in self.trees:
            how = PROTECTED if self.protects else UNPROTECTED
            if self.run.writable and folder != self.dataset:
                how = PRIVATE
            self.trees[folder] = Tree(folder, how, self.placed, self.dataset)
        return self.trees[folder]

    @reading_objects
    def _lay_out_own(self):
        """The pipeline's own files: `code`, what .minipach/files lists, and shared code in .minipach/code."""
        own = os.path.join(self.view, self.run.path)
        os.makedirs(own, exist_ok=True)
        tree = self._tree(self.dataset)
        listed = []
        with (
            Suppress(OSError),
            open(os.path.join(self.dataset, ".minipach", "files"), encoding="utf-8", errors="surrogateescape") as file,
        ):
            listed = [plain_path(line) for line in file.read().split("\n") if line]
        paths = ["code", *(p for p in listed if p and not p.startswith("code/"))]
        if tree.is_repo:
            self._own_of_repo(tree, paths, own)
            return
        for path in paths:
            if os.path.lexists(os.path.join(self.dataset, path)):
                tree.lay_out(path, own, lambda p: p)
        if os.path.isdir(os.path.join(self.dataset, ".minipach", "code")):
            tree.lay_out(".minipach/code", self.view, lambda p: p[len(".minipach/code/") :])

    def _own_of_repo(self, tree, paths, own):
        for path in paths:
            if path.split("/", 1)[0] in tree.names():
                with Suppress(*([Fault] if path != "code" else [])):
                    tree.lay_out(path, own, lambda p: p, keep=lambda name: True, nested=False)
        if os.path.isdir(os.path.join(self.dataset, ".minipach", "code")):
            tree.lay_out(".minipach/code", self.view, lambda p: p[len(".minipach/code/") :], keep=lambda name: True)

    # -- the datums

    def _datums(self):
        results: list[dict] = []
        box = None
        for index, datum in enumerate(self.run.datums):
            self._mark(index + 1)
            began, clock, cpu = time.time(), time.monotonic(), spent()
            result = new_result()
            try:
                box = box or self.runtime.new_box(self)
                os.pwrite(self.now, b"%-19d\n" % (index + 1), 0)
                with FaultsOf(self, datum, result):
                    self._one(datum, box, result)
            except Ended:
                if not self.report or not any(r["code"] == 0 for r in results):
                    raise
                result.update(code=INTERRUPTED, fault="interrupted", files=[])  # what is finished is kept
            finally:
                full = result["code"] and self._disk_is_full()  # the command may have left what fills it
                if box is not None:
                    result["disk"] = box.peak
                    box.clear(self._common_folders(index + 1))
            if full:
                raise Failure(self.scratch + ": the disk is full")
            result.update(began=began, ended=time.time(), seconds=time.monotonic() - clock, cpu=spent() - cpu)
            results.append(result)
            if result["code"] and (not self.report or self.signals.asked or self.until):
                break
            if self.until and time.monotonic() > self.until:
                break
        self._mark(0)
        return results

    def _common_folders(self, index):
        """The folders below /pfs that a datum has for certain: the next one need not make them again."""
        if not self.protects or self.run.writable or index >= len(self.run.datums):
            return frozenset()
        datum = self.run.datums[index]
        paths = [name + "/" + path for _, name, _, path in datum.matches if datum.neutral(path) == path]
        return frozenset(above for path in paths for above in parents(path))

    def _fault(self, datum, result, text):
        result.update(code=AT_FAULT, fault=text, files=[])
        say_of(datum, text)

    def _failure(self, error):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Failure((str(error.filename) if error.filename else self.scratch) + ": the disk is full")
        return Failure((str(error.filename) + ": " if error.filename else "") + (error.strerror or str(error)))

    def _disk_is_full(self):
        with Suppress(OSError):
            found = os.statvfs(self.scratch)
            return found.f_bavail * found.f_frsize < 65536
        return False

    def _mark(self, number):
        """Mark in the log that what follows is of this datum (0: of none). Each mark has a word that only we know."""
        if self.words and len(self.run.datums) > 1 and number != self.marked:
            self.marked = number
            place = number - 1 if number else len(self.words) - 1
            put(2, b"datum: begins %d %s\n" % (number, self.words[place].encode()))

    def _one(self, datum, box, result):
        """Run one datum. Raises Fault."""
        empty = self._lay_out(datum, box)
        before = self._seen(box) if not self.protects else None
        code, late, why = self._command(datum, box, self._words(datum, box, self.run.command), self.run.stdin)
        if self.interactive:
            result["code"] = code
            self._leave(code)
        refused = self.bound.reason()
        if code not in self.run.accepted and not late and refused and not why:
            why, self.limit_hit = refused, "processes"
        if before is not None and (changed := self._changed(box, before)):
            say_of(datum, "the command changed its copy of " + changed + "; the source is as it was")
        if not self._has_failed(datum, result, code, late, why):
            self._take(datum, box, result, empty)
        elif self.run.recovery:
            self._recover(datum, box, result)

    def _has_failed(self, datum, result, code, late, why):
        """Whether a command has; then its log and the result say why."""
        if late:
            say_of(datum, f"time is over ({self.run.limit} s): the command and all that it started is ended")
        elif why:
            say_of(datum, why)
        elif code not in self.run.accepted:
            say_of(datum, f"the command failed with exit code {code}")
        else:
            return False
        result.update(code=TIME_OVER if late else code or 1, timed_out=late, fault=why)
        if self.is_out_of_memory:
            result["out_of_memory"] = True
        if self.limit_hit:
            result["limit"] = self.limit_hit
        return True

    def _take(self, datum, box, result, empty):
        """Take what a datum has written. Raises Fault."""
        result["files"] = self.outputs.keep(datum, box, empty)
        if not result["files"]:
            if self.run.required:
                raise Fault("the command wrote nothing to /pfs/out, and the spec requires output")
            say_of(datum, "the command wrote nothing to /pfs/out")

    def _leave(self, code):
        remove_tree(self.scratch)
        sys.stdout.flush()
        os._exit(code)

    def _recover(self, datum, box, result):
        code, late, why = self._command(datum, box, self._words(datum, box, self.run.recovery), self.run.recovery_stdin)
        if late:
            say_of(datum, f"time is over ({self.run.limit} s): err_cmd is ended, too, and all that it started")
        elif code or why:
            say_of(datum, f"so did err_cmd, with exit code {code}")
        else:
            say_of(datum, "err_cmd succeeded, so it is recovered; it has no output")
            result["recovered"] = True

    @reading_objects
    def _lay_out(self, datum, box):
        """Place the matches below /pfs. Returns {path in the box: source} of those that are empty there."""
        self.placed.begin(self.runtime.odd, 0 if self.batch else MOST_MOUNTS)  # a loop's mounts are made already
        empty = {}
        for option, name, folder, path in datum.matches:
            tree = self._tree(os.path.join(self.dataset, folder))
            target = os.path.join(box.pfs, name)
            os.makedirs(target, exist_ok=True)
            found = tree.lay_out(path, target, datum.neutral)
            if option == "-z":
                for place, source in found.items():
                    if self.placed.mounts and self.placed.mounts.pop(place, None):
                        empty[place] = source
                        continue
                    kept = os.path.join(box.full, os.path.relpath(place, box.pfs))
                    os.makedirs(os.path.dirname(kept), exist_ok=True)
                    os.rename(place, kept) if source is None or not os.path.samefile(place, source) else os.unlink(
                        place
                    )
                    with open(place, "xb"):
                        pass
                    empty[place] = kept if os.path.lexists(kept) else source
        self._tell_copies(datum)
        return {**empty, **(self.placed.mounts or {})}

    def _tell_copies(self, datum):
        """Say that inputs took disk and time, unless that was asked for."""
        if self.placed.copied >= LARGE and not self.run.writable:
            why = (
                "they lie on another disk, are another user's or executable, and can't be mounted"
                if self.protects
                else "without a container nothing protects them"
            )
            say_of(datum, f"{self.placed.copied >> 20} MiB of its inputs are copies: {why}")

    def _words(self, datum, box, words):
        """The command's words with {INPUT}, {out} and {KEY} replaced. What was put in is not looked at again."""
        pfs = box.pfs if not self.runtime.has_pfs else "/pfs"
        table = dict(datum.values)
        for _, name, _, path in datum.matches:
            seen = table.get("\0" + name)
            table["\0" + name] = path if seen in (None, path) else ""
        for name in [n for n in table if n.startswith("\0")]:
            path = datum.neutral(table.pop(name))
            table.setdefault(name[1:], pfs + "/" + name[1:] + ("/" + path if path else ""))
        table.setdefault("out", pfs + "/out")
        return [filled(word, table) for word in words]

    def _environment(self, datum, box):
        """The command's whole environment: what is allowed of the caller's, what the record names, secrets."""
        if self.runtime.has_pfs:
            env = {"PFS": "/pfs", "HOME": HOME, "TMPDIR": "/tmp"}
        else:
            env = {"PFS": box.pfs, "HOME": box.home, "TMPDIR": box.tmp}
        env["XDG_CACHE_HOME"] = env["HOME"] + "/.cache"
        if self.image_variables is None:
            self.image_variables = self.image.environment(self.interactive)
        env.update(self.image_variables)
        for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", *self.run.passed):
            if name in os.environ:
                env[name] = os.environ[name]
        env["MINIPACH_DATUM"] = datum.name
        for pair in (*self.run.variables, *datum.variables):
            name, _, value = pair.partition("=")
            if not self.runtime.has_pfs and (value == "/pfs" or value.startswith("/pfs/")):
                value = box.pfs + value[4:]
            env[name] = value
        if not datum.name and not datum.matches:
            env.pop("MINIPACH_DATUM")
        return env, {name: self.secrets[source] for name, source in self.run.secrets.items()}

    def _workdir(self, box):
        project = "/project" if self.runtime.has_pfs else self.view
        own = os.path.join(project, self.run.path)
        if self.run.workdir:
            if not self.runtime.has_pfs and (self.run.workdir + "/").startswith("/pfs/"):
                return box.pfs + self.run.workdir[4:]
            return os.path.normpath(os.path.join(own, self.run.workdir))
        if self.run.image_workdir and self.image.kind != "host":
            if self.image_folder is None:  # podman and docker know it themselves
                self.image_folder = "" if self.runtime.is_engine else self.image.workdir()
            return self.image_folder
        return own

    # -- the command

    def _command(self, datum, box, words, stdin):
        """Run a command, and end all that it started: (exit code, whether time was over, why it was ended)."""
        try:
            return self._command_once(datum, box, words, stdin)
        except NotBegun:
            self.runtime.close()
            self._end_rest()
            return self._command_once(datum, box, words, stdin)

    def _command_once(self, datum, box, words, stdin):
        env, secrets = self._environment(datum, box)
        status_reader, status_writer = os.pipe()
        call = self.runtime.call(self, box, words, env, secrets, self._workdir(box), status_writer)
        out = 2 if self.one_pipe else 1
        streams = {} if self.interactive else {n: os.pipe() for n in {out, 2}}
        source = self._stdin(stdin)
        try:
            process = call.start(self, source, *(streams[n][1] if streams else None for n in (out, 2)), status_writer)
        except (OSError, NotBegun) as error:
            for pair in streams.values():
                os.close(pair[0])
            os.close(status_reader)
            raise error if isinstance(error, NotBegun) else Failure(f"{call.words[0]}: {error.strerror}") from None
        finally:
            if source is not None:
                os.close(source)
            os.close(status_writer)
            for pair in streams.values():
                os.close(pair[1])
            for fd in call.fds:
                os.close(fd)
        self.child = process
        tail = bytearray()
        try:
            try:
                late, why = self._wait(process, {pair[0]: target for target, pair in streams.items()}, box, tail)
            except BaseException:
                self._end(process)
                raise
            finally:
                self._end_rest()
                self.runtime.clear(self)
                box.measure()
            for target, pair in streams.items():
                self._pump(pair[0], 1 if self.one_pipe else target, tail)
        finally:
            self.child = None
            for pair in streams.values():
                os.close(pair[0])
            os.set_blocking(status_reader, False)
            started = b""
            with Suppress(BlockingIOError):
                started = os.read(status_reader, 4096)
            os.close(status_reader)
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        line = (bytes(tail).decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"])[0]
        if not late and not why:
            if started.startswith(b"failed"):
                raise NotBegun
            code = self.runtime.code_of(code, started, line)
            if code is None:
                raise Failure(self.runtime.name + " could not start the command: " + line)
        return code, late, why

    def before(self):
        """A function for the child, before it becomes the runtime: it keeps to the limit, and it ends with us."""
        size = self.run.limits.get("file-size")
        if self.runtime.ends_with_us and not size:
            return None

        def before():
            if PRCTL is not None:
                PRCTL(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
            if size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return before

    def _stdin(self, lines):
        if self.interactive:
            return None
        if not lines:
            return os.open(os.devnull, os.O_RDONLY)
        path = os.path.join(self.scratch, "stdin")
        with open(path, "wb") as file:
            file.write(b"".join(os.fsencode(line) + b"\n" for line in lines))
        found = os.open(path, os.O_RDONLY)
        os.unlink(path)
        return found

    def _wait(self, process, sources, box, tail):
        """Until the command ends, or must: (whether time was over, why it was ended)."""
        deadline = time.monotonic() + self.run.limit if self.run.limit else None
        watch = Watch(self, box, process)
        self.printed, self.is_out_of_memory, self.limit_hit = 0, False, ""
        batch = self.batch
        ready = select.poll()
        for fd in (self.signals.reader, *sources, *((batch.asks,) if batch else ())):
            os.set_blocking(fd, False)
            ready.register(fd, select.POLLIN)
        while process.poll() is None:
            self.signals.check()
            now = time.monotonic()
            deadline = batch.deadline if batch else deadline
            if deadline is not None and now >= deadline:
                self._end(process)
                return True, ""
            why = watch.look(now)
            if why:
                self._end(process, grace=0)
                return False, why
            pause = min(POLL, max(0.0, deadline - now)) if deadline is not None else POLL
            for fd, _ in ready.poll(pause * 1000):
                if fd == self.signals.reader:
                    self.signals.drain()
                elif batch and fd == batch.asks:
                    for source, target in sources.items():  # what is printed belongs to the datum that ends here
                        self._pump(source, 1 if self.one_pipe else target, tail, PIECES)
                    if not batch.answer():
                        self._end(process)
                        return False, ""
                elif not self._pump(fd, 1 if self.one_pipe else sources[fd], tail, PIECES):
                    ready.unregister(fd)
        self.signals.check()
        return False, ""

    def _pump(self, source, target, tail, most=0):
        """Pass on what there is, at most so many pieces (0: all); whether there may be more."""
        done = 0
        while not most or done < most:
            done += 1
            try:
                data = os.read(source, 1 << 16)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self.printed += len(data)
            tail += data
            del tail[:-2000]
            put(target, data)
        return True

    def _end(self, process, grace=GRACE):
        """Ask the command and all that it started to end, then end them."""
        if self.interactive:
            process.wait()
            return
        self.runtime.ask(self)
        below = descendants(process.pid)
        deadline = time.monotonic() + grace
        if grace:
            for pid in below if self.runtime.wraps else (process.pid, *below):
                with Suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
            if not below:
                with Suppress(OSError):
                    os.killpg(process.pid, signal.SIGTERM)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in (*descendants(process.pid), process.pid):
            with Suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with Suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _end_rest(self):
        """End what the command left running, and wait until it is gone."""
        if not self.is_reaper or self.interactive or self.runtime.ends_all:
            return
        patience = time.monotonic() + (5.0 if self.runtime.is_engine else 0.0)
        end = time.monotonic() + UNENDING
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid:
                continue
            if time.monotonic() >= patience:
                for other in descendants(os.getpid()):
                    with Suppress(OSError):
                        os.kill(other, signal.SIGKILL)
                if time.monotonic() >= end:  # as of another user: a setuid program that was run without a container
                    raise Failure(f"processes that a command left can't be ended: {descendants(os.getpid())}")
            time.sleep(0.001)

    # -- copies that a command without a container could write to

    def _seen(self, box):
        found = {}
        for top in (self.view,) if self.run.writable else (box.pfs, self.view):
            for here, folders, names in os.walk(top):
                if here == box.pfs and "out" in folders:
                    folders.remove("out")
                for name in (*folders, *names):
                    path = os.path.join(here, name)
                    info = os.lstat(path)
                    has_content = not stat.S_ISDIR(info.st_mode) and not stat.S_ISFIFO(info.st_mode)
                    found[path] = (info.st_ino, info.st_mode, (info.st_size, info.st_mtime_ns) if has_content else 0)
        return found

    def _changed(self, box, before):
        """The first file that is another now; the pipeline's own files are then laid out again for the next datum."""
        now = self._seen(box)
        differ = [path for path, was in before.items() if now.get(path) != was]
        if not self.batch and any(
            (path + "/").startswith(self.view + "/") for path in (*differ, *(now.keys() - before.keys()))
        ):
            remove_tree(self.view)
            os.mkdir(self.view)
            self._lay_out_own()
        files = [path for path in differ if not stat.S_ISDIR(before[path][1])]
        if not files:
            return None
        return os.path.relpath(files[0], box.pfs if files[0].startswith(box.pfs + "/") else self.view)


class FaultsOf:
    """Note what a datum is at fault for meanwhile. Raises Failure for the rest."""

    def __init__(self, launcher, datum, result):
        self.launcher = launcher
        self.datum = datum
        self.result = result

    def __enter__(self):
        return None

    def __exit__(self, kind, error, trace) -> bool:
        why = None
        if isinstance(error, Fault):
            why = str(error)
            if error.beside is not None:
                self.result["beside"] = self.launcher.run.datums.index(error.beside)
        elif isinstance(error, OSError):
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
                raise self.launcher._failure(error) from None
            why = "a path in /pfs/out is too long"
        elif isinstance(error, RecursionError):
            why = "the folders in /pfs/out are too deep"
        if why is not None:
            self.launcher._fault(self.datum, self.result, why)
        return why is not None


def same_file(one, other):
    """Whether two descriptors lead to one place."""
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return True
