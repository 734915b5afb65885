"""A drop folder on a lab machine: a file that is copied into it is saved when it is complete, and then processed.

`python examples/drop_folder.py` takes about 30 seconds. CI runs it as a test.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SPEC = """\
input: {pfs: {repo: scans, glob: "/incoming/*.raw"}}
transform: {cmd: [sh, code/size.sh]}
"""
CODE = """\
wc -c < "$scans" > "$PFS/out/$(basename -- "$scans" .raw).txt"
"""
PATIENCE = 300  # seconds after which something is wrong


class Failed(Exception):
    """The example did not do what it shows; the message says what."""


class Project:
    """A project folder, and commands in it that are shown as a person would type them."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self.root = root
        self.env = env

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command; it must exit with 0. Return what it printed."""
        print(f"$ {shlex.join(command)}", flush=True)
        done = subprocess.run(command, cwd=cwd or self.root, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"`{shlex.join(command)}` ended with exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def results(self) -> set[str]:
        """Return the names of the published results."""
        sizes = self.root / "sizes"
        return {path.name for path in sizes.glob("*.txt")}


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"no {what} after {PATIENCE} s")
        time.sleep(0.1)


def example(root: Path) -> None:
    """Walk through the example in a new folder."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    project = Project(root, {**os.environ, "PATH": programs, "DATALAD_LOG_LEVEL": "error"})
    project.run("minipach", "init", str(root), cwd=root.parent)
    project.run("datalad", "create", "-d", ".", "scans")
    incoming = root / "scans" / "incoming"
    incoming.mkdir()
    (root / "sizes" / "code").mkdir(parents=True)
    (root / "sizes" / "spec.yml").write_text(SPEC)
    (root / "sizes" / "code" / "size.sh").write_text(CODE)
    project.run("datalad", "save", "-m", "a pipeline")

    print("\n=== the watcher saves what arrives in scans/incoming", flush=True)
    command = ["minipach", "watch", "--save", "scans/incoming/**", "--quiet", "1"]
    print(f"$ {shlex.join(command)} &", flush=True)
    watcher = subprocess.Popen(command, cwd=root, env=project.env, start_new_session=True)
    try:
        deliver(project, incoming)
    finally:
        watcher.send_signal(signal.SIGTERM)
        code = watcher.wait(PATIENCE)
    need(code == 0, f"the watcher ended with exit code {code}")
    print("done", flush=True)


def deliver(project: Project, incoming: Path) -> None:
    """Deliver files as instruments and people do."""
    notes = project.root / "scans" / "notes.md"
    notes.write_text("not finished")  # somebody is writing this; nobody else may save it

    print("\n=== an instrument writes a file bit by bit", flush=True)
    with (incoming / "slow.raw").open("w") as writer:
        for _ in range(4):
            writer.write("x" * 1000)
            writer.flush()
            time.sleep(0.8)
    until(lambda: "slow.txt" in project.results(), "result of slow.raw")
    size = (project.root / "sizes" / "slow.txt").read_text().strip()
    need(size == "4000", f"slow.raw was processed when it had {size} bytes")

    print("\n=== an upload under another name, and a name with special characters", flush=True)
    (incoming / "upload.raw.part").write_text("half")
    (incoming / "-rf $(touch x) *.raw").write_text("odd")
    until(lambda: "-rf $(touch x) *.txt" in project.results(), "result of the odd name")
    need("upload.txt" not in project.results(), "half an upload was processed")
    (incoming / "upload.raw.part").rename(incoming / "upload.raw")
    until(lambda: "upload.txt" in project.results(), "result of upload.raw")

    status = project.run("git", "status", "--porcelain", cwd=project.root / "scans")
    need(status == "?? notes.md\n", f"git status: {status}")
    print(project.run("minipach", "triggers"), end="", flush=True)


def need(condition: bool, otherwise: str) -> None:
    """Fail if something is not as it is shown."""
    if not condition:
        raise Failed(otherwise)


def main() -> int:
    """Run the example; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="make the project there and keep it")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="minipach-drop."))
    try:
        example(arguments.folder.resolve() if arguments.folder else scratch / "study")
    except Failed as error:
        print(f"drop_folder: {error}", file=sys.stderr)
        return 1
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(scratch)], check=False)
        shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
