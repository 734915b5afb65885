"""Running minipach in the background, killing it at a chosen point, and what it leaves behind."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minipach.git import Repo
from minipach.state import read_state
from tests.projects import MINIPACH, PATIENCE, SHOWN, Done, Study, run

WAIT = 120.0  # seconds that a condition gets to come true

# A datum of `holder` waits while the file `hold` is there.
HOLD = """\
case $images in
  *'a first.txt') ;; # this one is never held
  *) while [ -e HOLD ]; do sleep 0.1; done ;;
esac
cp "$images" "$PFS/out/"
""".replace("HOLD", str(SHOWN / "hold"))
GATHER = 'cat "$PFS"/edges/* > "$PFS/out/all.txt"\n'


def until(what: str | Callable[[], str], condition: Callable[[], object], seconds: float = WAIT) -> None:
    """Wait until the condition holds. Fails the test at the deadline, and says then what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)


def two_pipelines(root: Path, *, images: int = 2) -> Study:
    """`images` -> `edges` (one datum per file; `hold` stops it) -> `montage` (one datum); published once."""
    shutil.copytree(_two_pipelines(images), root, symlinks=True)
    return Study(root)


@functools.cache
def _two_pipelines(images: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="minipach-remains."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    study = unpublished(folder / "study", images=images)
    study.schedule()
    return study.root


def unpublished(root: Path, *, images: int = 2) -> Study:
    """The same, before its first `schedule`."""
    study = Study.create(root)
    for n in range(images):
        study.put(f"images/{n}.txt", f"picture {n}\n", save=False)
    study.save("images")
    edges = 'input: {pfs: {repo: images, glob: "/*"}}\ntransform: {cmd: [sh, code/copy.sh]}\ndatum_tries: 1\n'
    edges += "datum_set_spec: {number: 1}\n"
    study.pipeline("edges", edges, copy=HOLD)
    montage = 'input: {pfs: {repo: edges, glob: "/"}}\ntransform: {cmd: [sh, code/gather.sh]}\n'
    study.pipeline("montage", montage, gather=GATHER)
    return study


def hold(study: Study) -> Path:
    """Make the datums of `edges` wait from now on, until the file is removed."""
    there = SHOWN / "hold"
    there.touch()
    return there


# --- a program in the background -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    args: tuple[str, ...]

    @property
    def kind(self) -> str:
        """worker, launch, command, git, or other."""
        line = " ".join(self.args)
        if "minipach.executors.local" in line:
            return "worker"
        if os.path.basename(self.args[0]).startswith("git"):
            return "git"
        if self.args[0] in ("sh", "/bin/sh") and self.args[1:2] == ("code/copy.sh",):
            return "command"
        if any(a.endswith(".minipach/launch") for a in self.args):
            return "launch"
        return "other"


class Background:
    """`minipach` in a session of its own; its processes are known by their environment."""

    def __init__(self, study: Study, *arguments: str) -> None:
        self.study = study
        self.tag = tempfile.mkdtemp(prefix="minipach-tag.")
        with Path(self.tag, "stdout").open("wb") as out, Path(self.tag, "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [*MINIPACH, *arguments],
                cwd=study.root,
                env={**os.environ, "TMPDIR": self.tag},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        atexit.register(self._stop)

    def _stop(self) -> None:
        """End what a failed test has left running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.tag, ignore_errors=True)

    @property
    def err(self) -> str:
        """What it has said so far."""
        return Path(self.tag, "stderr").read_text()

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return Path(self.tag, "stdout").read_text()

    def processes(self) -> list[Process]:
        """Everything that it started and that still runs, itself not included."""
        return [p for p in processes(f"TMPDIR={self.tag}", self.study.root) if p.pid != self.process.pid]

    def of(self, kind: str) -> list[Process]:
        """Its processes of one kind."""
        return [p for p in self.processes() if p.kind == kind]

    def waiting(self) -> Background:
        """Wait until a held command runs; self."""
        until("a datum runs", lambda: self.of("command") or self.process.poll() is not None)
        assert self.process.poll() is None, self.err
        return self

    def end(self, timeout: float = PATIENCE) -> Done:
        """Wait for its end, and until nothing of it runs any more."""
        code = self.process.wait(timeout)
        until(lambda: f"nothing runs any more, but: {self.processes()}", lambda: not self.processes())
        done = Done(code, self.out, self.err)
        shutil.rmtree(self.tag)
        return done

    def kill(self, number: int = signal.SIGKILL) -> Done:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        return self.end()


def processes(tag: str, root: Path) -> list[Process]:
    """The processes that have `tag` in their environment, or work in the folder, and all below them.

    Zombies are left out. (A command has neither: it sees nothing of its caller.)
    """
    parents: dict[int, int] = {}
    args: dict[int, tuple[str, ...]] = {}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            parents[pid] = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            args[pid] = tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
            environment = (entry / "environ").read_bytes().split(b"\0")
            if tag.encode() in environment or os.readlink(entry / "cwd").startswith(f"{root}/"):
                found.add(pid)
        except OSError:
            continue
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    return [Process(pid, args[pid]) for pid in sorted(found) if args.get(pid)]


_KILLER = """
import importlib, os, signal, sys
module, name, when, nth = sys.argv[1:5]
sys.argv[1:5] = []
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
real, calls = getattr(owner, name), 0
def killed(*args, **kwargs):
    global calls
    calls += 1
    if when == "before" and calls == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(*args, **kwargs)
    if when == "after" and calls == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
setattr(owner, name, killed)
from minipach.cli.app import main
main()
"""


def schedule_killed(study: Study, when: str, point: str, nth: int = 1) -> None:
    """`minipach schedule` whose scheduler gets SIGKILL before or after the n-th call of `module:function`."""
    module, _, name = point.partition(":")
    done = run(MINIPACH[0], "-c", _KILLER, module, name, when, str(nth), "schedule", cwd=study.root)
    assert done.code == -signal.SIGKILL, f"{point} was not called {nth} times\n{done.out}\n{done.err}"


# --- what is there afterwards --------------------------------------------------------------------------------


def result_of(study: Study) -> dict[str, object]:
    """What a project has come to, less what differs from run to run (commit ids in records and links)."""
    found: dict[str, object] = {}
    for name in ("edges", "montage"):
        repo = Repo(study.root / name)
        found[name] = study.outputs(name), read_state(repo, "HEAD")
        repo.close()
        assert study.git(name, "status", "--porcelain") == "", name
    for name in ("images", "edges", "montage"):
        link = study.git(".", "rev-parse", f"HEAD:{name}")
        assert link == study.git(name, "rev-parse", "HEAD"), f"the superdataset does not have {name} as it is"
    assert study.git(".", "status", "--porcelain") == ""
    found["superdataset"] = sorted(row.split("\t")[1] for row in study.git(".", "ls-tree", "-r", "HEAD").splitlines())
    return found


def leftovers(study: Study) -> list[str]:
    """Everything that should be gone when no `schedule` runs, as paths and refs."""
    found: list[str] = []
    for name in (".", "images", "edges", "montage"):
        if not (study.root / name / ".git").exists():
            continue
        found += study.git(name, "worktree", "list", "--porcelain").split("\n\n")[1:]
        refs = study.git(name, "for-each-ref", "--format=%(refname)", "refs/minipach").split()
        found += [f"{name} {ref}" for ref in refs if ref not in ("refs/minipach/base", "refs/minipach/published")]
        git = study.root / name / ".git"
        patterns = ("*.lock", "refs/**/*.lock", "annex/index.lock", "minipach-*", "fast_import_crash_*")
        patterns += ("worktrees/*", "minipach/slots/*", "minipach/checkout", "minipach/working", "minipach/adopt")
        found += [str(path) for pattern in patterns for path in git.glob(pattern)]
        found += [str(p) for p in (study.root / name).glob("**/.minipach-*") if ".git" not in p.parts]
    return found


@contextmanager
def no_leftovers(study: Study) -> Iterator[None]:
    """Nothing that should be gone is there at the end."""
    yield
    assert leftovers(study) == []
